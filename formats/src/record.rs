//! The records of `journal.ndjson`. [`journal`](crate::journal) is the framing of its lines.
//!
//! Instants are nanoseconds of `CLOCK_MONOTONIC` on the host that executes the trial.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::build::Build;
use crate::host::HostKind;
use crate::label::Label;
use crate::precision::Look;
use crate::renamed;
use crate::shard::Shard;

/// Prefix of the reason of a [`Record::Reading`] that does not exist for this kind of guest.
pub const NOT_APPLICABLE: &str = "not applicable: ";
/// Start of the reason of an imported value that is censored: it is only known to be larger than another value. Since
/// format 9.
pub const CENSORED: &str = "censored: ";

/// A record of the journal.
///
/// The records of a trial are between its `TrialStart` and its `TrialEnd`. A trial without a `TrialEnd` was
/// interrupted: it is ignored, and retried as the next attempt.
///
/// ```
/// use microbench_formats::record::Record;
///
/// let record: Record = serde_json::from_str(r#"{"event": {"vm": 0, "name": "exit", "t_ns": 42}}"#).unwrap();
/// assert_eq!(record, Record::Event { vm: 0, name: "exit".into(), t_ns: 42 });
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A session of the run started: the first session, or a resumed session.
    RunStart {
        /// Format version of the session's records, [`FORMAT_VERSION`](crate::version::FORMAT_VERSION) or the version
        /// before.
        format: u32,
        run: String,
        /// SHA-256 of `plan.json`, hex.
        plan_sha256: String,
        /// SHA-256 of `engines.json`, hex; `None` in format 5.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        engines_sha256: Option<String>,
        /// SHA-256 of `lock.toml`, hex; `None` in format 5, and if the session executes nothing (an imported run).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lock_sha256: Option<String>,
        /// Kind of host on which the trials of the session execute.
        host: HostKind,
        /// Number of emulated hosts that execute trials in parallel; 1 on other hosts.
        hosts: u32,
        /// Start of the session, wall clock, RFC 3339.
        started: String,
        /// Version of `microbench`.
        version: String,
        /// Sources and compiler of `microbench`; `None` in formats 5 to 7, and if the session executes nothing.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        build: Option<Box<Build>>,
        /// The part of the plan that the session executes; `None` for the whole plan.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shard: Option<Shard>,
        /// Name of the host that executes a shard; empty without a shard, because the run has a single host.
        ///
        /// Cells are compared within hosts of the same name. Emulated hosts with the same virtual hardware have the
        /// same name.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        machine: String,
        /// Why the VMMs of the session were not isolated from the host, as `--allow-unisolated` permits; `None` if they
        /// were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unisolated: Option<String>,
        /// The repetition, from 0, whose trials the session executes; `None` for a plan without repetitions. A session
        /// that resumes a run continues a repetition with new hosts: two sessions then have the same number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        repetition: Option<u32>,
        /// Name of the run whose repetitions alternate with those of this run (`microbench ab`); `None` otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        interleaved_with: Option<String>,
        /// The run's label, by `run --label`; `None` without one and before format 9.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        label: Option<Label>,
    },
    /// An execution of a trial started.
    TrialStart {
        /// [`PlannedTrial::index`](crate::plan::PlannedTrial::index).
        trial: u32,
        /// 0 for the first execution, then the number of the retry.
        attempt: u32,
        /// [`Cell::id`](crate::cell::Cell::id).
        cell: String,
        /// True for a warm-up, which is recorded but excluded from statistics. Its `trial` is that of the trial after
        /// it.
        warmup: bool,
        /// The emulated host that executed the trial; `None` on other kinds of host and before format 8.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        emulated_host: Option<EmulatedHost>,
    },
    /// A named instant in the life of one VM; [`event::EVENTS`](crate::event::EVENTS) lists the names.
    Event {
        /// Index of the VM in the trial, from 0.
        vm: u32,
        /// Name of the event, for example `http.ok`.
        #[serde(deserialize_with = "renamed::name")]
        name: String,
        /// `CLOCK_MONOTONIC`, nanoseconds.
        t_ns: u64,
    },
    /// A value of one VM, reported by its guest or read by the runner.
    Reading {
        /// Index of the VM in the trial, from 0.
        vm: u32,
        /// Name of the reading, for example `kernel.init`. For an event that could not be observed, the name of the
        /// event.
        #[serde(deserialize_with = "renamed::name")]
        name: String,
        /// The value; `None` if it is not available.
        value: Option<f64>,
        /// Unit, for example `ns`, `bytes` or `1`.
        unit: String,
        /// Why `value` is `None`; empty otherwise. Starts with [`NOT_APPLICABLE`] if the value does not exist for this
        /// kind of guest.
        reason: String,
    },
    /// A VM did not complete its protocol. Its events and readings are kept.
    Failure {
        /// Index of the VM in the trial, from 0.
        vm: u32,
        reason: FailureReason,
        /// Name of the event that the runner was waiting for.
        #[serde(deserialize_with = "renamed::name")]
        stage: String,
        /// One line of detail, for example the message of the VMM, or the deadline.
        message: String,
    },
    /// The current trial was disturbed, so its values are excluded. The trial is retried within a budget.
    Invalid {
        reason: Interference,
        /// One line of detail.
        message: String,
    },
    /// The stopping rule looked at every cell.
    Look {
        /// Number of completed blocks.
        blocks: u32,
        /// The result for each cell, by [`Cell::id`](crate::cell::Cell::id).
        cells: BTreeMap<String, Look>,
    },
    /// An execution of a trial ended. The records before it are complete.
    TrialEnd {
        /// The same as in its `TrialStart`.
        trial: u32,
        /// The same as in its `TrialStart`.
        attempt: u32,
        /// Number of VMs that completed the protocol.
        ok: u32,
        /// Number of VMs that failed.
        failed: u32,
    },
    /// The error of the probe on the executing host, measured with fake guests at the start of the session.
    Probe(ProbeError),
    /// Every trial of the plan has ended.
    RunEnd {
        /// End of the run, wall clock, RFC 3339.
        ended: String,
    },
}

