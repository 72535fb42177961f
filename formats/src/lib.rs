//! Data formats that the crates of microbench share: plans, journals, metrics, events, files of a run, error codes.
//!
//! The crate contains data types and their text forms, and depends on no other crate of the workspace. Only [`input`]
//! opens files.
//!
//! - [`plan::read`] parses `plan.json`, the expanded study.
//! - [`journal::records`] parses `journal.ndjson`, the results of a run as [`record::Record`]s.
//! - [`event`] lists the names of events and readings, [`code`] the error codes, [`files`] the files of a run.

pub mod attribution;
pub mod axis;
pub mod build;
pub mod cell;
pub mod claim;
pub mod code;
pub mod describe;
pub mod digests;
pub mod direction;
pub mod event;
pub mod exit;
pub mod family;
pub mod figure;
pub mod files;
pub mod host;
#[cfg(feature = "input")]
pub mod input;
pub mod instrument;
pub mod journal;
pub mod label;
pub mod level_map;
pub mod metric;
pub mod name;
pub mod plan;
pub mod precision;
pub mod record;
pub mod reference;
pub mod renamed;
pub mod selection;
pub mod shard;
pub mod shared_string;
pub mod statistic;
pub mod terminal;
pub mod version;
pub mod workload;

#[cfg(test)]
mod tests {
    use std::fmt;

    use serde::Serialize;

    use crate::direction::Better;
    use crate::figure::{Column, FigureForm, Scaling, Theme};
    use crate::host::HostKind;
    use crate::plan::Protocol;
    use crate::record::{FailureReason, Interference};
    use crate::statistic::Statistic;
    use crate::workload::WorkloadKind;

    /// Asserts that serde, `Display` and `FromStr` use the same name for each variant.
    fn assert_names_agree<T>()
    where
        T: Copy + PartialEq + fmt::Debug + fmt::Display + Serialize + strum::VariantArray + std::str::FromStr,
    {
        for value in T::VARIANTS {
            let name = value.to_string();
            assert_eq!(serde_json::to_value(value).unwrap(), serde_json::Value::from(name.as_str()));
            assert_eq!(name.parse::<T>().ok(), Some(*value), "{name}");
        }
    }

    #[test]
    fn enum_names_agree_in_json_display_and_parsing() {
        assert_names_agree::<Better>();
        assert_names_agree::<Column>();
        assert_names_agree::<FailureReason>();
        assert_names_agree::<FigureForm>();
        assert_names_agree::<HostKind>();
        assert_names_agree::<Interference>();
        assert_names_agree::<Protocol>();
        assert_names_agree::<Scaling>();
        assert_names_agree::<Statistic>();
        assert_names_agree::<Theme>();
        assert_names_agree::<WorkloadKind>();
    }
}
