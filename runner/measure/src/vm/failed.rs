//! Why a VM did not complete.

use microbench_formats::describe::{describe, one_line};
use microbench_formats::record::FailureReason;

use crate::guest::client::GuestError;

/// Most characters of why a VM did not complete: what a guest answers has no such end.
const MOST_OF_MESSAGE: usize = 2000;

/// Why a VM did not complete; becomes a [`Record::Failure`].
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) reason: FailureReason,
    pub(super) stage: &'static str,
    pub(super) message: String,
}

impl Failed {
    /// The message may quote a guest or a VMM, at any length.
    pub(super) fn new(reason: FailureReason, stage: &'static str, message: impl ToString) -> Self {
        Self { reason, stage, message: one_line(&message.to_string(), MOST_OF_MESSAGE) }
    }

    pub(super) fn host(stage: &'static str) -> impl FnOnce(anyhow::Error) -> Self {
        move |error| Self::new(FailureReason::Host, stage, format!("{error:#}"))
    }
}

impl From<(GuestError, &'static str)> for Failed {
    fn from((error, stage): (GuestError, &'static str)) -> Self {
        let reason = match error {
            GuestError::Timeout { .. } => FailureReason::Timeout,
            GuestError::Transport { .. } | GuestError::Connection { .. } | GuestError::Protocol { .. } => {
                FailureReason::Protocol
            }
        };
        Self::new(reason, stage, describe(&error))
    }
}
