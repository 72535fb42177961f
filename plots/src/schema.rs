//! The columns of a run's tables: `samples.parquet` and the tables of `microbench query`.
//!
//! Reference pages are generated from these definitions, and tests check the files against them.

use microbench_formats::terminal::{OutputWidth, wrapped_to};
use polars::prelude::DataType;

/// A table of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Name in a query.
    pub name: &'static str,
    /// The file of the run folder that contains the table or that it is computed from.
    pub file: &'static str,
    /// What one row is.
    pub row: &'static str,
    /// The columns, in order.
    pub columns: &'static [Column],
}

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name; a name that ends in `*` stands for any number of columns, one for each axis or setting.
    pub name: &'static str,
    /// Type of its values.
    pub kind: Kind,
    /// Unit of the values; empty for none, `unit` if the column `unit` has it for each row.
    pub unit: &'static str,
    /// Description, for the reference page.
    pub meaning: &'static str,
}

/// Type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8; never null in `samples.parquet`, empty instead.
    Text,
    U32,
    U64,
    /// Double precision; null if there is no value.
    F64,
    Bool,
}

impl Kind {
    /// The name of the type in documentation.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::U32 => "uint32",
            Self::U64 => "uint64",
            Self::F64 => "float64",
            Self::Bool => "boolean",
        }
    }

    pub(crate) fn from_data_type(kind: &DataType) -> Option<Self> {
        Some(match kind {
            DataType::String => Self::Text,
            DataType::UInt32 => Self::U32,
            DataType::UInt64 => Self::U64,
            DataType::Float64 => Self::F64,
            DataType::Boolean => Self::Bool,
            _ => return None,
        })
    }
}

const fn column(name: &'static str, kind: Kind, unit: &'static str, meaning: &'static str) -> Column {
    Column { name, kind, unit, meaning }
}

use Kind::{Bool, F64, Text, U32, U64};

/// Every table. In a query, each table has an additional first column `run`, the name of the run folder.
pub const TABLES: &[Table] = &[
    Table { name: "samples", file: "samples.parquet", row: "one metric of one VM of one execution", columns: SAMPLES },
    Table { name: "summary", file: "summary.csv", row: "one metric of one cell, over its trials", columns: SUMMARY },
    Table {
        name: "uncertainty",
        file: "uncertainty.csv",
        row: "one component of the uncertainty of one metric of one cell",
        columns: UNCERTAINTY,
    },
    Table { name: "cells", file: "plan.json", row: "one cell of the matrix", columns: CELLS },
    Table { name: "metrics", file: "plan.json", row: "one metric of the study", columns: METRICS },
    Table { name: "claims", file: "plan.json", row: "one claim of the study, with its verdict", columns: CLAIMS },
    Table { name: "events", file: "journal.ndjson", row: "one instant in the life of one VM", columns: EVENTS },
    Table { name: "readings", file: "journal.ndjson", row: "one reading of one VM", columns: READINGS },
];

