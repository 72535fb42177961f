//! The version of plans and journals.

/// Version of `plan.json` and of the journal, as they are written.
pub const FORMAT_VERSION: u32 = 6;

/// The oldest version that is read, the one before. Others are refused with [`Code::OtherFormat`](crate::code::Code::OtherFormat).
pub const OLDEST_FORMAT: u32 = FORMAT_VERSION - 1;

/// The sentence on a file of another format than the two that are read.
#[must_use]
pub fn other_format(found: u64) -> String {
    format!(
        "it is of format {found}, and this microbench reads the formats {OLDEST_FORMAT} and {FORMAT_VERSION}; read the run with the \
         version that wrote it"
    )
}
