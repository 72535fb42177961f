//! Exit codes of `microbench`.

/// Success. VMs that failed are recorded in the samples.
pub const DONE: u8 = 0;
/// The command failed, or a check did not pass.
pub const FAILED: u8 = 1;
/// The manifest or the command line is invalid.
pub const WRONG_INPUT: u8 = 2;
/// The host does not meet a requirement.
pub const MISSING_REQUIREMENT: u8 = 3;
/// The gate of `compare` or `analyze` failed.
pub const GATE: u8 = 4;

/// Base of the exit code of a run that a signal ended: 128 plus the number of the signal.
pub const SIGNAL: i32 = 128;

/// Each exit code, or several of the same kind, with its meaning.
pub const CODES: &[(&str, &str)] = &[
    ("0", "success; VMs that failed are recorded in the samples"),
    ("1", "the command failed, or a check did not pass"),
    ("2", "the manifest or the command line is invalid; nothing was started"),
    ("3", "this host does not meet a requirement; the message names the fix; nothing was started"),
    (
        "4",
        "the gate of `compare` or `analyze` failed: a metric is worse, only one side has a value, fewer VMs completed, or a claim with a gate is contradicted or not measured",
    ),
    (
        "129, 130, 143",
        "ended by SIGHUP, SIGINT or SIGTERM: after the current trial (at most 30 s); a second signal ends it at once",
    ),
];
