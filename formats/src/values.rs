//! Levels by name, of which the cells of a plan share what they have in common.
//!
//! A plan may have a million cells, and a cell some thirty settings. What its variant says is there once for all of its cells, and so are
//! the levels of the axes: a cell of its own has only its place on each axis. To a reader it is a map in the order of names.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::axis::{Axis, Level};

/// Levels by name, in the order of names.
#[derive(Clone, Default)]
pub struct Values {
    common: Arc<BTreeMap<String, Level>>,
    varied: Option<Varied>,
}

/// A level of each of some axes: it stands in place of a common one of the same name.
#[derive(Clone)]
struct Varied {
    axes: Arc<Axes>,
    at: Arc<[u32]>,
}

/// Axes that cells have levels of.
#[derive(Clone, Debug)]
pub struct Axes {
    /// By name, each with its place among the positions of a cell.
    sorted: Vec<(usize, Axis)>,
}

impl Axes {
    /// Those of `all` that are `wanted` by name. A cell's positions are in the order of `all`.
    #[must_use]
    pub fn of(all: &[Axis], wanted: impl Fn(&str) -> bool) -> Self {
        let mut sorted: Vec<(usize, Axis)> =
            all.iter().cloned().enumerate().filter(|(_, axis)| wanted(&axis.name)).collect();
        sorted.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        Self { sorted }
    }
}

impl Varied {
    /// The `n`-th by name.
    fn nth(&self, n: usize) -> Option<(&String, &Level)> {
        let (place, axis) = self.axes.sorted.get(n)?;
        Some((&axis.name, axis.levels.get(*self.at.get(*place)? as usize)?))
    }
}

impl Values {
    /// What is `common`, and the levels on `axes` at the positions `at`.
    ///
    /// # Panics
    /// When an axis has no level at its position.
    #[must_use]
    pub fn at(common: Arc<BTreeMap<String, Level>>, axes: Arc<Axes>, at: Arc<[u32]>) -> Self {
        let there = |(place, axis): &(usize, Axis)| at.get(*place).is_some_and(|at| (*at as usize) < axis.levels.len());
        assert!(axes.sorted.iter().all(there), "a position is on no axis");
        Self { common, varied: Some(Varied { axes, at }) }
    }

    /// The level of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Level> {
        let varied = self.varied.as_ref();
        let found = varied.and_then(|varied| {
            let n = varied.axes.sorted.iter().position(|(_, axis)| axis.name == name)?;
            Some(varied.nth(n)?.1)
        });
        found.or_else(|| self.common.get(name))
    }

    /// True when there is one of this name.
    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names and levels in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Level)> {
        let mut common = self.common.iter().peekable();
        let mut varied = (0..).map_while(|n| self.varied.as_ref()?.nth(n)).peekable();
        std::iter::from_fn(move || match (common.peek(), varied.peek()) {
            (Some((one, _)), Some((other, _))) => match one.cmp(other) {
                Ordering::Less => common.next(),
                Ordering::Equal => {
                    common.next();
                    varied.next()
                }
                Ordering::Greater => varied.next(),
            },
            (_, None) => common.next(),
            (None, _) => varied.next(),
        })
    }

    /// The names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.iter().map(|(name, _)| name)
    }

    /// Sets one, in a map of its own.
    pub fn insert(&mut self, name: String, level: Level) {
        self.extend([(name, level)]);
    }
}

impl Extend<(String, Level)> for Values {
    fn extend<T: IntoIterator<Item = (String, Level)>>(&mut self, values: T) {
        let own = self.iter().map(|(name, level)| (name.clone(), level.clone()));
        *self = own.chain(values).collect();
    }
}

impl FromIterator<(String, Level)> for Values {
    fn from_iter<T: IntoIterator<Item = (String, Level)>>(values: T) -> Self {
        BTreeMap::from_iter(values).into()
    }
}

impl From<BTreeMap<String, Level>> for Values {
    fn from(values: BTreeMap<String, Level>) -> Self {
        Self { common: Arc::new(values), varied: None }
    }
}

impl Index<&str> for Values {
    type Output = Level;

    fn index(&self, name: &str) -> &Level {
        self.get(name).unwrap_or_else(|| panic!("there is no `{name}`"))
    }
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is shared, it is the map that has the varied levels in place of the common ones.
        #[test]
        fn what_is_shared_reads_as_a_map(
            common in prop::collection::btree_map("[a-e]", 0_i64..9, 0..5),
            varied in prop::collection::btree_map("[a-g]", prop::collection::vec(0_i64..9, 1..4), 0..5),
            seed in 0_u32..1000,
        ) {
            let common: BTreeMap<String, Level> = common.into_iter().map(|(name, n)| (name, Level::Int(n))).collect();
            // Axes come in any order, not that of their names.
            let mut axes: Vec<Axis> = (varied.into_iter())
                .map(|(name, levels)| Axis { name, levels: levels.into_iter().map(Level::Int).collect() })
                .collect();
            let turn = if axes.is_empty() { 0 } else { seed as usize % axes.len() };
            axes.rotate_left(turn);
            let at: Vec<u32> = axes.iter().map(|axis| seed % axis.levels.len() as u32).collect();
            let left_out = |name: &str| name == "b";
            let mut map = common.clone();
            for (axis, at) in axes.iter().zip(&at).filter(|(axis, _)| !left_out(&axis.name)) {
                map.insert(axis.name.clone(), axis.levels[*at as usize].clone());
            }
            let values = Values::at(Arc::new(common), Arc::new(Axes::of(&axes, |name| !left_out(name))), at.into());
            prop_assert_eq!(values.iter().collect::<Vec<_>>(), map.iter().collect::<Vec<_>>());
            for name in ["a", "b", "c", "f", "g", "h"] {
                prop_assert_eq!(values.get(name), map.get(name));
            }
            let json = serde_json::to_string_pretty(&map).unwrap();
            prop_assert_eq!(&serde_json::to_string_pretty(&values).unwrap(), &json);
            prop_assert_eq!(serde_json::from_str::<Values>(&json).unwrap(), values.clone());
            let mut changed = values;
            changed.insert("c".into(), Level::Bool(true));
            map.insert("c".into(), Level::Bool(true));
            prop_assert_eq!(changed, map.into());
        }
    }
}
