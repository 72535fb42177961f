//! The version of plans and journals.

/// Version of `plan.json` and of the journal, as they are written.
pub const FORMAT_VERSION: u32 = 7;

/// Oldest version that is read. Files of other versions are refused with
/// [`Code::OtherFormat`](crate::code::Code::OtherFormat).
pub const OLDEST_FORMAT: u32 = 5;

/// The sentence on a file of another format than the two that are read.
#[must_use]
pub fn other_format(found: u64) -> String {
    format!(
        "it is of format {found}, and this microbench reads the formats {OLDEST_FORMAT} to {FORMAT_VERSION}; read the run with the \
         version that wrote it"
    )
}
