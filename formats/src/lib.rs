//! The contract between the parts of microbench: plans, journals, metrics, events, files of a run, codes of errors.
//!
//! Data and its text forms. It reads no file, and depends on no other crate of this workspace.

pub mod axis;
pub mod cell;
pub mod claim;
pub mod code;
pub mod describe;
pub mod digests;
pub mod direction;
pub mod event;
pub mod exit;
pub mod figure;
pub mod files;
pub mod host;
pub mod instrument;
pub mod journal;
pub mod metric;
pub mod name;
pub mod plan;
pub mod precision;
pub mod record;
pub mod reference;
pub mod selection;
pub mod shard;
pub mod statistic;
pub mod terminal;
pub mod values;
pub mod version;
pub mod workload;

mod renamed;

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

    /// The words of an enum are one list: what serde writes, what `Display` shows and what is parsed.
    fn words<T>()
    where
        T: Copy + PartialEq + fmt::Debug + fmt::Display + Serialize + strum::VariantArray + std::str::FromStr,
    {
        for value in T::VARIANTS {
            let word = value.to_string();
            assert_eq!(serde_json::to_value(value).unwrap(), serde_json::Value::from(word.as_str()));
            assert_eq!(word.parse::<T>().ok(), Some(*value), "{word}");
        }
    }

    #[test]
    fn a_value_has_one_word_in_json_and_text() {
        words::<Better>();
        words::<Column>();
        words::<FailureReason>();
        words::<FigureForm>();
        words::<HostKind>();
        words::<Interference>();
        words::<Protocol>();
        words::<Scaling>();
        words::<Statistic>();
        words::<Theme>();
        words::<WorkloadKind>();
    }
}
