//! Keys of manifests that have another name now: the one table of them.
//!
//! An old key is not read. It is an error at its place that says the new name, and how the value is written where that
//! changed. The table of migration in the reference is made of the same list.

use super::keys::Key;
use super::settings::guest;

/// A key that has another name now.
#[derive(Debug)]
pub struct Renamed {
    /// The tables that had it, as the documents name them.
    pub place: &'static str,
    /// The old key.
    pub old: &'static str,
    /// The new key.
    pub new: &'static str,
    /// How the value is written now, one sentence; empty where it stays as it was.
    pub form: &'static str,
}

const fn renamed(place: &'static str, old: &'static str, new: &'static str, form: &'static str) -> Renamed {
    Renamed { place, old, new, form }
}

/// Levels that stood in a side of a claim itself, among its other keys.
pub(super) static LEVELS_OF_SIDE: Renamed = renamed(
    "a side of a claim",
    "AXIS",
    "where",
    "write the levels in `where`, for instance `{ where = { variant = \"fc\", concurrency = 1 } }`",
);

/// `[matrix] warmup`, which was a number.
pub(super) static WARMUP: Renamed = renamed(
    "`[matrix]`",
    "warmup",
    "warmup",
    "write `true` instead of 1 and `false` instead of 0; the `warmup` of a workload stays a number of rounds",
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

/// Every renamed key.
pub fn all() -> impl Iterator<Item = &'static Renamed> {
    KEYS.iter().chain([&LEVELS_OF_SIDE, &WARMUP])
}

/// What `old` is called now in a table that holds `keys`.
pub(super) fn in_table(old: &str, keys: &[Key]) -> Option<&'static Renamed> {
    KEYS.iter().find(|renamed| renamed.old == old && keys.iter().any(|key| key.name == renamed.new))
}

/// What the guest setting `old` is called now.
pub(super) fn setting(old: &str) -> Option<&'static Renamed> {
    KEYS.iter().find(|renamed| renamed.old == old && guest(renamed.new).is_some())
}

#[cfg(test)]
mod tests {
    use super::{all, in_table, setting};
    use crate::manifest::keys;

    #[test]
    fn a_new_name_is_that_of_a_key_and_an_old_one_is_not() {
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
        for renamed in all().filter(|renamed| renamed.old != renamed.new && renamed.old != "AXIS") {
            let known = |name: &str| tables.iter().any(|keys| keys.iter().any(|key| key.name == name));
            let is_setting = setting(renamed.old).is_some();
            assert!(is_setting || known(renamed.new), "{renamed:?}");
            assert!(!known(renamed.old) && super::guest(renamed.old).is_none(), "{renamed:?}");
            assert!(is_setting || tables.iter().any(|keys| in_table(renamed.old, keys).is_some()), "{renamed:?}");
        }
    }
}
