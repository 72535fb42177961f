//! One execution of a study, from a plan to a complete journal.
//!
//! [`directory`] is what is on disk, [`parts`] turns names into files, [`kvm`] finds out whether guests come up here,
//! [`files`] names them, [`execute`] enters the sandbox, [`session`] keeps the journal, [`local`] and [`emulated`] are the two places where trials can
//! be executed.

pub mod budget;
pub mod directory;
pub mod emulated;
pub mod execute;
pub mod files;
pub mod kvm;
pub mod local;
pub mod parts;
pub mod pause;
pub mod session;
pub mod share;
pub mod stages;
