//! A cell of the matrix: variant x concurrency x every other axis.

use serde::{Deserialize, Serialize};

use crate::axis::Level;
use crate::name::Name;
use crate::values::Values;

/// Variant x concurrency x every other axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Stable short name: the levels joined by `/`, in axis order, for instance `fc/4/minimal`.
    pub id: Name,
    /// Level of every axis, `variant` and `concurrency` included.
    pub levels: Values,
    /// The variant's key in the manifest.
    pub variant: Name,
    /// The variant's label for figures.
    pub label: Name,
    /// The engine's name.
    pub engine: Name,
    /// VMs released together in one trial.
    pub concurrency: u32,
    /// Trials planned for this cell.
    pub trials: u32,
    /// Every effective setting of the cell's VMs (kernel, rootfs, vcpus, memory_mib, the engine's own).
    pub settings: Values,
}

impl Cell {
    /// A setting that is a whole number, none below zero; `None` where it is not.
    #[must_use]
    pub fn number(&self, setting: &str) -> Option<u64> {
        match self.settings.get(setting) {
            Some(Level::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Whether it has the levels of `other`, but for that on axis `but`.
    #[must_use]
    pub fn is_like(&self, other: &Self, but: &str) -> bool {
        let other_axis = |(axis, _): &(&String, &Level)| *axis != but;
        self.levels.iter().filter(other_axis).eq(other.levels.iter().filter(other_axis))
    }

    /// What its VMs are, as one text: the same for cells that differ in nothing but how many VMs run at once.
    #[must_use]
    pub fn machine(&self) -> String {
        let settings = self.settings.iter().map(|(name, level)| format!("\n{name}={level}"));
        settings.fold(self.engine.to_string(), |text, setting| text + &setting)
    }
}
