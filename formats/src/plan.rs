//! `plan.json`, the expanded study.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::attribution::Attribution;
use crate::axis::{Axis, Level};
use crate::cell::{Cell, HOST_CPU};
use crate::claim::Claim;
use crate::code::Code;
use crate::describe::one_line;
use crate::figure::Figure;
use crate::instrument::Instrument;
use crate::metric::Metric;
use crate::name::{self, NameKind};
use crate::precision::Precision;
use crate::reference::Reference;
use crate::shared_string::SharedString;
use crate::version::{FORMAT_VERSION, OLDEST_FORMAT, other_format};
use crate::workload::Workload;

/// An expanded study: the trials in order, and how their results are analysed.
///
/// ```no_run
/// let bytes = std::fs::read("runs/quick-20260101T120000Z/plan.json")?;
/// let plan = microbench_formats::plan::read(&bytes)?;
/// println!("{}: {} trials of {} cells", plan.study, plan.trials.len(), plan.cells.len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Format version, [`FORMAT_VERSION`] or the version before.
    pub format: u32,
    /// Name of the study (`[a-z0-9-]+`).
    pub study: String,
    /// Title of the study, one line.
    pub title: String,
    /// Authors, licence and DOI of the study and its data.
    #[serde(default, skip_serializing_if = "Attribution::is_empty")]
    pub attribution: Attribution,
    /// The interpretation of the 2019 paper's protocol that decides the defaults of settings and metrics.
    pub protocol: Protocol,
    /// Profile of the manifest that decided the trials; empty for no profile.
    pub profile: String,
    /// Seed of the execution order.
    pub seed: u64,
    /// Number of repetitions: the trials of all cells are executed this often, each time in a session of its own with
    /// new hosts. Absent in `plan.json` for one repetition.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub repetitions: u32,
    /// Whether a warm-up of one VM precedes a cell's first trial in a session. Warm-ups are recorded but excluded from
    /// statistics.
    pub warmup: bool,
    /// The runner gives up a cell after this number of trials in a row in which no VM completed; 0 for never.
    pub give_up_after: u32,
    /// Axes of the matrix in manifest order (`variant`, `concurrency`, `rootfs` ...).
    pub axes: Vec<Axis>,
    /// Cells in manifest order.
    pub cells: Vec<Cell>,
    /// Trials in order. The emulated host executes the trials of each `host_cpu` together.
    pub trials: Vec<PlannedTrial>,
    /// Workloads that each VM executes between its start and its stop, in manifest order.
    pub workloads: Vec<Workload>,
    /// Metrics in manifest order.
    pub metrics: Vec<Metric>,
    /// Figures in manifest order.
    pub figures: Vec<Figure>,
    /// Claims in manifest order.
    pub claims: Vec<Claim>,
    /// Published values that are shown next to the measured values; `None` if the study names none.
    pub reference: Option<Reference>,
    /// Names of the metrics whose comparisons form one family of tests; empty for all metrics.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub family: Vec<String>,
    /// Whether claims and comparisons may compare cells of different CPUs of the emulated host
    /// ([`Cell::host_cpu`]).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub across_host_cpus: bool,
    /// Stopping rule; `None` to execute every planned trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// Limit of the concurrency sweep; `None` to execute every level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Combinations of levels that a line of `exclude` removed.
    pub excluded: Vec<Exclusion>,
}

/// Smallest number of repetitions of which intervals and tests are computed: fewer show too little of the variation
/// between sessions.
pub const LEAST_REPETITIONS: u32 = 3;

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde requires")]
fn is_one(repetitions: &u32) -> bool {
    *repetitions == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde requires")]
fn is_zero(repetition: &u32) -> bool {
    *repetition == 0
}

impl Plan {
    /// The CPUs of the emulated hosts of all cells, sorted by name.
    #[must_use]
    pub fn host_cpus(&self) -> BTreeSet<&str> {
        self.cells.iter().map(Cell::host_cpu).collect()
    }
}

/// Limit of a concurrency sweep.
///
/// If a cell exceeds one of the limits, cells with a higher concurrency and otherwise the same levels are not executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Largest fraction of the cell's VMs that may fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<f64>,
    /// Largest memory of the host that all VMs of a trial use, in MiB: the median over trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<f64>,
    /// Largest increase of the start-up time per additional VM, in ms.
    ///
    /// The increase is the difference of the medians to the level before, divided by the number of additional VMs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_slope_ms: Option<f64>,
}

