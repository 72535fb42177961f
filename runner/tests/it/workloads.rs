//! Every workload: its readings, and the failures of guests that do not run it correctly.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use microbench_formats::record::FailureReason;
use microbench_study::manifest::workloads::WORKLOADS;
use microbench_testing::require;

use crate::support::{Bench, agent, text, trials};

/// A small workload of every kind.
const METRICS: &str = r#"[metrics]
read = { workload = { kind = "memory-read", bytes = "64 KiB", rounds = 2, warmup = 1, value = "throughput" } }
write = { workload = { kind = "memory-write", bytes = "64 KiB", rounds = 2, warmup = 1 } }
copy = { workload = { kind = "memory-copy", bytes = "64 KiB", rounds = 2 } }
old_copy = { workload = { kind = "copy", bytes = "64 KiB", rounds = 2 } }
touch = { workload = { kind = "page-touch", bytes = "64 KiB", rounds = 2, value = "rate" } }
disk_read = { workload = { kind = "disk-read", bytes = "64 KiB", rounds = 2, value = "p99" } }
disk_write = { workload = { kind = "disk-write", bytes = "64 KiB", rounds = 2, direct = false, order = "random" } }
http = { workload = { kind = "http", bytes = "5000 B", rounds = 30, warmup = 4, connections = 4, value = "rate" } }
http_p50 = { reading = "workload.http.p50" }
send = { workload = { kind = "tcp-send", bytes = "100001 B", rounds = 3, warmup = 1, value = "throughput" } }
receive = { workload = { kind = "tcp-receive", bytes = "100001 B", rounds = 3, warmup = 1, value = "throughput" } }
"#;

fn bench(modes: &[&str], metrics: &str) -> Bench {
    let bench = Bench::new();
    let path = bench.study(modes, "trials = 1\nwarmup = false", "disk = \"clone\"");
    let study = fs::read_to_string(&path).unwrap().replace("[metrics]\n", metrics);
    fs::write(path, study).unwrap();
    bench.run_study();
    bench
}

#[test]
fn every_workload_reports_its_values_in_their_units() {
    require!(trials());
    let bench = bench(&["ok"], METRICS);
    let counted = bench.counted();
    let vm = &counted[&0].vms[&0];
    assert_eq!(vm.failure, None);
    let value = |name: &str| vm.readings[name].0.clone().unwrap_or_else(|reason| panic!("{name}: {reason}"));
    // The fake guest always reports 0.5 ms, and percentiles of 1 and 2 us.
    assert_eq!(value("workload.write.duration"), 5e5);
    assert!((value("workload.read.throughput") - 2.0 * 65.536 / 0.5).abs() < 1e-9);
    assert!((value("workload.touch.rate") - 2.0 * 16.0 / 0.0005).abs() < 1e-9);
    assert_eq!((value("workload.disk_read.p50"), value("workload.disk_read.p99")), (1000.0, 2000.0));
    assert!((value("workload.disk_write.rate") - 2.0 * 16.0 / 0.0005).abs() < 1e-9);
    // Workloads that the host times.
    let rate = 30.0 / value("workload.http.duration") * 1e9;
    assert!((value("workload.http.rate") - rate).abs() < 1e-6 * rate);
    assert!(value("workload.http.p50") > 0.0 && value("workload.http.p50") <= value("workload.http.p99"));
    for metric in ["send", "receive"] {
        let rate = 3.0 * 100_001.0 / value(&format!("workload.{metric}.duration")) * 1000.0;
        assert!((value(&format!("workload.{metric}.throughput")) - rate).abs() < 1e-6 * rate, "{metric}");
    }
    assert!(!vm.readings.contains_key("workload.send.p50") && !vm.readings.contains_key("workload.copy.sha_ni"));

    assert!(bench.run(&["analyze", "run"]).status.success());
    let samples = fs::read_to_string(bench.path("run/samples.csv")).unwrap();
    for (metric, unit) in [("read", "MB/s"), ("touch", "1/s"), ("disk_read", "ms"), ("http", "1/s"), ("http_p50", "ms")]
    {
        let row =
            samples.lines().find(|line| line.contains(&format!(",{metric},"))).unwrap_or_else(|| panic!("{samples}"));
        assert!(row.contains(&format!(",{unit},")), "{row}");
    }
}

