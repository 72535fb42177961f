//! Selections of cells by their levels.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::axis::Level;

/// Cells, by axis (or `engine`): all that have one of the levels on every axis that is named. Empty for every cell.
pub type Selection = BTreeMap<String, Vec<Level>>;

/// One level, as a figure of formats up to 5 has it on an axis, or a list of levels.
#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    Many(Vec<Level>),
    One(Level),
}

/// A selection in which an axis may have one level instead of a list.
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
    fn one_level_of_an_older_plan_is_read_as_a_list_of_one() {
        let read = |text: &str| serde_json::from_str::<Selected>(text).map(|read| read.only);
        let one = Selection::from([("concurrency".to_owned(), vec![Level::Int(1)])]);
        assert_eq!(read(r#"{"only":{"concurrency":1}}"#).unwrap(), one);
        assert_eq!(read(r#"{"only":{"concurrency":[1]}}"#).unwrap(), one);
        assert!(read(r#"{"only":{"concurrency":null}}"#).is_err());
    }
}
