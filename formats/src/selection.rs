//! Selections of cells by level.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::axis::Level;
use crate::cell::Cell;

/// A selection of cells: for each axis name (or `engine`) the accepted levels.
///
/// A cell is selected if its level is accepted on every named axis. An empty selection selects every cell.
///
/// ```
/// use microbench_formats::axis::Level;
/// use microbench_formats::selection::Selection;
///
/// let selection = Selection::from([("concurrency".to_owned(), vec![Level::Int(1), Level::Int(20)])]);
/// assert_eq!(selection["concurrency"].len(), 2);
/// ```
pub type Selection = BTreeMap<String, Vec<Level>>;

/// Whether `cell` has one of the selected levels on each axis of `selection`.
#[must_use]
pub fn selects(selection: &Selection, cell: &Cell) -> bool {
    selection.iter().all(|(axis, levels)| match axis.as_str() {
        "engine" => levels.iter().any(|level| matches!(level, Level::Text(engine) if *engine == cell.engine)),
        _ => cell.levels.get(axis).is_some_and(|level| levels.contains(level)),
    })
}

/// A list of levels, or a single level, as in figures of format 5 and older.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Level>),
    One(Level),
}

/// Deserialises a selection whose axes may have a single level instead of a list.
pub(crate) fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Selection, D::Error> {
    let levels = |levels| match levels {
        OneOrMany::Many(levels) => levels,
        OneOrMany::One(level) => vec![level],
    };
    let read: BTreeMap<String, OneOrMany> = Deserialize::deserialize(deserializer)?;
    Ok(read.into_iter().map(|(axis, value)| (axis, levels(value))).collect())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::one_or_many;
    use crate::axis::Level;
    use crate::selection::Selection;

    #[derive(Deserialize)]
    struct Selected {
        #[serde(deserialize_with = "one_or_many")]
        only: Selection,
    }

    #[test]
    fn single_level_of_format_5_reads_as_list() {
        let read = |text: &str| serde_json::from_str::<Selected>(text).map(|read| read.only);
        let one = Selection::from([("concurrency".to_owned(), vec![Level::Int(1)])]);
        assert_eq!(read(r#"{"only":{"concurrency":1}}"#).unwrap(), one);
        assert_eq!(read(r#"{"only":{"concurrency":[1]}}"#).unwrap(), one);
        assert!(read(r#"{"only":{"concurrency":null}}"#).is_err());
    }
}
