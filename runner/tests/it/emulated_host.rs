//! Failures of emulated hosts, with a fake emulator. `emulated.rs` tests real emulated hosts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use microbench_measure::emulated_host::emulator::{EmulatedHost, EmulatedHostConfig, NoMessage};
use microbench_measure::emulated_host::wire::{Job, Message};
use microbench_measure::sandbox::isolation;
use microbench_measure::trial::budget::Budget;
use microbench_measure::trial::request::TrialRequest;
use microbench_testing::require;

use crate::support::{example, root};

/// Limit for hosts that send a message or exit before it.
const LIMIT: Duration = Duration::from_secs(300);

fn config(kernel: &str, folder: &Path) -> EmulatedHostConfig {
    for (name, content) in [("kernel", kernel), ("initramfs", "")] {
        fs::write(folder.join(name), content).unwrap();
        // Only this user may read the files.
        fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    EmulatedHostConfig {
        emulator: example("fake-emulator"),
        kernel: folder.join("kernel"),
        initramfs: folder.join("initramfs"),
        init: "/first".into(),
        memory_mib: 1,
        resident_mib: 1,
    }
}

fn trial() -> TrialRequest {
    TrialRequest { index: 7, attempt: 0, warmup: false, cell: "fc/1".into(), instrument: None }
}

fn job() -> Job {
    Job {
        run: "run".into(),
        cells: Vec::new(),
        parts: Default::default(),
        workloads: Vec::new(),
        trials: vec![trial()],
        budget: Budget::new(0),
        fake_guests: 1,
        log: None,
    }
}

fn boot(kernel: &str, folder: &Path) -> anyhow::Result<EmulatedHost> {
    EmulatedHost::boot(&config(kernel, folder), "EPYC", &job(), folder, &folder.join("emulated-host-0-0.log"))
}

/// Boots an emulated host that begins a trial and then fails. Returns why it sends no further message.
fn begin_trial_and_lose_host(kernel: &str, limit: Duration) -> NoMessage {
    let folder = tempfile::tempdir().unwrap();
    let mut host = boot(kernel, folder.path()).unwrap();
    match host.next(LIMIT) {
        Ok(Message::Begin(begun)) => assert_eq!(begun, trial()),
        other => panic!("{kernel}: {other:?}"),
    }
    let silence = host.next(limit).expect_err(kernel);
    drop(host);
    // The namespace of a running emulator would still have the folder mounted.
    let mine = folder.path().join("emulator").display().to_string();
    let left = fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("mounts")).ok());
    let left = left.filter(|mounts| String::from_utf8_lossy(mounts).contains(&mine)).count();
    assert_eq!(left, 0, "{kernel}: the emulator still runs");
    silence
}

#[test]
fn panic_of_the_emulated_host_is_reported_with_its_message() {
    require!(root());
    match begin_trial_and_lose_host("panics", LIMIT) {
        NoMessage::Exited(words) => assert!(words.contains("Kernel panic - not syncing"), "{words}"),
        NoMessage::TimedOut { .. } => panic!("the host timed out"),
    }
}

#[test]
fn closed_port_or_invalid_message_ends_the_emulated_host() {
    require!(root());
    for kernel in ["closes-port", "truncates-message", "sends-garbage"] {
        assert!(matches!(begin_trial_and_lose_host(kernel, LIMIT), NoMessage::Exited(_)), "{kernel}");
    }
}

#[test]
fn silent_emulated_host_times_out() {
    require!(root());
    match begin_trial_and_lose_host("never-responds", Duration::from_secs(1)) {
        NoMessage::TimedOut { seconds } => assert_eq!(seconds, 1),
        NoMessage::Exited(words) => panic!("{words}"),
    }
}

#[test]
fn failed_start_of_the_emulator_is_reported_with_its_message() {
    require!(root());
    let folder = tempfile::tempdir().unwrap();
    let error = boot("exits", folder.path()).unwrap_err().to_string();
    assert!(error.contains("exit code 1") && error.contains("cannot set up guest memory"), "{error}");
}

#[test]
fn log_of_an_emulator_that_floods_its_console_has_its_begin_and_end() {
    require!(root());
    let folder = tempfile::tempdir().unwrap();
    let mut host = boot("floods-console", folder.path()).unwrap();
    assert!(matches!(host.next(LIMIT), Ok(Message::Begin(_))));
    assert!(matches!(host.next(LIMIT), Err(NoMessage::Exited(words)) if words.contains("the last line")));
    drop(host);
    let log = fs::read_to_string(folder.path().join("emulated-host-0-0.log")).unwrap();
    assert!(log.len() < 2 << 20, "{} bytes", log.len());
    assert!(log.starts_with("xxx") && log.ends_with("the last line\n") && log.contains(" bytes omitted]"));
}

#[test]
fn emulator_runs_without_privileges_in_its_own_namespaces() {
    require!(root());
    let folder = tempfile::tempdir().unwrap();
    let mut host = boot("prints-itself", folder.path()).unwrap();
    assert!(matches!(host.next(LIMIT), Ok(Message::Begin(_))));
    assert!(matches!(host.next(LIMIT), Err(NoMessage::Exited(_))));
    drop(host);
    let log = fs::read_to_string(folder.path().join("emulated-host-0-0.log")).unwrap();
    let found: serde_json::Value = serde_json::from_str(log.trim()).unwrap();
    let status = found["status"].as_str().unwrap();
    let [user, capabilities, ..] = isolation::parse_status(status);
    assert!(user.is_some_and(|user| user >= 0x7000_0000), "{status}");
    assert_eq!(capabilities, Some(0), "{status}");
    // The init of the namespace, and the emulator.
    assert_eq!(found["processes"], 2, "{log}");
    let files: Vec<&str> = found["files"].as_array().unwrap().iter().filter_map(|file| file.as_str()).collect();
    let expected = ["/dev/null", "pipe:", "pipe:", "/", "/", "socket:"];
    assert!(files.len() == 6 && files.iter().zip(expected).all(|(file, begin)| file.starts_with(begin)), "{log}");
    assert_eq!(found["written"], false, "{log}");
}

#[test]
fn init_of_another_build_is_refused() {
    require!(root());
    let folder = tempfile::tempdir().unwrap();
    let error = boot("other-build", folder.path()).unwrap_err().to_string();
    assert!(error.contains("/first and this program are of different builds"), "{error}");
}
