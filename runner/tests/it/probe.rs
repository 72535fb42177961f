//! The probe: ready datagrams, missing and wrong ready datagrams, and the probe error.

use microbench_formats::record::ProbeError;
use microbench_testing::require;

use crate::support::{Bench, text, trials};

#[test]
fn ready_datagram_and_console_mark_are_recorded() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["late", "no-ready-datagram", "wrong-ready-datagrams"], "trials = 5\nwarmup = false", "");
    let journal = bench.run_study();
    let mut with_datagram = 0;
    for execution in &journal.executions {
        let vm = &execution.vms[&0];
        assert_eq!(vm.failure, None, "{}", execution.cell);
        if vm.events.contains_key("agent.ready_datagram") {
            with_datagram += 1;
            // Wrong datagrams are ignored, and the probe still finds the first response of such a guest.
            assert!(execution.cell.starts_with("late"), "{}", execution.cell);
            assert!(vm.events["agent.ready_datagram"] < vm.events["http.ok"]);
        }
        let (delay, unit) = &vm.readings["probe.after_console_mark"];
        let (ok, mark) = (vm.events["http.ok"] as f64, vm.events["agent.ready"] as f64);
        assert_eq!((delay.clone().unwrap(), unit.as_str()), (ok - mark, "ns"));
        assert!(vm.readings.contains_key("probe.cpu_time"));
    }
    // An attempt in progress may miss a datagram, but not all five.
    assert!(with_datagram > 0);
}

#[test]
fn every_session_records_the_probe_error() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 1\nwarmup = false", "");
    let journal = bench.run_study();
    let [ProbeError { n, median_ms, p99_ms, max_ms, .. }] = journal.probe_errors[..] else { panic!("{journal:?}") };
    // The error is positive: the probe never reports a response before the guest listens.
    assert!(n == 20 && median_ms > 0.0 && median_ms <= p99_ms && p99_ms <= max_ms);
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    assert!(analyzed.contains("probe error: ") && analyzed.contains("of 20 fake guests"), "{analyzed}");
}

#[test]
fn self_test_compares_all_probes() {
    require!(trials());
    let bench = Bench::new();
    let output = bench.run(&["selftest", "probe", "--guests", "6", "--at-once", "3", "--spread", "0.2"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let table = text(&output.stdout);
    for probe in ["exact", "paper", "busy"] {
        let row = table.lines().find(|line| line.starts_with(probe)).unwrap_or_else(|| panic!("{table}"));
        let numbers: Vec<f64> = row.split_whitespace().skip(1).map(|word| word.parse().unwrap()).collect();
        assert_eq!(numbers[0], 6.0);
        assert!(numbers[1..].iter().all(|number| *number > 0.0), "{row}");
    }
}
