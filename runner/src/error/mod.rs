//! How errors are said: one line, a code, and what to do next.

pub mod explain;

use microbench_formats::code::{Code, Coded};
use microbench_measure::artifacts::tool::ToolError;
use microbench_measure::requirement::Lacking;
use microbench_plots::compare::Refusal;
use microbench_study::plan::PlanError;

use crate::store::name::NameError;

/// The codes of an error: one, but for a host that lacks several things.
#[must_use]
pub fn codes(error: &anyhow::Error) -> Vec<Code> {
    if let Some(lacking) = error.chain().find_map(|cause| cause.downcast_ref::<Lacking>()) {
        return lacking.codes();
    }
    // A code that an outer step gave is the nearer to what was asked for.
    let coded = error.downcast_ref::<Coded>().map(|coded| coded.code);
    vec![coded.or_else(|| error.chain().find_map(of_type)).unwrap_or(Code::Unexpected)]
}

/// The code of an error that is not of [`Coded`].
fn of_type(error: &(dyn std::error::Error + 'static)) -> Option<Code> {
    if let Some(error) = error.downcast_ref::<microbench_plots::Error>() {
        return of_analysis(error);
    }
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return Some(match refusal {
            Refusal::HostKinds { .. } => Code::HostKindsDiffer,
            Refusal::Fingerprints { .. } => Code::HostsDiffer,
            Refusal::Nothing => Code::NothingInCommon,
        });
    }
    if let Some(error) = error.downcast_ref::<PlanError>() {
        return Some(match error {
            PlanError::UnknownProfile { .. } => Code::UnknownProfile,
            PlanError::TooManyTrials { .. } => Code::TooManyTrials,
            PlanError::NotDivisible { .. } => Code::NotDivisible,
        });
    }
    if error.is::<NameError>() {
        return Some(Code::NoRun);
    }
    if error.is::<ToolError>() {
        return Some(Code::ToolFailed);
    }
    if let Some(coded) = error.downcast_ref::<Coded>() {
        return Some(coded.code);
    }
    error.is::<std::io::Error>().then_some(Code::System)
}

fn of_analysis(error: &microbench_plots::Error) -> Option<Code> {
    Some(match error {
        microbench_plots::Error::NotAnalysed { .. } => Code::NotAnalysed,
        microbench_plots::Error::Plan { .. } | microbench_plots::Error::Host { .. } => Code::RunFileDamaged,
        microbench_plots::Error::Journal { .. } => Code::JournalDamaged,
        microbench_plots::Error::Table { .. } => Code::BadTable,
        microbench_plots::Error::Figure { .. } => Code::NoFigure,
        microbench_plots::Error::Query { .. } => Code::BadQuery,
        microbench_plots::Error::Report { .. } => Code::NoReport,
        // A file's is that of its cause.
        _ => return None,
    })
}
