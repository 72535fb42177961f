//! What a run needs of its host, asked before anything is made: namespaces, devices, a kernel that is new enough.

use std::fs::File;
use std::io::ErrorKind;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_formats::exit::MISSING_REQUIREMENT;
use microbench_formats::host::HostKind;
use microbench_study::engine::description::Engine;

use microbench_measure::requirement::{self, MissingRequirement, MissingRequirements};
use microbench_measure::sandbox::isolation;

/// The oldest kernel that has every system call in use: `pidfd_open(2)` came with 5.3.
const OLDEST: (u32, u32) = (5, 3);

/// Checks this machine for a run of `engines` on `kind`; `None` when that is not decided yet, and only what every host needs is asked for.
/// VMMs that run on this machine must be isolated from it, unless `allow_unisolated`.
///
/// # Errors
/// [`MissingRequirements`]: each thing that is missing, with the command that mends it.
pub fn check(kind: Option<HostKind>, engines: &[Engine], allow_unisolated: bool) -> anyhow::Result<()> {
    requirement::require_supported_platform()?;
    let mut lacks = Vec::new();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    lacks.extend(old_kernel(release.trim()));
    // Where nothing is decided yet, a guest is booted under KVM first, which asks for it as well.
    let here = match kind {
        Some(kind) => matches!(kind, HostKind::Kvm | HostKind::Fake),
        None => !engines.iter().any(|engine| engine.needs_kvm),
    };
    match sandbox()? {
        Err(lack) => lacks.push(lack),
        Ok(unisolated) if here && !allow_unisolated => {
            lacks.extend(unisolated.map(|why| isolation::missing_requirement(&why)))
        }
        Ok(_) => {}
    }
    let vms = engines.iter().any(|engine| !engine.guest.shares_kernel());
    if vms && matches!(kind, Some(HostKind::Kvm | HostKind::Fake)) {
        lacks.extend(device(
            Code::NoTun,
            "/dev/net/tun",
            "modprobe tun",
            "chmod 666 /dev/net/tun (every process gets a namespace's taps alone)",
        ));
    }
    if vms && kind == Some(HostKind::Kvm) {
        let load = "modprobe kvm_intel || modprobe kvm_amd; or --host emulated, which needs none";
        lacks.extend(device(
            Code::NoKvm,
            "/dev/kvm",
            load,
            "usermod -aG kvm $USER, and log in anew; or --host emulated",
        ));
    }
    Ok(MissingRequirements::check(lacks)?)
}

fn old_kernel(release: &str) -> Option<MissingRequirement> {
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    (version < OLDEST).then(|| MissingRequirement {
        code: Code::OldKernel,
        what: format!("Linux {}.{} or newer; this is {release}", OLDEST.0, OLDEST.1),
        fix: "apt-get install linux-image-amd64, of Debian 11 or newer".to_owned(),
    })
}

/// Enters a sandbox in a process of its own, as a run will. Why VMMs would not be isolated in it, if so; or what is
/// missing for a sandbox.
fn sandbox() -> anyhow::Result<Result<Option<String>, MissingRequirement>> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let tried = Command::new(this)
        .arg("check-sandbox")
        .stdin(Stdio::null())
        .output()
        .context("cannot start the check of the sandbox")?;
    if tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stdout).trim().to_owned();
        return Ok(Ok(Some(why).filter(|why| !why.is_empty())));
    }
    let said = String::from_utf8_lossy(&tried.stderr);
    if tried.status.code() != Some(MISSING_REQUIREMENT.into()) {
        bail!(Code::System.says(said.trim().trim_start_matches("microbench: ")));
    }
    let line = |prefix: &str| said.lines().find_map(|line| line.trim().strip_prefix(prefix)).map(str::to_owned);
    let whole = || said.trim().trim_start_matches("microbench: ").to_owned();
    let what = said.lines().nth(1).map_or_else(whole, |line| line.trim().to_owned());
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
    fn an_old_kernel_is_named_and_a_strange_release_is_not_judged() {
        assert!(old_kernel("4.19.0-27-amd64").is_some_and(|lack| lack.what.contains("4.19.0-27-amd64")));
        assert!(old_kernel("5.2.21").is_some());
        for release in ["5.3.0", "5.10.0-8-amd64", "6.1.172", "10.0", "strange"] {
            assert_eq!(old_kernel(release), None, "{release}");
        }
    }

    #[test]
    fn a_device_that_is_not_there_names_what_loads_it() {
        let lack = device(Code::NoTun, "/dev/no-such-device", "modprobe it", "chmod it").unwrap();
        assert_eq!(lack.fix, "modprobe it");
        assert!(lack.what.contains("No such file"), "{}", lack.what);
        assert_eq!(device(Code::NoTun, "/dev/null", "a", "b"), None);
    }
}
