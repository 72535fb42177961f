//! The keys of a manifest with their types, limits and descriptions.
//!
//! The reader ([`raw`](super::raw)) accepts exactly these keys, which
//! [`Table::deny_rest`](super::read::Table::deny_rest) asserts. The JSON Schema and docs/reference/manifest.md are
//! generated from them. Some tables have further keys, such as the settings of guests and engines ([`Rest`]).

use microbench_formats::claim::Clock;
use microbench_formats::direction::Better;
use microbench_formats::event::EVENTS;
use microbench_formats::event::reading::{READINGS, find_workload_reading};
use microbench_formats::figure::{Column, FigureForm, Scaling, Theme};
use microbench_formats::statistic::Statistic;
use strum::VariantArray;

use super::choice::names;
use super::metrics::BUILT_IN;
use super::protocol::PRESETS;
use super::raw::{LONGEST_TEXT, MOST_CLAIMS, MOST_LINES, MOST_TRIALS};
use super::settings::{GUEST, Kind};
use super::workloads::{MOST_CONNECTIONS, MOST_WARMUP, ORDERS, WORKLOADS};

/// A key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    pub name: &'static str,
    /// Type and limits of the value.
    pub shape: Shape,
    /// Whether it is required.
    pub need: Need,
    /// One or two sentences.
    pub doc: &'static str,
    /// The default as a phrase; empty without a default.
    pub default: &'static str,
}

/// Whether a key is required.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    Never,
    Always,
    /// One of these keys is required.
    Either(&'static [&'static str]),
}

/// Type and limits of a value.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// One line of text.
    Line,
    /// One line of text that is not empty, with its maximum number of bytes.
    Text(usize),
    /// A name of a thing, for instance of a `metric`; the noun decides the characters.
    Name(&'static str),
    /// An integer between the two, both included.
    Int(i64, i64),
    /// A finite number.
    Number,
    /// A number above 0 and below 1.
    Share,
    /// `true` or `false`.
    Boolean,
    /// One of these values.
    Choice(fn() -> Vec<Choice>),
    /// The name of an event.
    Event,
    /// The name of a reading, or of a workload's value (`workload.METRIC.duration`).
    Reading,
    /// A string, a number or a boolean.
    Scalar,
    /// A number of bytes: an integer, or a string such as `1 MB`.
    Size,
    /// A number of trials, or a table with a number for each level of concurrency.
    Trials,
    /// A list with the minimum and the maximum number of elements.
    List(&'static Shape, (usize, usize)),
    /// A table of these keys and of others.
    Table(&'static [Key], Rest),
    /// A table of named tables; the noun says what they are, for instance `metric`.
    Each(&'static str, &'static Shape),
}

/// Further keys of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    Nothing,
    /// Settings of every guest.
    Guest,
    /// Settings of guests and of the variant's engine.
    Variant,
    /// Axes: settings, each with a list of levels.
    Axes,
    /// Axes, each with one level.
    OneLevel,
    /// Axes, each with one level or a list of levels.
    Levels,
    /// Columns of a foreign table, each with its values.
    Columns,
}

/// A permitted value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    pub name: String,
    /// Its meaning; empty if the name is clear.
    pub doc: String,
}

fn choices(names: impl Iterator<Item = &'static str>) -> Vec<Choice> {
    names.map(|name| Choice { name: name.into(), doc: String::new() }).collect()
}

fn protocols() -> Vec<Choice> {
    PRESETS.iter().map(|preset| Choice { name: preset.name().into(), doc: preset.doc.into() }).collect()
}