/// An interpretation of the 2019 paper's protocol.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Protocol {
    /// The protocol as the paper describes it.
    AsWritten,
    /// The protocol as the paper's tool implemented it.
    AsCoded,
    /// A protocol that measures the quantities that the paper names.
    #[default]
    Corrected,
}

/// A planned trial of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTrial {
    /// Position in the execution order, from 0. It identifies the trial in the journal.
    pub index: u32,
    /// Block of the randomised complete block design, from 0.
    pub block: u32,
    /// The repetition that the trial belongs to, from 0; absent in `plan.json` for the first.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repetition: u32,
    /// [`Cell::id`].
    pub cell: SharedString,
    /// Instrument that is attached to the VMMs; `None` for a timed trial. Only metrics of this instrument are sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument: Option<Instrument>,
}

/// A combination of levels that the manifest excludes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// The levels joined by `/`, like [`Cell::id`].
    pub cell: String,
    /// Line of the manifest that excludes the combination, from 1.
    pub line: u32,
}

/// Why a plan cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The plan has a format version that this program does not read.
    #[error("{}", other_format(*.0))]
    Format(u64),
    /// The bytes are not a valid plan.
    #[error("{0}")]
    Damaged(serde_json::Error),
}

impl Unreadable {
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Format(_) => Code::OtherFormat,
            Self::Damaged(_) => Code::RunFileDamaged,
        }
    }
}

/// Parses the bytes of `plan.json`.
///
/// # Errors
/// [`Unreadable`]. The format version is checked first, so that a plan of a future format is reported as such.
pub fn read(bytes: &[u8]) -> Result<Plan, Unreadable> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u64,
    }
    let Versioned { format } = serde_json::from_slice(bytes).map_err(Unreadable::Damaged)?;
    if !(u64::from(OLDEST_FORMAT)..=u64::from(FORMAT_VERSION)).contains(&format) {
        return Err(Unreadable::Format(format));
    }
    let plan: Plan = serde_json::from_slice(bytes).map_err(Unreadable::Damaged)?;
    match problem(&plan) {
        Some(problem) => Err(Unreadable::Damaged(serde::de::Error::custom(problem))),
        None => Ok(plan),
    }
}

/// What is invalid in a plan of the right structure. Manifests do not have it; it results from an edited file.
fn problem(plan: &Plan) -> Option<String> {
    // A terminal would interpret control characters of these texts, which outputs contain as they are.
    let has_control = |text: &str| text.chars().any(char::is_control);
    let shown = |name: &str| one_line(name, 100);
    for (key, text) in [("study", &plan.study), ("title", &plan.title), ("profile", &plan.profile)] {
        if has_control(text) {
            return Some(format!("its {key} has a control character"));
        }
    }
    // Names are parts of file names, of LaTeX labels and of command lines.
    if !NameKind::Study.accepts_characters(&plan.study) {
        return Some(format!("the study has the invalid name `{}`", shown(&plan.study)));
    }
    for (kind, name) in names(plan) {
        if !NameKind::Variant.accepts_characters(name) {
            return Some(format!("`{}` is not a name of a {kind}", shown(name)));
        }
    }
    for cell in &plan.cells {
        let id = shown(&cell.id);
        if !name::is_cell_id(&cell.id) {
            return Some(format!("`{id}` is not the id of a cell"));
        }
        let texts = [("id", &cell.id), ("variant", &cell.variant), ("label", &cell.label), ("engine", &cell.engine)];
        if let Some((key, _)) = texts.into_iter().find(|(_, text)| has_control(text)) {
            return Some(format!("the {key} of cell {id} has a control character"));
        }
        if cell.concurrency > MAX_CONCURRENCY {
            let found = cell.concurrency;
            return Some(format!("cell {id} has a concurrency of {found}; the maximum is {MAX_CONCURRENCY}"));
        }
        match cell.settings.get(HOST_CPU) {
            None | Some(Level::Text(_)) => {}
            Some(other) => return Some(format!("`{HOST_CPU}` of cell {id} is {other}, which is not a text")),
        }
    }
    for metric in &plan.metrics {
        let texts = [("name", &metric.name), ("label", &metric.label), ("unit", &metric.unit)];
        if let Some((key, _)) = texts.into_iter().find(|(_, text)| has_control(text)) {
            return Some(format!("the {key} of metric {} has a control character", shown(&metric.name)));
        }
    }
    let texts = texts(plan).find(|(_, text)| has_control(text));
    texts.map(|(kind, text)| format!("the {kind} {} has a control character", shown(text)))
}

