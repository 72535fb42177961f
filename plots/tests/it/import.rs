//! Import of published tables as runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::digests::Digests;
use microbench_formats::journal::encode;
use microbench_formats::level_map::LevelMap;
use microbench_formats::metric::{Metric, MetricSource};
use microbench_formats::plan::Plan;
use microbench_plots::import::{CellMapping, Imported, Mapping, OneOf, Rows, import, run_start};
use microbench_plots::{Analysis, analyze, journal, samples};
use microbench_testing::{Missing, require};
use proptest::prelude::*;

use crate::support::{Run, text};

/// A reference table next to the repository, which is not part of this project.
fn reference(name: &str) -> Result<String, Missing> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/reference").join(name);
    std::fs::read_to_string(&path).map_err(|_| Missing::machine(format!("{name} is not next to the repository")))
}

fn plan(variants: &[&str], concurrencies: &[i64], metrics: &[&str]) -> Plan {
    let mut plan = Run::new(1, Vec::new()).plan;
    let variant_levels: Vec<Level> = variants.iter().map(|name| text(name)).collect();
    let concurrency_levels: Vec<Level> = concurrencies.iter().map(|n| Level::Int(*n)).collect();
    plan.cells = Vec::new();
    for variant in variants {
        for concurrency in concurrencies {
            plan.cells.push(Cell {
                id: format!("{variant}/{concurrency}").into(),
                levels: LevelMap::from_iter([
                    ("variant".to_owned(), text(variant)),
                    ("concurrency".to_owned(), Level::Int(*concurrency)),
                ]),
                variant: (*variant).into(),
                label: (*variant).into(),
                engine: "any".into(),
                concurrency: u32::try_from(*concurrency).unwrap(),
                trials: 1,
                settings: LevelMap::default(),
            });
        }
    }
    plan.axes = vec![
        Axis { name: "variant".into(), levels: variant_levels },
        Axis { name: "concurrency".into(), levels: concurrency_levels },
    ];
    plan.metrics = metrics
        .iter()
        .map(|name| Metric {
            name: (*name).to_owned(),
            label: (*name).to_owned(),
            definition: "As published.".into(),
            unit: if *name == "kernel_log_messages" { "1".into() } else { "ms".into() },
            source: MetricSource::Reading("x".into()),
            better: None,
            instrument: None,
            gate: None,
        })
        .collect();
    plan
}

/// Selects rows with one of the values in a column.
fn rows_with<const N: usize>(column: &str, values: [&str; N]) -> Rows {
    BTreeMap::from([(column.to_owned(), OneOf::Many(values.map(text).to_vec()))])
}

/// Imports a table and analyses the run.
fn analysed(plan: &Plan, csv: &str, mapping: &Mapping) -> Analysis {
    let mut run = Run::new(1, Vec::new());
    let imported =
        import(plan, csv, mapping).unwrap_or_else(|errors| panic!("{}", errors[..errors.len().min(5)].join("\n")));
    run.plan = imported.plan;
    run.write_plan();
    let mut records = vec![run_start("imported", Digests::default(), "2026-01-01T00:00:00Z", "0")];
    records.extend(imported.records);
    run.write_journal(&records);
    analyze(run.folder()).unwrap()
}

fn mean_of(analysis: &Analysis, cell: &str, metric: &str) -> f64 {
    let row = analysis.summary.iter().find(|row| row.cell == cell && row.metric == metric);
    row.and_then(microbench_plots::summary::Row::mean).unwrap_or_else(|| panic!("no mean of {metric} in {cell}"))
}

const METRICS: &[&str] =
    &["kernel_boot_time", "webservice_startup_time", "hashing_time", "shutdown_time", "kernel_log_messages"];

