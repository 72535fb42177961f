//! Checks whether a machine is suitable for benchmarking. Each check reports what was found, why it matters, and a fix.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use microbench_formats::instrument::Instrument;
use microbench_formats::plan::Plan;
use microbench_formats::terminal::wrapped_to;
use microbench_study::engine::description::Engine;
use serde::Serialize;

use super::facts::Facts;
use super::parse;
use super::tree::{MOUNTS, Tree};
use crate::artifacts::program::EMULATOR;
use crate::host::counters::counts::cpu_ticks;

/// Result of a check, from good to bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    /// The machine does not provide the information.
    Unknown,
    /// Measurements are less accurate.
    Warn,
    /// Measurements are impossible until this is fixed.
    Bad,
}

/// A check and its result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Name of what is checked, at most 24 characters.
    pub name: &'static str,
    pub state: State,
    /// What was found.
    pub found: String,
    /// Why it matters.
    pub why: &'static str,
    /// A command or an instruction that fixes it; empty if `state` is [`State::Ok`] or there is no fix.
    pub remedy: String,
}

/// Whether a guest booted under KVM, or why not.
pub type BootResult = Result<(), String>;

/// A requirement that not every study has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Requirement {
    /// KVM; without it, the emulated host is used.
    Kvm,
    /// Tap interfaces.
    Tun,
    /// QEMU as an engine.
    Qemu,
    /// strace, which counts system calls.
    Strace,
    /// mke2fs, which creates root file systems.
    Mke2fs,
}

impl Requirement {
    /// The requirements of `plan`, whose engines are `engines`. `images_cached`: all of its root file systems are in
    /// the cache.
    #[must_use]
    pub fn for_plan(plan: &Plan, engines: &[Engine], images_cached: bool) -> BTreeSet<Self> {
        let strace = plan.metrics.iter().any(|metric| metric.instrument == Some(Instrument::Strace));
        let qemu = |engine: &Engine| [EMULATOR, QEMU].contains(&engine.program.as_str());
        let all = [
            (Self::Kvm, engines.iter().any(|engine| engine.needs_kvm)),
            (Self::Tun, engines.iter().any(|engine| !engine.guest.shares_kernel())),
            (Self::Qemu, engines.iter().any(qemu)),
            (Self::Strace, strace),
            (Self::Mke2fs, !images_cached),
        ];
        all.into_iter().filter_map(|(requirement, applies)| applies.then_some(requirement)).collect()
    }
}

