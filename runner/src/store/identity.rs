//! `host.json`: the identity of the host of a run, with the run's artefacts, and a fingerprint of the facts that affect
//! measured times.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use microbench_formats::build::Build;
use microbench_formats::code::{Code, CodedError};
use microbench_formats::host::HostKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::build;
use microbench_measure::artifacts::Artifact;
use microbench_measure::artifacts::cache::sha256_file;
use microbench_measure::artifacts::lock::Lock;
use microbench_measure::emulated_host::emulator::EmulatedHostConfig;
use microbench_measure::emulated_host::wire;
use microbench_measure::host::machine::facts::Facts;
use microbench_measure::host::machine::parse;
use microbench_measure::host::machine::tree::{MOUNTS, Tree};
use microbench_measure::host::resources::disk::CloneMethod;

/// File name in a run folder.
pub const FILE: &str = "host.json";
/// Facts of a fingerprint: the sources of the measuring code, and the compiler. They are part of the fingerprint because
/// our code, such as the client of an engine's API, runs inside timed windows. The digest of the program is not: it
/// changes with each commit, also of documents.
const PROGRAM: &str = "program.microbench";
const EMULATED_PROGRAM: &str = "program.microbench-emulated-host";
/// Hexadecimal digits of a fingerprint.
const DIGITS: usize = 16;

/// Content of `host.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// First 16 hexadecimal digits of the SHA-256 of `kind` and `matters`.
    pub fingerprint: String,
    pub kind: HostKind,
    /// Facts that must be equal on two hosts whose times are compared.
    pub matters: BTreeMap<String, String>,
    /// The machine of the runner; for an emulated host, the machine that emulates it.
    pub machine: Facts,
    /// Type of the file system that contains the run.
    pub file_system: Option<String>,
    /// How disks are cloned: `reflink` or `copy`.
    pub clone_method: Option<String>,
    /// Version of microbench.
    pub microbench: String,
    /// SHA-256 of the program.
    pub microbench_sha256: Option<String>,
    /// Sources and compiler of the program; `None` in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Build>,
    /// SHA-256 of the emulated host's init; `None` on another kind of host and in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated_host_sha256: Option<String>,
    /// Sources and compiler of the emulated host's init; `None` on another kind of host and in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated_host_build: Option<Build>,
    /// Memory of the emulated host, MiB; `None` on another kind of host and in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated_memory_mib: Option<u64>,
    /// The artefacts of the run.
    pub artifacts: Vec<Artifact>,
}

impl Identity {
    /// The identity of this machine as a host of `kind` for `run`. `machine` is the emulated host; `None` for other
    /// kinds.
    ///
    /// # Errors
    /// When the program file of microbench or of the emulated host's init cannot be read.
    pub fn collect(
        kind: HostKind,
        run: &Path,
        lock: &Lock,
        machine: Option<&EmulatedHostConfig>,
        clone: Option<CloneMethod>,
    ) -> anyhow::Result<Self> {
        let tree = Tree::machine();
        let facts = Facts::read(&tree);
        let mounts = tree.read(MOUNTS).map(|text| parse::mounts(&text));
        let mut matters = machine.map_or_else(|| machine_facts(&facts), |machine| emulated_host_facts(machine, lock));
        let own = program_digest(Path::new("/proc/self/exe"))?;
        let build = build::this_build();
        matters.insert(PROGRAM.to_owned(), measuring_code(&build));
        let init = machine.map(|machine| program_digest(&machine.init)).transpose()?;
        let init_build = machine.and_then(|machine| build_of(&machine.init));
        if machine.is_some() {
            let unknown = || "unknown".to_owned();
            matters.insert(EMULATED_PROGRAM.to_owned(), init_build.as_ref().map_or_else(unknown, measuring_code));
        }
        Ok(Self {
            fingerprint: fingerprint(kind, &matters),
            kind,
            matters,
            machine: facts,
            file_system: mounts.and_then(|mounts| parse::file_system_type(&mounts, run)),
            clone_method: clone.map(|method| match method {
                CloneMethod::Reflink => "reflink".to_owned(),
                CloneMethod::SparseCopy => "copy".to_owned(),
            }),
            microbench: env!("CARGO_PKG_VERSION").to_owned(),
            microbench_sha256: Some(own),
            build: Some(build),
            emulated_host_sha256: init,
            emulated_host_build: init_build,
            emulated_memory_mib: machine.map(|machine| machine.memory_mib),
            artifacts: lock.artifacts.clone(),
        })
    }