fn forms() -> Vec<Choice> {
    let doc = |form: FigureForm| match form {
        FigureForm::Bars => "One bar for each level of `x`, or for each entry of `bars`.",
        FigureForm::GroupedBars => "One bar for each level of `x` and `groups`, with interval and trials as points.",
        FigureForm::OverlaidBars => "As `bars`, with the bar of each of the `metrics` behind the next.",
        FigureForm::StackedBars => "As `bars`, with the means of the `metrics` on top of each other: parts of a sum.",
        FigureForm::Box => "Box plots: quartiles, and whiskers to the last value within 1.5 interquartile ranges.",
        FigureForm::Ecdf => "Empirical cumulative distribution functions.",
        FigureForm::Violin => "Violin plots: kernel density estimate, median, and trials as points.",
        FigureForm::Strip => "Every trial as a point, in the order of the run.",
        FigureForm::Line => {
            "The statistic over an axis of numbers, with its interval as a band; one line for each level of `groups`."
        }
        FigureForm::Scaling => "As `line`, with the knee of each line.",
        FigureForm::Timeline => "Contiguous spans as segments, one row for each bar.",
        FigureForm::HeatMap => {
            "The statistic as a colour and a number: columns are levels of `x`, rows levels of `groups`."
        }
        FigureForm::Forest => {
            "The ratio of each claim with its interval, the expected range and the published value; one row for each claim."
        }
        FigureForm::Setup => "The set-up of hosts, taps and guests, drawn from the plan without data.",
    };
    FigureForm::VARIANTS.iter().map(|form| Choice { name: form.to_string(), doc: doc(*form).into() }).collect()
}

fn themes() -> Vec<Choice> {
    choices(names::<Theme>())
}

fn columns() -> Vec<Choice> {
    choices(names::<Column>())
}

fn scales() -> Vec<Choice> {
    choices(names::<Scaling>())
}

fn clocks() -> Vec<Choice> {
    choices(names::<Clock>())
}

fn statistics() -> Vec<Choice> {
    choices(names::<Statistic>())
}

fn workload_kinds() -> Vec<Choice> {
    WORKLOADS
        .iter()
        .map(|workload| Choice { name: workload.name().into(), doc: format!("{} `bytes` bytes", workload.doc) })
        .collect()
}

/// The values of all kinds of workloads.
#[must_use]
pub fn workload_values() -> Vec<Choice> {
    let mut values: Vec<&str> = Vec::new();
    for value in WORKLOADS.iter().flat_map(super::workloads::WorkloadSpec::all_values) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    let doc = |value: &str| {
        find_workload_reading(value).map_or_else(String::new, |value| format!("{} ({})", value.doc, value.unit))
    };
    values.iter().map(|value| Choice { name: (*value).into(), doc: doc(value) }).collect()
}

fn directions() -> Vec<Choice> {
    Better::VARIANTS.iter().map(|better| Choice { name: better.to_string(), doc: better.doc().into() }).collect()
}

fn orders() -> Vec<Choice> {
    choices(ORDERS.iter().copied())
}

fn probes() -> Vec<Choice> {
    let probe = GUEST.iter().find(|setting| setting.name == "probe");
    match probe.map(|probe| probe.kind) {
        Some(Kind::Choice(names)) => choices(names.iter().copied()),
        _ => Vec::new(),
    }
}

/// All events with their meaning.
#[must_use]
pub fn events() -> Vec<Choice> {
    EVENTS.iter().map(|event| Choice { name: event.name.into(), doc: event.doc.into() }).collect()
}

/// All readings except those of workloads, with meaning and unit.
#[must_use]
pub fn readings() -> Vec<Choice> {
    let word = |reading: &microbench_formats::event::reading::ReadingSpec| Choice {
        name: reading.name.into(),
        doc: format!("{} ({})", reading.doc, reading.unit),
    };
    READINGS.iter().map(word).collect()
}

/// The built-in metrics with labels and definitions.
#[must_use]
pub fn metrics() -> Vec<Choice> {
    BUILT_IN
        .iter()
        .map(|metric| Choice { name: metric.name.into(), doc: format!("{}. {}", metric.label, metric.definition()) })
        .collect()
}

const fn key(name: &'static str, shape: Shape, need: Need, doc: &'static str, default: &'static str) -> Key {
    Key { name, shape, need, doc, default }
}

