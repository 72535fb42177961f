//! One execution of a study, from a plan to a complete journal.
//!
//! 1. [`requirements`] checks the host, and [`parts`] resolves the names in a plan to files.
//! 2. [`kvm`] boots a guest to check whether KVM is usable.
//! 3. [`execute`] enters the sandbox. [`session`] writes the journal and executes trials by [`crate::store::schedule`]
//!    until none is missing.
//! 4. [`local`] executes trials on this machine, [`emulated`] in emulated hosts, among which [`share`] divides them.
//!
//! [`repetitions`] starts a session for each repetition of a plan.
//! [`trial_line`] and [`estimate`] report the progress, and [`pause`] handles Ctrl-Z.

pub mod emulated;
pub mod estimate;
pub mod execute;
pub mod kvm;
pub mod local;
pub mod parts;
pub mod pause;
pub mod repetitions;
pub mod requirements;
pub mod session;
pub mod share;
pub mod trial_line;
