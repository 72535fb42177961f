//! The part of a run that starts VMs: it enters the sandbox while the process is single-threaded, and executes the
//! missing trials.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::store::identity::{self, Identity};
use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_formats::host::HostKind;
use microbench_formats::plan::Plan;
use microbench_measure::artifacts::integrity::IntegrityCheck;
use microbench_measure::artifacts::lock::{self, Lock};
use microbench_measure::artifacts::project::Project;
use microbench_measure::host::interference::{Watcher, kernel_messages};
use microbench_measure::host::resources::disk::{CloneMethod, Disk};
use microbench_measure::parts::Parts;
use microbench_measure::probe::Probe;
use microbench_measure::sandbox;
use microbench_measure::sandbox::isolation;
use microbench_measure::sandbox::vm_namespaces::VmRoot;
use microbench_measure::selftest::probe::{FakeGuests, measure};
use microbench_measure::terminal::log;
use microbench_measure::vm::Folders;
use tracing::debug;

use super::emulated::Site;
use super::session::{self, Ended, Session, stop_requested};
use super::{emulated, kvm, local, parts};
use crate::store::directory::Directory;
use crate::store::journal::Owner;

/// A run, as read from its directory.
struct Run {
    directory: Directory,
    plan: Plan,
    lock: Lock,
    parts: BTreeMap<String, Parts>,
    scratch: PathBuf,
}

/// Reads the run and enters the sandbox. The calling process must be single-threaded, and is in the sandbox on return.
fn enter(run: Directory, project: &Project) -> anyhow::Result<Run> {
    if run.path().starts_with("/dev/shm") {
        // The sandbox mounts a file system of its own there.
        bail!(Code::RunInShm.with_message(format!(
            "{} is in /dev/shm, which runs cannot use: pass another --out",
            run.path().display()
        )));
    }
    let (plan, _) = run.plan()?;
    let lock = Lock::read(run.path())?.with_context(|| format!("{} has no {}", run.path().display(), lock::FILE))?;
    let parts = parts::by_cell(&plan, &run.engines()?.engines, &lock, project)?;
    // VMMs inherit the working directory, and QEMU searches for its firmware there first.
    std::env::set_current_dir("/").context("cannot enter /")?;
    sandbox::enter()?;
    // In the mount namespace of the sandbox, so that other processes do not see it and it disappears with the
    // namespace.
    let scratch = sandbox::mount_scratch()?;
    Ok(Run { directory: run, plan, lock, parts, scratch })
}

/// Options of a session. They do not affect the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Wall time after which an emulated host that has not completed a trial is considered hung; a tenth more for each
    /// VM.
    pub patience: Duration,
    /// Number of fake guests with which the probe's error is measured at the start of the session.
    pub fake_guests: u32,
    /// Whether VMMs may run that are not isolated from this machine.
    pub allow_unisolated: bool,
    /// The repetition whose trials the session executes; `None` for all trials.
    pub repetition: Option<u32>,
    /// Name of the run whose repetitions alternate with those of this run.
    pub interleaved_with: Option<String>,
}

