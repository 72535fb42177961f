//! The format version of plans and journals.

/// Format version of `plan.json` and `journal.ndjson` that this program writes.
pub const FORMAT_VERSION: u32 = 9;

/// Oldest format version that this program reads. It rejects older and newer versions with
/// [`Code::OtherFormat`](crate::code::Code::OtherFormat).
pub const OLDEST_FORMAT: u32 = 5;

/// The error message for a file whose format version is `found`.
#[must_use]
pub fn other_format(found: u64) -> String {
    format!(
        "format {found} is not supported: this microbench reads the formats {OLDEST_FORMAT} to {FORMAT_VERSION}; use the \
         microbench version that wrote the run"
    )
}