/// The emulated host of one execution of a trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmulatedHost {
    /// Lane and boot, both from 0, for example `0-1`. The console log of the emulated host is
    /// `emulated-host-NUMBER.log`. In a merged run, the shard precedes them: `2of3-0-1`.
    pub number: String,
    /// Its CPU ([`Cell::host_cpu`](crate::cell::Cell::host_cpu)).
    pub host_cpu: String,
    /// Its memory, MiB.
    pub memory_mib: u64,
}

/// The error of the probe: the time from `listen(2)` of a fake guest to the response that the probe observed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeError {
    /// Number of fake guests.
    pub n: u32,
    pub median_ms: f64,
    /// 99th percentile; with fewer than 100 guests, the maximum.
    pub p99_ms: f64,
    pub max_ms: f64,
    /// Mean CPU time of the probe per guest.
    pub cpu_ms: f64,
}

/// The cause of a disturbed trial.
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
    /// The hypervisor below the host stole CPU time.
    Stolen,
    /// A CPU quota or thermal throttling slowed a CPU.
    Throttled,
    /// The frequency governor or the frequency limits of a CPU changed.
    Frequency,
    /// Other processes used the CPUs.
    Load,
    /// Pages were swapped in or out.
    Swap,
    /// Tasks stalled on memory.
    MemoryPressure,
    /// A VM of another trial was still running.
    Overlap,
    /// The runner was stopped or not scheduled.
    Paused,
    /// The kernel of the host logged a kernel error.
    HostKernel,
    /// The kernel of a guest logged a kernel error on its console.
    GuestKernel,
    /// The emulated host hung or ended during the trial.
    #[serde(alias = "testbed")] // phrases: allow
    EmulatedHost,
}

/// Why a VM did not complete its protocol.
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
    /// A deadline passed, and the VM was killed.
    Timeout,
    /// The VMM ended before the request to stop.
    Exited,
    /// The VMM does not support the configuration on this host, for example a CPU template of another CPU.
    NotApplicable,
    /// A response violates the protocol: wrong nonce, wrong digest, malformed, or a value outside of its bounds.
    Protocol,
    /// The host could not prepare or start the VM.
    Host,
    /// The emulated host hung or ended during the trial.
    #[serde(alias = "testbed")] // phrases: allow
    EmulatedHost,
    /// The kernel killed the VMM because the host was out of memory.
    Memory,
    /// An artefact changed after the run started.
    Artifact,
    /// Not executed: too many trials of the cell failed in a row.
    GivenUp,
    /// Not executed: a lower concurrency reached the study's [`Limit`](crate::plan::Limit).
    BeyondLimit,
}

impl FailureReason {
    /// The reason with the event that the VM did not reach.
    ///
    /// ```
    /// use microbench_formats::record::FailureReason;
    ///
    /// assert_eq!(FailureReason::Exited.with_event("http.ok"), "exited before http.ok");
    /// assert_eq!(FailureReason::Timeout.with_event("http.ok"), "timeout at http.ok");
    /// ```
    #[must_use]
    pub fn with_event(self, event: &str) -> String {
        format!("{self} {} {event}", if self == Self::Exited { "before" } else { "at" })
    }
}

/// The name of one VM's files, for example of the console log `console/NAME.log`. A warm-up has a `w`.
///
/// ```
/// use microbench_formats::record::vm_id;
///
/// assert_eq!(vm_id(12, false, 0, 3), "t0012-a0-vm003");
/// assert_eq!(vm_id(12, true, 1, 0), "t0012w-a1-vm000");
/// ```
#[must_use]
pub fn vm_id(trial: u32, warmup: bool, attempt: u32, vm: u32) -> String {
    format!("t{trial:04}{}-a{attempt}-vm{vm:03}", if warmup { "w" } else { "" })
}
