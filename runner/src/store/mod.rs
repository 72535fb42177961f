//! Runs on disk: their folders, how they are found, shown, packed, merged and pruned.

pub mod archive;
pub mod directory;
pub mod identity;
pub mod journal;
pub mod merge;
pub mod name;
pub mod noise;
pub mod overview;
pub mod prune;
pub mod stages;
pub mod survey;
