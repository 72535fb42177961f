//! A cell of the matrix.

use serde::{Deserialize, Serialize};

use crate::axis::Level;
use crate::level_map::LevelMap;
use crate::shared_string::SharedString;

/// One combination of levels: a variant, a concurrency, and a level of every other axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The levels joined by `/`, in the order of the axes, for example `fc/4/minimal`.
    pub id: SharedString,
    /// The level on every axis, including `variant` and `concurrency`.
    pub levels: LevelMap,
    /// Key of the variant in the manifest.
    pub variant: SharedString,
    /// Label of the variant for figures.
    pub label: SharedString,
    pub engine: SharedString,
    /// Number of VMs that one trial starts simultaneously.
    pub concurrency: u32,
    /// Number of planned trials.
    pub trials: u32,
    /// Every effective setting of the VMs: kernel, rootfs, vcpus, memory_mib, and those of the engine.
    pub settings: LevelMap,
}

impl Cell {
    /// The value of a setting; `None` if it is missing or not a non-negative integer.
    #[must_use]
    pub fn number(&self, setting: &str) -> Option<u64> {
        match self.settings.get(setting) {
            Some(Level::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Whether this cell and `other` have the same levels on all axes except `axis`.
    #[must_use]
    pub fn equals_except(&self, other: &Self, axis: &str) -> bool {
        let other_axis = |(name, _): &(&String, &Level)| *name != axis;
        self.levels.iter().filter(other_axis).eq(other.levels.iter().filter(other_axis))
    }

    /// The engine and all settings as one string. Cells that differ in concurrency only have the same string.
    #[must_use]
    pub fn configuration_key(&self) -> String {
        let settings = self.settings.iter().map(|(name, level)| format!("\n{name}={level}"));
        settings.fold(self.engine.to_string(), |text, setting| text + &setting)
    }
}