/// The sections of a manifest.
pub const MANIFEST: &[Key] = &[
    key(
        "study",
        Shape::Table(STUDY, Rest::Nothing),
        Need::Always,
        "Name and title of the study, and settings of the whole study.",
        "",
    ),
    key(
        "guest",
        Shape::Table(GUEST_KEYS, Rest::Guest),
        Need::Never,
        "Settings of every guest. A variant or an axis of the matrix can override them.",
        "each setting's default",
    ),
    key(
        "variants",
        Shape::Each("variant", &Shape::Table(VARIANT, Rest::Variant)),
        Need::Always,
        "The configurations under test, one table each. The key of a table is part of the names of cells.",
        "",
    ),
    key(
        "matrix",
        Shape::Table(MATRIX, Rest::Axes),
        Need::Always,
        "The axes, and the number of trials. Each combination of a variant and one level of every axis is a cell.",
        "",
    ),
    key(
        "profiles",
        Shape::Each("profile", &Shape::Table(PROFILE, Rest::Nothing)),
        Need::Never,
        "Alternative numbers of trials and subsets of cells. `--profile NAME` selects a profile.",
        "the profile `full`, which is [matrix] itself",
    ),
    key(
        "metrics",
        Shape::Each("metric", &Shape::Table(METRIC, Rest::Nothing)),
        Need::Always,
        "The metrics of each VM. A built-in metric needs only its name, as in `kernel_boot_time = {}`.",
        "",
    ),
    key(
        "figures",
        Shape::Each("figure", &Shape::Table(FIGURE, Rest::Nothing)),
        Need::Never,
        "The figures, one table each. The key of a table is the name of the figure's files.",
        "no figures",
    ),
    key(
        "claims",
        Shape::List(&Shape::Table(CLAIM, Rest::Nothing), (0, MOST_CLAIMS)),
        Need::Never,
        "Statements that the run confirms or refutes, each with a comparison of cells.",
        "no claims",
    ),
];

/// Keys of `[study]`.
pub const STUDY: &[Key] = &[
    key("name", Shape::Name("study"), Need::Always, "Name of the study, a part of file names: a-z, 0-9 and `-`.", ""),
    key("title", Shape::Line, Need::Always, "Heading of reports.", ""),
    key(
        "seed",
        Shape::Int(0, i64::MAX),
        Need::Never,
        "Seed of the random run order: the same seed gives the same order. `--seed` overrides it.",
        "0",
    ),
    key("description", Shape::Line, Need::Never, "Purpose of the study.", "none"),
    key(
        "authors",
        Shape::List(&Shape::Line, (1, usize::MAX)),
        Need::Never,
        "Authors of the study and its data, each `Family, Given <mail> (https://orcid.org/ORCID)` or the name of an \
         organisation; mail and ORCID are optional.",
        "none",
    ),
    key(
        "license",
        Shape::Line,
        Need::Never,
        "SPDX license expression of the study and its data, for example `CC-BY-4.0`.",
        "none",
    ),
    key(
        "doi",
        Shape::Line,
        Need::Never,
        "DOI of the study's data without a URL, for example `10.5281/zenodo.1234567`.",
        "none",
    ),
    key(
        "protocol",
        Shape::Choice(protocols),
        Need::Never,
        "Preset of defaults for settings and metrics that follows the protocol of the 2019 paper.",
        "corrected",
    ),
    key(
        "reference",
        Shape::Line,
        Need::Never,
        "File of published values to show next to the measured values; the path is relative to the manifest.",
        "none",
    ),
    key(
        "family",
        Shape::List(&Shape::Line, (1, usize::MAX)),
        Need::Never,
        "Metrics whose comparisons form one family of tests. p-values are corrected for the size of the family.",
        "all metrics",
    ),
    key(
        "across_host_cpus",
        Shape::Boolean,
        Need::Never,
        "Permit claims and comparisons between cells whose `host_cpu` differs.",
        "false",
    ),
];

/// Keys of `[guest]`: none of its own.
pub const GUEST_KEYS: &[Key] = &[];

/// Keys of a variant.
pub const VARIANT: &[Key] = &[
    key("label", Shape::Line, Need::Never, "Name in figures and tables; it must be unique.", "the variant's key"),
    key(
        "engine",
        Shape::Line,
        Need::Always,
        "The engine, usually a VMM: a built-in engine, or one that a file in engines/ next to the manifest describes.",
        "",
    ),
];

