//! Reasons of missing values, and files of a run that contradict each other.

use microbench_formats::code::Code;
use microbench_formats::host::HostKind;
use microbench_formats::instrument::Instrument;
use microbench_formats::plan::PlannedTrial;
use microbench_plots::{Analysis, analyze, hint, table};

use crate::results::run_with_ticks;
use crate::support::{Run, metric, text};

#[test]
fn damaged_host_file_is_an_error() {
    let run = run_with_ticks(6);
    for text in ["{", r#"{"artifacts": [{"name": "microvm-6.1", "config_hz": 0}]}"#] {
        std::fs::write(run.path("host.json"), text).unwrap();
        let error = analyze(run.folder()).unwrap_err();
        assert_eq!(error.code(), Code::RunFileDamaged);
        assert!(error.to_string().contains("host.json is damaged: "), "{error}");
    }
}

#[test]
fn ticks_of_another_kernel_and_of_imported_values() {
    let run = run_with_ticks(12);
    std::fs::write(run.path("host.json"), r#"{"artifacts": [{"name": "microvm-6.1", "config_hz": 1000}]}"#).unwrap();
    let mut analysis = analyze(run.folder()).unwrap();
    let ticks = |analysis: &Analysis| {
        let hints = hint::hints(&analysis.plan, &analysis.summary, &analysis.journal, &analysis.kernels);
        hints.iter().find(|hint| matches!(hint, hint::Hint::Ticks { .. })).map(hint::Hint::message)
    };
    let other = ticks(&analysis).unwrap();
    assert!(other.ends_with("6 and 6 values: CONFIG_HZ=250; the guest kernel microvm-6.1 has 1000)"), "{other}");
    analysis.summary.iter_mut().for_each(|row| row.host = Some(HostKind::Imported));
    assert_eq!(ticks(&analysis), None, "imported values may have been rounded");
}

#[test]
fn metric_of_an_instrument_without_trials_has_a_reason_everywhere() {
    let mut run = Run::new(6, Vec::new());
    let mut calls = metric("vmm_system_calls", "System calls", "vmm.system_calls");
    calls.instrument = Some(Instrument::Strace);
    run.plan.metrics.push(calls);
    for cell in run.plan.cells.iter_mut().filter(|cell| cell.variant == "fc") {
        cell.settings.extend([("stop_at".to_owned(), text("reset-pulses"))]);
    }
    // One trial under strace of the other variant.
    let (index, block) = (run.plan.trials.len() as u32, run.plan.trials.last().unwrap().block + 1);
    let cell = run.plan.cells.iter().find(|cell| cell.variant == "qemu" && cell.concurrency == 1).unwrap().id.clone();
    run.plan.trials.push(PlannedTrial { index, block, repetition: 0, cell, instrument: Some(Instrument::Strace) });
    run.write_plan();
    run.write_journal(&run.records());
    analyze(run.folder()).unwrap();
    let reason =
        "under strace the guest does not reach the reset pulses that end it (`stop_at = \"\"reset-pulses\"\"`)";
    let samples = run.read("samples.csv");
    let of_fc: Vec<&str> =
        samples.lines().filter(|row| row.contains(",fc/1,") && row.contains(",vmm_system_calls,")).collect();
    assert_eq!(of_fc.len(), 1, "{of_fc:?}");
    assert!(of_fc[0].contains(",not-applicable,") && of_fc[0].contains(reason), "{}", of_fc[0]);
    let summary = run.read("summary.csv");
    let of = |cell: &str| {
        summary.lines().find(|row| row.starts_with(&format!("{cell},")) && row.contains(",vmm_system_calls,")).unwrap()
    };
    assert!(of("fc/1").contains(reason), "{}", of("fc/1"));
    let several = run.plan.cells.iter().find(|cell| cell.concurrency > 1).unwrap();
    assert!(of(&several.id).ends_with(",no trial of the cell measures the metric"), "{}", of(&several.id));
    table::save(run.folder()).unwrap();
    let table = run.read("tables/metric-vmm_system_calls.md");
    assert!(!table.contains("excluded") && table.contains("not planned"), "{table}");
    assert!(table.contains("reset pulses"), "{table}");
}
