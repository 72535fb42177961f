//! Runs on disk: their folders, and how a run is looked up, listed, shown, exported, merged and pruned.

pub mod archive;
pub mod citation;
pub mod directory;
pub mod identity;
pub mod journal;
pub mod lookup;
pub mod merge;
pub mod noise_floor;
pub mod overview;
pub mod prune;
pub mod schedule;
pub mod status;