/// Bars by their names in the paper's scripts, and the means in its figures.
const BARS: &[(&str, &str, i64, [f64; 5])] = &[
    ("host CPU", "qemu-host", 1, [1056.0, 1324.6, 68.1, 10741.5, 228.1]),
    ("emulated CPU", "qemu-emulated", 1, [1084.3, 1585.9, 71.0, 10580.6, 215.9]),
    ("FC T2", "t2", 1, [763.1, 1185.6, 91.3, 2313.7, 204.8]),
    ("FC C3", "c3", 1, [806.3, 1200.6, 92.4, 2318.2, 204.8]),
    ("default kernel", "default", 1, [861.0, 1149.8, 94.8, 2323.7, 196.2]),
    ("qemu x10", "qemu-host", 10, [1456.3, 1806.9, 116.6, 15981.0, f64::NAN]),
    ("qemu x10 emulated", "qemu-emulated", 10, [1415.4, 2017.2, 110.9, 15778.0, f64::NAN]),
    ("qemu x20", "qemu-host", 20, [2466.7, 5277.9, 418.2, 31863.0, f64::NAN]),
    ("qemu x20 emulated", "qemu-emulated", 20, [2192.2, 7556.3, 480.4, 32660.0, f64::NAN]),
    ("firecracker x10", "fc", 10, [857.1, 1309.0, 134.2, 2389.1, f64::NAN]),
    ("firecracker x20", "fc", 20, [1188.2, 2225.7, 222.3, 2663.9, f64::NAN]),
];

#[test]
fn a_mapping_selects_rows_by_a_value_or_a_list() {
    let plan = plan(&["a", "b"], &[1], &["kernel_boot_time"]);
    let csv = "metric,name,round,value\nkernel_boot_time,x,1,10\nkernel_boot_time,y,1,20\nkernel_boot_time,z,1,30\n\
               kernel_boot_time,x,2,40\nkernel_boot_time,w,1,50\n";
    let mapping = r#"{
        "where": { "round": 1 }, "where_not": { "name": ["w"] },
        "cells": [
            { "where": { "name": ["x", "y"] }, "cell": { "variant": "a" } },
            { "where": { "name": "z" }, "cell": { "variant": "b" } }
        ]
    }"#;
    let imported = import(&plan, csv, &serde_json::from_str(mapping).unwrap()).unwrap();
    assert_eq!((imported.rows, imported.ignored), (3, 2));
    let trials: Vec<&str> = imported.plan.trials.iter().map(|trial| &*trial.cell).collect();
    assert_eq!(trials, ["a/1", "a/1", "b/1"]);
}

#[test]
fn imported_values_have_the_published_means() {
    let csv = reference("paper-2019.csv");
    require!(csv.clone().map(drop));
    let csv = csv.expect("checked by require");
    let plan = plan(&["qemu-host", "qemu-emulated", "t2", "c3", "default", "fc"], &[1, 10, 20], METRICS);
    let figures = ["4", "5", "webservice-time-sequential", "webservice-time-concurrent", "8", "9", "10", "11"];
    let cells = BARS.iter().map(|(theirs, variant, concurrency, _)| CellMapping {
        rows: rows_with("variant", [*theirs]),
        cell: BTreeMap::from([
            ("variant".to_owned(), text(variant)),
            ("concurrency".to_owned(), Level::Int(*concurrency)),
        ]),
    });
    let mapping = Mapping {
        selected: rows_with("figure", figures),
        left_out: rows_with("repetition", ["mean"]),
        cells: cells.collect(),
        ..Mapping::default()
    };
    let analysis = analysed(&plan, &csv, &mapping);
    for (_, variant, concurrency, means) in BARS {
        for (metric, published) in METRICS.iter().zip(means).filter(|(_, mean)| !mean.is_nan()) {
            let mean = mean_of(&analysis, &format!("{variant}/{concurrency}"), metric);
            // The table rounds large values to whole numbers.
            let precision = if published.fract() == 0.0 && *published > 15_000.0 { 0.501 } else { 0.05 };
            assert!(
                (mean - published).abs() <= precision + 1e-9,
                "{variant}/{concurrency} {metric}: {mean}, not {published}"
            );
        }
    }
    let row = |metric: &str| analysis.summary.iter().find(|row| row.cell == "fc/20" && row.metric == metric).unwrap();
    assert_eq!(row("kernel_boot_time").vms, 77, "values of the slowest guests are missing");
    assert_eq!(row("webservice_startup_time").vms, 80);
}

