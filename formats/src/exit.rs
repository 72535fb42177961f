//! The program's exit codes.

/// Done.
pub const DONE: u8 = 0;
/// It could not be done, or a check did not pass.
pub const FAILED: u8 = 1;
/// The manifest or the command line is wrong.
pub const WRONG_INPUT: u8 = 2;
/// The host lacks something.
pub const MISSING_REQUIREMENT: u8 = 3;
/// The gate of `compare` did not pass.
pub const GATE: u8 = 4;

/// Added to the number of the signal that ended a run.
pub const SIGNAL: i32 = 128;

/// Every exit code, or several of one kind, and what it says.
pub const CODES: &[(&str, &str)] = &[
    ("0", "done; VMs that failed are in the samples"),
    ("1", "it could not be done, or a check did not pass"),
    ("2", "the manifest or the command line is wrong; nothing was started"),
    ("3", "this host lacks something; the message says which command brings it; nothing was started"),
    ("4", "the gate of `compare` did not pass: a metric is worse, a side lacks values, or fewer VMs completed"),
    (
        "129, 130, 143",
        "SIGHUP, SIGINT or SIGTERM ended it: after the current trial, in 30 s at most, or at once the second time",
    ),
];
