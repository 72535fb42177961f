//! Requirements of a run on its host, checked before the run is created: namespaces, devices and the version of the
//! kernel.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use microbench_formats::cell::Cell;
use microbench_formats::code::{Code, CodedError};
use microbench_formats::exit::MISSING_REQUIREMENT;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_study::engine::description::Engine;
use microbench_study::engine::guest_settings::GuestSettings;
use microbench_study::engine::machine;

use microbench_measure::host::counters::reset_pulses::ResetPulses;
use microbench_measure::requirement::{self, MissingRequirement, MissingRequirements};
use microbench_measure::sandbox::isolation;

/// The oldest supported kernel: Linux 5.3 added `pidfd_open(2)`.
const MIN_KERNEL: (u32, u32) = (5, 3);

/// Checks that this machine meets the requirements of a run of `engines` on a host of `kind`. With `None` the kind of
/// host is not known yet, and only requirements of every kind are checked. Unless `allow_unisolated` is set, VMMs on
/// this machine must be isolated from it.
///
/// # Errors
/// [`MissingRequirements`] with every missing requirement and the command that fixes it.
pub fn check(kind: Option<HostKind>, engines: &[Engine], allow_unisolated: bool) -> anyhow::Result<()> {
    requirement::require_supported_platform()?;
    let mut missing = Vec::new();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    missing.extend(old_kernel(release.trim()));
    // With an unknown kind of host, the KVM check comes first, and it requires isolation too.
    let on_this_machine = match kind {
        Some(kind) => matches!(kind, HostKind::Kvm | HostKind::Fake),
        None => !engines.iter().any(|engine| engine.needs_kvm),
    };
    match try_sandbox()? {
        Err(requirement) => missing.push(requirement),
        Ok(unisolated) if on_this_machine && !allow_unisolated => {
            missing.extend(unisolated.map(|why| isolation::missing_requirement(&why)))
        }
        Ok(_) => {}
    }
    let vms = engines.iter().any(|engine| !engine.guest.shares_kernel());
    if vms && matches!(kind, Some(HostKind::Kvm | HostKind::Fake)) {
        missing.extend(device(
            Code::NoTun,
            "/dev/net/tun",
            "modprobe tun",
            "a udev rule that permits a group of yours: KERNEL==\"tun\", GROUP=\"kvm\", MODE=\"0660\" (a process can only \
             access taps of its own network namespace)",
        ));
    }
    if vms && kind == Some(HostKind::Kvm) {
        let load = "modprobe kvm_intel || modprobe kvm_amd; or use --host emulated, which does not need KVM";
        missing.extend(device(
            Code::NoKvm,
            "/dev/kvm",
            load,
            "usermod -aG kvm $USER, then log in again; or use --host emulated",
        ));
    }
    Ok(MissingRequirements::check(missing)?)
}

/// Checks that a host of `kind` can tell the cells of `plan` apart: only the emulated host applies `host_cpu`.
///
/// # Errors
/// [`Code::OnlyEmulated`] with two cells that differ in nothing else.
pub fn check_host_cpus(kind: HostKind, plan: &Plan) -> Result<(), CodedError> {
    if !matches!(kind, HostKind::Kvm | HostKind::Fake) || plan.host_cpus().len() < 2 {
        return Ok(());
    }
    let mut known: HashMap<(String, u32), &Cell> = HashMap::new();
    for cell in &plan.cells {
        let key = (cell.configuration_key_without_host_cpu(), cell.concurrency);
        let first = known.entry(key).or_insert(cell);
        if first.host_cpu() != cell.host_cpu() {
            return Err(Code::OnlyEmulated.with_message(format!(
                "{} and {} differ only in `host_cpu` ({} and {}), which a host of kind {kind} does not apply, so both \
                 would be the same VMs; pass --host emulated",
                first.id,
                cell.id,
                first.host_cpu(),
                cell.host_cpu()
            )));
        }
    }
    Ok(())
}

/// Checks that a host of `kind` reports the reset pulses at which cells of `plan` end. Emulated hosts do.
///
/// # Errors
/// [`Code::NoTracepoint`].
pub fn check_reset_pulses(kind: HostKind, plan: &Plan, engines: &[Engine]) -> Result<(), MissingRequirements> {
    reset_pulses(kind, plan, engines, || ResetPulses::open_for_next_child().map(drop))
}

/// [`check_reset_pulses`]; `open` opens the tracepoint.
fn reset_pulses(
    kind: HostKind,
    plan: &Plan,
    engines: &[Engine],
    open: impl FnOnce() -> Result<(), String>,
) -> Result<(), MissingRequirements> {
    let ends_at_pulses = |cell: &&Cell| {
        let guest = GuestSettings::from_cell(cell);
        let engine = engines.iter().find(|engine| engine.name == *cell.engine);
        engine.zip(guest.ok()).is_some_and(|(engine, guest)| machine::ends_at_reset_pulses(engine, &guest))
    };
    let Some(cell) = plan.cells.iter().find(ends_at_pulses).filter(|_| kind == HostKind::Kvm) else { return Ok(()) };
    open().map_err(|why| {
        MissingRequirements::single(
            Code::NoTracepoint,
            format!("{why}; {} has `stop_at = \"reset-pulses\"`", cell.id),
            "mount -t tracefs tracefs /sys/kernel/tracing, as root; or use --host emulated",
        )
    })
}

