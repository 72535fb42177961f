//! Names of events and readings that format 7 replaced, so that runs of formats 5 and 6 stay readable.

use serde::{Deserialize, Deserializer};

use crate::event::{self, reading};

/// Old and new names of events and readings.
const RENAMED: [(&str, &str); 7] = [
    ("agent.announced", event::AGENT_READY_DATAGRAM),
    ("steady.answered", event::STEADY_RESPONSE),
    ("work.begin", event::WORKLOAD_BEGIN),
    ("work.end", event::WORKLOAD_END),
    ("guest.words_missing", reading::GUEST_PARAMETERS_MISSING),
    ("guest.words_added", reading::GUEST_PARAMETERS_ADDED),
    ("probe.witness", reading::PROBE_AFTER_CONSOLE_MARK),
];

/// Deserialises the name of an event or reading; a name of format 5 or 6 becomes the one of format 7.
pub(crate) fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    String::deserialize(deserializer).map(current)
}

fn current(name: String) -> String {
    if let Some((_, new)) = RENAMED.iter().find(|(old, _)| *old == name) {
        return (*new).to_owned();
    }
    match name.strip_prefix("work.") {
        Some(reading) => format!("workload.{reading}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_names_become_names_of_the_tables_and_new_names_stay() {
        for (old, new) in RENAMED {
            assert_eq!(current(old.to_owned()), new);
            assert!(event::find(new).is_some() || reading::find(new).is_some(), "{new}");
            assert!(event::find(old).is_none() && reading::find(old).is_none(), "{old}");
        }
        assert_eq!(current("work.hashing.rate".to_owned()), "workload.hashing.rate");
        for name in
            event::EVENTS.iter().map(|event| event.name).chain(reading::READINGS.iter().map(|reading| reading.name))
        {
            assert_eq!(current(name.to_owned()), name);
        }
    }
}
