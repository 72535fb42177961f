//! The records of `journal.ndjson`, which [`journal`](crate::journal) frames.
//!
//! Times are nanoseconds of the executing host's `CLOCK_MONOTONIC`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::host::HostKind;
use crate::precision::Look;
use crate::renamed;
use crate::shard::Shard;

/// What the reason of a [`Record::Reading`] begins with that its kind of guest can never have.
pub const NOT_APPLICABLE: &str = "not applicable: ";

/// One line of the journal. Lines of one trial stand between its `TrialStart` and its `TrialEnd`; a trial without
/// its `TrialEnd` (the run was cut off) does not count and is run again as the next attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A session of the run began (the first, or a resumed one).
    RunStart {
        /// [`FORMAT_VERSION`].
        format: u32,
        /// The run's name.
        run: String,
        /// SHA-256 of `plan.json`, hex.
        plan_sha256: String,
        /// SHA-256 of `engines.json`, hex; `None` in format 5.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        engines_sha256: Option<String>,
        /// SHA-256 of `lock.toml`, hex; `None` in format 5, and where nothing is executed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lock_sha256: Option<String>,
        /// Where this session's trials execute.
        host: HostKind,
        /// Hosts that share them: emulated hosts beside one another, 1 otherwise.
        hosts: u32,
        /// Wall clock, RFC 3339.
        started: String,
        /// `microbench` version.
        version: String,
        /// The part of the plan that the session executes; `None` for all of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shard: Option<Shard>,
        /// Of a shard, the name of the host: trials of one name are of one host, and cells are compared within hosts. Emulated hosts
        /// that are the same machine in virtual time have one name, wherever they run. Empty without a shard: a run is of one host.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        machine: String,
        /// Why the session's VMMs were not isolated from the host, which `--allow-unisolated` permitted; `None` where
        /// they were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unisolated: Option<String>,
    },
    /// A trial began.
    TrialStart {
        /// [`PlannedTrial::index`].
        trial: u32,
        /// 0 for the first execution, more after a cut-off.
        attempt: u32,
        /// [`Cell::id`].
        cell: String,
        /// True for a warm-up: kept, labelled, never in a statistic. Its `trial` is that of the trial it precedes.
        warmup: bool,
    },
    /// A named instant in one VM's life.
    Event {
        /// VM of the trial, from 0.
        vm: u32,
        /// Event name, for instance `http.ok`.
        #[serde(deserialize_with = "renamed::name")]
        name: String,
        /// `CLOCK_MONOTONIC`, nanoseconds.
        t_ns: u64,
    },
    /// A value that the guest or the kernel reports, or the runner reads, for one VM.
    Reading {
        /// VM of the trial, from 0.
        vm: u32,
        /// Reading name, for instance `kernel.init`; or that of an event that could not be had, with the reason and no value.
        #[serde(deserialize_with = "renamed::name")]
        name: String,
        /// The value; `None` when it cannot be had here.
        value: Option<f64>,
        /// Unit (`ns`, `bytes`, `1` ...).
        unit: String,
        /// Why `value` is `None`; empty else. After [`NOT_APPLICABLE`] where no guest of the kind can have it.
        reason: String,
    },
    /// A VM did not complete its protocol. What it did record stays.
    Failure {
        /// VM of the trial, from 0.
        vm: u32,
        /// What went wrong.
        reason: FailureReason,
        /// The last stage begun: the name of the event that was being waited for.
        #[serde(deserialize_with = "renamed::name")]
        stage: String,
        /// One line of detail (the VMM's message, the deadline ...).
        message: String,
    },
    /// Something disturbed the trial that is open, so that its values do not count: it is kept, and run again within a budget.
    Invalid {
        /// What it was.
        reason: Interference,
        /// What was seen, in words.
        message: String,
    },
    /// The stopping rule looked at every cell after so many blocks.
    Look {
        /// Blocks that had ended.
        blocks: u32,
        /// What it found, by cell.
        cells: BTreeMap<String, Look>,
    },
    /// A trial ended; its records are complete and on disk.
    TrialEnd {
        /// [`PlannedTrial::index`].
        trial: u32,
        /// As in its `TrialStart`.
        attempt: u32,
        /// VMs that completed the protocol.
        ok: u32,
        /// VMs that did not.
        failed: u32,
    },
    /// How late the probe saw fake guests at the start of this session, on the host that executes.
    Probe(ProbeError),
    /// Every trial of the plan has ended.
    RunEnd {
        /// Wall clock, RFC 3339.
        ended: String,
    },
}

/// The error of a probe: from a fake guest's `listen(2)` to the answer that the probe saw, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeError {
    /// Fake guests.
    pub n: u32,
    /// Median.
    pub median_ms: f64,
    /// 99th percentile; of fewer than 100 guests it is the largest.
    pub p99_ms: f64,
    /// Largest.
    pub max_ms: f64,
    /// CPU time of the probe, mean of a guest.
    pub cpu_ms: f64,
}

/// What disturbs a trial.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Interference {
    /// The hypervisor below took CPU time away.
    Stolen,
    /// A quota or the heat throttled a CPU.
    Throttled,
    /// The CPUs' governor or frequency limits changed.
    Frequency,
    /// Something else used the CPUs.
    Load,
    /// Pages went to or came from swap.
    Swap,
    /// Tasks waited for memory.
    MemoryPressure,
    /// Another VM of the run was still there.
    Overlap,
    /// The runner was stopped or could not run.
    Paused,
    /// The host's kernel complained.
    HostKernel,
    /// A guest's kernel complained on its console.
    GuestKernel,
    /// The emulated host hung or died under the trial.
    #[serde(alias = "testbed")]
    EmulatedHost,
}

/// Why a VM did not complete.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum FailureReason {
    /// A wait's deadline passed; the VM was killed.
    Timeout,
    /// The VMM ended before it was asked to.
    Exited,
    /// The VMM refused the configuration on this host (a CPU template on another CPU, for instance).
    NotApplicable,
    /// An answer that breaks the protocol: wrong nonce, wrong digest, malformed.
    Protocol,
    /// The host could not prepare or start the VM.
    Host,
    /// The emulated host hung or died under the trial.
    #[serde(alias = "testbed")]
    EmulatedHost,
    /// The kernel killed the VMM because memory had run out.
    Memory,
    /// An artefact is no longer the one that the run began with.
    Artifact,
    /// Not run: the cell's last trials all failed.
    GivenUp,
    /// Not run: a level of less concurrency met the study's [`Limit`].
    BeyondLimit,
}

/// The name of one VM's files, its console log `console/NAME.log` among them: `t0012-a0-vm003`; `w` marks a warm-up.
#[must_use]
pub fn vm_id(trial: u32, warmup: bool, attempt: u32, vm: u32) -> String {
    format!("t{trial:04}{}-a{attempt}-vm{vm:03}", if warmup { "w" } else { "" })
}
