//! One execution of a study, from a plan to a complete journal.
//!
//! [`directory`] is what is on disk, [`name`] finds it, [`files`] says what is in it, [`parts`] turns names into files, [`kvm`] finds out whether guests come up here,
//! [`execute`] enters the sandbox, [`session`] keeps the journal, [`line`] and
//! [`estimate`] say how it goes, [`local`] and [`emulated`] are the two places where trials can
//! be executed. [`merge`] joins shards. [`survey`] and [`overview`] say what has become of a run, [`archive`] packs it, [`prune`] removes it.

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
