//! Samples and summaries from a journal.

use microbench_formats::plan::Limit;
use microbench_formats::record::{FailureReason, Record};
use microbench_plots::analyze;
use microbench_plots::limit;
use microbench_plots::samples::Status;

use crate::support::Run;

#[test]
fn every_planned_vm_is_a_row_with_a_value_or_a_reason() {
    let run = Run::new(3, Vec::new());
    let analysis = analyze(run.folder()).unwrap();
    // Three trials of two applicable variants and one that is not, with 1 and 10 VMs and two metrics.
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
fn a_retried_trial_counts_once() {
    let run = Run::new(1, Vec::new());
    let mut records = vec![Run::start()];
    // The first attempt is killed; the second has a warm-up and completes.
    let cut = run.trial(&run.plan.trials[0], 0, false);
    records.extend(cut[..cut.len() - 1].to_vec());
    records.push(Run::start());
    records.extend(run.trial(&run.plan.trials[0], 1, true));
    records.extend(run.trial(&run.plan.trials[0], 1, false));
    run.write_journal(&records);
    let analysis = analyze(run.folder()).unwrap();
    assert_eq!(analysis.values, 2);
    assert_eq!(analysis.journal.cut_off.len(), 1);
    let not_run = analysis.summary.iter().filter(|row| row.n() == 0).count();
    assert_eq!(not_run, 10, "five other cells, two metrics");
}

#[test]
fn a_torn_last_line_is_reported_and_other_damage_is_an_error_with_its_line() {
    let run = Run::new(1, Vec::new());
    let whole = run.read("journal.ndjson");
    std::fs::write(run.path("journal.ndjson"), &whole[..whole.len() - 10]).unwrap();
    let lines = whole.lines().count();
    assert_eq!(analyze(run.folder()).unwrap().journal.torn, Some(lines));
    let damaged = whole.replacen("kernel.init", "kernel.inot", 1);
    std::fs::write(run.path("journal.ndjson"), damaged).unwrap();
    let error = analyze(run.folder()).unwrap_err().to_string();
    assert!(error.contains("journal.ndjson:3: checksum mismatch"), "{error}");
}

/// All VMs of `fc` fail, so that its second level is beyond the limit. `qemu` stays within it; `t2` is not applicable.
#[test]
fn levels_beyond_the_limit_have_the_status_beyond_limit() {
    let mut run = Run::new(2, Vec::new());
    run.plan.limit = Some(Limit { failures: Some(0.5), ..Limit::default() });
    run.write_plan();
    let fail = |trial: u32, reason, message: &str| -> Vec<Record> {
        let trial = &run.plan.trials[trial as usize];
        let records = run.trial(trial, 0, false);
        let (first, last) = (records[0].clone(), records[records.len() - 1].clone());
        let vms = if trial.cell == "fc/1" { 1 } else { 10 };
        let failure = |vm| Record::Failure { vm, reason, stage: "spawn".into(), message: message.into() };
        std::iter::once(first).chain((0..vms).map(failure)).chain([last]).collect()
    };
    let of = |cell: &str| {
        run.plan.trials.iter().filter(|trial| trial.cell == cell).map(|trial| trial.index).collect::<Vec<_>>()
    };
    let mut records = vec![Run::start()];
    for trial in run.plan.trials.iter().filter(|trial| !trial.cell.starts_with("fc/")) {
        records.extend(run.trial(trial, 0, false));
    }
    let write = |records: &[Record]| {
        run.write_journal(records);
        analyze(run.folder()).unwrap().journal
    };
    records.extend(fail(of("fc/1")[0], FailureReason::Exited, "gone"));
    assert!(limit::cells_beyond_limit(&run.plan, &write(&records)).is_empty(), "the level has not ended");
    records.extend(fail(of("fc/1")[1], FailureReason::Exited, "gone"));
    let reason = "beyond the limit: 100 % of 1 VM failed (`failures` is 50 %)";
    let beyond = limit::cells_beyond_limit(&run.plan, &write(&records));
    assert_eq!(beyond.into_iter().collect::<Vec<_>>(), [("fc/10".to_owned(), reason.to_owned())]);
    for trial in of("fc/10") {
        records.extend(fail(trial, FailureReason::BeyondLimit, reason));
    }
    let journal = write(&records);
    assert_eq!(
        limit::describe_sweeps(&run.plan, &journal),
        [
            "QEMU host CPU: up to 10 VMs at once, the last level; no limit was exceeded",
            "Firecracker: 100 % of 1 VM failed (`failures` is 50 %); the next level is not run",
            "Firecracker T2: no level has ended, or this host cannot run it",
        ]
    );
    let analysis = analyze(run.folder()).unwrap();
    let row = analysis.summary.iter().find(|row| row.cell == "fc/10").unwrap();
    assert_eq!(row.missing[&Status::BeyondLimit], (20, reason.to_owned()));
}