#[test]
fn wrong_checksum_of_a_workload_gives_no_value() {
    require!(trials());
    for (metric, says) in [
        ("write = { workload = { kind = \"memory-write\", bytes = \"64 KiB\", rounds = 1 } }", "the checksum is"),
        ("read = { workload = { kind = \"disk-read\", bytes = \"64 KiB\", rounds = 1 } }", "the checksum is"),
        (
            "http = { workload = { kind = \"http\", bytes = \"5000 B\", rounds = 3 } }",
            "the content of the file is wrong",
        ),
        (
            "send = { workload = { kind = \"tcp-send\", bytes = \"100001 B\", rounds = 1 } }",
            "GET /stream: the checksum is",
        ),
        (
            "receive = { workload = { kind = \"tcp-receive\", bytes = \"100001 B\", rounds = 1 } }",
            "POST /stream: the checksum is",
        ),
    ] {
        // This workload runs before those of the study, which would fail in this guest as well.
        let bench = bench(&["wrong-digest"], &format!("[metrics]\n{metric}\n"));
        let failure = bench.counted()[&0].vms[&0].failure.clone().unwrap_or_else(|| panic!("{metric}"));
        assert_eq!((failure.reason, failure.stage.as_str()), (FailureReason::Protocol, "workload.end"), "{metric}");
        assert!(failure.message.contains(says), "{metric}: {}", failure.message);
    }
}

#[test]
fn wrong_traffic_gives_no_value() {
    require!(trials());
    let http =
        "[metrics]\nhttp = { workload = { kind = \"http\", bytes = \"5000 B\", rounds = 3, connections = 2 } }\n";
    let send = "[metrics]\nsend = { workload = { kind = \"tcp-send\", bytes = \"100001 B\", rounds = 1 } }\n";
    for (mode, metrics, says) in [
        ("cut-traffic", http, "GET /file"),
        ("cut-traffic", send, "GET /stream"),
        ("long-traffic", http, "the response has 5001 bytes instead of 5000"),
        ("long-traffic", send, "the response has 100002 bytes instead of 100001"),
        ("traffic-wrong-nonce", http, "another VM's nonce"),
        ("traffic-wrong-nonce", send, "another VM's nonce"),
        ("traffic-big-head", http, "has more than 8192 bytes"),
    ] {
        let bench = bench(&[mode], metrics);
        let failure = bench.counted()[&0].vms[&0].failure.clone().unwrap_or_else(|| panic!("{mode}"));
        assert_eq!((failure.reason, failure.stage.as_str()), (FailureReason::Protocol, "workload.end"), "{mode}");
        assert!(failure.message.contains(says), "{mode}: {}", failure.message);
    }
}

#[test]
fn stalled_traffic_times_out() {
    require!(trials());
    let bench = Bench::new();
    let path = bench.study(&["mute-traffic"], "trials = 1\nwarmup = false", "");
    let http = "[metrics]\nhttp = { workload = { kind = \"http\", bytes = \"5000 B\", rounds = 3 } }\n";
    let study = fs::read_to_string(&path).unwrap().replace("[metrics]\n", http);
    fs::write(path, study.replace("workload_deadline_s = 120", "workload_deadline_s = 1")).unwrap();
    bench.run_study();
    let failure = bench.counted()[&0].vms[&0].failure.clone().unwrap();
    assert_eq!((failure.reason, failure.stage.as_str()), (FailureReason::Timeout, "workload.end"));
    assert!(failure.message.contains("GET /file: no response within 1 s"), "{}", failure.message);
}

#[test]
fn agent_as_a_process_runs_every_workload() {
    require!(agent().map(drop));
    let output = Command::new(env!("CARGO_BIN_EXE_microbench"))
        .args(["selftest", "workload", "--folder"])
        // The build folder is on a disk, which supports direct reads.
        .arg(Path::new(env!("CARGO_BIN_EXE_microbench")).parent().expect("a folder"))
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let table = text(&output.stdout);
    assert!(output.status.success(), "{table}{}", text(&output.stderr));
    for work in WORKLOADS {
        let mut rows = table.lines().filter(|line| line.split_whitespace().next() == Some(work.name())).peekable();
        assert!(rows.peek().is_some(), "{}: {table}", work.name());
        assert!(rows.all(|row| row.ends_with("  yes")), "{table}");
    }
}
