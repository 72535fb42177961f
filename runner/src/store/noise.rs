//! The noise floors that `selftest aa` found, kept for each host by its fingerprint, so that every later run of it can show them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use microbench_measure::host::machine::tune::state_folder;
use microbench_measure::sys::durable;
use microbench_plots::noise::NoiseFloor;
use serde::{Deserialize, Serialize};

/// What a cell against itself came to on one host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Fingerprint of the host.
    pub fingerprint: String,
    /// The study and its cell.
    pub of: String,
    /// Comparisons.
    pub repetitions: u32,
    /// Trials under each label in one of them.
    pub blocks: u32,
    /// The largest `|ratio - 1|` of medians, by metric.
    pub floors: BTreeMap<String, f64>,
}

impl Noise {
    /// What `floors` say of the host.
    #[must_use]
    pub fn new(fingerprint: String, of: String, repetitions: u32, blocks: u32, floors: &[NoiseFloor]) -> Self {
        let known = floors.iter().filter(|floor| !floor.deviations.is_empty());
        let floors = known.map(|floor| (floor.metric.clone(), floor.largest())).collect();
        Self { fingerprint, of, repetitions, blocks, floors }
    }

    /// Keeps it in the place of what was there.
    ///
    /// # Errors
    /// When the user has no folder for state, or it cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        let path = path(&self.fingerprint)?;
        durable::create_folders(path.parent().context("the file has no folder")?)?;
        durable::write(&path, &serde_json::to_vec_pretty(self)?)
    }

    /// What is kept of the host with this fingerprint; `None` when it was not measured.
    #[must_use]
    pub fn of_host(fingerprint: &str) -> Option<Self> {
        let bytes = std::fs::read(path(fingerprint).ok()?).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// One line for a reader, of the metrics that `shown` says.
    #[must_use]
    pub fn line(&self, shown: impl Fn(&str) -> bool) -> String {
        let floors = self.floors.iter().filter(|(metric, _)| shown(metric));
        let words: Vec<String> = floors.map(|(metric, floor)| format!("{metric} {:.2} %", floor * 100.0)).collect();
        format!(
            "noise floor of this host, {} against itself, largest of {} comparisons of {} trials: {}",
            self.of,
            self.repetitions,
            self.blocks,
            words.join(", ")
        )
    }
}

fn path(fingerprint: &str) -> anyhow::Result<PathBuf> {
    anyhow::ensure!(fingerprint.bytes().all(|byte| byte.is_ascii_alphanumeric()), "a fingerprint is hex digits");
    Ok(state_folder()?.join("noise").join(format!("{fingerprint}.json")))
}
