//! Metrics of a plan.

use serde::{Deserialize, Serialize};

use crate::direction::{Better, IMPORTED, of_reading};
use crate::event::reading::RUNNER_SHARE;
use crate::instrument::Instrument;
use crate::renamed;

/// A metric: one value for each VM, computed from the VM's events or readings.
///
/// ```
/// use microbench_formats::direction::Better;
/// use microbench_formats::metric::Metric;
///
/// let metric: Metric = serde_json::from_str(
///     r#"{"name": "boot", "label": "Boot time", "definition": "from spawn to exit", "unit": "ms",
///         "source": {"span": {"from": "spawn", "to": "exit"}}}"#,
/// )
/// .unwrap();
/// assert_eq!(metric.direction(), Better::Lower);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Key in the manifest, for example `webservice_startup_time`.
    pub name: String,
    /// Name for axes and tables, for example `Web service start-up`.
    pub label: String,
    /// One sentence: what is measured, between which instants, on which clock.
    pub definition: String,
    /// Unit of a sample: `ms` for durations, `MiB` for sizes, otherwise the unit of the reading (`1` for a count).
    pub unit: String,
    pub source: MetricSource,
    /// The better direction; `None` in plans of earlier versions. Callers use [`Metric::direction`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
    /// The instrument that the metric requires; `None` for timed trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument: Option<Instrument>,
    /// The rule by which `compare --gate` judges the metric; `None` for the margin of the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Gate>,
}

/// The rule by which `compare --gate` judges a metric.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Equivalence margin, for example 0.02 for ±2 %; `None` for the margin of the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// The largest difference that does not matter, in the unit of the metric; `None` for no such difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// Whether a difference in the better direction fails the gate as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub both_ways: bool,
}

/// How the value of a metric is obtained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MetricSource {
    /// The duration between two events of one VM, in ms.
    Span {
        /// Name of the first event.
        #[serde(deserialize_with = "renamed::name")]
        from: String,
        /// Name of the last event.
        #[serde(deserialize_with = "renamed::name")]
        to: String,
    },
    /// The reading of this name. A reading in `ns` is converted to ms, a reading in `bytes` to MiB.
    Reading(#[serde(deserialize_with = "renamed::name")] String),
}

impl MetricSource {
    /// The default direction of a metric with this source and `unit`.
    ///
    /// Shorter spans are better; for a reading, [`of_reading`] decides. For imported values the unit decides, because
    /// the plans of old imports have neither a direction nor the original source.
    #[must_use]
    pub fn better(&self, unit: &str) -> Better {
        match self {
            Self::Span { .. } => Better::Lower,
            Self::Reading(name) if name.starts_with(IMPORTED) => match unit {
                "ms" => Better::Lower,
                "MB/s" | "1/s" => Better::Higher,
                _ => Better::Neither,
            },
            Self::Reading(name) => of_reading(name),
        }
    }
}

impl Metric {
    /// What the value of a metric with the unit `1` is: `share` or `count`; the unit of other metrics.
    #[must_use]
    pub fn unit_or_kind(&self) -> &str {
        match &self.source {
            _ if self.unit != "1" => &self.unit,
            MetricSource::Reading(name) if name == RUNNER_SHARE => "share",
            _ => "count",
        }
    }

    /// The better direction: [`Metric::better`], or the default of the source in a plan of an earlier version.
    #[must_use]
    pub fn direction(&self) -> Better {
        self.better.unwrap_or_else(|| self.source.better(&self.unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_without_unit_is_a_share_or_a_count() {
        let of = |unit: &str, reading: &str| {
            let json = serde_json::json!({
                "name": "m", "label": "M", "definition": "", "unit": unit, "source": { "reading": reading }
            });
            serde_json::from_value::<Metric>(json).unwrap().unit_or_kind().to_owned()
        };
        assert_eq!(of("1", "runner.share"), "share");
        assert_eq!(of("1", "kernel.messages"), "count");
        assert_eq!(of("MiB", "vmm.peak_rss"), "MiB");
    }

    #[test]
    fn direction_defaults_to_that_of_the_source() {
        let of = |source: &str| {
            let json =
                format!(r#"{{"name": "m", "label": "M", "definition": "", "unit": "MB/s", "source": {source}}}"#);
            let metric: Metric = serde_json::from_str(&json).unwrap();
            // Serialising a parsed plan must not add keys: the digest of the plan would change.
            assert!(!serde_json::to_string(&metric).unwrap().contains("better"));
            metric.direction()
        };
        assert_eq!(of(r#"{"span": {"from": "spawn", "to": "exit"}}"#), Better::Lower);
        assert_eq!(of(r#"{"reading": "workload.m.throughput"}"#), Better::Higher);
        assert_eq!(of(r#"{"reading": "imported.m"}"#), Better::Higher);
        assert_eq!(of(r#"{"reading": "kernel.messages"}"#), Better::Neither);
    }
}
