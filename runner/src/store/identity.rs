//! `host.json`: the machine that executes a run, what the run is made of, and a fingerprint of what matters to a comparison.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use microbench_formats::code::{Code, Coded};
use microbench_formats::host::HostKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use microbench_measure::artifacts::Artifact;
use microbench_measure::artifacts::cache::sha256_file;
use microbench_measure::artifacts::lock::Lock;
use microbench_measure::emulated_host::emulator::EmulatedHostConfig;
use microbench_measure::host::machine::facts::Facts;
use microbench_measure::host::machine::parse;
use microbench_measure::host::machine::tree::{MOUNTS, Tree};
use microbench_measure::host::resources::disk::CloneMethod;

/// Name of the file in a run directory.
pub const FILE: &str = "host.json";
/// Facts of a fingerprint: the SHA-256 of the programs that measure. The same source built otherwise measures otherwise, because
/// code of ours (the client of an engine's API, for instance) runs inside timed windows.
const PROGRAM: &str = "program.microbench";
const EMULATED_PROGRAM: &str = "program.microbench-emulated-host";
/// Hex digits of a fingerprint.
const DIGITS: usize = 16;

/// What `host.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// SHA-256 over `matters`, its first 16 hex digits.
    pub fingerprint: String,
    /// Where trials execute.
    pub kind: HostKind,
    /// What two hosts must have in common for their times to be compared.
    pub matters: BTreeMap<String, String>,
    /// The machine that the runner is on; of an emulated host, the one that emulates it.
    pub machine: Facts,
    /// Type of the file system that holds the run.
    pub file_system: Option<String>,
    /// How a disk is cloned there: `reflink` or `copy`.
    pub clone_method: Option<String>,
    /// Version of microbench.
    pub microbench: String,
    /// SHA-256 of its program.
    pub microbench_sha256: Option<String>,
    /// Memory of the emulated host, MiB; `None` on another kind of host and in files of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emulated_memory_mib: Option<u64>,
    /// Every artefact of the run, with version, bytes and SHA-256.
    pub artifacts: Vec<Artifact>,
}

impl Identity {
    /// The identity of this machine as a host of `kind` for `run`. `machine` is the emulated host, if trials execute in one.
    ///
    /// # Errors
    /// When a program of microbench cannot be read.
    pub fn take(
        kind: HostKind,
        run: &Path,
        lock: &Lock,
        machine: Option<&EmulatedHostConfig>,
        clone: Option<CloneMethod>,
    ) -> anyhow::Result<Self> {
        let tree = Tree::machine();
        let facts = Facts::read(&tree);
        let mounts = tree.read(MOUNTS).map(|text| parse::mounts(&text));
        let mut matters = machine.map_or_else(|| of_machine(&facts), |machine| of_emulated(machine, lock));
        let own = program_digest(Path::new("/proc/self/exe"))?;
        matters.insert(PROGRAM.to_owned(), own.clone());
        if let Some(machine) = machine {
            matters.insert(EMULATED_PROGRAM.to_owned(), program_digest(&machine.init)?);
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
            emulated_memory_mib: machine.map(|machine| machine.memory_mib),
            artifacts: lock.artifacts.clone(),
        })
    }

    /// Whether trials may join those of a session whose host was `before`.
    ///
    /// # Errors
    /// [`Code::OtherHost`] when the fingerprints differ: the message names the facts that do.
    pub fn require_same(&self, before: &Self) -> Result<(), Coded> {
        if before.fingerprint == self.fingerprint {
            return Ok(());
        }
        Err(Code::OtherHost.says(format!(
            "this run was begun on another host ({}, here {}): {}; a run's samples must come from one host: start a new run",
            before.fingerprint,
            self.fingerprint,
            differences(&before.matters, &self.matters)
        )))
    }

    /// The name of the host within which trials are compared, on the machine `machine`: its name, or of an emulated host the kind's and
    /// the fingerprint, because in virtual time such hosts are one and the same machine, wherever they are emulated.
    #[must_use]
    pub fn machine_name(&self, machine: &str) -> String {
        match self.kind {
            HostKind::Emulated => format!("{}-{}", self.kind, self.fingerprint),
            _ => machine.to_owned(),
        }
    }

    /// One line for a reader.
    #[must_use]
    pub fn line(&self) -> String {
        let unknown = || "unknown".to_owned();
        format!(
            "machine: {}, {} CPUs, Linux {}; fingerprint of the host {} ({FILE})",
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

fn fingerprint(kind: HostKind, matters: &BTreeMap<String, String>) -> String {
    let mut text = format!("{kind}\n");
    for (name, value) in matters {
        text.push_str(&format!("{name}={value}\n"));
    }
    hex::encode(Sha256::digest(text)).chars().take(DIGITS).collect()
}

/// What differs, in words.
fn differences(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> String {
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let value = |of: &BTreeMap<String, String>, name: &str| of.get(name).map_or("unknown".to_owned(), Clone::clone);
    let changed = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let words: Vec<String> =
        changed.map(|name| format!("{name} was {}, is {}", value(before, name), value(after, name))).collect();
    if words.is_empty() { "the kind of host".to_owned() } else { words.join("; ") }
}

/// What bears on wall time. What is unknown is left out.
fn of_machine(facts: &Facts) -> BTreeMap<String, String> {
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

/// What bears on virtual time: the emulator, its kernel, its machine; nothing of the machine below.
fn of_emulated(machine: &EmulatedHostConfig, lock: &Lock) -> BTreeMap<String, String> {
    let digest = |path: &Path| {
        let artifact = lock.artifacts.iter().find(|artifact| artifact.path == path);
        artifact.map_or_else(|| "unknown".to_owned(), |artifact| artifact.sha256.clone())
    };
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
        ("machine".to_owned(), anywhere.argv_without_memory("port".as_ref(), "log".as_ref()).join(" ")),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matters(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_fingerprint_is_of_what_matters_and_of_the_kind() {
        let one = matters(&[("cpu.model", "A"), ("power.turbo", "true")]);
        let other = matters(&[("cpu.model", "A"), ("power.turbo", "false")]);
        assert_eq!(fingerprint(HostKind::Kvm, &one), fingerprint(HostKind::Kvm, &one.clone()));
        assert_ne!(fingerprint(HostKind::Kvm, &one), fingerprint(HostKind::Kvm, &other));
        assert_ne!(fingerprint(HostKind::Kvm, &one), fingerprint(HostKind::Fake, &one));
        assert_eq!(fingerprint(HostKind::Kvm, &one).len(), DIGITS);
        assert_eq!(differences(&one, &other), "power.turbo was true, is false");
    }

    #[test]
    fn the_machine_below_does_not_matter_to_virtual_time() {
        let machine = |memory_mib| EmulatedHostConfig {
            emulator: "/a/qemu".into(),
            kernel: "/a/vmlinux".into(),
            initramfs: "/run/x".into(),
            init: "/b/microbench".into(),
            memory_mib,
            resident_mib: 1,
        };
        let found = of_emulated(&machine(4000), &Lock::default());
        assert_eq!(found, of_emulated(&machine(8000), &Lock::default()));
        assert!(found["machine"].contains("icount") && !found["machine"].contains("/a/"));
        // Not the memory either: it follows from the study's largest trial.
        assert!(!found["machine"].contains("-m "), "{}", found["machine"]);
    }
}
