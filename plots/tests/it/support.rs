//! A run directory with known values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use microbench_formats::attribution::Attribution;
use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::claim::{Claim, Comparison, Subject};
use microbench_formats::figure::{Column, Figure, FigureBar, FigureForm, Scaling, Theme};
use microbench_formats::host::HostKind;
use microbench_formats::journal::{encode, records};
use microbench_formats::level_map::LevelMap;
use microbench_formats::metric::{Metric, MetricSource};
use microbench_formats::plan::{Plan, PlannedTrial, Protocol};
use microbench_formats::record::{FailureReason, Record};
use microbench_formats::reference::{Reference, ReferenceValue};
use microbench_formats::selection::Selection;
use microbench_formats::statistic::Statistic;
use microbench_formats::version::FORMAT_VERSION;

/// A run directory; removed when dropped.
pub(crate) struct Run {
    folder: tempfile::TempDir,
    pub(crate) plan: Plan,
}

pub(crate) fn text(level: &str) -> Level {
    Level::Text(level.into())
}

/// A selection from pairs of axis and levels.
pub(crate) fn selection(pairs: &[(&str, Vec<Level>)]) -> Selection {
    pairs.iter().map(|(axis, levels)| ((*axis).to_owned(), levels.clone())).collect()
}

pub(crate) fn metric(name: &str, label: &str, reading: &str) -> Metric {
    Metric {
        name: name.into(),
        label: label.into(),
        definition: format!("What `{reading}` says."),
        unit: "ms".into(),
        source: MetricSource::Reading(reading.into()),
        better: None,
        instrument: None,
        gate: None,
    }
}

/// A figure with default options.
pub(crate) fn figure(name: &str, form: FigureForm, metrics: &[&str]) -> Figure {
    Figure {
        name: name.into(),
        title: "A title".into(),
        form,
        theme: Theme::Publication,
        column: Column::Double,
        metrics: metrics.iter().map(|metric| (*metric).to_owned()).collect(),
        bars: Vec::new(),
        y_label: String::new(),
        reference: false,
        x: "variant".into(),
        groups: None,
        panels: None,
        only: BTreeMap::new(),
        statistic: Statistic::Median,
        x_scale: Scaling::Linear,
        y_scale: Scaling::Linear,
    }
}

/// A listed bar.
pub(crate) fn bar(label: &str, group: &str, of: &[(&str, Vec<Level>)]) -> FigureBar {
    FigureBar { label: label.into(), group: group.into(), of: selection(of) }
}

impl Run {
    /// A run of the variants `qemu`, `fc` and `t2` (not applicable) with 1 and 10 VMs, `trials` trials each.
    ///
    /// The kernel boot time is 100 ms for `qemu` and 50 ms for `fc`, plus 10 ms for each VM, plus the block's number in
    /// ms. The start-up time is three times the kernel boot time. All VMs of a trial have the same value.
    pub(crate) fn new(trials: u32, figures: Vec<Figure>) -> Self {
        let mut cells = Vec::new();
        for (variant, label, engine) in [
            ("qemu", "QEMU host CPU", "qemu-microvm"),
            ("fc", "Firecracker", "firecracker"),
            ("t2", "Firecracker T2", "firecracker"),
        ] {
            for concurrency in [1, 10] {
                let levels = LevelMap::from_iter([
                    ("variant".to_owned(), text(variant)),
                    ("concurrency".to_owned(), Level::Int(i64::from(concurrency))),
                ]);
                cells.push(Cell {
                    id: format!("{variant}/{concurrency}").into(),
                    levels,
                    variant: variant.into(),
                    label: label.into(),
                    engine: engine.into(),
                    concurrency,
                    trials,
                    settings: LevelMap::from_iter([
                        ("kernel".to_owned(), text("microvm-6.1")),
                        ("rootfs".to_owned(), text("openrc")),
                    ]),
                });
            }
        }
        let mut planned = Vec::new();
        for block in 0..trials {
            for cell in &cells {
                let index = u32::try_from(planned.len()).unwrap();
                planned.push(PlannedTrial { index, block, repetition: 0, cell: cell.id.clone(), instrument: None });
            }
        }
        let value = |metric: &str, label: &str, of: &[(&str, Vec<Level>)], value| ReferenceValue {
            metric: metric.into(),
            label: label.into(),
            of: selection(of),
            value,
            n: Some(10),
        };
        let plan = Plan {
            format: FORMAT_VERSION,
            study: "known".into(),
            title: "Known values".into(),
            protocol: Protocol::Corrected,
            profile: String::new(),
            seed: 1,
            repetitions: 1,
            warmup: false,
            give_up_after: 0,
            axes: vec![
                Axis { name: "variant".into(), levels: vec![text("qemu"), text("fc"), text("t2")] },
                Axis { name: "concurrency".into(), levels: vec![Level::Int(1), Level::Int(10)] },
            ],
            cells,
            trials: planned,
            workloads: Vec::new(),
            metrics: vec![
                metric("kernel_boot_time", "Kernel boot", "kernel.init"),
                metric("webservice_startup_time", "Web service start-up", "known.startup"),
            ],
            figures,
            claims: Vec::new(),
            reference: Some(Reference {
                left_out: BTreeMap::new(),
                label: "Somebody 2019".into(),
                citation: "Somebody, A paper, 2019".into(),
                values: vec![
                    value(
                        "kernel_boot_time",
                        "QEMU",
                        &[("variant", vec![text("qemu")]), ("concurrency", vec![Level::Int(1)])],
                        150.0,
                    ),
                    value(
                        "kernel_boot_time",
                        "FC x10",
                        &[("engine", vec![text("firecracker")]), ("concurrency", vec![Level::Int(10)])],
                        90.0,
                    ),
                ],
            }),
            excluded: Vec::new(),
            family: Vec::new(),
            attribution: Attribution::default(),
            across_host_cpus: false,
            precision: None,
            limit: None,
        };
        let run = Self { folder: tempfile::tempdir().unwrap(), plan };
        run.write_plan();
        run.write_journal(&run.records());
        run
    }