    /// Checks that this host may continue a run whose earlier sessions executed on the host `before`.
    ///
    /// # Errors
    /// [`Code::OtherHost`] when the fingerprints differ. The message lists the facts that differ.
    pub fn require_same(&self, before: &Self) -> Result<(), CodedError> {
        if before.fingerprint == self.fingerprint {
            return Ok(());
        }
        Err(Code::OtherHost.with_message(format!(
            "this run began on another host (fingerprint {}, here {}): {}; all samples of a run must come from one host: start a new run",
            before.fingerprint,
            self.fingerprint,
            differences(&before.matters, &self.matters)
        )))
    }

    /// The name of the host within which trials are compared. For an emulated host it consists of kind and fingerprint,
    /// because virtual time does not depend on the emulating machine. For other hosts it is `machine`, the name of the
    /// machine.
    #[must_use]
    pub fn machine_name(&self, machine: &str) -> String {
        match self.kind {
            HostKind::Emulated => format!("{}-{}", self.kind, self.fingerprint),
            _ => machine.to_owned(),
        }
    }

    /// Processor, number of CPUs, kernel and fingerprint in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let unknown = || "unknown".to_owned();
        format!(
            "{}, {} CPUs, Linux {}; fingerprint {} ({FILE})",
            self.machine.cpu.processor.model_name.clone().unwrap_or_else(unknown),
            self.machine.cpu.online.map_or_else(unknown, |cpus| cpus.to_string()),
            self.machine.kernel.release.clone().unwrap_or_else(unknown),
            self.fingerprint
        )
    }
}

fn program_digest(path: &Path) -> anyhow::Result<String> {
    let (sha256, _) = sha256_file(path).with_context(|| format!("cannot read the program {}", path.display()))?;
    Ok(sha256)
}

/// Hash of the sources of the measuring code, and the compiler. Both programs have the same sources: the emulated host
/// refuses a job of other sources.
fn measuring_code(build: &Build) -> String {
    format!("sources {}, {}", wire::BUILD, build.compiler())
}