fn old_kernel(release: &str) -> Option<MissingRequirement> {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    (version < MIN_KERNEL).then(|| MissingRequirement {
        code: Code::OldKernel,
        what: format!("Linux {}.{} or newer; this is {release}", MIN_KERNEL.0, MIN_KERNEL.1),
        fix: "apt-get install linux-image-amd64 (of Debian 11 or newer)".to_owned(),
    })
}

/// Enters a sandbox in a child process, as a run does. The inner `Ok` has the reason why VMMs would not be isolated in
/// it, if any. The inner `Err` is the missing requirement of a sandbox.
fn try_sandbox() -> anyhow::Result<Result<Option<String>, MissingRequirement>> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let output = Command::new(program)
        .arg("check-sandbox")
        .stdin(Stdio::null())
        .output()
        .context("cannot start the sandbox check")?;
    if output.status.success() {
        let why = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        return Ok(Ok(Some(why).filter(|why| !why.is_empty())));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(MISSING_REQUIREMENT.into()) {
        bail!(Code::System.with_message(stderr.trim().trim_start_matches("microbench: ")));
    }
    let line = |prefix: &str| stderr.lines().find_map(|line| line.trim().strip_prefix(prefix)).map(str::to_owned);
    let all_lines = || stderr.trim().trim_start_matches("microbench: ").to_owned();
    let what = stderr.lines().nth(1).map_or_else(all_lines, |line| line.trim().to_owned());
    Ok(Err(MissingRequirement {
        code: Code::NoNamespace,
        what,
        fix: line("try: ").unwrap_or_else(|| "run as root".to_owned()),
    }))
}

fn device(code: Code, path: &str, load: &str, allow: &str) -> Option<MissingRequirement> {
    let error = File::options().read(true).write(true).open(path).err()?;
    let fix = if error.kind() == ErrorKind::PermissionDenied { allow } else { load };
    Some(MissingRequirement { code, what: format!("{path}: {error}"), fix: fix.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_kernel_is_reported_and_an_unparsable_release_is_accepted() {
        assert!(old_kernel("4.19.0-27-amd64").is_some_and(|missing| missing.what.contains("4.19.0-27-amd64")));
        assert!(old_kernel("5.2.21").is_some());
        for release in ["5.3.0", "5.10.0-8-amd64", "6.1.172", "10.0", "strange"] {
            assert_eq!(old_kernel(release), None, "{release}");
        }
    }

    #[test]
    fn a_cell_that_ends_at_reset_pulses_requires_their_tracepoint_on_a_kvm_host() {
        let plan = |engine: &str, stop_at: &str| -> Plan {
            let cell = serde_json::json!({
                "id": "a/1", "levels": {}, "variant": "a", "label": "a", "engine": engine, "concurrency": 1,
                "trials": 1, "settings": {"kernel": "k", "rootfs": "r", "stop_at": stop_at},
            });
            serde_json::from_value(serde_json::json!({
                "format": 8, "study": "s", "title": "S", "protocol": "corrected", "profile": "", "seed": 1,
                "warmup": true, "give_up_after": 0, "axes": [], "cells": [cell], "trials": [], "workloads": [],
                "metrics": [], "figures": [], "claims": [], "reference": null, "excluded": [],
            }))
            .unwrap()
        };
        let engines = microbench_study::engine::description::load(&[]).unwrap();
        let engines: Vec<Engine> = engines.into_values().collect();
        let check = |kind, engine: &str, stop_at: &str| {
            reset_pulses(kind, &plan(engine, stop_at), &engines, || Err("the host's kernel has no tracepoint".into()))
        };
        let missing = check(HostKind::Kvm, "qemu-microvm", "reset-pulses").unwrap_err();
        assert_eq!(missing.codes(), [Code::NoTracepoint]);
        assert!(missing.to_string().contains("no tracepoint; a/1 has `stop_at = \"reset-pulses\"`"), "{missing}");
        for (kind, engine, stop_at) in [
            (HostKind::Emulated, "qemu-microvm", "reset-pulses"),
            (HostKind::Fake, "qemu-microvm", "reset-pulses"),
            (HostKind::Kvm, "qemu-microvm", "exit"),
            (HostKind::Kvm, "crun", "reset-pulses"),
        ] {
            assert_eq!(check(kind, engine, stop_at), Ok(()), "{kind} {engine} {stop_at}");
        }
    }

    #[test]
    fn a_missing_device_names_the_command_that_loads_it() {
        let missing = device(Code::NoTun, "/dev/no-such-device", "modprobe it", "chmod it").unwrap();
        assert_eq!(missing.fix, "modprobe it");
        assert!(missing.what.contains("No such file"), "{}", missing.what);
        assert_eq!(device(Code::NoTun, "/dev/null", "a", "b"), None);
    }
}
