//! What a cell's VMs are made of.

use std::collections::BTreeMap;
use std::path::PathBuf;

use microbench_study::engine::description::Engine;
use microbench_study::engine::guest_settings::GuestSettings;
use serde::{Deserialize, Serialize};

/// The parts that a cell's VMs are made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    /// The engine's description.
    pub engine: Engine,
    /// The cell's guest settings.
    pub guest: GuestSettings,
    /// The engine's program.
    pub program: PathBuf,
    /// The guest kernel; `None` for a guest that shares the host's.
    pub kernel: Option<PathBuf>,
    /// The root file system's image.
    pub image: PathBuf,
    /// Path of init in the image.
    pub init: String,
    /// Path of the agent in the image.
    pub agent: String,
    /// The files that the cell's settings name, by setting.
    pub files: BTreeMap<String, PathBuf>,
    /// The program that jails the engine's, where its description names one that is there.
    pub jailer: Option<PathBuf>,
    /// The program that counts system calls, when the run has trials for that.
    pub strace: Option<PathBuf>,
    /// Why none can be made on this machine, as a clause; `None` when they can.
    pub unfit: Option<String>,
}