/// Checks the machine of `tree`.
///
/// `boot` is the result of booting a guest under KVM; `None` if that was not tried. `study` contains the requirements
/// of the study; `None` without a study, when all requirements are assumed.
#[must_use]
pub fn checks(tree: &Tree, boot: Option<&BootResult>, study: Option<&BTreeSet<Requirement>>) -> Vec<Check> {
    let facts = Facts::read(tree);
    let unneeded = |requirement| study.is_some_and(|required| !required.contains(&requirement));
    let mut checks = vec![
        guest_boot(boot, unneeded(Requirement::Kvm)),
        device(tree, "/dev/kvm", KVM, unneeded(Requirement::Kvm)),
        device(tree, "/dev/net/tun", TUN, unneeded(Requirement::Tun)),
        namespaces(tree),
    ];
    let kvm_works = boot.map_or_else(|| tree.open_device("/dev/kvm").is_ok(), Result::is_ok);
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
const KVM: &str = "without it no VMM can run here; trials run on the emulated host instead, in virtual time";
const TUN: &str = "each VM has its own tap interface";
const TURBO: &str = "the clock frequency depends on temperature and on the load of the other cores";
const SMT: &str = "two hardware threads of a core slow each other down";
const KSM: &str = "it merges guest pages during the measurement";

fn check(name: &'static str, state: State, found: impl Into<String>, why: &'static str, remedy: &str) -> Check {
    let remedy = if state == State::Ok { String::new() } else { remedy.to_owned() };
    Check { name, state, found: found.into(), why, remedy }
}

fn guest_boot(boot: Option<&BootResult>, unneeded: bool) -> Check {
    let why = "that /dev/kvm opens does not prove that KVM works: a guest must boot and respond";
    match boot {
        None if unneeded => check("guest under KVM", State::Ok, "not tried; the study does not need it", why, ""),
        Some(Ok(())) => check("guest under KVM", State::Ok, "a guest booted and responded", why, ""),
        Some(Err(reason)) => {
            let found = format!("{reason}; trials run on the emulated host, in virtual time");
            check(
                "guest under KVM",
                State::Warn,
                found,
                why,
                "use a physical machine, or a VM with nested virtualisation",
            )
        }
        None => check("guest under KVM", State::Unknown, "not tried", why, "microbench doctor STUDY"),
    }
}

fn device(tree: &Tree, path: &'static str, why: &'static str, unneeded: bool) -> Check {
    let bad = if path == "/dev/kvm" { State::Warn } else { State::Bad };
    match tree.open_device(path) {
        Ok(()) => check(path, State::Ok, "can be opened", why, ""),
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
    let most = tree.read_number("/proc/sys/user/max_user_namespaces");
    let allowed = tree.read_switch("/proc/sys/kernel/unprivileged_userns_clone");
    let why = "a run uses namespaces of its own, so that nothing is left behind";
    let remedy = "sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 (or run as root)";
    match (most, allowed) {
        (Some(0), _) | (_, Some(false)) => {
            check("user namespaces", State::Warn, "disabled for ordinary users", why, remedy)
        }
        (Some(most), _) => check("user namespaces", State::Ok, format!("up to {most}"), why, ""),
        (None, _) => check("user namespaces", State::Unknown, "unknown", why, remedy),
    }
}

/// Programs of the distribution. Without a study, a missing program is bad if every study needs it.
fn programs(tree: &Tree, kvm_works: bool, study: Option<&BTreeSet<Requirement>>) -> Vec<Check> {
    let check_program = |name: &'static str, package: &str, why: &'static str, missing: State| {
        let (state, found) = match (tree.has_program(name), missing) {
            (true, _) => (State::Ok, "installed"),
            (false, State::Ok) => (State::Ok, "not installed; the study does not need it"),
            (false, missing) => (missing, "not installed"),
        };
        check(name, state, found, why, &format!("make deps (Debian: apt install {package})"))
    };
    let missing = |is_needed: &dyn Fn(&BTreeSet<Requirement>) -> bool, without_study: State| match study {
        None => without_study,
        Some(required) if is_needed(required) => State::Bad,
        Some(_) => State::Ok,
    };
    let emulated = |required: &BTreeSet<Requirement>| required.contains(&Requirement::Kvm) && !kvm_works;
    let qemu = missing(
        &|required| required.contains(&Requirement::Qemu) || emulated(required),
        if kvm_works { State::Warn } else { State::Bad },
    );
    vec![
        check_program(QEMU, "qemu-system-x86", "the QEMU engines and the emulated host need it", qemu),
        check_program(
            "strace",
            "strace",
            "metrics that count system calls need it",
            missing(&|required| required.contains(&Requirement::Strace), State::Warn),
        ),
        check_program(
            "mke2fs",
            "e2fsprogs",
            "it creates root file systems that are not in the cache",
            missing(&|required| required.contains(&Requirement::Mke2fs), State::Bad),
        ),
    ]
}

fn governor(facts: &Facts) -> Check {
    let why = "a governor that follows the load has a low frequency when a VM starts";
    let remedy = "microbench doctor --tune";
    match &facts.power.governors {
        Some(all) if all.iter().all(|governor| governor == "performance") => {
            check("CPU governor", State::Ok, "performance", why, "")
        }
        Some(all) => check("CPU governor", State::Warn, all.join(", "), why, remedy),
        None => check("CPU governor", State::Unknown, "no governor is visible (is this a VM?)", why, ""),
    }
}

/// Checks a switch that should be off.
fn switch(name: &'static str, on: Option<bool>, why: &'static str, remedy: &str) -> Check {
    match on {
        Some(true) => check(name, State::Warn, "on", why, remedy),
        Some(false) => check(name, State::Ok, "off", why, ""),
        None => check(name, State::Unknown, "unknown", why, ""),
    }
}

fn huge_pages(facts: &Facts) -> Check {
    let why = "with `always`, the kernel may back a guest's memory by huge pages in one trial and not in the next";
    let remedy = "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled";
    match facts.memory.transparent_huge_pages.as_deref() {
        Some("always") => check("transparent huge pages", State::Warn, "always", why, remedy),
        Some(mode) => check("transparent huge pages", State::Ok, mode, why, ""),
        None => check("transparent huge pages", State::Unknown, "unknown", why, ""),
    }
}

fn swap(facts: &Facts) -> Check {
    let why = "a guest whose pages are swapped out waits for the disk";
    match facts.memory.swap_used_bytes {
        Some(0) => check("swap", State::Ok, "not in use", why, ""),
        Some(bytes) => check("swap", State::Warn, format!("{} MiB in use", bytes >> 20), why, "sudo swapoff -a"),
        None => check("swap", State::Unknown, "unknown", why, ""),
    }
}

fn favordynmods(tree: &Tree) -> Check {
    let why = "without it, each new VM waits for an RCU grace period when its threads change their control group";
    let mounts = tree.read(MOUNTS).map(|text| parse::mounts(&text)).unwrap_or_default();
    match mounts.iter().find(|mount| mount.kind == "cgroup2") {
        None => check("cgroup favordynmods", State::Ok, "no cgroup v2", why, ""),
        Some(mount) if mount.has("favordynmods") => check("cgroup favordynmods", State::Ok, "on", why, ""),
        Some(_) => check("cgroup favordynmods", State::Warn, "off", why, "microbench doctor --tune"),
    }
}

/// Checks the maximum size of the neighbour (ARP) table, `gc_thresh3`.
fn neighbours(tree: &Tree) -> Check {
    let why = "each VM has an entry; beyond the limit, packets to new guests are lost";
    match tree.read_number("/proc/sys/net/ipv4/neigh/default/gc_thresh3") {
        Some(limit) if limit >= 4096 => check("neighbour table", State::Ok, format!("up to {limit}"), why, ""),
        Some(limit) => check("neighbour table", State::Warn, format!("up to {limit}"), why, "microbench doctor --tune"),
        None => check("neighbour table", State::Unknown, "unknown", why, ""),
    }
}

fn load(tree: &Tree, facts: &Facts) -> Check {
    let why = "other processes take CPU time from the guests; disturbed trials are retried";
    let load = tree.read_trimmed("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse::<f64>().ok());
    match load.zip(facts.cpu.online) {
        Some((load, cpus)) if load > 0.2 * f64::from(cpus) => {
            let found = format!("{load:.2} on {cpus} CPUs");
            check("load", State::Warn, found, why, "find the processes with `top` and stop them")
        }
        Some((load, cpus)) => check("load", State::Ok, format!("{load:.2} on {cpus} CPUs"), why, ""),
        None => check("load", State::Unknown, "unknown", why, ""),
    }
}

fn stolen(tree: &Tree) -> Check {
    let why = "the hypervisor below takes CPU time at random moments; disturbed trials are retried";
    let ticks = tree.read("/proc/stat").as_deref().and_then(cpu_ticks);
    match ticks.map(|(busy, stolen)| stolen as f64 / (busy + stolen).max(1) as f64) {
        Some(share) if share > 0.01 => {
            let found = format!("{:.0} % of the CPU time requested since boot", share * 100.0);
            check("stolen time", State::Warn, found, why, "use a physical machine, or the emulated host")
        }
        Some(_) => check("stolen time", State::Ok, "less than 1 %", why, ""),
        None => check("stolen time", State::Unknown, "unknown", why, ""),
    }
}

fn memory(facts: &Facts) -> Check {
    let why = "twenty guests of 512 MiB and the emulated host need about 12 GiB";
    match facts.memory.available_bytes {
        Some(bytes) if bytes >= 12 << 30 => {
            check("memory", State::Ok, format!("{} GiB available", bytes >> 30), why, "")
        }
        Some(bytes) => {
            let found = format!("{:.1} GiB available", bytes as f64 / f64::from(1 << 30));
            check("memory", State::Warn, found, why, "reduce the concurrency of the study, or memory_mib")
        }
        None => check("memory", State::Unknown, "unknown", why, ""),
    }
}

/// Renders the checks as a table of at most `width` columns, followed by a summary line.
#[must_use]
pub fn render_checks(checks: &[Check], width: usize) -> String {
    /// Column of the findings.
    const FINDING: usize = 31;
    let mut out = String::new();
    // On a narrow terminal, an indent to the findings would leave no room for text.
    let indent = if width < 2 * FINDING { 6 } else { FINDING };
    let mut push = |line: &str, deeper: usize| {
        let _ = writeln!(out, "{}", wrapped_to(width, line, indent + deeper));
    };
    let pad = " ".repeat(indent);
    for check in checks {
        let state = match check.state {
            State::Ok => "ok",
            State::Unknown => "?",
            State::Warn => "warn",
            State::Bad => "BAD",
        };
        push(&format!("{state:4}  {:24} {}", check.name, check.found), 0);
        if check.state > State::Unknown {
            push(&format!("{pad}why: {}", check.why), 5);
            if !check.remedy.is_empty() {
                push(&format!("{pad}try: {}", check.remedy), 5);
            }
        }
    }
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let warnings = match count(State::Warn) {
        1 => "1 warning".to_owned(),
        warnings => format!("{warnings} warnings"),
    };
    push("", 0);
    push(
        &format!(
            "{} checks: {} ok, {} unknown, {warnings}, {} bad",
            checks.len(),
            count(State::Ok),
            count(State::Unknown),
            count(State::Bad)
        ),
        0,
    );
    out
}
