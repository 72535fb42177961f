//! One execution of a study, from a plan to a complete journal.
//!
//! [`needs`] checks the host and [`parts`] turns the names of a plan into files. [`kvm`] boots a guest to find out whether
//! KVM works. [`execute`] enters the sandbox, and [`session`] keeps the journal until nothing is missing, in stages
//! ([`crate::store::stages`]). Trials execute in [`local`] or in [`emulated`], among which [`share`] divides them.
//! [`line`] and [`estimate`] report the progress, and [`pause`] handles Ctrl-Z.

pub mod emulated;
pub mod estimate;
pub mod execute;
pub mod kvm;
pub mod line;
pub mod local;
pub mod needs;
pub mod parts;
pub mod pause;
pub mod session;
pub mod share;
