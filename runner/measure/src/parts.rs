//! Parts of a cell's VMs: engine, settings, kernel, image, programs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use microbench_study::engine::description::Engine;
use microbench_study::engine::guest_settings::GuestSettings;
use serde::{Deserialize, Serialize};

/// Parts of a cell's VMs: everything needed to start them on a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parts {
    pub engine: Engine,
    pub guest: GuestSettings,
    /// The VMM or container runtime.
    pub program: PathBuf,
    /// The guest kernel; `None` for a guest that shares the host's kernel.
    pub kernel: Option<PathBuf>,
    /// The root file system: an ext4 image.
    pub image: PathBuf,
    /// Path of init in the image.
    pub init: String,
    /// Path of the agent in the image.
    pub agent: String,
    /// Files that settings of the cell name, by setting.
    pub files: BTreeMap<String, PathBuf>,
    /// The engine's jailer; `None` if the engine has none or it is not installed.
    pub jailer: Option<PathBuf>,
    /// `strace`; `None` if the run has no trials that count system calls.
    pub strace: Option<PathBuf>,
    /// Why this host cannot run VMs of the cell, as a clause; `None` if it can. The other fields are unchecked then.
    pub not_applicable: Option<String>,
}