/// `samples.parquet` and `samples.csv`.
pub const SAMPLES: &[Column] = &[
    column("study", Text, "", "name of the study"),
    column("cell", Text, "", "the cell: its levels joined by `/`"),
    column("variant", Text, "", "the variant's key in the manifest"),
    column("label", Text, "", "the variant's label"),
    column("engine", Text, "", "the engine's name"),
    column("concurrency", U32, "VMs", "VMs released together in one trial"),
    column("axis_*", Text, "", "level of each other axis of the matrix, as text; for example `axis_rootfs`"),
    column("block", U32, "", "block of the randomised complete block design, from 0"),
    column("repetition", U32, "", "repetition of all trials, from 0; 0 in a run without repetitions"),
    column(
        "trial",
        U32,
        "",
        "the trial: its place in the plan, from 0; the emulated host executes the trials of each `host_cpu` together",
    ),
    column(
        "attempt",
        U32,
        "",
        "number of the trial execution, from 0; more than 0 if the trial was cut off or disturbed",
    ),
    column("vm", U32, "", "the VM in its trial, from 0"),
    column("metric", Text, "", "name of the metric"),
    column("value", F64, "unit", "the value; null where `status` is neither `ok` nor `invalid`"),
    column("unit", Text, "", "unit of the value: `ms` for durations, `1` for counts, else the unit of the reading"),
    column(
        "status",
        Text,
        "",
        "`ok`; `censored`: larger than the time that was waited; `failed`; `invalid`: the execution was disturbed; \
         `not-applicable`; `not-available`; `not-run`; `beyond-limit`: a lower level of concurrency exceeded a limit \
         of the study",
    ),
    column("reason", Text, "", "why there is no value, or why it does not count; empty for `ok`"),
    column("host", Text, "", "kind of host: `kvm`, `emulated`, `imported`; empty if the trial was not executed"),
    column("clock", Text, "", "clock of durations: `wall`, or `virtual` on an emulated host; empty if unknown"),
    column(
        "machine",
        Text,
        "",
        "name of the host in a run of several shards, within which cells are compared; else empty",
    ),
    column(
        "emulated_host",
        Text,
        "",
        "number of the emulated host, whose console log is `emulated-host-NUMBER.log`; empty on other kinds of host",
    ),
    column(
        "host_cpu",
        Text,
        "",
        "CPU of the emulated host; empty on other kinds of host, on which the setting `host_cpu` is not applied",
    ),
    column("emulated_memory_mib", U64, "MiB", "memory of the emulated host; null on other kinds of host"),
    column("warmup", Bool, "", "whether it is a warm-up, which is in no statistic"),
    column("superseded", Bool, "", "whether another execution of the same trial counts instead"),
];

/// `summary.csv`.
pub const SUMMARY: &[Column] = &[
    column("cell", Text, "", "the cell"),
    column("label", Text, "", "its variant's label"),
    column("metric", Text, "", "name of the metric"),
    column("unit", Text, "", "unit of the statistics"),
    column("host", Text, "", "kind of host"),
    column("n_trials", U64, "trials", "trials with a value: the n of every statistic"),
    column("n_vms", U64, "VMs", "VMs with a value"),
    column(
        "median",
        F64,
        "unit",
        "median over trials, with repetitions the mean of their medians; a trial counts as the median of its VMs",
    ),
    column(
        "median_low",
        F64,
        "unit",
        "lower end of the median's order-statistic interval; null below 6 trials; with repetitions of their t \
         interval; null below 3 repetitions",
    ),
    column("median_high", F64, "unit", "upper end of the interval; null where it is censored (see `censored_columns`)"),
    column("median_level", F64, "", "its confidence: at least 0.95"),
    column(
        "mean",
        F64,
        "unit",
        "mean over trials; a trial counts as the mean of its VMs; null if a VM is censored or failed",
    ),
    column(
        "mean_low",
        F64,
        "unit",
        "lower end of the mean's BCa bootstrap interval, with repetitions of their t interval, 95 %; null where it is withheld",
    ),
    column("mean_high", F64, "unit", "upper end of the interval"),
    column(
        "mean_withheld",
        Text,
        "",
        "why the mean's interval or the mean is withheld: too few trials, or VMs that are censored or failed; else empty",
    ),
    column("standard_deviation", F64, "unit", "standard deviation of the trials' means; null where the mean is"),
    column("coefficient_of_variation", F64, "", "standard deviation over mean"),
    column("min", F64, "unit", "smallest of the trials' medians"),
    column("max", F64, "unit", "largest of the trials' medians"),
    column("p90", F64, "unit", "90th percentile over trials; null below 29"),
    column("p90_low", F64, "unit", "lower end of its order-statistic interval, 95 %"),
    column("p90_high", F64, "unit", "upper end of the interval"),
    column("p95", F64, "unit", "95th percentile over trials; null below 59"),
    column("p95_low", F64, "unit", "lower end of its order-statistic interval, 95 %"),
    column("p95_high", F64, "unit", "upper end of the interval"),
    column("p99", F64, "unit", "99th percentile over trials; null below 299"),
    column("p99_low", F64, "unit", "lower end of its order-statistic interval, 95 %"),
    column("p99_high", F64, "unit", "upper end of the interval"),
    column("outliers_mild", U64, "trials", "Tukey's mild outliers, which are kept"),
    column("outliers_severe", U64, "trials", "Tukey's severe outliers, which are kept"),
    column("drift", F64, "", "rank correlation of the values of the cell with their order"),
    column("drift_p", F64, "", "its p-value"),
    column("lag_1", F64, "", "autocorrelation at lag 1"),
    column("censored", U64, "VMs", "VMs whose value is only known to be larger than the time that was waited"),
    column("failed", U64, "VMs", "VMs that failed before the value was known"),
    column("invalid", U64, "VMs", "VMs of trials that were disturbed in every attempt"),
    column("not_applicable", U64, "VMs", "VMs whose configuration the VMM refused on this host"),
    column("not_available", U64, "VMs", "VMs whose guest and kernel do not report the value"),
    column("not_run", U64, "VMs", "VMs of trials that have not been executed"),
    column(
        "beyond_limit",
        U64,
        "VMs",
        "VMs of trials that are not executed because a lower level of concurrency exceeded a limit of the study",
    ),
    column(
        "censored_columns",
        Text,
        "",
        "columns whose number is null because it is censored, larger than the time that was waited: for example \
         `median_high p90`; else empty",
    ),
    column("reasons", Text, "", "the first reason of each kind of missing value"),
];

