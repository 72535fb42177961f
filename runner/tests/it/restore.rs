//! Guests that are restored from a snapshot, with the API of the fake VMM.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use microbench_formats::record::FailureReason;
use microbench_plots::journal::Vm;
use microbench_testing::require;

use crate::support::{Bench, trials};

/// A project with an engine that restores guests. `mode` is `restore`, or `refuse-snapshot` for a VMM without
/// snapshots.
fn bench(mode: &str) -> Bench {
    let bench = Bench::new();
    let fake = fs::read_to_string(bench.path("engines/fake.toml")).unwrap();
    let restoring = fake.replace("name = \"fake\"", "name = \"restoring\"").replace(
        "[version]",
        r#"
[settings.restore]
default = true
doc = "Restore it."

[api]
socket = "{{folder}}/api.sock"
calls = [{ method = "PUT", path = "/boot", body = "{}", boots = true }]

[snapshot]
when = "{{#if restore}}yes{{/if}}"
files = ["state"]
take = [{ method = "PUT", path = "/save", body = "{}" }]
load = [{ method = "PUT", path = "/load", body = "{}", boots = true }]

[version]"#,
    );
    bench.file("engines/restoring.toml", &restoring);
    let study =
        fs::read_to_string(bench.study(&[mode], "concurrency = [1, 2]\ntrials = 2\nwarmup = false", "")).unwrap();
    bench.file("study.toml", &study.replace("engine = \"fake\"", "engine = \"restoring\""));
    bench
}

#[test]
fn snapshot_is_taken_once_per_vm_and_restored_in_every_trial() {
    require!(trials());
    let bench = bench("restore");
    bench.run_study();
    let vms: Vec<Vm> = bench.counted().into_values().flat_map(|execution| execution.vms.into_values()).collect();
    assert_eq!(vms.len(), 6);
    for vm in &vms {
        assert!(vm.failure.is_none(), "{vm:?}");
        for name in ["spawn", "api.ready", "boot.requested", "boot.acknowledged", "http.ok", "exit"] {
            assert!(vm.events.contains_key(name), "{name}: {vm:?}");
        }
        for name in ["kernel.init", "kernel.begin", "agent.listening", "agent.ready", "probe.after_console_mark"] {
            let reason = "not applicable: the guest was restored, it did not boot";
            assert_eq!(vm.readings[name].0, Err(reason.to_owned()), "{name}");
        }
    }
    // Cells that differ only in concurrency share snapshots: two VMs, two snapshots.
    let logs = fs::read_dir(bench.path("run/console")).unwrap();
    let names = logs.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    assert_eq!(names.filter(|name| name.ends_with(".saved.log")).count(), 2);
}

#[test]
fn failed_snapshot_fails_the_trials_with_the_message_of_the_vmm() {
    require!(trials());
    let bench = bench("refuse-snapshot");
    bench.run_study();
    let vms: Vec<Vm> = bench.counted().into_values().flat_map(|execution| execution.vms.into_values()).collect();
    let said = "cannot take a snapshot of the guest: at boot.requested: PUT /save: 400: no state";
    let message = |vm: &Vm| vm.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
    assert!(vms.iter().any(|vm| message(vm).contains(said)), "{vms:?}");
    assert!(vms.iter().all(|vm| !vm.events.contains_key("http.ok")), "{vms:?}");
}

/// What a VM writes is its own: a link instead of a file or socket leads to no file of the host.
#[test]
fn links_in_place_of_a_snapshot_or_socket_are_not_followed() {
    require!(trials());
    let place = tempfile::tempdir().unwrap();
    let victim = place.path().join("victim");
    fs::write(&victim, "secret").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    let socket = place.path().join("host.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    listener.set_nonblocking(true).unwrap();
    for (attack, target, said) in [
        ("link-snapshot", &victim, "state: it is a symbolic link, which is not followed here"),
        ("link-socket", &socket, "the API socket is not used"),
    ] {
        let bench = bench("restore");
        let study = fs::read_to_string(bench.path("study.toml")).unwrap();
        let mode = format!("mode = \"restore {attack} {}\"", target.display());
        bench.file("study.toml", &study.replace("mode = \"restore\"", &mode));
        bench.run_study();
        let vms: Vec<Vm> = bench.counted().into_values().flat_map(|execution| execution.vms.into_values()).collect();
        let message = |vm: &Vm| vm.failure.as_ref().map(|failure| failure.message.clone()).unwrap_or_default();
        assert!(vms.iter().any(|vm| message(vm).contains(said)), "{attack}: {vms:?}");
    }
    assert_eq!(fs::metadata(&victim).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn restored_guest_is_bounded_by_its_machine_and_not_by_its_uptime() {
    require!(trials());
    // The clock of a restored guest ran before its snapshot.
    for (report, refused) in [
        ("uptime_ms=3600000", None),
        ("init_us=600000000", None),
        ("cpus=64", Some("guest.cpus = 64, but the VM has 1")),
        ("memory_bytes=1099511627776", Some("guest.memory = 1099511627776 bytes, but the VM has 536870912 bytes")),
        (
            "duration_ns=600000000000",
            Some("workload.hashing_time.duration = 600000.0 ms, but the response came after "),
        ),
    ] {
        let bench = bench("restore");
        let study = fs::read_to_string(bench.path("study.toml")).unwrap();
        let mode = format!("mode = 'restore report {report}'");
        bench.file(
            "study.toml",
            &study.replace("mode = \"restore\"", &mode).replace("[1, 2]\ntrials = 2", "[1]\ntrials = 1"),
        );
        bench.run_study();
        let failure = bench.counted()[&0].vms[&0].failure.clone();
        match refused {
            None => assert_eq!(failure, None, "{report}"),
            Some(message) => {
                let failure = failure.unwrap_or_else(|| panic!("{report} is accepted"));
                assert_eq!(failure.reason, FailureReason::Protocol, "{failure:?}");
                assert!(failure.message.contains(message), "{report}: {}", failure.message);
            }
        }
    }
}
