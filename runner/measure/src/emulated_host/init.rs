//! Init of the emulated host: it mounts file systems, reads the job, executes the trials, sends the results,
//! and restarts the machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::host::HostKind;
use microbench_formats::record::Record;
use nix::mount::{MsFlags, mount};
use tracing::debug;

use super::wire::{self, Job, Message, PORT_NAME};
use crate::errln;
use crate::host::interference::{Watcher, kernel_messages};
use crate::host::resources::{huge_pages, net};
use crate::probe::Probe;
use crate::sandbox;
use crate::sandbox::isolation;
use crate::sandbox::vm_namespaces::VmRoot;
use crate::selftest::probe::{FakeGuests, measure};
use crate::terminal::log;
use crate::trial::TrialExecution;
use crate::vm::Folders;

/// Argument of the init, after `--` on the kernel command line. Without it the init does nothing.
pub const INIT_ARGUMENT: &str = "first-process-of-the-emulated-host";

/// Runs the init. Never returns: the machine restarts, which ends its emulator.
pub fn main() -> ! {
    if let Err(error) = serve() {
        errln!("microbench: {error:#}");
    }
    nix::unistd::sync();
    let _ = nix::sys::reboot::reboot(nix::sys::reboot::RebootMode::RB_AUTOBOOT);
    std::process::exit(1)
}

fn serve() -> anyhow::Result<()> {
    prepare()?;
    let path = port()?;
    let mut port = File::options()
        .read(true)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = BufReader::new(port.try_clone()?);
    wire::send(&mut port, &Message::Up { build: wire::BUILD.to_owned() })?;
    let job: Job = wire::receive(&mut reader)?.context("the port was closed before a job arrived")?;
    if let Some(levels) = job.log.as_deref().and_then(|text| text.parse().ok()) {
        log::start_with(&levels, false);
    }
    let outcome = execute(job, &mut port);
    let last = match &outcome {
        Ok(()) => Message::Done,
        Err(error) => Message::Failed(format!("{error:#}")),
    };
    wire::send(&mut port, &last)?;
    outcome
}

fn prepare() -> anyhow::Result<()> {
    let none = MsFlags::empty();
    // A jailer changes its root by pivot_root(2), which fails on the initial file system that the kernel
    // unpacks the archive to. It works on a second mount of the same file system. The mount is moved over the first
    // one, because a process that enters a mount namespace starts at its topmost root.
    let root = Path::new("/root");
    mount(Some("/"), root, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("cannot bind-mount the root")?;
    std::env::set_current_dir(root).context("cannot enter the root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("cannot move the root")?;
    std::os::unix::fs::chroot(".").context("cannot change the root")?;
    std::env::set_current_dir("/").context("cannot enter the root")?;
    // /tmp is not mounted over: it is in RAM already, and may contain files of the archive. /run contains
    // snapshots of guests. The memory of the emulated host is sized for them.
    for (kind, target, options) in [
        ("proc", "/proc", None),
        ("sysfs", "/sys", None),
        ("devtmpfs", "/dev", None),
        ("tmpfs", "/run", Some("size=100%")),
    ] {
        match mount(Some(kind), target, Some(kind), none, options) {
            Ok(()) | Err(nix::errno::Errno::EBUSY) => {}
            Err(error) => bail!("cannot mount {target}: {error}"),
        }
    }
    // KVM counts VM exits in debugfs. Without it the reading is missing, with the reason.
    let _ = mount(Some("debugfs"), "/sys/kernel/debug", Some("debugfs"), none, None::<&str>);
    fs::create_dir_all("/dev/net").ok();
    // The emulated host belongs to the run: VMMs without root privileges may open the devices themselves.
    for device in ["/dev/kvm", "/dev/net/tun"].map(Path::new).into_iter().filter(|device| device.exists()) {
        fs::set_permissions(device, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    }
    nix::sys::prctl::set_no_new_privs().context("cannot set no_new_privs")?;
    net::set_up_namespace()
}

/// Returns the device of the virtio-serial port [`PORT_NAME`].
fn port() -> anyhow::Result<PathBuf> {
    let ports = Path::new("/sys/class/virtio-ports");
    for entry in fs::read_dir(ports).context("the emulated host has no virtio-serial ports")? {
        let entry = entry?;
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim() == PORT_NAME {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
    }
    bail!("the virtio-serial port {PORT_NAME} is missing")
}

fn execute(job: Job, port: &mut File) -> anyhow::Result<()> {
    let scratch = Path::new("/run/microbench");
    let console = Path::new("/run/console");
    for folder in [scratch, console] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    if let Some(why) = isolation::why_not_isolated() {
        bail!("VMMs cannot be isolated in the emulated host: {why}");
    }
    let parts = job.parts;
    sandbox::prepare_for_containers(&parts)?;
    let root = &VmRoot::of_emulated_host(Path::new("/run"), scratch)?;
    wire::send(port, &Message::Probe(measure(Probe::Exact, FakeGuests::for_session(job.fake_guests))?))?;
    let folders = Folders { scratch, console, root };
    let mut budget = job.budget;
    let mut watcher = Watcher::new(HostKind::Emulated, kernel_messages());
    for request in &job.trials {
        let cell = job.cells.iter().find(|cell| cell.id == request.cell);
        let (cell, parts) =
            cell.zip(parts.get(&request.cell)).with_context(|| format!("the job has no cell {}", request.cell))?;
        wire::send(port, &Message::Begin(request.clone()))?;
        debug!(trial = request.index, attempt = request.attempt, warmup = request.warmup, "{} begins", request.cell);
        let trial = TrialExecution {
            run: &job.run,
            index: request.index,
            attempt: request.attempt,
            warmup: request.warmup,
            instrument: request.instrument,
            cell,
            workloads: &job.workloads,
            parts,
        };
        // Huge pages that the trial's guests do not use would be missing elsewhere.
        huge_pages::reserve(huge_pages::pages_per_vm(&parts.guest) * u64::from(trial.vms()))?;
        let refused = budget.refuse(request, trial.vms());
        let records: Vec<Record> = refused.unwrap_or_else(|| trial.execute(folders, &mut watcher));
        budget.observe(&records);
        wire::send(port, &Message::End { records, consoles: take_logs(console)? })?;
    }
    Ok(())
}

/// Reads and removes the console logs of the trial.
fn take_logs(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut logs = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        logs.insert(name, String::from_utf8_lossy(&fs::read(&path)?).into_owned());
        fs::remove_file(&path)?;
    }
    Ok(logs)
}