/// `uncertainty.csv`.
pub const UNCERTAINTY: &[Column] = &[
    column("cell", Text, "", "the cell"),
    column("metric", Text, "", "name of the metric"),
    column(
        "component",
        Text,
        "",
        "`statistical`, `probe_lag`, `console_mark`, `tick`, `observer` or `between_runs`; components are not added",
    ),
    column(
        "kind",
        Text,
        "",
        "`half_width`: half of a 95 % interval; `bound`: the largest effect; `estimate`: the largest effect, except for \
         effects that the definition leaves out; `deviation`: a standard deviation",
    ),
    column("value", F64, "unit", "the value; null if it is missing"),
    column("unit", Text, "", "unit of the value: that of the metric"),
    column("definition", Text, "", "definition of the component"),
    column("source", Text, "", "what the value was computed from; empty if it is missing"),
    column("reason", Text, "", "why the value is missing; else empty"),
];

/// The cells of the plan.
pub const CELLS: &[Column] = &[
    column("cell", Text, "", "the cell: its levels joined by `/`"),
    column("variant", Text, "", "the variant's key in the manifest"),
    column("label", Text, "", "the variant's label"),
    column("engine", Text, "", "the engine's name"),
    column("concurrency", U32, "VMs", "VMs released together in one trial"),
    column("trials", U32, "trials", "planned trials, in each repetition"),
    column(
        "setting_*",
        Text,
        "",
        "each effective setting of the cell's VMs, as text; for example `setting_memory_mib`",
    ),
];

/// The metrics of the plan.
pub const METRICS: &[Column] = &[
    column("metric", Text, "", "name of the metric"),
    column("label", Text, "", "its name in figures"),
    column("unit", Text, "", "unit of its values"),
    column("better", Text, "", "the better direction of its values: `lower`, `higher` or `neither`"),
    column("definition", Text, "", "definition: from which event to which, on which clock"),
];

/// The claims of the plan, judged.
pub const CLAIMS: &[Column] = &[
    column("claim", Text, "", "name of the claim"),
    column("text", Text, "", "the sentence"),
    column("verdict", Text, "", "`holds`, `contradicted`, `inconclusive`, `not comparable`, `not measured`"),
    column("value", F64, "unit", "measured value, ratio, difference or share; null if it is censored"),
    column("low", F64, "unit", "lower end of its 95 % interval; null if it is not known"),
    column("high", F64, "unit", "upper end of the interval; null if it is not known"),
    column("bound", Text, "", "`at least` or `at most` if only that end is known; else empty"),
    column("unit", Text, "", "unit of the value; empty for a ratio or a count"),
    column("published", F64, "unit", "the value that was published"),
    column("remark", Text, "", "why it was not measured or not decided"),
];

