//! Names of events and readings that format 7 replaced, so that runs of formats 5 and 6 stay readable.

use serde::{Deserialize, Deserializer};

use crate::event::{self, reading};

/// Old and new names of events and readings. `work.METRIC` stands for the beginning of a workload's readings.
pub const RENAMED: [(&str, &str); 8] = [
    ("agent.announced", event::AGENT_READY_DATAGRAM),
    ("steady.answered", event::STEADY_RESPONSE),
    ("work.begin", event::WORKLOAD_BEGIN),
    ("work.end", event::WORKLOAD_END),
    ("guest.words_missing", reading::GUEST_PARAMETERS_MISSING),
    ("guest.words_added", reading::GUEST_PARAMETERS_ADDED),
    ("probe.witness", reading::PROBE_AFTER_CONSOLE_MARK),
    ("work.METRIC", "workload.METRIC"),
];

/// The new name of an event or reading of formats 5 and 6; `None` if the name has not changed.
///
/// ```
/// use microbench_formats::renamed::new_name;
///
/// assert_eq!(new_name("work.hashing.rate").as_deref(), Some("workload.hashing.rate"));
/// assert_eq!(new_name("spawn"), None);
/// ```
#[must_use]
pub fn new_name(old: &str) -> Option<String> {
    if let Some((_, new)) = RENAMED.iter().find(|(name, _)| *name == old) {
        return Some((*new).to_owned());
    }
    old.strip_prefix("work.").map(|reading| format!("workload.{reading}"))
}

/// Deserialises the name of an event or reading; a name of format 5 or 6 becomes the one of format 7.
pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    Ok(new_name(&name).unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_become_names_of_the_tables_and_new_names_stay() {
        for (old, new) in RENAMED.iter().filter(|(old, _)| *old != "work.METRIC") {
            assert_eq!(new_name(old).as_deref(), Some(*new));
            assert!(event::find(new).is_some() || reading::find(new).is_some(), "{new}");
            assert!(event::find(old).is_none() && reading::find(old).is_none(), "{old}");
        }
        let events = event::EVENTS.iter().map(|event| event.name);
        for name in events.chain(reading::READINGS.iter().map(|reading| reading.name)) {
            assert_eq!(new_name(name), None);
        }
    }
}
