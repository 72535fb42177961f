//! From a journal to samples and summaries.

use microbench_plots::analyze;
use microbench_plots::record::encode_line;

use crate::support::Run;

#[test]
fn every_planned_vm_is_a_row_with_a_value_or_a_reason() {
    let run = Run::new(3, Vec::new());
    let analysis = analyze(run.folder()).unwrap();
    // Three trials of 2 applicable variants and 1 that is not, 1 and 10 VMs, 2 metrics.
    assert_eq!((analysis.values, analysis.missing), (3 * 2 * 11 * 2, 3 * 11 * 2));
    let csv = run.read("samples.csv");
    assert_eq!(csv.lines().count(), 1 + analysis.values + analysis.missing);
    assert!(csv.contains("no such template here"), "a reason is lost");
    assert!(run.path("samples.parquet").is_file());
    let row = |cell: &str| {
        analysis.summary.iter().find(|row| row.cell == cell && row.metric == "kernel_boot_time").unwrap().clone()
    };
    assert_eq!((row("qemu/1").median(), row("fc/10").mean()), (Some(111.0), Some(151.0)));
    assert_eq!((row("fc/10").n(), row("fc/10").vms), (3, 30));
    assert_eq!((row("t2/1").n(), row("t2/1").median()), (0, None));
}

#[test]
fn what_was_cut_off_and_executed_again_counts_once() {
    let run = Run::new(1, Vec::new());
    let mut records = vec![Run::start()];
    // Cut off in its first attempt, by a kill; then a warm-up and the whole.
    let cut = run.trial(&run.plan.trials[0], 0, false);
    records.extend(cut[..cut.len() - 1].to_vec());
    records.push(Run::start());
    records.extend(run.trial(&run.plan.trials[0], 1, true));
    records.extend(run.trial(&run.plan.trials[0], 1, false));
    let journal: String = records.iter().map(encode_line).collect();
    std::fs::write(run.path("journal.ndjson"), journal).unwrap();
    let analysis = analyze(run.folder()).unwrap();
    assert_eq!(analysis.values, 2);
    assert_eq!(analysis.journal.cut_off.len(), 1);
    let not_run = analysis.summary.iter().filter(|row| row.n() == 0).count();
    assert_eq!(not_run, 10, "five other cells, two metrics");
}

#[test]
fn a_torn_last_line_is_said_and_damage_elsewhere_is_an_error_with_its_line() {
    let run = Run::new(1, Vec::new());
    let whole = run.read("journal.ndjson");
    std::fs::write(run.path("journal.ndjson"), &whole[..whole.len() - 10]).unwrap();
    let lines = whole.lines().count();
    assert_eq!(analyze(run.folder()).unwrap().journal.torn, Some(lines));
    let damaged = whole.replacen("kernel.init", "kernel.inot", 1);
    std::fs::write(run.path("journal.ndjson"), damaged).unwrap();
    let error = analyze(run.folder()).unwrap_err().to_string();
    assert!(error.contains("journal.ndjson:3"), "{error}");
}
