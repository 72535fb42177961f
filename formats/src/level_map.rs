//! A map from names to levels that shares memory between the cells of a plan.
//!
//! A plan may have a million cells, and a cell about thirty settings. All cells of a variant share the variant's
//! settings and the levels of the axes. A cell stores only its position on each axis. Readers see an ordinary map,
//! sorted by name.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Index;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::axis::{Axis, Level};

/// A map from names to levels, sorted by name: the levels of a cell, or its settings.
///
/// ```
/// use microbench_formats::axis::Level;
/// use microbench_formats::level_map::LevelMap;
///
/// let mut settings = LevelMap::default();
/// settings.insert("memory_mib".into(), Level::Int(256));
/// assert_eq!(settings.get("memory_mib"), Some(&Level::Int(256)));
/// assert_eq!(serde_json::to_string(&settings).unwrap(), r#"{"memory_mib":256}"#);
/// ```
#[derive(Clone, Default)]
pub struct LevelMap {
    common: Arc<BTreeMap<String, Level>>,
    varied: Option<Varied>,
}

/// The level on each of some axes. It overrides a common level of the same name.
#[derive(Clone)]
struct Varied {
    axes: Arc<Axes>,
    at: Arc<[u32]>,
}

/// Axes on which cells have a position.
#[derive(Clone, Debug)]
pub struct Axes {
    /// Sorted by name; each axis with its index in the positions of a cell.
    sorted: Vec<(usize, Axis)>,
}

impl Axes {
    /// The axes of `all` whose names `wanted` accepts. The positions of a cell are in the order of `all`.
    #[must_use]
    pub fn filtered(all: &[Axis], wanted: impl Fn(&str) -> bool) -> Self {
        let mut sorted: Vec<(usize, Axis)> =
            all.iter().cloned().enumerate().filter(|(_, axis)| wanted(&axis.name)).collect();
        sorted.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        Self { sorted }
    }
}

impl Varied {
    /// The `n`-th name with its level.
    fn nth(&self, n: usize) -> Option<(&String, &Level)> {
        let (place, axis) = self.axes.sorted.get(n)?;
        Some((&axis.name, axis.levels.get(*self.at.get(*place)? as usize)?))
    }
}

impl LevelMap {
    /// The `common` levels, overridden by the levels on `axes` at the positions `at`.
    ///
    /// # Panics
    /// If an axis has no level at its position.
    #[must_use]
    pub fn from_positions(common: Arc<BTreeMap<String, Level>>, axes: Arc<Axes>, at: Arc<[u32]>) -> Self {
        let has_level =
            |(place, axis): &(usize, Axis)| at.get(*place).is_some_and(|at| (*at as usize) < axis.levels.len());
        assert!(axes.sorted.iter().all(has_level), "a position is outside of its axis");
        Self { common, varied: Some(Varied { axes, at }) }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Level> {
        let varied = self.varied.as_ref();
        let found = varied.and_then(|varied| {
            let n = varied.axes.sorted.iter().position(|(_, axis)| axis.name == name)?;
            Some(varied.nth(n)?.1)
        });
        found.or_else(|| self.common.get(name))
    }

    #[must_use]
    pub fn contains_key(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Names and levels, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &Level)> {
        let mut common = self.common.iter().peekable();
        let mut varied = (0..).map_while(|n| self.varied.as_ref()?.nth(n)).peekable();
        std::iter::from_fn(move || match (common.peek(), varied.peek()) {
            (Some((a, _)), Some((b, _))) => match a.cmp(b) {
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

    /// The names, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.iter().map(|(name, _)| name)
    }

    /// Sets the level of `name`. Copies the map, which is shared otherwise.
    pub fn insert(&mut self, name: String, level: Level) {
        self.extend([(name, level)]);
    }
}

impl Extend<(String, Level)> for LevelMap {
    fn extend<T: IntoIterator<Item = (String, Level)>>(&mut self, values: T) {
        let own = self.iter().map(|(name, level)| (name.clone(), level.clone()));
        *self = own.chain(values).collect();
    }
}

impl FromIterator<(String, Level)> for LevelMap {
    fn from_iter<T: IntoIterator<Item = (String, Level)>>(values: T) -> Self {
        BTreeMap::from_iter(values).into()
    }
}

impl From<BTreeMap<String, Level>> for LevelMap {
    fn from(values: BTreeMap<String, Level>) -> Self {
        Self { common: Arc::new(values), varied: None }
    }
}

impl Index<&str> for LevelMap {
    type Output = Level;

    fn index(&self, name: &str) -> &Level {
        self.get(name).unwrap_or_else(|| panic!("no level is named `{name}`"))
    }
}

impl PartialEq for LevelMap {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl fmt::Debug for LevelMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for LevelMap {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for LevelMap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(BTreeMap::deserialize(deserializer)?.into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shared_levels_read_as_a_map_with_overrides(
            common in prop::collection::btree_map("[a-e]", 0_i64..9, 0..5),
            varied in prop::collection::btree_map("[a-g]", prop::collection::vec(0_i64..9, 1..4), 0..5),
            seed in 0_u32..1000,
        ) {
            let common: BTreeMap<String, Level> = common.into_iter().map(|(name, n)| (name, Level::Int(n))).collect();
            // The axes are not sorted by name.
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
            let axes = Arc::new(Axes::filtered(&axes, |name| !left_out(name)));
            let values = LevelMap::from_positions(Arc::new(common), axes, at.into());
            prop_assert_eq!(values.iter().collect::<Vec<_>>(), map.iter().collect::<Vec<_>>());
            for name in ["a", "b", "c", "f", "g", "h"] {
                prop_assert_eq!(values.get(name), map.get(name));
            }
            let json = serde_json::to_string_pretty(&map).unwrap();
            prop_assert_eq!(&serde_json::to_string_pretty(&values).unwrap(), &json);
            prop_assert_eq!(serde_json::from_str::<LevelMap>(&json).unwrap(), values.clone());
            let mut changed = values;
            changed.insert("c".into(), Level::Bool(true));
            map.insert("c".into(), Level::Bool(true));
            prop_assert_eq!(changed, map.into());
        }
    }
}
