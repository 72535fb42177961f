//! Failures of emulated hosts, with a fake emulator. `emulated.rs` tests real emulated hosts.

use std::fs;
use std::path::Path;
use std::time::Duration;

use microbench_measure::emulated_host::emulator::{EmulatedHost, EmulatedHostConfig, NoMessage};
use microbench_measure::emulated_host::wire::{Job, Message};
use microbench_measure::trial::budget::Budget;
use microbench_measure::trial::request::TrialRequest;

use crate::support::example;

/// Limit for hosts that send a message or exit before it.
const LIMIT: Duration = Duration::from_secs(300);

fn config(kernel: &str) -> EmulatedHostConfig {
    EmulatedHostConfig {
        emulator: example("fake-emulator"),
        kernel: kernel.into(),
        initramfs: "initramfs".into(),
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
    EmulatedHost::boot(&config(kernel), "EPYC", &job(), folder, &folder.join("emulated-host-0-0.log"))
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
    let mine = folder.path().display().to_string();
    let left = fs::read_dir("/proc").unwrap().filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    let left = left.filter(|line| String::from_utf8_lossy(line).contains(&mine)).count();
    assert_eq!(left, 0, "{kernel}: the emulator still runs");
    silence
}

#[test]
fn panic_of_the_emulated_host_is_reported_with_its_message() {
    match begin_trial_and_lose_host("panics", LIMIT) {
        NoMessage::Exited(words) => assert!(words.contains("Kernel panic - not syncing"), "{words}"),
        NoMessage::TimedOut { .. } => panic!("the host timed out"),
    }
}

#[test]
fn closed_port_or_invalid_message_ends_the_emulated_host() {
    for kernel in ["closes-port", "truncates-message", "sends-garbage"] {
        assert!(matches!(begin_trial_and_lose_host(kernel, LIMIT), NoMessage::Exited(_)), "{kernel}");
    }
}

#[test]
fn silent_emulated_host_times_out() {
    match begin_trial_and_lose_host("never-responds", Duration::from_secs(1)) {
        NoMessage::TimedOut { seconds } => assert_eq!(seconds, 1),
        NoMessage::Exited(words) => panic!("{words}"),
    }
}

#[test]
fn failed_start_of_the_emulator_is_reported_with_its_message() {
    let folder = tempfile::tempdir().unwrap();
    let error = boot("exits", folder.path()).unwrap_err().to_string();
    assert!(error.contains("exit status: 1") && error.contains("cannot set up guest memory"), "{error}");
}

#[test]
fn init_of_another_build_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = boot("other-build", folder.path()).unwrap_err().to_string();
    assert!(error.contains("/first and this program are of different builds"), "{error}");
}