    /// Writes the current plan, and updates its digest in the sessions of an existing journal.
    pub(crate) fn write_plan(&self) {
        std::fs::write(self.path("plan.json"), serde_json::to_vec_pretty(&self.plan).unwrap()).unwrap();
        if let Ok(bytes) = std::fs::read(self.path("journal.ndjson")) {
            self.write_journal(&records(&bytes).map(Result::unwrap).collect::<Vec<_>>());
        }
    }

    /// Writes a journal of `records`, with the digest of the written plan in each session.
    pub(crate) fn write_journal(&self, records: &[Record]) {
        let digests = microbench_plots::run::digests(self.folder()).unwrap();
        let mut records = records.to_vec();
        for record in &mut records {
            if let Record::RunStart { plan_sha256, .. } = record {
                plan_sha256.clone_from(&digests.plan);
            }
        }
        std::fs::write(self.path("journal.ndjson"), encode(&records)).unwrap();
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The start of a session.
    pub(crate) fn start() -> Record {
        Record::RunStart {
            format: FORMAT_VERSION,
            run: "known".into(),
            plan_sha256: String::new(),
            engines_sha256: None,
            lock_sha256: None,
            host: HostKind::Emulated,
            hosts: 1,
            started: "2026-01-01T00:00:00Z".into(),
            version: "0".into(),
            build: None,
            shard: None,
            machine: String::new(),
            unisolated: None,
            repetition: None,
            interleaved_with: None,
            label: None,
        }
    }

    /// Every record of a complete run.
    pub(crate) fn records(&self) -> Vec<Record> {
        let mut records = vec![Self::start()];
        for trial in &self.plan.trials {
            records.extend(self.trial(trial, 0, false));
        }
        records.push(Record::RunEnd { ended: "2026-01-01T01:00:00Z".into() });
        records
    }

    /// The records of one trial execution.
    pub(crate) fn trial(&self, trial: &PlannedTrial, attempt: u32, warmup: bool) -> Vec<Record> {
        let cell = self.plan.cells.iter().find(|cell| cell.id == trial.cell).unwrap();
        let mut records = vec![Record::TrialStart {
            trial: trial.index,
            attempt,
            cell: cell.id.to_string(),
            warmup,
            emulated_host: None,
        }];
        let applicable = cell.variant != "t2";
        let base = if cell.variant == "qemu" { 100.0 } else { 50.0 };
        let boot = base + 10.0 * f64::from(cell.concurrency) + f64::from(trial.block);
        for vm in 0..cell.concurrency {
            if applicable {
                for (name, value) in [("kernel.init", boot), ("known.startup", 3.0 * boot)] {
                    records.push(Record::Reading {
                        vm,
                        name: name.into(),
                        value: Some(value * 1e6),
                        unit: "ns".into(),
                        reason: String::new(),
                    });
                }
            } else {
                records.push(Record::Failure {
                    vm,
                    reason: FailureReason::NotApplicable,
                    stage: "boot.requested".into(),
                    message: "no such template here".into(),
                });
            }
        }
        let (ok, failed) = if applicable { (cell.concurrency, 0) } else { (0, cell.concurrency) };
        records.push(Record::TrialEnd { trial: trial.index, attempt, ok, failed });
        records
    }
}

/// A claim on medians without a gate.
pub(crate) fn claim(name: &str, comparison: Option<Comparison>, least: Option<f64>, most: Option<f64>) -> Claim {
    Claim {
        name: name.into(),
        text: format!("What {name} says."),
        unmeasured: if comparison.is_none() { "not measurable".into() } else { String::new() },
        comparison,
        statistic: Statistic::Median,
        least,
        most,
        strict: false,
        subject: Subject::Statistic,
        clock: None,
        gate: false,
        published: Some(1.18),
        data: "something else".into(),
    }
}
