//! Sequences: the values of a cell in execution order.

use microbench_formats::figure::Theme;
use microbench_formats::record::Record;
use microbench_plots::figure::description::{Chart, LegendKey};
use microbench_plots::figure::sequence::{Order, PointKind, Sequence, describe};
use microbench_plots::figure::{Data, Description};
use microbench_plots::samples::samples;
use microbench_plots::{analyze, journal, plot_sequences};

use crate::support::{Run, text};

/// A run with a warm-up before the first trial, and a VM without a start-up time in the last trial of `fc/10`.
fn run() -> Run {
    let run = Run::new(8, Vec::new());
    let mut records = run.records();
    let warmup = run.trial(&run.plan.trials[0], 0, true);
    records.splice(1..1, warmup);
    let removed = |record: &Record| matches!(record, Record::Reading { vm: 3, name, .. } if name == "known.startup");
    let last = records.iter().rposition(removed).unwrap();
    records.remove(last);
    run.write_journal(&records);
    run
}

fn described(run: &Run, cell: &str) -> Vec<Description> {
    let journal = journal::read(&run.path("journal.ndjson")).unwrap();
    let (samples, order) = (samples(&run.plan, &journal), Order::new(&run.plan, &journal));
    describe(Data { plan: &run.plan, rows: &[], samples: &samples }, &order, cell, Theme::Publication).unwrap()
}

fn sequence(description: &Description) -> &Sequence {
    match &description.chart {
        Chart::Sequence(sequence) => sequence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn warm_ups_precede_trials_in_execution_order() {
    let run = run();
    let all = described(&run, "qemu/1");
    let names: Vec<&str> = all.iter().map(|description| description.name.as_str()).collect();
    assert_eq!(names, ["sequence-qemu--1-kernel_boot_time", "sequence-qemu--1-webservice_startup_time"]);
    let sequence = sequence(&all[0]);
    let points: Vec<_> = sequence.points.iter().map(|point| (point.at, point.value, point.kind)).collect();
    assert_eq!(
        points[..3],
        [
            (0.5, Some(110.0), PointKind::Warmup),
            (1.0, Some(110.0), PointKind::Counted),
            (7.0, Some(111.0), PointKind::Counted),
        ]
    );
    assert_eq!(sequence.median, Some(113.5), "a warm-up was counted");
    let keys: Vec<LegendKey> = all[0].legend.iter().map(|entry| entry.key).collect();
    assert_eq!(keys, [LegendKey::Point(PointKind::Counted), LegendKey::Point(PointKind::Warmup), LegendKey::Line]);
}

#[test]
fn partly_missing_values_differ_from_missing_values() {
    let run = run();
    let startup = &described(&run, "fc/10")[1];
    let kinds: Vec<PointKind> = sequence(startup).points.iter().map(|point| point.kind).collect();
    assert_eq!(kinds[..7], [PointKind::Counted; 7]);
    assert_eq!(kinds[7..], [PointKind::Incomplete]);
    assert!(
        startup.caption.contains("VMs without a value: 1 not-available: no reading known.startup."),
        "{}",
        startup.caption
    );
    let refused = &described(&run, "t2/1")[0];
    assert!(sequence(refused).points.iter().all(|point| point.kind == PointKind::Missing && point.value.is_none()));
    assert_eq!(sequence(refused).median, None);
}

#[test]
fn positions_are_those_of_the_journal_where_hosts_execute_the_trials_of_each_cpu_together() {
    let mut run = Run::new(2, Vec::new());
    for cell in run.plan.cells.iter_mut().filter(|cell| cell.variant == "fc") {
        cell.settings.extend([("host_cpu".to_owned(), text("Skylake-Server"))]);
    }
    run.write_plan();
    // The trials of `fc` follow all others, as those of another emulated host.
    let (mut later, mut records) = (Vec::new(), vec![Run::start()]);
    for trial in &run.plan.trials {
        let of_trial = run.trial(trial, 0, false);
        if trial.cell.starts_with("fc/") { later.extend(of_trial) } else { records.extend(of_trial) }
    }
    records.extend(later);
    run.write_journal(&records);
    let described = described(&run, "fc/1");
    let positions: Vec<f64> = sequence(&described[0]).points.iter().map(|point| point.at).collect();
    let n = run.plan.trials.len() as f64;
    let of_fc = run.plan.trials.iter().filter(|trial| trial.cell.starts_with("fc/")).count() as f64;
    assert!(positions.iter().all(|at| *at > n - of_fc && *at <= n), "{positions:?} of {n}");
    let caption = &described[0].caption;
    assert!(caption.contains("the trials of each CPU are executed together"), "{caption}");
}

#[test]
fn sequences_are_saved_for_every_cell_and_an_unknown_cell_is_an_error() {
    let run = run();
    analyze(run.folder()).unwrap();
    let error = plot_sequences(run.folder(), None, &["fc/10".into(), "fc/2".into()]).unwrap_err().to_string();
    assert!(error.contains("no cell `fc/2`; it has qemu/1, qemu/10"), "{error}");
    assert!(!run.path("figures").exists());
    let files = plot_sequences(run.folder(), None, &[]).unwrap();
    assert_eq!(files.len(), 6 * 2 * 5);
    assert!(run.path("figures/sequence-fc--10-webservice_startup_time.svg").is_file());
    if let Some(folder) = std::env::var_os("MICROBENCH_KEEP_FIGURES") {
        for file in &files {
            std::fs::copy(file, std::path::Path::new(&folder).join(file.file_name().unwrap())).unwrap();
        }
    }
}
