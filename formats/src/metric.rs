//! Metrics of a plan.

use serde::{Deserialize, Serialize};

use crate::direction::{Better, IMPORTED, of_reading};
use crate::instrument::Instrument;
use crate::renamed;

/// What one VM is measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Key in the manifest, for instance `webservice_startup_time`.
    pub name: String,
    /// Name for axes and tables, for instance `Web service start-up`.
    pub label: String,
    /// One sentence: from what to what, on which clock.
    pub definition: String,
    /// Unit of a sample's value: `ms` for durations, `MiB` for sizes, else as the reading is recorded (`1` for a count).
    pub unit: String,
    /// Where the value comes from.
    pub source: MetricSource,
    /// Which direction is better; `None` in plans of earlier versions: [`Metric::direction`] is the one to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
    /// What must be attached for it; `None` for timed trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument: Option<Instrument>,
}

/// Where a metric's value comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MetricSource {
    /// `to - from`, both [`Record::Event`]s of one VM; reported in ms.
    Span {
        /// Name of the first event.
        #[serde(deserialize_with = "renamed::name")]
        from: String,
        /// Name of the last event.
        #[serde(deserialize_with = "renamed::name")]
        to: String,
    },
    /// A [`Record::Reading`] of this name; a reading in `ns` is reported in ms, one in `bytes` in MiB.
    Reading(#[serde(deserialize_with = "renamed::name")] String),
}

impl MetricSource {
    /// The direction of a metric of this source and unit where nothing else says it: a span is better when lower, a
    /// reading as [`of_reading`] says. Runs that were imported before plans had the direction have lost their source:
    /// there the unit decides.
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
    /// Its better direction: the plan's, or what follows from its source where a plan of an earlier version has none.
    #[must_use]
    pub fn direction(&self) -> Better {
        self.better.unwrap_or_else(|| self.source.better(&self.unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_without_the_direction_takes_it_from_the_source() {
        let of = |source: &str| {
            let json =
                format!(r#"{{"name": "m", "label": "M", "definition": "", "unit": "MB/s", "source": {source}}}"#);
            let metric: Metric = serde_json::from_str(&json).unwrap();
            // What was read is written again as it was: the plan's digest must not change.
            assert!(!serde_json::to_string(&metric).unwrap().contains("better"));
            metric.direction()
        };
        assert_eq!(of(r#"{"span": {"from": "spawn", "to": "exit"}}"#), Better::Lower);
        assert_eq!(of(r#"{"reading": "workload.m.throughput"}"#), Better::Higher);
        assert_eq!(of(r#"{"reading": "imported.m"}"#), Better::Higher);
        assert_eq!(of(r#"{"reading": "kernel.messages"}"#), Better::Neither);
    }
}
