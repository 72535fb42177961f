//! Error codes of errors, and their explanations.

pub mod explain;

use microbench_formats::code::{Code, CodedError};
use microbench_formats::input::Refused;
use microbench_measure::artifacts::tool::ToolError;
use microbench_measure::requirement::MissingRequirements;
use microbench_plots::compare::Refusal;
use microbench_study::plan::PlanError;

use crate::store::lookup::LookupError;

/// The codes of an error: one for each missing requirement of a host, otherwise exactly one.
#[must_use]
pub fn codes(error: &anyhow::Error) -> Vec<Code> {
    if let Some(missing) = error.chain().find_map(|cause| cause.downcast_ref::<MissingRequirements>()) {
        return missing.codes();
    }
    // The outermost code wins, because it is closest to what the user requested.
    let coded = error.downcast_ref::<CodedError>().map(|coded| coded.code);
    vec![coded.or_else(|| error.chain().find_map(code_of_type)).unwrap_or(Code::Unexpected)]
}

/// The code of an error by its type; `None` for types without a code.
fn code_of_type(error: &(dyn std::error::Error + 'static)) -> Option<Code> {
    let known = [
        error.downcast_ref().map(CodedError::code),
        error.downcast_ref().map(microbench_plots::Error::code),
        error.downcast_ref().map(Refusal::code),
        error.downcast_ref().map(PlanError::code),
        error.downcast_ref().map(LookupError::code),
        error.downcast_ref().map(ToolError::code),
        error.downcast_ref().map(|error: &std::io::Error| match Refused::of(error) {
            Some(_) => Code::NotRegular,
            None => Code::System,
        }),
    ];
    known.into_iter().flatten().next()
}