/// Executes the missing trials of a run on `host`.
///
/// # Errors
/// When the sandbox cannot be entered, an emulated host cannot be started, or the journal cannot be written.
pub fn execute(run: Directory, project: &Project, host: HostKind, options: &Options) -> anyhow::Result<Ended> {
    log::write_to_run(run.path());
    let messages = kernel_messages();
    let owner = Owner::this();
    let mut run = enter(run, project)?;
    session::listen_for_signals()?;
    let mut session = Session::open(&run.directory, &run.plan, &owner, options.repetition)?;
    if session.missing_trials().is_empty() {
        session.print_already_complete()?;
        return session.end();
    }
    let interleaved_with = options.interleaved_with.as_deref();
    let _closed = run.directory.close_to_others()?;
    let mut integrity = IntegrityCheck::new(&run.parts, &run.lock)?;
    match host {
        HostKind::Imported => bail!("an imported run cannot execute trials"),
        HostKind::Kvm | HostKind::Fake => {
            let unisolated = isolation::require(options.allow_unisolated)?;
            isolation::make_files_readable(&mut run.parts, &run.scratch)?;
            sandbox::prepare_for_containers(&run.parts)?;
            let root = vm_root(&run)?;
            let mut watcher = Watcher::new(host, messages);
            let clone = run.parts.values().next().and_then(|parts| clone_method(&parts.image, &run.scratch));
            let identity = Identity::collect(host, run.directory.path(), &run.lock, None, clone)?;
            record_host(&run.directory, &identity)?;
            session.begin(host, 1, &identity.machine_name(&owner.machine), unisolated, interleaved_with)?;
            session.probe(measure(Probe::Exact, FakeGuests::for_session(options.fake_guests))?)?;
            let console = run.directory.console();
            let folders = Folders { scratch: &run.scratch, console: &console, root: &root };
            execute_stages(&mut session, |session| {
                local::execute(session, &run.plan, &run.parts, &run.directory, folders, &mut watcher, &mut integrity)
            })?;
        }
        HostKind::Emulated => {
            let machine = emulated::pack_file_system(&run.plan, &run.parts, &run.lock, &run.scratch)?;
            // Packed files cannot change any more, so one check is enough.
            run.parts.keys().try_for_each(|cell| integrity.check(cell).map_err(anyhow::Error::msg))?;
            let identity = Identity::collect(host, run.directory.path(), &run.lock, Some(&machine), None)?;
            record_host(&run.directory, &identity)?;
            let hosts = emulated::shares(session.missing_trials(), &run.plan, &machine).len();
            let hosts = u32::try_from(hosts).unwrap_or(u32::MAX);
            // The emulated host always isolates VMMs.
            session.begin(host, hosts, &identity.machine_name(&owner.machine), None, interleaved_with)?;
            let mut stage = 0;
            execute_stages(&mut session, |session| {
                let shares = emulated::shares(session.missing_trials(), &run.plan, &machine);
                let scratch = run.scratch.join(format!("stage-{stage}"));
                std::fs::create_dir(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
                stage += 1;
                let site = Site { machine: &machine, plan: &run.plan, parts: &run.parts, run: &run.directory, options };
                emulated::execute(session, shares, site, &scratch)
            })?;
        }
    }
    session.end()
}

/// What VMs see of this machine's file system: the system's folders, and the files of the run's engines.
fn vm_root(run: &Run) -> anyhow::Result<VmRoot> {
    VmRoot::of_this_host(parts::runtime_files(&run.parts, &run.lock)?, &run.scratch)
}

/// Clones `image` in `scratch` and returns the method that worked; `None` when none did.
fn clone_method(image: &Path, scratch: &Path) -> Option<CloneMethod> {
    let Disk::Clone(path, method) = Disk::clone_of(image, scratch.join("disk-check.img")).ok()? else { return None };
    std::fs::remove_file(path).ok()?;
    Some(method)
}

/// Executes stages of the schedule until no trial is left or a signal requests a stop.
fn execute_stages(
    session: &mut Session<'_>,
    mut execute: impl FnMut(&mut Session<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    while !session.missing_trials().is_empty() {
        execute(session)?;
        if stop_requested().is_some() {
            break;
        }
        session.schedule()?;
    }
    Ok(())
}

/// Boots one guest of the run under KVM, in a sandbox.
///
/// # Errors
/// [`Code::NoGuest`] with the reason in one line: the guest did not boot, or its VMM would not be isolated and
/// `allow_unisolated` is not set.
pub fn check_kvm(run: Directory, project: &Project, allow_unisolated: bool) -> anyhow::Result<()> {
    let mut run = enter(run, project)?;
    if let Some(why) = isolation::why_not_isolated().filter(|_| !allow_unisolated) {
        bail!(Code::NoGuest.with_message(format!(
            "{}; pass --allow-unisolated to allow it",
            isolation::missing_requirement(&why).what
        )));
    }
    isolation::make_files_readable(&mut run.parts, &run.scratch)?;
    match kvm::check(&run.plan, &run.parts, &run.scratch, &vm_root(&run)?) {
        Ok(()) => Ok(()),
        Err(reason) => bail!(Code::NoGuest.with_message(reason.to_string())),
    }
}

/// Command-line option that allows VMMs that are not isolated.
pub const ALLOW_UNISOLATED: &str = "--allow-unisolated";

/// Runs [`check_kvm`] in a child process, because this process may have threads.
///
/// # Errors
/// The errors of [`check_kvm`].
pub fn check_kvm_in_child(run: &Directory, project: &Project, allow_unisolated: bool) -> anyhow::Result<()> {
    let executable = std::env::current_exe().context("cannot find this program")?;
    let output = std::process::Command::new(executable)
        .args(["check-kvm", "--project"])
        .arg(project.root())
        .args(allow_unisolated.then_some(ALLOW_UNISOLATED))
        .arg(run.path())
        .stdin(std::process::Stdio::null())
        .output()
        .context("cannot start the KVM check")?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    bail!(Code::NoGuest.with_message(text.trim().trim_start_matches("microbench: ")))
}

/// Writes `host.json` into a new run. For a run that is resumed, checks that the fingerprint is the same.
fn record_host(run: &Directory, now: &Identity) -> anyhow::Result<()> {
    debug!("the fingerprint of the host is {}", now.fingerprint);
    if run.path().join(identity::FILE).exists() {
        return Ok(now.require_same(&run.read(identity::FILE)?)?);
    }
    let mut text = serde_json::to_vec_pretty(now)?;
    text.push(b'\n');
    run.write(identity::FILE, &text)
}
