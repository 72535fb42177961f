//! Renamed keys of manifests.
//!
//! An old key is an error that states the new name, and the new form of the value if that changed. The migration table
//! of the reference is generated from the same list.

use super::keys::Key;
use super::settings::guest;

/// A renamed key.
#[derive(Debug)]
pub struct Renamed {
    /// The tables that had the old key, as a phrase.
    pub place: &'static str,
    pub old: &'static str,
    pub new: &'static str,
    /// The new form of the value, one sentence; empty if it is unchanged.
    pub form: &'static str,
}

const fn renamed(place: &'static str, old: &'static str, new: &'static str, form: &'static str) -> Renamed {
    Renamed { place, old, new, form }
}

/// Levels in a side of a claim, which were keys of the side itself.
pub(super) static LEVELS_OF_SIDE: Renamed = renamed(
    "a side of a claim",
    "AXIS",
    "where",
    "write the levels in `where`, for instance `{ where = { variant = \"fc\", concurrency = 1 } }`",
);

/// `warmup` of `[matrix]`, which was a number.
pub(super) static WARMUP: Renamed = renamed(
    "`[matrix]`",
    "warmup",
    "warmup",
    "write `true` instead of 1 and `false` instead of 0; the `warmup` of a workload is still a number of rounds",
);

static KEYS: [Renamed; 9] = [
    renamed("`[matrix]`", "give_up_after", "max_consecutive_failures", ""),
    renamed("settings of guests", "steady_s", "hold_s", ""),
    renamed("settings of guests", "work_deadline_s", "workload_deadline_s", ""),
    renamed("`[metrics.METRIC]`", "work", "workload", ""),
    renamed("`[profiles.PROFILE]`, `[figures.FIGURE]`", "only", "where", ""),
    renamed("a bar of a figure, a published value", "of", "where", ""),
    renamed("a mapping of `import`", "only", "where", ""),
    renamed("a mapping of `import`", "except", "where_not", ""),
    renamed("a cell of a mapping of `import`", "row", "where", ""),
];

static METRICS: [Renamed; 1] = [renamed("built-in metrics", "steady_answer_time", "steady_response_time", "")];

/// All renamed keys and built-in metrics.
pub fn all() -> impl Iterator<Item = &'static Renamed> {
    KEYS.iter().chain([&LEVELS_OF_SIDE, &WARMUP]).chain(&METRICS)
}

/// The new name of the built-in metric, event or reading `old`; `None` if no such name was renamed.
pub(super) fn new_name(old: &str) -> Option<String> {
    let metric = METRICS.iter().find(|renamed| renamed.old == old).map(|renamed| renamed.new.to_owned());
    metric.or_else(|| microbench_formats::renamed::new_name(old))
}

/// The renamed key `old` of a table with these keys.
pub(super) fn in_table(old: &str, keys: &[Key]) -> Option<&'static Renamed> {
    KEYS.iter().find(|renamed| renamed.old == old && keys.iter().any(|key| key.name == renamed.new))
}

/// The renamed guest setting `old`.
pub(super) fn setting(old: &str) -> Option<&'static Renamed> {
    KEYS.iter().find(|renamed| renamed.old == old && guest(renamed.new).is_some())
}

#[cfg(test)]
mod tests {
    use super::{all, in_table, setting};
    use crate::manifest::keys;

    #[test]
    fn new_names_are_keys_and_old_names_are_not() {
        let tables = [
            keys::MATRIX,
            keys::METRIC,
            keys::PROFILE,
            keys::FIGURE,
            keys::BAR,
            keys::VALUE,
            keys::CLAIM,
            keys::SIDE,
            keys::MAPPING,
            keys::MAPPED_CELL,
        ];
        for renamed in all().filter(|renamed| {
            renamed.old != renamed.new
                && renamed.old != "AXIS"
                && !super::METRICS.iter().any(|metric| metric.old == renamed.old)
        }) {
            let known = |name: &str| tables.iter().any(|keys| keys.iter().any(|key| key.name == name));
            let is_setting = setting(renamed.old).is_some();
            assert!(is_setting || known(renamed.new), "{renamed:?}");
            assert!(!known(renamed.old) && super::guest(renamed.old).is_none(), "{renamed:?}");
            assert!(is_setting || tables.iter().any(|keys| in_table(renamed.old, keys).is_some()), "{renamed:?}");
        }
    }
}
