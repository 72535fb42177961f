//! EmulatedHost hosts that go wrong, played by a stand-in for the emulator. Real ones are in `emulated.rs`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use microbench_measure::emulated_host::emulator::{EmulatedHost, EmulatedHostConfig, NoMessage};
use microbench_measure::emulated_host::wire::{Job, Message};
use microbench_measure::trial::budget::Budget;
use microbench_measure::trial::request::TrialRequest;

use crate::support::example;

/// Long: nothing but the silent one is waited for to the end.
const LIMIT: Duration = Duration::from_secs(300);

fn machine(kernel: &str) -> EmulatedHostConfig {
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
    EmulatedHost::boot(&machine(kernel), &job(), folder, &folder.join("emulated-host-0-0.log"))
}

/// What an emulated host that has begun a trial comes to.
fn silence(kernel: &str, limit: Duration) -> NoMessage {
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
    assert_eq!(left, 0, "{kernel}: the emulator is left");
    silence
}

#[test]
fn a_host_that_panics_is_lost_with_its_last_words() {
    match silence("panics", LIMIT) {
        NoMessage::Exited(words) => assert!(words.contains("Kernel panic - not syncing"), "{words}"),
        NoMessage::TimedOut { .. } => panic!("it has ended"),
    }
}

#[test]
fn a_host_whose_port_is_lost_or_says_no_message_is_lost_too() {
    for kernel in ["loses-its-port", "cuts-a-message", "babbles"] {
        assert!(matches!(silence(kernel, LIMIT), NoMessage::Exited(_)), "{kernel}");
    }
}

#[test]
fn a_silent_host_is_taken_for_hung() {
    match silence("is-silent", Duration::from_secs(1)) {
        NoMessage::TimedOut { seconds } => assert_eq!(seconds, 1),
        NoMessage::Exited(words) => panic!("{words}"),
    }
}

#[test]
fn an_emulator_that_does_not_start_is_an_error_with_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let error = boot("exits", folder.path()).unwrap_err().to_string();
    assert!(error.contains("exit status: 1") && error.contains("cannot set up guest memory"), "{error}");
}

#[test]
fn a_first_process_of_another_build_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let error = boot("is-of-another-build", folder.path()).unwrap_err().to_string();
    assert!(error.contains("/first and this program are of different builds"), "{error}");
}
