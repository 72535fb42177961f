//! Is this machine fit to measure on? Each check says what was found, why it matters and the command that mends it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use microbench_formats::instrument::Instrument;
use microbench_formats::plan::Plan;
use microbench_study::engine::description::Engine;
use serde::Serialize;

use super::facts::Facts;
use super::parse;
use super::tree::{MOUNTS, Tree};
use crate::artifacts::program::EMULATOR;
use crate::host::counters::counts::cpu_ticks;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It cannot be told here.
    Unknown,
    /// Numbers suffer.
    Warn,
    /// Nothing can be measured before it is mended.
    Bad,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: &'static str,
    /// How it came out.
    pub state: State,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// The command that mends it; empty when there is nothing to mend, or no command.
    pub remedy: String,
}

/// What a boot of a guest under KVM came to.
pub type Boot = Result<(), String>;

/// What some studies need of the machine and others do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// KVM, or the emulated host instead.
    Kvm,
    /// Tap interfaces.
    Tun,
    /// QEMU as an engine.
    Qemu,
    /// strace, which counts system calls.
    Strace,
    /// mke2fs, which makes root file systems.
    Mke2fs,
}

impl Need {
    /// What `plan`, whose engines are `engines`, needs. `images_made` says that the cache has all of its root file
    /// systems.
    #[must_use]
    pub fn of(plan: &Plan, engines: &[Engine], images_made: bool) -> BTreeSet<Self> {
        let strace = plan.metrics.iter().any(|metric| metric.instrument == Some(Instrument::Strace));
        let qemu = |engine: &Engine| [EMULATOR, QEMU].contains(&engine.program.as_str());
        let all = [
            (Self::Kvm, engines.iter().any(|engine| engine.needs_kvm)),
            (Self::Tun, engines.iter().any(|engine| !engine.guest.shares_kernel())),
            (Self::Qemu, engines.iter().any(qemu)),
            (Self::Strace, strace),
            (Self::Mke2fs, !images_made),
        ];
        all.into_iter().filter_map(|(need, needed)| needed.then_some(need)).collect()
    }
}

/// Checks the machine of `tree`. `boot` is what a guest under KVM came to; `None` when none was tried. `study` is what
/// the named study needs; `None` when no study is named, which may then need anything.
#[must_use]
pub fn checks(tree: &Tree, boot: Option<&Boot>, study: Option<&BTreeSet<Need>>) -> Vec<Check> {
    let facts = Facts::read(tree);
    let unneeded = |need| study.is_some_and(|needs| !needs.contains(&need));
    let mut checks = vec![
        guest(boot, unneeded(Need::Kvm)),
        device(tree, "/dev/kvm", KVM, unneeded(Need::Kvm)),
        device(tree, "/dev/net/tun", TUN, unneeded(Need::Tun)),
        namespaces(tree),
    ];
    let kvm_works = boot.map_or_else(|| tree.opens("/dev/kvm").is_ok(), Result::is_ok);
    checks.extend(programs(tree, kvm_works, study));
    checks.extend([
        governor(&facts),
        switch("turbo", facts.power.turbo, TURBO, "microbench doctor --tune"),
        switch("SMT", facts.cpu.smt_active, SMT, "microbench doctor --tune"),
        switch("KSM", facts.memory.ksm_run.map(|run| run == 1), KSM, "microbench doctor --tune"),
        huge_pages(&facts),
        swap(&facts),
        favordynmods(tree),
        neighbours(tree),
        load(tree, &facts),
        stolen(tree),
        memory(&facts),
    ]);
    checks
}

const QEMU: &str = "qemu-system-x86_64";
const KVM: &str = "without it no VMM runs here; the emulated host takes its place, in virtual time";
const TUN: &str = "each VM has a network interface of its own";
const TURBO: &str = "the clock depends on heat and on what the other cores do";
const SMT: &str = "two threads of one core slow each other down";
const KSM: &str = "it merges pages of guests while they are measured";

fn check(name: &'static str, state: State, found: impl Into<String>, why: &'static str, remedy: &str) -> Check {
    let remedy = if state == State::Ok { String::new() } else { remedy.to_owned() };
    Check { name, state, found: found.into(), why, remedy }
}

fn guest(boot: Option<&Boot>, unneeded: bool) -> Check {
    let why = "a device that opens is no proof: a guest is booted to its first answer";
    match boot {
        None if unneeded => check("guest under KVM", State::Ok, "not tried; the study does not need it", why, ""),
        Some(Ok(())) => check("guest under KVM", State::Ok, "it came up", why, ""),
        Some(Err(reason)) => {
            let found = format!("{reason}; trials execute on the emulated host, in virtual time");
            check("guest under KVM", State::Warn, found, why, "run on hardware, or in a VM with nested virtualisation")
        }
        None => check("guest under KVM", State::Unknown, "not tried", why, "microbench doctor STUDY"),
    }
}

