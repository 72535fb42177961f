//! Noise floors that `selftest noise-floor` (an A/A test) measured. They are stored by the host's fingerprint, so that
//! `analyze` can show the noise floor next to every later run on the same host.

use microbench_formats::input;
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context;
use microbench_measure::host::machine::tune::state_folder;
use microbench_measure::sys::durable;
use microbench_plots::noise::NoiseFloor as MetricFloor;
use microbench_plots::number::percent;
use serde::{Deserialize, Serialize};

/// The noise floor of one host, from an A/A test of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoiseFloor {
    /// Fingerprint of the host: [`Identity::fingerprint`](super::identity::Identity::fingerprint).
    pub fingerprint: String,
    /// The cell and its study, for example `fc of quick`.
    pub of: String,
    /// Number of comparisons.
    pub repetitions: u32,
    /// Trials under each of the two labels in one comparison.
    pub blocks: u32,
    /// The largest `|ratio - 1|` of the two medians over all comparisons, by metric.
    pub floors: BTreeMap<String, f64>,
}

impl NoiseFloor {
    /// The noise floor from the `floors` of an A/A test. Metrics without a comparison are left out.
    #[must_use]
    pub fn new(fingerprint: String, of: String, repetitions: u32, blocks: u32, floors: &[MetricFloor]) -> Self {
        let known = floors.iter().filter(|floor| !floor.deviations.is_empty());
        let floors = known.map(|floor| (floor.metric.clone(), floor.largest())).collect();
        Self { fingerprint, of, repetitions, blocks, floors }
    }

    /// Stores the noise floor in the user's state folder. It replaces an earlier one of the same host.
    ///
    /// # Errors
    /// When the user has no state folder, or it cannot be written.
    pub fn save(&self) -> anyhow::Result<()> {
        let path = path(&self.fingerprint)?;
        durable::create_folders(path.parent().context("the file has no folder")?)?;
        durable::write(&path, &serde_json::to_vec_pretty(self)?)
    }

    /// The stored noise floor of the host with this fingerprint; `None` when it was not measured or cannot be read.
    #[must_use]
    pub fn load(fingerprint: &str) -> Option<Self> {
        let bytes = input::read_no_link(&path(fingerprint).ok()?).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The noise floor in one line, for the metrics for which `is_shown` returns true.
    #[must_use]
    pub fn line(&self, is_shown: impl Fn(&str) -> bool) -> String {
        let floors = self.floors.iter().filter(|(metric, _)| is_shown(metric));
        let floors: Vec<String> = floors.map(|(metric, floor)| format!("{metric} {}", percent(*floor))).collect();
        format!(
            "noise floor of this host (A/A test of {}, largest of {} comparisons of {} trials): {}",
            self.of,
            self.repetitions,
            self.blocks,
            floors.join(", ")
        )
    }
}

fn path(fingerprint: &str) -> anyhow::Result<PathBuf> {
    let is_hex = fingerprint.bytes().all(|byte| byte.is_ascii_alphanumeric());
    anyhow::ensure!(is_hex, "the fingerprint {fingerprint:?} does not consist of hexadecimal digits");
    Ok(state_folder()?.join("noise").join(format!("{fingerprint}.json")))
}