#[test]
fn imported_demixed_values_have_the_demixed_means() {
    let csv = reference("paper-2019-demixed.csv");
    require!(csv.clone().map(drop));
    let csv = csv.expect("checked by require");
    // The table's names of variants have spaces, which names of a study do not have.
    let csv = csv.replace(" + ", "-").replace("default kernel", "default-kernel").replace("own kernel", "own-kernel");
    let csv = csv.replace("host CPU", "host-CPU").replace("emulated CPU", "emulated-CPU");
    let variants =
        ["T2-own-kernel", "C3-own-kernel", "T2-default-kernel", "C3-default-kernel", "host-CPU", "emulated-CPU"];
    let plan = plan(&variants, &[1, 10, 20], METRICS);
    let mapping = Mapping {
        columns: BTreeMap::from([("variant".to_owned(), "true_variant".to_owned())]),
        selected: rows_with("true_variant", variants),
        ..Mapping::default()
    };
    let analysis = analysed(&plan, &csv, &mapping);
    for (variant, boot, web) in [
        ("T2-own-kernel", 588.0, 1206.0),
        ("C3-own-kernel", 743.0, 1237.0),
        ("T2-default-kernel", 852.0, 1135.0),
        ("C3-default-kernel", 870.0, 1165.0),
        ("host-CPU", 1056.0, 1325.0),
    ] {
        for (metric, published) in [("kernel_boot_time", boot), ("webservice_startup_time", web)] {
            let mean = mean_of(&analysis, &format!("{variant}/1"), metric);
            // The table rounds to whole milliseconds after rounding to tenths.
            let tenths = (mean * 10.0).round() / 10.0;
            assert!((tenths - published).abs() <= 0.5, "{variant} {metric}: {mean}, not {published}");
        }
    }
}

#[test]
fn every_invalid_row_is_reported_with_its_line() {
    let plan = plan(&["a"], &[1], &["kernel_boot_time"]);
    let csv = "metric,variant,concurrency,value,unit\n\
               kernel_boot_time,a,1,5,ms\n\
               kernel_boot_time,b,1,5,ms\n\
               boot,a,1,5,ms\n\
               kernel_boot_time,a,1,five,ms\n\
               kernel_boot_time,a,1,5,s\n\
               kernel_boot_time,a,1,inf,ms\n";
    let errors = import(&plan, csv, &Mapping::default()).unwrap_err();
    let lines: Vec<_> = errors.iter().map(|error| error.split(':').next().unwrap()).collect();
    // `b` is not a level, but the study's only variant applies.
    assert_eq!(lines, ["line 4", "line 5", "line 6", "line 7"], "{errors:?}");
    let errors = import(&plan, "a,b\n1,2\n", &Mapping::default()).unwrap_err();
    assert!(errors.iter().all(|error| error.starts_with("line 1: the table has no column")), "{errors:?}");
}

/// Two of three VMs timed out, so the median is not known; it would be 10 ms of the only VM that responded.
#[test]
fn a_censored_row_ranks_last_and_is_not_a_value() {
    let plan = plan(&["a"], &[1], &["kernel_boot_time"]);
    let csv = "metric,value,censored,reason\n\
               kernel_boot_time,10,false,\n\
               kernel_boot_time,60000,true,no response\n\
               kernel_boot_time,,1,\n";
    let analysis = analysed(&plan, csv, &Mapping::default());
    let row = &analysis.summary[0];
    assert_eq!((row.median(), row.mean(), row.censored(), row.n()), (None, None, 2, 1));
    assert_eq!(row.missing[&samples::Status::Censored], (2, "larger than 60000 ms: no response".to_owned()));
    let wrong = "metric,value,censored\nkernel_boot_time,10,maybe\n";
    let errors = import(&plan, wrong, &Mapping::default()).unwrap_err();
    assert_eq!(errors, ["line 2: censored `maybe` is neither `true` nor `false`"]);
}

#[test]
fn an_empty_value_is_a_missing_value_with_a_reason() {
    let plan = plan(&["a"], &[1], &["kernel_boot_time"]);
    let csv = "metric,value,reason\nkernel_boot_time,5,\nkernel_boot_time,,the disk was full\n";
    let analysis = analysed(&plan, csv, &Mapping::default());
    assert_eq!((analysis.values, analysis.missing), (1, 1));
}

/// A row: metric, level of concurrency, trial, VM, and whether the mapping excludes it.
type Row = (usize, usize, u32, u32, bool);

const LEVELS: [&str; 2] = ["1", "3"];
const NAMES: [&str; 2] = ["kernel_boot_time", "hashing_time"];