fn device(tree: &Tree, path: &'static str, why: &'static str, unneeded: bool) -> Check {
    let bad = if path == "/dev/kvm" { State::Warn } else { State::Bad };
    match tree.opens(path) {
        Ok(()) => check(path, State::Ok, "it opens", why, ""),
        Err(error) if unneeded => check(path, State::Ok, format!("{error}; the study does not need it"), why, ""),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            check(path, bad, "permission denied", why, &format!("sudo chmod 0666 {path}"))
        }
        Err(error) => {
            let module = if path == "/dev/kvm" { "kvm_intel || sudo modprobe kvm_amd" } else { "tun" };
            check(path, bad, error.to_string(), why, &format!("sudo modprobe {module}"))
        }
    }
}

fn namespaces(tree: &Tree) -> Check {
    let most = tree.number("/proc/sys/user/max_user_namespaces");
    let allowed = tree.switch("/proc/sys/kernel/unprivileged_userns_clone");
    let why = "a run lives in namespaces of its own, so that nothing of it is left behind";
    let remedy = "sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 (or run as root)";
    match (most, allowed) {
        (Some(0), _) | (_, Some(false)) => check("user namespaces", State::Warn, "not for ordinary users", why, remedy),
        (Some(most), _) => check("user namespaces", State::Ok, format!("up to {most}"), why, ""),
        (None, _) => check("user namespaces", State::Unknown, "the kernel does not say", why, remedy),
    }
}

/// Programs that the distribution installs. Without a study a missing one is bad when no study can do without it.
fn programs(tree: &Tree, kvm_works: bool, study: Option<&BTreeSet<Need>>) -> Vec<Check> {
    let of = |name: &'static str, package: &str, why: &'static str, missing: State| {
        let (state, found) = match (tree.has_program(name), missing) {
            (true, _) => (State::Ok, "installed"),
            (false, State::Ok) => (State::Ok, "not installed; the study does not need it"),
            (false, missing) => (missing, "not installed"),
        };
        check(name, state, found, why, &format!("make deps (Debian: apt install {package})"))
    };
    let missing = |needed: &dyn Fn(&BTreeSet<Need>) -> bool, without_study: State| match study {
        None => without_study,
        Some(needs) if needed(needs) => State::Bad,
        Some(_) => State::Ok,
    };
    let emulated = |needs: &BTreeSet<Need>| needs.contains(&Need::Kvm) && !kvm_works;
    let qemu = missing(
        &|needs| needs.contains(&Need::Qemu) || emulated(needs),
        if kvm_works { State::Warn } else { State::Bad },
    );
    vec![
        of(QEMU, "qemu-system-x86", "the QEMU engines and the emulated host need it", qemu),
        of(
            "strace",
            "strace",
            "metrics of system calls need it",
            missing(&|needs| needs.contains(&Need::Strace), State::Warn),
        ),
        of(
            "mke2fs",
            "e2fsprogs",
            "it makes root file systems that are not in the cache",
            missing(&|needs| needs.contains(&Need::Mke2fs), State::Bad),
        ),
    ]
}

fn governor(facts: &Facts) -> Check {
    let why = "a clock that follows the load is slow when a VM starts";
    let remedy = "microbench doctor --tune";
    match &facts.power.governors {
        Some(all) if all.iter().all(|governor| governor == "performance") => {
            check("CPU governor", State::Ok, "performance", why, "")
        }
        Some(all) => check("CPU governor", State::Warn, all.join(", "), why, remedy),
        None => check("CPU governor", State::Unknown, "the machine shows none (a VM?)", why, ""),
    }
}

/// A check of what should be off.
fn switch(name: &'static str, on: Option<bool>, why: &'static str, remedy: &str) -> Check {
    match on {
        Some(true) => check(name, State::Warn, "on", why, remedy),
        Some(false) => check(name, State::Ok, "off", why, ""),
        None => check(name, State::Unknown, "the machine does not say", why, ""),
    }
}

fn huge_pages(facts: &Facts) -> Check {
    let why = "with `always` a guest's memory is huge or small by chance; say `madvise` or `never`";
    let remedy = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled";
    match facts.memory.transparent_huge_pages.as_deref() {
        Some("always") => check("transparent huge pages", State::Warn, "always", why, remedy),
        Some(mode) => check("transparent huge pages", State::Ok, mode, why, ""),
        None => check("transparent huge pages", State::Unknown, "the machine does not say", why, ""),
    }
}