/// Keys of `[matrix]`.
pub const MATRIX: &[Key] = &[
    key(
        "variant",
        Shape::List(&Shape::Line, (1, usize::MAX)),
        Need::Never,
        "The variants of the matrix.",
        "all variants",
    ),
    key(
        "concurrency",
        Shape::List(&Shape::Int(1, 10_000), (1, usize::MAX)),
        Need::Never,
        "Number of VMs that one trial starts at the same time.",
        "[1]",
    ),
    key(
        "trials",
        Shape::Trials,
        Need::Either(&["trials", "precision"]),
        "Number of trials of each cell: one number, or a number for each level of concurrency, as in `{ 1 = 30, 10 = \
         6 }`.",
        "",
    ),
    key(
        "repetitions",
        Shape::Int(1, 1000),
        Need::Never,
        "Number of times that all trials are run, each time in a new session with new hosts. From 3 repetitions on, \
         intervals and comparisons include the variation between sessions. Excludes `precision`; `--repetitions` \
         overrides it.",
        "1",
    ),
    key(
        "precision",
        Shape::Table(PRECISION, Rest::Nothing),
        Need::Either(&["trials", "precision"]),
        "Stopping rule: run trials until the confidence interval of a statistic is narrow enough. Excludes `trials`.",
        "",
    ),
    key(
        "limit",
        Shape::Table(LIMIT, Rest::Nothing),
        Need::Never,
        "Limit of the levels of `concurrency`: they run in ascending order, and the sweep ends after the first level \
         that exceeds the limit.",
        "every level",
    ),
    key(
        "exclude",
        Shape::List(&Shape::Table(EXCLUDE, Rest::Levels), (0, MOST_LINES)),
        Need::Never,
        "Combinations to leave out, each a table such as `{ variant = \"qemu\", concurrency = 20 }`.",
        "nothing",
    ),
    key(
        "include",
        Shape::List(&Shape::Table(INCLUDE, Rest::Levels), (0, MOST_LINES)),
        Need::Never,
        "Combinations to add. A line covers every level of each axis that it does not name.",
        "nothing",
    ),
    key(
        "warmup",
        Shape::Boolean,
        Need::Never,
        "Run one uncounted VM of each distinct machine before its first trial in a session.",
        "true",
    ),
    key(
        "instrument_trials",
        Shape::Int(1, 1000),
        Need::Never,
        "Trials under each instrument that a metric needs (strace, perf events), for each cell of one VM. They are \
         not timed.",
        "1",
    ),
    key(
        "max_consecutive_failures",
        Shape::Int(0, 1000),
        Need::Never,
        "Number of trials in a row without a completed VM after which a cell is given up; 0 for never.",
        "5",
    ),
];

/// Keys of `precision`, the stopping rule.
pub const PRECISION: &[Key] = &[
    key("metric", Shape::Line, Need::Always, "The metric that the rule checks.", ""),
    key("statistic", Shape::Choice(statistics), Need::Never, "The statistic of the metric.", "median"),
    key(
        "relative",
        Shape::Share,
        Need::Always,
        "Maximum half width of the 95 % confidence interval, relative to the statistic, for example 0.02 for ±2 %. \
         It must hold in every cell \
         in two checks in a row.",
        "",
    ),
    key("n_min", Shape::Int(6, MOST_TRIALS), Need::Never, "Trials of each cell before the first check.", "30"),
    key("every", Shape::Int(1, MOST_TRIALS), Need::Never, "Trials of each cell between two checks.", "10"),
    key("n_max", Shape::Int(6, MOST_TRIALS), Need::Never, "Maximum number of trials of each cell.", "200"),
];

/// Keys of `limit`, which ends a sweep of concurrency.
pub const LIMIT: &[Key] = &[
    key("failures", Shape::Number, Need::Never, "Maximum share of a cell's VMs that fail, from 0 to 1.", "no limit"),
    key(
        "memory_mib",
        Shape::Number,
        Need::Never,
        "Maximum host memory of all VMs of a trial, in MiB: the median of the reading `host.memory_used`. It needs \
         VMs that are held \
         (`hold_s`).",
        "no limit",
    ),
    key(
        "startup_slope_ms",
        Shape::Number,
        Need::Never,
        "Maximum time in ms that each added VM adds to the median start-up, compared with the previous level.",
        "no limit",
    ),
];

/// Keys of a line of `exclude`: none of its own.
pub const EXCLUDE: &[Key] = &[];

