//! The first process of the emulated host: mount, read the job, execute the trials, send what they gave, restart.

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
use crate::selftest::probe::{FakeGuests, measure};
use crate::terminal::log;
use crate::trial::Trial;

/// Word on the kernel's command line, after `--`, without which the first process does nothing.
pub const INIT_WORD: &str = "first-process-of-the-emulated-host";

/// Runs as the first process; never returns: the machine restarts, which ends its emulator.
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
    let job: Job = wire::receive(&mut reader)?.context("the port closed before a job came")?;
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
    // A jailer changes its root (pivot_root(2)), which cannot be done from the file system that the kernel unpacks its archive to; from
    // the same one, mounted a second time, it can.
    let root = Path::new("/root");
    mount(Some("/"), root, None::<&str>, MsFlags::MS_BIND, None::<&str>).context("cannot mount the root again")?;
    std::env::set_current_dir(root).and_then(|()| std::os::unix::fs::chroot(".")).context("cannot change the root")?;
    std::env::set_current_dir("/").context("cannot enter the root")?;
    // Not over /tmp: it is in RAM anyway, and may hold files that came with the job.
    // /run holds snapshots of guests, for which the machine's memory was sized.
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
    // Where KVM counts a VM's exits; without it the reading is missing and says why.
    let _ = mount(Some("debugfs"), "/sys/kernel/debug", Some("debugfs"), none, None::<&str>);
    fs::create_dir_all("/dev/net").ok();
    // This machine is the run's own: VMMs that are not root open the devices themselves.
    for device in ["/dev/kvm", "/dev/net/tun"].map(Path::new).into_iter().filter(|device| device.exists()) {
        fs::set_permissions(device, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
    }
    nix::sys::prctl::set_no_new_privs().context("cannot give up new privileges")?;
    net::isolate()
}

/// The device of the virtio-serial port with our name.
fn port() -> anyhow::Result<PathBuf> {
    let ports = Path::new("/sys/class/virtio-ports");
    for entry in fs::read_dir(ports).context("the emulated host has no virtio-serial ports")? {
        let entry = entry?;
        let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
        if name.trim() == PORT_NAME {
            return Ok(Path::new("/dev").join(entry.file_name()));
        }
    }
    bail!("no virtio-serial port is named {PORT_NAME}")
}

fn execute(job: Job, port: &mut File) -> anyhow::Result<()> {
    let scratch = Path::new("/run/microbench");
    let console = Path::new("/run/console");
    for folder in [scratch, console] {
        fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    }
    if let Some(why) = isolation::missing() {
        bail!("VMMs are not isolated in the emulated host: {why}");
    }
    let parts = job.parts;
    sandbox::ready_for(&parts)?;
    wire::send(port, &Message::Probe(measure(Probe::Exact, FakeGuests::of_a_session(job.fake_guests))?))?;
    let mut budget = job.budget;
    let mut watcher = Watcher::new(HostKind::Emulated, kernel_messages());
    for planned in &job.trials {
        let cell = job.cells.iter().find(|cell| cell.id == planned.cell);
        let (cell, parts) = cell.zip(parts.get(&planned.cell)).with_context(|| format!("no cell {}", planned.cell))?;
        wire::send(port, &Message::Begin(planned.clone()))?;
        debug!(trial = planned.index, attempt = planned.attempt, warmup = planned.warmup, "{} begins", planned.cell);
        let trial = Trial {
            run: &job.run,
            index: planned.index,
            attempt: planned.attempt,
            warmup: planned.warmup,
            instrument: planned.instrument,
            cell,
            workloads: &job.workloads,
            parts,
        };
        // What a trial's guests do not take of the pool would be missing elsewhere.
        huge_pages::reserve(huge_pages::of(&parts.guest) * u64::from(trial.vms()))?;
        let refused = budget.refuse(planned, trial.vms());
        let records: Vec<Record> = refused.unwrap_or_else(|| trial.execute(scratch, console, &mut watcher));
        budget.saw(&records);
        wire::send(port, &Message::End { records, consoles: take_logs(console)? })?;
    }
    Ok(())
}

/// The console logs of the trial that has just ended; the files are removed.
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
