//! `plan.json` as bytes.

use serde::Deserialize;

use crate::code::Code;
use crate::journal::other_format;
use crate::record::{FORMAT_VERSION, OLDEST_FORMAT, Plan};

/// Why the bytes of a plan cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// It is of a format that this program does not read.
    #[error("{}", other_format(*.0))]
    Format(u64),
    /// It is no plan.
    #[error("{0}")]
    Damaged(serde_json::Error),
}

impl Unreadable {
    /// The error's code.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Format(_) => Code::OtherFormat,
            Self::Damaged(_) => Code::RunFileDamaged,
        }
    }
}

/// The plan in the bytes of `plan.json`.
///
/// # Errors
/// [`Unreadable`]; a plan of another format is told by that, whatever else is in it.
pub fn read(bytes: &[u8]) -> Result<Plan, Unreadable> {
    #[derive(Deserialize)]
    struct Versioned {
        format: u64,
    }
    let Versioned { format } = serde_json::from_slice(bytes).map_err(Unreadable::Damaged)?;
    if !(u64::from(OLDEST_FORMAT)..=u64::from(FORMAT_VERSION)).contains(&format) {
        return Err(Unreadable::Format(format));
    }
    serde_json::from_slice(bytes).map_err(Unreadable::Damaged)
}
