//! The exit codes: the one table that the program and docs/reference/exit-codes.md are made of.

/// It could not be done, or a check did not pass.
pub(super) const FAILED: u8 = 1;

/// The manifest or the command line is wrong: nothing was started.
pub(super) const WRONG_INPUT: u8 = 2;

/// The host lacks something: nothing was started.
pub(super) const LACKING_HOST: u8 = 3;

/// Added to the number of the signal that ended a run.
pub(super) const SIGNAL: i32 = 128;

/// Every exit code and when the program ends with it.
pub(super) fn table() -> [(u8, &'static str); 7] {
    [
        (0, "Done. VMs that failed are in the samples, each with its reason."),
        (
            FAILED,
            "It could not be done, or a check did not pass (`compare --gate`, `verify`, `doctor`, `selftest aa`).",
        ),
        (WRONG_INPUT, "The manifest, a table or the command line is wrong; nothing was started."),
        (LACKING_HOST, "This host lacks something; the message says which command brings it; nothing was started."),
        (129, "SIGHUP ended the run: after the trial that was under way, in 30 s at most, or at once the second time."),
        (130, "SIGINT (Ctrl-C) ended the run, in the same way."),
        (143, "SIGTERM ended the run, in the same way."),
    ]
}