/// A table of `rows`, with the columns `trial` and `vm` if requested. The value of a row is its number.
fn table(rows: &[Row], trial: bool, vm: bool) -> String {
    let column = |present: bool, text: &str| if present { format!(",{text}") } else { String::new() };
    let mut csv = format!("metric,concurrency,value,keep{}{}\n", column(trial, "trial"), column(vm, "vm"));
    for (number, (metric, level, of_trial, of_vm, left_out)) in rows.iter().enumerate() {
        let keep = if *left_out { "no" } else { "yes" };
        csv += &format!("{},{},{number},{keep}", NAMES[*metric], LEVELS[*level]);
        csv += &(column(trial, &of_trial.to_string()) + &column(vm, &of_vm.to_string()) + "\n");
    }
    csv
}

/// The sorted values of the samples of an imported run.
fn values(imported: &Imported) -> Vec<usize> {
    let start = run_start("imported", Digests::default(), "2026-01-01T00:00:00Z", "0");
    let text = encode(std::iter::once(&start).chain(&imported.records));
    let journal = journal::parse(text.as_bytes()).unwrap();
    let mut values: Vec<usize> = samples::samples(&imported.plan, &journal)
        .iter()
        .filter_map(|sample| sample.value)
        .map(|value| value as usize)
        .collect();
    values.sort_unstable();
    values
}

/// Whether two rows are duplicates, or a trial has more rows than VMs.
fn has_duplicates(rows: &[Row], trial: bool, vm: bool) -> bool {
    let (mut seen, mut vms, mut counts) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
    rows.iter().filter(|row| !row.4).any(|&(metric, level, of_trial, of_vm, _)| {
        let most = if level == 0 { 1 } else { 3 };
        // Without trial numbers, each row of a cell of one VM is a trial; all rows of another cell are one trial.
        let pooled = !trial && level == 1;
        let alone = !trial && level == 0;
        let of_trial = if trial { of_trial } else { 0 };
        let twice = vm && !alone && !seen.insert((metric, level, of_trial, of_vm));
        let named: &mut BTreeSet<u32> = vms.entry((level, of_trial)).or_default();
        named.insert(of_vm);
        let count = counts.entry((metric, level, of_trial)).or_insert(0);
        *count += 1;
        let full = if vm { named.len() > most } else { *count > most };
        twice || (full && !pooled && !alone)
    })
}

proptest! {
    #[test]
    fn every_row_is_imported_or_excluded_or_reported_as_duplicate(
        rows in prop::collection::vec((0_usize..2, 0_usize..2, 0_u32..3, 0_u32..4, prop::bool::weighted(0.2)), 1..24),
        trial in any::<bool>(),
        vm in any::<bool>(),
    ) {
        let plan = plan(&["a"], &[1, 3], &NAMES);
        let mapping = Mapping {
            left_out: rows_with("keep", ["no"]),
            ..Mapping::default()
        };
        let kept: Vec<usize> = (0..rows.len()).filter(|number| !rows[*number].4).collect();
        prop_assume!(!kept.is_empty());
        match import(&plan, &table(&rows, trial, vm), &mapping) {
            Ok(imported) => {
                prop_assert!(!has_duplicates(&rows, trial, vm), "a duplicate was imported");
                prop_assert_eq!((imported.rows, imported.ignored), (kept.len(), rows.len() - kept.len()));
                prop_assert_eq!(values(&imported), kept);
            }
            Err(errors) => {
                prop_assert!(has_duplicates(&rows, trial, vm), "{:?}", errors);
                // The line of the row and the line of an earlier row.
                for error in errors {
                    let lines: Vec<u64> = error
                        .split("line ")
                        .skip(1)
                        .map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap())
                        .collect();
                    prop_assert!(lines.len() == 2 && lines[1] < lines[0], "{}", error);
                }
            }
        }
    }
}

#[test]
fn a_cell_with_and_without_trial_numbers_is_an_error() {
    let plan = plan(&["a"], &[1], &["kernel_boot_time"]);
    let csv = "metric,trial,value\nkernel_boot_time,1,5\nkernel_boot_time,,6\n";
    let errors = import(&plan, csv, &Mapping::default()).unwrap_err();
    assert_eq!(errors, ["line 3: cell `a/1`: this row has no trial number, but line 2 has one"]);
}