/// Sources and compiler of the emulated host's init, which is another file, perhaps of another build; `None` if it does
/// not state them.
fn build_of(init: &Path) -> Option<Build> {
    let output = Command::new(init).arg(build::BUILD_ARGUMENT).stdin(Stdio::null()).output().ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

fn fingerprint(kind: HostKind, matters: &BTreeMap<String, String>) -> String {
    let mut text = format!("{kind}\n");
    for (name, value) in matters {
        text.push_str(&format!("{name}={value}\n"));
    }
    hex::encode(Sha256::digest(text)).chars().take(DIGITS).collect()
}

/// The facts that differ, each with both values.
fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> String {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let value = |of: &BTreeMap<String, String>, name: &str| of.get(name).map_or("unknown".to_owned(), Clone::clone);
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let changes: Vec<String> =
        changed.map(|name| format!("{name} was {}, is {}", value(before, name), value(after, name))).collect();
    if changes.is_empty() { "the kind of host differs".to_owned() } else { changes.join("; ") }
}

/// Facts of a machine that affect wall time. Unknown facts are left out.
fn machine_facts(facts: &Facts) -> BTreeMap<String, String> {
    const GIB: u64 = 1 << 30;
    let (cpu, power, memory) = (&facts.cpu, &facts.power, &facts.memory);
    let states = power.idle_states.as_ref().map(|states| {
        let used = states.iter().filter(|state| state.disabled != Some(true));
        used.filter_map(|state| state.name.clone()).collect::<Vec<_>>().join(" ")
    });
    let pairs = [
        ("cpu.model", cpu.processor.model_name.clone()),
        ("cpu.stepping", cpu.processor.stepping.map(|stepping| stepping.to_string())),
        ("cpu.microcode", cpu.processor.microcode.clone()),
        ("cpu.virtualised", cpu.processor.virtualised.map(|yes| yes.to_string())),
        ("cpu.online", cpu.online.map(|cpus| cpus.to_string())),
        ("cpu.smt", cpu.smt_active.map(|active| active.to_string())),
        ("cpu.numa_nodes", cpu.numa_nodes.map(|nodes| nodes.to_string())),
        ("power.governors", power.governors.as_ref().map(|governors| governors.join(" "))),
        ("power.turbo", power.turbo.map(|turbo| turbo.to_string())),
        ("power.idle_states", states),
        ("kernel.release", facts.kernel.release.clone()),
        ("kvm.module", facts.kvm.as_ref().and_then(|kvm| kvm.module.clone())),
        ("memory.gib", memory.total_bytes.map(|bytes| (bytes.div_ceil(GIB)).to_string())),
        ("memory.transparent_huge_pages", memory.transparent_huge_pages.clone()),
        ("memory.ksm", memory.ksm_run.map(|run| run.to_string())),
    ];
    let mut matters: BTreeMap<String, String> =
        pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    for (name, value) in &cpu.mitigations {
        matters.insert(format!("mitigation.{name}"), value.clone());
    }
    for (name, value) in facts.kvm.iter().flat_map(|kvm| &kvm.parameters) {
        matters.insert(format!("kvm.{name}"), value.clone());
    }
    matters
}

/// Facts of an emulated host that affect virtual time: emulator, kernel and emulated machine. The emulating machine
/// does not. The CPU does, but a run may have emulated hosts with several: comparisons check it for each cell.
fn emulated_host_facts(machine: &EmulatedHostConfig, lock: &Lock) -> BTreeMap<String, String> {
    let digest = |path: &Path| {
        let artifact = lock.artifacts.iter().find(|artifact| artifact.path == path);
        artifact.map_or_else(|| "unknown".to_owned(), |artifact| artifact.sha256.clone())
    };
    // Backends of QEMU's devices do not affect virtual time. These were used first, and fingerprints contain them.
    const PORT: &str = "socket,id=port,path=port";
    const LOG: &str = "file,id=log,path=log";
    let anywhere = EmulatedHostConfig {
        emulator: "emulator".into(),
        kernel: "kernel".into(),
        initramfs: "initramfs".into(),
        init: "first".into(),
        ..machine.clone()
    };
    BTreeMap::from([
        ("emulator".to_owned(), digest(&machine.emulator)),
        ("kernel".to_owned(), digest(&machine.kernel)),
        ("machine".to_owned(), anywhere.argv_without_cpu_and_memory(PORT, LOG).join(" ")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_fingerprint_depends_on_facts_and_kind() {
        let one = matters(&[("cpu.model", "A"), ("power.turbo", "true")]);
        let other = matters(&[("cpu.model", "A"), ("power.turbo", "false")]);
        assert_eq!(fingerprint(HostKind::Kvm, &one), fingerprint(HostKind::Kvm, &one.clone()));
        assert_ne!(fingerprint(HostKind::Kvm, &one), fingerprint(HostKind::Kvm, &other));
        assert_ne!(fingerprint(HostKind::Kvm, &one), fingerprint(HostKind::Fake, &one));
        assert_eq!(fingerprint(HostKind::Kvm, &one).len(), DIGITS);
        assert_eq!(differences(&one, &other), "power.turbo was true, is false");
    }

    #[test]
    fn the_emulating_machine_does_not_affect_the_fingerprint() {
        let machine = |memory_mib| EmulatedHostConfig {
            emulator: "/a/qemu".into(),
            kernel: "/a/vmlinux".into(),
            initramfs: "/run/x".into(),
            init: "/b/microbench".into(),
            memory_mib,
            resident_mib: 1,
        };
        let found = emulated_host_facts(&machine(4000), &Lock::default());
        assert_eq!(found, emulated_host_facts(&machine(8000), &Lock::default()));
        assert!(found["machine"].contains("icount") && !found["machine"].contains("/a/"));
        // The memory does not either: it follows from the largest trial of the study.
        assert!(!found["machine"].contains("-m "), "{}", found["machine"]);
        // Comparisons check the CPU for each cell: a further cell on another CPU does not affect them.
        assert!(!found["machine"].contains("-cpu"), "{}", found["machine"]);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["emulator", "kernel", "machine"]);
    }
}
