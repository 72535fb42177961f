//! A cell of the matrix.

use serde::{Deserialize, Serialize};

use crate::axis::Level;
use crate::level_map::LevelMap;
use crate::shared_string::SharedString;

/// The guest setting that selects the CPU of the emulated host.
pub const HOST_CPU: &str = "host_cpu";
/// Value of [`HOST_CPU`] in cells without the setting, which plans before format 8 have.
pub const DEFAULT_HOST_CPU: &str = "EPYC";

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

    /// The CPU of the emulated host of this cell's VMs. On other kinds of host it has no effect.
    #[must_use]
    pub fn host_cpu(&self) -> &str {
        match self.settings.get(HOST_CPU) {
            Some(Level::Text(name)) => name,
            _ => DEFAULT_HOST_CPU,
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
        self.key_of(|_| true)
    }

    /// [`configuration_key`](Self::configuration_key) without [`HOST_CPU`]: VMs of two cells with the same key are equal
    /// on every host but an emulated one.
    #[must_use]
    pub fn configuration_key_without_host_cpu(&self) -> String {
        self.key_of(|name| name != HOST_CPU)
    }

    fn key_of(&self, included: impl Fn(&str) -> bool) -> String {
        let settings = self.settings.iter().filter(|(name, _)| included(name));
        settings.fold(self.engine.to_string(), |text, (name, level)| text + &format!("\n{name}={level}"))
    }
}
