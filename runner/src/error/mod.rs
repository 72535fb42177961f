//! How errors are said: one line, a code, and what to do next.

pub mod explain;

use microbench_formats::code::{Code, Coded};
use microbench_measure::artifacts::tool::ToolError;
use microbench_measure::requirement::MissingRequirements;
use microbench_plots::compare::Refusal;
use microbench_study::plan::PlanError;

use crate::store::name::NameError;

/// The codes of an error: one, but for a host that lacks several things.
#[must_use]
pub fn codes(error: &anyhow::Error) -> Vec<Code> {
    if let Some(lacking) = error.chain().find_map(|cause| cause.downcast_ref::<MissingRequirements>()) {
        return lacking.codes();
    }
    // A code that an outer step gave is the nearer to what was asked for.
    let coded = error.downcast_ref::<Coded>().map(|coded| coded.code);
    vec![coded.or_else(|| error.chain().find_map(of_type)).unwrap_or(Code::Unexpected)]
}

/// The code that an error carries.
fn of_type(error: &(dyn std::error::Error + 'static)) -> Option<Code> {
    let known = [
        error.downcast_ref().map(Coded::code),
        error.downcast_ref().map(microbench_plots::Error::code),
        error.downcast_ref().map(Refusal::code),
        error.downcast_ref().map(PlanError::code),
        error.downcast_ref().map(NameError::code),
        error.downcast_ref().map(ToolError::code),
        error.downcast_ref().map(|_: &std::io::Error| Code::System),
    ];
    known.into_iter().flatten().next()
}