/// Keys of a line of `include`.
pub const INCLUDE: &[Key] = &[key(
    "trials",
    Shape::Int(1, MOST_TRIALS),
    Need::Never,
    "Number of trials of these cells.",
    "`trials` of [matrix]",
)];

/// Keys of a profile.
pub const PROFILE: &[Key] = &[
    key("trials", Shape::Trials, Need::Always, "Number of trials of each cell, instead of that of [matrix].", ""),
    key("where", Shape::Table(WHERE, Rest::Levels), Need::Never, "The cells of the profile.", "all"),
    key("rounds", Shape::Int(1, 1_000_000), Need::Never, "Maximum number of rounds of every workload.", "no limit"),
];

/// Keys of a selection of cells: none of its own.
pub const WHERE: &[Key] = &[];

/// Keys of a metric.
pub const METRIC: &[Key] = &[
    key("from", Shape::Event, Need::Never, "The event at which a span begins. Requires `to`.", ""),
    key("to", Shape::Event, Need::Never, "The event at which a span ends. Requires `from`.", ""),
    key("reading", Shape::Reading, Need::Never, "A reported value, instead of a span between two events.", ""),
    key(
        "workload",
        Shape::Table(WORKLOAD, Rest::Nothing),
        Need::Never,
        "A workload for each guest, instead of a span: the metric is its duration or another of its values.",
        "",
    ),
    key("label", Shape::Line, Need::Never, "Name on axes and in tables.", "the built-in label, or one made of the key"),
    key("definition", Shape::Line, Need::Never, "Definition below figures, one sentence.", "made of the source"),
    key(
        "better",
        Shape::Choice(directions),
        Need::Never,
        "The better direction of the values, by which `compare` calls a difference better or worse.",
        "`lower` for a span; for a reading its direction in the table of readings",
    ),
    key(
        "gate",
        Shape::Table(GATE, Rest::Nothing),
        Need::Never,
        "The rule by which `compare --gate` judges the metric.",
        "the `--margin` of the command",
    ),
    key(
        "probe",
        Shape::Choice(probes),
        Need::Never,
        "The probe of the web service's start. It applies to all metrics, because a VM has one probe.",
        "`probe` of [guest]",
    ),
];

/// Keys of `gate` of a metric.
pub const GATE: &[Key] = &[
    key("margin", Shape::Share, Need::Never, "Equivalence margin, for example 0.02 for ±2 %.", "`--margin`"),
    key(
        "floor",
        Shape::Number,
        Need::Never,
        "The largest difference that does not matter, in the unit of the metric, for any margin.",
        "0",
    ),
    key(
        "both_ways",
        Shape::Boolean,
        Need::Never,
        "If true, a difference in the better direction fails the gate as well.",
        "false",
    ),
];

/// Keys of `workload`.
pub const WORKLOAD: &[Key] = &[
    key("kind", Shape::Choice(workload_kinds), Need::Always, "The work of the guest.", ""),
    key(
        "bytes",
        Shape::Size,
        Need::Always,
        "Bytes of one round: an integer, or a string such as `1 MB` or `16 MiB`.",
        "",
    ),
    key("rounds", Shape::Int(1, 1_000_000), Need::Always, "Number of rounds; for `http`, of requests.", ""),
    key("warmup", Shape::Int(0, MOST_WARMUP), Need::Never, "Number of uncounted rounds before the counted ones.", "0"),
    key(
        "value",
        Shape::Choice(workload_values),
        Need::Never,
        "The value that the metric reports. The other values are readings: `workload.METRIC.VALUE`.",
        "duration",
    ),
    key(
        "block",
        Shape::Size,
        Need::Never,
        "Disk workloads only: bytes of one read or write, a power of two between 512 B and 1 MiB.",
        "4 KiB",
    ),
    key(
        "direct",
        Shape::Boolean,
        Need::Never,
        "Disk workloads only: bypass the guest's page cache (`O_DIRECT`). If false, the file is dropped from the \
         page cache before \
         each round of reads.",
        "true",
    ),
    key("order", Shape::Choice(orders), Need::Never, "Disk workloads only: the order of the blocks.", "sequential"),
    key(
        "connections",
        Shape::Int(1, MOST_CONNECTIONS),
        Need::Never,
        "`http` only: number of concurrent connections.",
        "1",
    ),
];

