//! When the service answers: announcements, their absence, guests that lie about it, and the probe's own error.

use microbench_formats::record::ProbeError;
use microbench_testing::require;

use crate::support::{Bench, text, trials};

#[test]
fn the_agent_announces_itself_and_both_witnesses_are_recorded() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["late", "unannounced", "chatter"], "trials = 5\nwarmup = false", "");
    let journal = bench.run_study();
    let mut announced = 0;
    for execution in &journal.executions {
        let vm = &execution.vms[&0];
        assert_eq!(vm.failure, None, "{}", execution.cell);
        if vm.events.contains_key("agent.ready_datagram") {
            announced += 1;
            // Who says too much that is no announcement is not listened to, and answers all the same.
            assert!(execution.cell.starts_with("late"), "{}", execution.cell);
            assert!(vm.events["agent.ready_datagram"] < vm.events["http.ok"]);
        }
        let (witness, unit) = &vm.readings["probe.after_console_mark"];
        let (ok, mark) = (vm.events["http.ok"] as f64, vm.events["agent.ready"] as f64);
        assert_eq!((witness.clone().unwrap(), unit.as_str()), (ok - mark, "ns"));
        assert!(vm.readings.contains_key("probe.cpu_time"));
    }
    // One may be lost to an attempt that was under way; not all five.
    assert!(announced > 0);
}

#[test]
fn every_session_begins_with_the_probes_own_error() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 1\nwarmup = false", "");
    let journal = bench.run_study();
    let [ProbeError { n, median_ms, p99_ms, max_ms, .. }] = journal.probe_errors[..] else { panic!("{journal:?}") };
    // Never early: what answers was there before.
    assert!(n == 20 && median_ms > 0.0 && median_ms <= p99_ms && p99_ms <= max_ms);
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    assert!(analyzed.contains("probe error: ") && analyzed.contains("of 20 fake guests"), "{analyzed}");
}

#[test]
fn the_self_test_shows_the_papers_polls_beside_the_exact_probe() {
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