/// The names of a plan that a manifest chooses, each with its kind.
fn names(plan: &Plan) -> impl Iterator<Item = (&'static str, &str)> {
    let variants = plan.cells.iter().map(|cell| ("variant", cell.variant.as_str()));
    let metrics = plan.metrics.iter().map(|metric| ("metric", metric.name.as_str()));
    let workloads = plan.workloads.iter().map(|workload| ("metric", workload.metric.as_str()));
    let figures = plan.figures.iter().map(|figure| ("figure", figure.name.as_str()));
    let claims = plan.claims.iter().map(|claim| ("claim", claim.name.as_str()));
    variants.chain(metrics).chain(workloads).chain(figures).chain(claims)
}

/// The other texts of a plan that output contains, each with its kind.
fn texts(plan: &Plan) -> impl Iterator<Item = (&'static str, &str)> {
    let axes = plan.axes.iter().map(|axis| ("axis", axis.name.as_str()));
    let levels = plan.axes.iter().flat_map(|axis| &axis.levels).filter_map(|level| match level {
        Level::Text(text) => Some(("level", text.as_str())),
        Level::Bool(_) | Level::Int(_) | Level::Float(_) => None,
    });
    let figures = plan.figures.iter().flat_map(|figure| {
        let bars = figure.bars.iter().flat_map(|bar| [("label", bar.label.as_str()), ("group", bar.group.as_str())]);
        [("title", figure.title.as_str()), ("label", figure.y_label.as_str())].into_iter().chain(bars)
    });
    let references = plan.reference.iter().flat_map(|reference| {
        let values = reference.values.iter().map(|value| ("label", value.label.as_str()));
        [("label", reference.label.as_str())].into_iter().chain(values)
    });
    axes.chain(levels).chain(figures).chain(references)
}

/// Largest number of VMs in one trial: each VM has its own /24 network of 10.0.0.0/8.
const MAX_CONCURRENCY: u32 = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(from: &str, to: &str) -> Result<Plan, String> {
        let plan = serde_json::json!({
            "format": FORMAT_VERSION, "study": "s", "title": "S", "protocol": "corrected", "profile": "", "seed": 1,
            "warmup": true, "give_up_after": 0, "axes": [{"name": "variant", "levels": ["a"]}],
            "cells": [{
                "id": "a/1", "levels": {}, "variant": "a", "label": "label-of-a", "engine": "fake", "concurrency": 1,
                "trials": 1, "settings": {"host_cpu": "EPYC"},
            }],
            "trials": [], "workloads": [],
            "metrics": [{
                "name": "m", "label": "M", "definition": "", "unit": "unit-of-m", "source": {"reading": "m"},
                "better": null,
            }],
            "figures": [], "claims": [], "reference": null, "excluded": [],
        });
        let text = plan.to_string();
        assert!(text.contains(from), "{text}");
        read(text.replacen(from, to, 1).as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_that_could_leave_a_folder_or_a_label_are_damage() {
        for name in ["../../x", "/abs", "a}b", "-o", ""] {
            let error = edited("\"name\":\"m\"", &format!("\"name\":{name:?}")).unwrap_err();
            assert_eq!(error, format!("`{name}` is not a name of a metric"));
        }
        assert!(edited("\"study\":\"s\"", "\"study\":\"../s\"").unwrap_err().contains("invalid name"));
        assert!(edited("a/1", "a/..").unwrap_err().contains("is not the id of a cell"));
    }

    #[test]
    fn texts_with_control_characters_are_damage() {
        assert!(edited("unit-of-m", "ms").is_ok());
        let unit = edited("unit-of-m", "\\u001b[31m<b>").unwrap_err();
        assert_eq!(unit, "the unit of metric m has a control character");
        let label = edited("label-of-a", "a\\u0007").unwrap_err();
        assert_eq!(label, "the label of cell a/1 has a control character");
        let id = edited("a/1", "a\\u001b").unwrap_err();
        assert_eq!(id, "`a ` is not the id of a cell");
        assert!(edited("\"title\":\"S\"", "\"title\":\"\\n\"").unwrap_err().contains("its title"));
    }

    #[test]
    fn a_cpu_that_is_not_a_text_is_damage() {
        let problem = edited("\"EPYC\"", "3").unwrap_err();
        assert_eq!(problem, "`host_cpu` of cell a/1 is 3, which is not a text");
    }
}