/// Keys of a figure.
pub const FIGURE: &[Key] = &[
    key("form", Shape::Choice(forms), Need::Always, "Form of the chart.", ""),
    key("metric", Shape::Line, Need::Never, "The metric to draw.", ""),
    key(
        "metrics",
        Shape::List(&Shape::Line, (1, usize::MAX)),
        Need::Never,
        "Several metrics of the same unit, instead of `metric`.",
        "",
    ),
    key("x", Shape::Line, Need::Never, "Axis of the matrix along x.", "variant"),
    key("groups", Shape::Line, Need::Never, "Axis of the matrix that the colours distinguish.", "none"),
    key("panels", Shape::Line, Need::Never, "Axis of the matrix with one panel for each level.", "none"),
    key("where", Shape::Table(WHERE, Rest::Levels), Need::Never, "The cells to draw.", "all"),
    key(
        "statistic",
        Shape::Choice(statistics),
        Need::Never,
        "The statistic to draw.",
        "`median`; `mean` for `stacked-bars`",
    ),
    key("title", Shape::Line, Need::Never, "Heading above the plot.", "none"),
    key("theme", Shape::Choice(themes), Need::Never, "Look of the chart.", "publication"),
    key("column", Shape::Choice(columns), Need::Never, "Width: one column of a page, or both.", "double"),
    key(
        "bars",
        Shape::List(&Shape::Table(BAR, Rest::Nothing), (1, usize::MAX)),
        Need::Never,
        "A list of bars, left to right, instead of `x`, `groups`, `panels` and `where`.",
        "one bar for each combination of levels",
    ),
    key("y_label", Shape::Line, Need::Never, "Label of the y axis.", "the metric's label and unit"),
    key(
        "reference",
        Shape::Boolean,
        Need::Never,
        "Draw the published values of the study next to the measured ones.",
        "false",
    ),
    key("x_scale", Shape::Choice(scales), Need::Never, "Scale of an x axis of numbers.", "linear"),
    key(
        "y_scale",
        Shape::Choice(scales),
        Need::Never,
        "Scale of the y axis. The label names a logarithmic scale.",
        "linear",
    ),
];

/// Keys of a bar.
pub const BAR: &[Key] = &[
    key("label", Shape::Line, Need::Always, "Label below the bar.", ""),
    key("group", Shape::Line, Need::Never, "Entry of the legend: bars of a group have the same colour.", "none"),
    key("where", Shape::Table(WHERE, Rest::Levels), Need::Always, "The cells of the bar.", ""),
];

/// A claim has exactly one of these keys.
const COMPARISON: Need = Need::Either(&["value", "ratio", "difference", "unmeasured"]);

/// Keys of a claim.
pub const CLAIM: &[Key] = &[
    key("name", Shape::Name("claim"), Need::Always, "Name in tables and files.", ""),
    key("text", Shape::Text(LONGEST_TEXT), Need::Always, "The claimed statement.", ""),
    key("metric", Shape::Line, Need::Never, "The metric to compare.", "`metric` of each side"),
    key(
        "where",
        Shape::Table(WHERE, Rest::Levels),
        Need::Never,
        "Selection that applies to every side, in addition to the side's own.",
        "none",
    ),
    key("value", Shape::Table(SIDE, Rest::Nothing), COMPARISON, "The cells whose value is compared with `expect`.", ""),
    key(
        "ratio",
        Shape::List(&Shape::Table(SIDE, Rest::Nothing), (2, 2)),
        COMPARISON,
        "Two sides: the value of the first divided by the value of the second.",
        "",
    ),
    key(
        "difference",
        Shape::List(&Shape::Table(SIDE, Rest::Nothing), (2, 2)),
        COMPARISON,
        "Two sides: the value of the first minus the value of the second.",
        "",
    ),
    key(
        "expect",
        Shape::Line,
        Need::Never,
        "The expected result: a limit (`> 1`, `<= 2`) or a range (`1.0 .. 1.3`); of a ratio also `equivalent within 5 \
         %`; of a value also `every value < 100` (of every VM) or `90 % of values < 100` (of the VMs). Required \
         with a comparison.",
        "",
    ),
    key("statistic", Shape::Choice(statistics), Need::Never, "The statistic to compare.", "median"),
    key(
        "clock",
        Shape::Choice(clocks),
        Need::Never,
        "The clock for which the limits of `expect` are stated. A run in virtual time does not decide about limits for \
         the wall clock.",
        "`wall` for a `value` or `difference` of times or rates, else `any`",
    ),
    key(
        "gate",
        Shape::Boolean,
        Need::Never,
        "Whether `analyze --gate` and `compare --gate` fail if the claim is contradicted, for example a limit for the \
         99th percentile of a service.",
        "false",
    ),
    key("published", Shape::Number, Need::Never, "The published value, shown next to the measured one.", ""),
    key("data", Shape::Line, Need::Never, "The result of the paper's own data, as free text.", ""),
    key(
        "unmeasured",
        Shape::Text(LONGEST_TEXT),
        COMPARISON,
        "Reason why the claim is not measured, instead of a comparison.",
        "",
    ),
];

