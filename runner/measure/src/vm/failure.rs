//! Failure of a VM.

use microbench_formats::describe::{describe, one_line};
use microbench_formats::record::FailureReason;

use crate::guest::bounds::OutOfBounds;
use crate::guest::client::GuestError;

/// Longest message of a failure, characters. A message may quote a guest's response, which can be longer.
const MESSAGE_LIMIT: usize = 2000;

/// Why a VM did not complete; it becomes a [`Record::Failure`](microbench_formats::record::Record::Failure).
#[derive(Debug)]
pub(super) struct VmFailure {
    pub(super) reason: FailureReason,
    /// The event that the VM did not reach.
    pub(super) stage: &'static str,
    pub(super) message: String,
}

impl VmFailure {
    /// Creates a failure. `message` becomes one line and is truncated.
    pub(super) fn new(reason: FailureReason, stage: &'static str, message: impl ToString) -> Self {
        Self { reason, stage, message: one_line(&message.to_string(), MESSAGE_LIMIT) }
    }

    /// Returns a function that turns an error of the host into a failure at `stage`.
    pub(super) fn host(stage: &'static str) -> impl FnOnce(anyhow::Error) -> Self {
        move |error| Self::new(FailureReason::Host, stage, format!("{error:#}"))
    }
}

impl From<(GuestError, &'static str)> for VmFailure {
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

impl From<(OutOfBounds, &'static str)> for VmFailure {
    fn from((error, stage): (OutOfBounds, &'static str)) -> Self {
        Self::new(FailureReason::Protocol, stage, error)
    }
}