fn swap(facts: &Facts) -> Check {
    let why = "a guest whose pages are swapped measures the disk";
    match facts.memory.swap_used_bytes {
        Some(0) => check("swap", State::Ok, "not in use", why, ""),
        Some(bytes) => check("swap", State::Warn, format!("{} MiB in use", bytes >> 20), why, "sudo swapoff -a"),
        None => check("swap", State::Unknown, "the machine does not say", why, ""),
    }
}

fn favordynmods(tree: &Tree) -> Check {
    let why = "without it each new VM waits for a grace period of the kernel when threads change their control group";
    let mounts = tree.read(MOUNTS).map(|text| parse::mounts(&text)).unwrap_or_default();
    match mounts.iter().find(|mount| mount.kind == "cgroup2") {
        None => check("cgroup favordynmods", State::Ok, "no cgroup v2", why, ""),
        Some(mount) if mount.has("favordynmods") => check("cgroup favordynmods", State::Ok, "on", why, ""),
        Some(_) => check("cgroup favordynmods", State::Warn, "off", why, "microbench doctor --tune"),
    }
}

/// Entries of the neighbour table from which on the kernel throws some away: three sysctls, of which the last is the limit.
fn neighbours(tree: &Tree) -> Check {
    let why = "each VM has an entry; beyond the limit packets to new guests are lost";
    match tree.number("/proc/sys/net/ipv4/neigh/default/gc_thresh3") {
        Some(limit) if limit >= 4096 => check("neighbour table", State::Ok, format!("up to {limit}"), why, ""),
        Some(limit) => check("neighbour table", State::Warn, format!("up to {limit}"), why, "microbench doctor --tune"),
        None => check("neighbour table", State::Unknown, "the machine does not say", why, ""),
    }
}

fn load(tree: &Tree, facts: &Facts) -> Check {
    let why = "what else runs takes CPU time from the guests; trials that it disturbs are run again";
    let load = tree.word("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    match load.zip(facts.cpu.online) {
        Some((load, cpus)) if load > 0.2 * f64::from(cpus) => {
            let found = format!("{load:.2} on {cpus} CPUs");
            check("load", State::Warn, found, why, "see `top` for who it is, and end it")
        }
        Some((load, cpus)) => check("load", State::Ok, format!("{load:.2} on {cpus} CPUs"), why, ""),
        None => check("load", State::Unknown, "the machine does not say", why, ""),
    }
}

fn stolen(tree: &Tree) -> Check {
    let why = "a hypervisor below takes CPU time at moments of its own; trials that it disturbs are run again";
    let ticks = tree.read("/proc/stat").as_deref().and_then(cpu_ticks);
    match ticks.map(|(busy, stolen)| stolen as f64 / (busy + stolen).max(1) as f64) {
        Some(share) if share > 0.01 => {
            let found = format!("{:.0} % of the CPU time that was wanted since boot", share * 100.0);
            check("stolen time", State::Warn, found, why, "measure on hardware, or on the emulated host")
        }
        Some(_) => check("stolen time", State::Ok, "less than 1 %", why, ""),
        None => check("stolen time", State::Unknown, "the machine does not say", why, ""),
    }
}

fn memory(facts: &Facts) -> Check {
    let why = "twenty guests of 512 MiB and the emulated host want about 12 GiB";
    match facts.memory.available_bytes {
        Some(bytes) if bytes >= 12 << 30 => {
            check("memory", State::Ok, format!("{} GiB available", bytes >> 30), why, "")
        }
        Some(bytes) => {
            let found = format!("{:.1} GiB available", bytes as f64 / f64::from(1 << 30));
            check("memory", State::Warn, found, why, "choose fewer VMs at once, or less memory_mib")
        }
        None => check("memory", State::Unknown, "the machine does not say", why, ""),
    }
}

/// The checks as text.
#[must_use]
pub fn text(checks: &[Check]) -> String {
    let mut out = String::new();
    for one in checks {
        let word = match one.state {
            State::Ok => "ok",
            State::Unknown => "?",
            State::Warn => "warn",
            State::Bad => "BAD",
        };
        let _ = writeln!(out, "{word:4}  {:24} {}", one.name, one.found);
        if one.state > State::Unknown {
            let _ = writeln!(out, "      {:24} why: {}", "", one.why);
            if !one.remedy.is_empty() {
                let _ = writeln!(out, "      {:24} try: {}", "", one.remedy);
            }
        }
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let _ = writeln!(
        out,
        "\n{} checks: {} ok, {} cannot be told, {} warnings, {} bad",
        checks.len(),
        count(State::Ok),
        count(State::Unknown),
        count(State::Warn),
        count(State::Bad)
    );
    out
}