/// Keys of a side of a comparison.
pub const SIDE: &[Key] = &[
    key("metric", Shape::Line, Need::Never, "The metric of this side.", "`metric` of the claim"),
    key("where", Shape::Table(WHERE, Rest::Levels), Need::Never, "The cells of this side.", "all cells of the claim"),
];

/// Keys of a file of published values.
pub const REFERENCE: &[Key] = &[
    key("label", Shape::Line, Need::Always, "Name in legends.", ""),
    key("citation", Shape::Line, Need::Always, "Citation of the publication.", ""),
    key("values", Shape::List(&Shape::Table(VALUE, Rest::Nothing), (1, usize::MAX)), Need::Always, "The values.", ""),
];

/// Keys of a published value.
pub const VALUE: &[Key] = &[
    key("metric", Shape::Line, Need::Always, "The corresponding metric of the study.", ""),
    key("label", Shape::Line, Need::Always, "Name of the value in the publication.", ""),
    key("where", Shape::Table(WHERE, Rest::Levels), Need::Always, "The corresponding cells.", ""),
    key("value", Shape::Number, Need::Always, "The value, in the metric's unit.", ""),
    key("n", Shape::Int(1, 1_000_000_000), Need::Never, "Number of samples of the value.", "unknown"),
];

/// Keys of a mapping, the file that describes a foreign table to `import`.
pub const MAPPING: &[Key] = &[
    key("source", Shape::Line, Need::Never, "Origin of the values, as free text.", ""),
    key(
        "columns",
        Shape::Table(WHERE, Rest::Columns),
        Need::Never,
        "Names in the table of the columns `metric`, `value`, `unit`, `trial`, `vm`, `reason` and of the axes.",
        "the same names",
    ),
    key(
        "where",
        Shape::Table(WHERE, Rest::Columns),
        Need::Never,
        "Import only the rows that have one of these values in each named column.",
        "all",
    ),
    key(
        "where_not",
        Shape::Table(WHERE, Rest::Columns),
        Need::Never,
        "Leave out the rows that have one of these values in any named column.",
        "none",
    ),
    key(
        "cells",
        Shape::List(&Shape::Table(MAPPED_CELL, Rest::Nothing), (0, usize::MAX)),
        Need::Never,
        "The cells of the rows. The first matching entry applies.",
        "each axis from the column with its name",
    ),
];

/// Keys of an entry of `cells` in a mapping.
pub const MAPPED_CELL: &[Key] = &[
    key("where", Shape::Table(WHERE, Rest::Columns), Need::Never, "Values of the rows, by column.", "every row"),
    key("cell", Shape::Table(WHERE, Rest::OneLevel), Need::Never, "The cell of the rows: one level for each axis.", ""),
];

/// The limits of an integer key; all integers for another key.
pub(super) fn integer_limits(keys: &[Key], name: &str) -> (i64, i64) {
    match keys.iter().find(|key| key.name == name).map(|key| key.shape) {
        Some(Shape::Int(least, most)) => (least, most),
        _ => (i64::MIN, i64::MAX),
    }
}
