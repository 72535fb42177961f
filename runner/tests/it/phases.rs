//! Phases of a boot: they add up to the start-up time, and a phase without an event is missing with its reason.

use std::collections::BTreeMap;

use microbench_plots::samples::{self, Sample, Status};
use microbench_testing::require;

use crate::support::{Bench, text, trials};

const PHASES: [&str; 5] = ["phase_spawn", "phase_vmm", "phase_kernel", "phase_init", "phase_agent"];
const WHOLE: &str = "webservice_startup_time";

/// Runs guests in these modes, and analyses and plots every phase. Returns the samples by cell and metric.
fn measured(bench: &Bench, modes: &[&str]) -> BTreeMap<String, BTreeMap<String, Sample>> {
    let study = bench.study(modes, "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    let metrics: String = PHASES.iter().map(|name| format!("[metrics.{name}]\n")).collect();
    let figures = format!(
        "[figures.phases]\nform = \"stacked-bars\"\nmetrics = {PHASES:?}\n\
         [figures.timeline]\nform = \"timeline\"\nmetrics = {PHASES:?}\n\
         [figures.matrix]\nform = \"heat-map\"\ngroups = \"concurrency\"\nmetric = \"phase_kernel\"\n\
         [figures.growth]\nform = \"scaling\"\nx = \"concurrency\"\ngroups = \"variant\"\nmetric = \"{WHOLE}\"\nx_scale = \"log\"\n"
    );
    std::fs::write(&study, format!("{}{metrics}{figures}", std::fs::read_to_string(&study).unwrap())).unwrap();
    bench.run_study();
    for step in ["analyze", "plot"] {
        let output = bench.run(&[step, "run"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let mut cells: BTreeMap<String, BTreeMap<String, Sample>> = BTreeMap::new();
    for sample in samples::load(&bench.path("run")).unwrap() {
        cells.entry(sample.cell.clone()).or_default().insert(sample.metric.clone(), sample);
    }
    cells
}

#[test]
fn phases_of_a_boot_add_up_to_the_startup_time() {
    require!(trials());
    let bench = Bench::new();
    let cells = measured(&bench, &["phases"]);
    let value = |metric: &str| cells["phases/1"][metric].value.unwrap_or_else(|| panic!("{metric}"));
    let sum: f64 = PHASES.iter().map(|phase| value(phase)).sum();
    assert!((sum - value(WHOLE)).abs() < 1e-6, "{sum} is not {}", value(WHOLE));
    // By the time stamps of the fake guest, independent of load on this machine.
    assert!((value("phase_kernel") - 100.0).abs() < 1e-6);
    assert!(value("phase_init") >= 20.0);
    for name in ["phases", "timeline", "matrix", "growth"] {
        for end in ["svg", "pdf", "png", "caption.txt", "caption.tex"] {
            assert!(bench.path(&format!("run/figures/{name}.{end}")).is_file(), "{name}.{end}");
        }
    }
    let svg = |name: &str| std::fs::read_to_string(bench.path(&format!("run/figures/{name}.svg"))).unwrap();
    assert!(svg("growth").contains("VMs at once (log scale)"));
    assert!(svg("matrix").contains("100"), "the heat map has no value");

    let vm = &bench.counted()[&0].vms[&0];
    let life = ["spawn", "vmm.exec", "kernel.begin", "init.begin", "agent.listening", "http.ok"];
    let instants: Vec<u64> = life.iter().map(|name| vm.events[*name]).collect();
    assert!(instants.is_sorted(), "{instants:?}");
    let durations: u64 = instants.windows(2).map(|pair| pair[1] - pair[0]).sum();
    assert_eq!(durations, vm.events["http.ok"] - vm.events["spawn"]);
}

#[test]
fn missing_event_makes_only_its_phases_not_available() {
    require!(trials());
    let bench = Bench::new();
    let cells = measured(&bench, &["no-init", "ok"]);
    for (cell, missing, reason) in [
        ("no-init/1", &PHASES[2..4], "the guest's kernel log does not show the start of init"),
        ("ok/1", &PHASES[1..], "the agent could not relate its clock to the clock of the kernel log"),
    ] {
        for phase in PHASES {
            let sample = &cells[cell][phase];
            if missing.contains(&phase) {
                assert_eq!((sample.status, sample.reason.as_str()), (Status::NotAvailable, reason), "{cell}: {phase}");
            } else {
                assert_eq!(sample.status, Status::Ok, "{cell}: {phase}: {}", sample.reason);
            }
        }
    }
    // Every form marks missing values.
    let caption = |name: &str| std::fs::read_to_string(bench.path(&format!("run/figures/{name}.caption.txt"))).unwrap();
    for (name, words) in [
        ("phases", "Incomplete bars: "),
        ("timeline", "the last 3 phases are missing"),
        ("timeline", "the last 4 phases are missing"),
        ("matrix", "not available"),
        ("growth", "1 of 4 required points"),
    ] {
        assert!(caption(name).contains(words), "{words} is missing in {name}: {}", caption(name));
    }
}

#[test]
fn boot_succeeds_when_it_cannot_be_traced() {
    require!(trials());
    let bench = Bench::new();
    let study = bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = false\ntrace = [true]", "");
    let metric = "[metrics.set_up]\nfrom = \"vmm.exec\"\nto = \"guest.entered\"\n";
    std::fs::write(&study, format!("{}{metric}", std::fs::read_to_string(&study).unwrap())).unwrap();
    bench.run_study();
    let vm = &bench.counted()[&0].vms[&0];
    assert!(vm.failure.is_none() && vm.events.contains_key("http.ok"), "{:?}", vm.failure);
    // The fake VMM enters no guest, so the events are missing even if this host permits tracing.
    for event in ["guest.entered", "kernel.marked", "init.marked", "agent.marked"] {
        let reason = vm.readings[event].0.clone().unwrap_err();
        assert!(reason.contains("trace"), "{event}: {reason}");
    }
    assert!(bench.run(&["analyze", "run"]).status.success());
    let samples = samples::load(&bench.path("run")).unwrap();
    let sample = samples.iter().find(|sample| sample.metric == "set_up").expect("a row");
    assert_eq!((sample.status, sample.value), (Status::NotAvailable, None), "{}", sample.reason);
}