/// Events of the journal, including those of executions that do not count.
pub const EVENTS: &[Column] = &[
    column("cell", Text, "", "the cell"),
    column("trial", U32, "", "the trial"),
    column("attempt", U32, "", "which execution of the trial"),
    column("vm", U32, "", "the VM in its trial"),
    column("warmup", Bool, "", "whether it is a warm-up"),
    column("invalid", Bool, "", "whether the execution was disturbed"),
    column("event", Text, "", "name of the event; docs/reference/events.md lists them"),
    column("t_ns", U64, "ns", "time of the event by CLOCK_MONOTONIC of the host of the VMM"),
];

/// Readings of the journal, including those of executions that do not count.
pub const READINGS: &[Column] = &[
    column("cell", Text, "", "the cell"),
    column("trial", U32, "", "the trial"),
    column("attempt", U32, "", "which execution of the trial"),
    column("vm", U32, "", "the VM in its trial"),
    column("warmup", Bool, "", "whether it is a warm-up"),
    column("invalid", Bool, "", "whether the execution was disturbed"),
    column("reading", Text, "", "name of the reading; docs/reference/readings.md lists them"),
    column("value", F64, "unit", "the value; null if it is missing"),
    column("unit", Text, "", "unit of the value"),
    column("reason", Text, "", "why there is no value; else empty"),
];

/// The tables and their columns as text for `width`.
#[must_use]
pub fn render(width: OutputWidth) -> String {
    let wrap = |line: &str, indent: usize| wrapped_to(width.prose, line, indent) + "\n";
    let mut out = wrap("Every table has a first column `run`: the name of the run folder.", 0);
    for table in TABLES {
        out.push('\n');
        out.push_str(&wrap(&format!("{} ({}): {}", table.name, table.file, table.row), 4));
        let head = ["  column", "type", "unit", "meaning"].map(str::to_owned);
        let rows = table.columns.iter().map(|column| {
            let unit = if column.unit == "unit" { "(column unit)" } else { column.unit };
            [format!("  {}", column.name), column.kind.name().into(), unit.into(), column.meaning.into()]
        });
        let lines = microbench_formats::terminal::table(std::iter::once(head).chain(rows), 0..0);
        // On a narrow terminal, an indent to the last column would leave no room for text.
        let indent = lines.find("meaning").filter(|indent| indent + 20 <= width.prose).unwrap_or(4);
        lines.lines().for_each(|line| out.push_str(&wrap(line, indent)));
    }
    out
}

/// Checks that the columns are those of `table`, in order; the error is the first difference.
pub(crate) fn check<'a>(
    table: &[Column],
    mut columns: impl Iterator<Item = (&'a str, &'a DataType)>,
) -> Result<(), String> {
    let mut next = columns.next();
    for expected in table {
        if let Some(prefix) = expected.name.strip_suffix('*') {
            while let Some((name, kind)) = next.filter(|(name, _)| name.starts_with(prefix)) {
                if Kind::from_data_type(kind) != Some(expected.kind) {
                    return Err(format!("{name} is {kind}"));
                }
                next = columns.next();
            }
            continue;
        }
        match next {
            Some((name, kind)) if name == expected.name && Kind::from_data_type(kind) == Some(expected.kind) => {
                next = columns.next()
            }
            Some((name, kind)) => {
                return Err(format!("{} {} expected, {name} {kind} found", expected.name, expected.kind.name()));
            }
            None => return Err(format!("{} is missing", expected.name)),
        }
    }
    next.map_or(Ok(()), |(name, _)| Err(format!("{name} is not in the schema")))
}
