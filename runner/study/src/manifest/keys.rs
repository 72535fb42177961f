//! The keys of a manifest: each with its type, its limits, and what it means. The reader ([`raw`](super::raw)) takes these keys and no
//! others, which [`Table::deny_rest`](super::read::Table::deny_rest) checks, and the JSON Schema and the documents are made of them.
//!
//! Beside these keys some tables hold others that the catalogue knows: the settings of guests and engines ([`Rest`]).

use microbench_formats::direction::Better;
use microbench_formats::event::EVENTS;
use microbench_formats::event::reading::{READINGS, find_workload_reading};
use microbench_formats::figure::{Column, FigureForm, Scaling, Theme};
use microbench_formats::statistic::Statistic;
use strum::VariantArray;

use super::metrics::BUILT_IN;
use super::protocol::PRESETS;
use super::raw::{LONGEST_TEXT, MOST_CLAIMS, MOST_LINES, MOST_TRIALS};
use super::settings::{GUEST, Kind};
use super::word::names;
use super::works::{MOST_CONNECTIONS, MOST_WARMUP, ORDERS, WORKS};

/// One key of a table.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What its value is.
    pub shape: Shape,
    /// Whether it must be there.
    pub need: Need,
    /// What it means, one or two sentences.
    pub doc: &'static str,
    /// What holds without it; empty for nothing.
    pub default: &'static str,
}

/// Whether a key must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Never.
    Never,
    /// Always.
    Always,
    /// One of these keys must be.
    Either(&'static [&'static str]),
}

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// One line of text.
    Line,
    /// One line of at most so many bytes, not empty.
    Text(usize),
    /// A name of what this noun says: letters, digits and what else its kind may hold.
    Name(&'static str),
    /// An integer between the two, both included.
    Int(i64, i64),
    /// A finite number.
    Number,
    /// A number above 0 and below 1.
    Share,
    /// `true` or `false`.
    Truth,
    /// One of these words.
    Word(fn() -> Vec<Word>),
    /// One of these words, or another that the study makes (`workload.NAME.duration`).
    Reading,
    /// A string, a number or a truth value.
    Scalar,
    /// A number of bytes: an integer, or a text such as `1 MB`.
    Size,
    /// A number of trials, or a table of one for each level of concurrency.
    Trials,
    /// A list of at least and at most so many.
    List(&'static Shape, (usize, usize)),
    /// A table of these keys, and others.
    Table(&'static [Key], Rest),
    /// A table of tables, each under a name of what the noun says.
    Each(&'static str, &'static Shape),
}

/// What a table may hold beside its own keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Nothing,
    /// Settings that every guest has.
    Guest,
    /// Settings of guests and of the variant's engine.
    Variant,
    /// Axes: settings, each with a list of levels.
    Axes,
    /// Axes, each with one level.
    OneLevel,
    /// Axes, each with one level or a list of levels.
    Levels,
    /// Columns of a table of others, each with its values.
    Columns,
}

/// A word that a key permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub name: String,
    /// What it means; empty where its name says so.
    pub doc: String,
}

fn words(names: impl Iterator<Item = &'static str>) -> Vec<Word> {
    names.map(|name| Word { name: name.into(), doc: String::new() }).collect()
}

fn protocols() -> Vec<Word> {
    PRESETS.iter().map(|preset| Word { name: preset.name().into(), doc: preset.doc.into() }).collect()
}

fn forms() -> Vec<Word> {
    words(names::<FigureForm>())
}

fn themes() -> Vec<Word> {
    words(names::<Theme>())
}

fn columns() -> Vec<Word> {
    words(names::<Column>())
}

fn scales() -> Vec<Word> {
    words(names::<Scaling>())
}

fn statistics() -> Vec<Word> {
    words(names::<Statistic>())
}

fn works() -> Vec<Word> {
    WORKS.iter().map(|work| Word { name: work.name().into(), doc: format!("{} so many bytes", work.doc) }).collect()
}

/// The values that some kind of work has.
#[must_use]
pub fn work_values() -> Vec<Word> {
    let mut values: Vec<&str> = Vec::new();
    for value in WORKS.iter().flat_map(super::works::WorkSpec::all_values) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    let doc = |value: &str| {
        find_workload_reading(value).map_or_else(String::new, |value| format!("{} ({})", value.doc, value.unit))
    };
    values.iter().map(|value| Word { name: (*value).into(), doc: doc(value) }).collect()
}

fn directions() -> Vec<Word> {
    Better::VARIANTS.iter().map(|better| Word { name: better.to_string(), doc: better.doc().into() }).collect()
}

fn orders() -> Vec<Word> {
    words(ORDERS.iter().copied())
}

fn probes() -> Vec<Word> {
    let probe = GUEST.iter().find(|setting| setting.name == "probe");
    match probe.map(|probe| probe.kind) {
        Some(Kind::Word(names)) => words(names.iter().copied()),
        _ => Vec::new(),
    }
}

fn events() -> Vec<Word> {
    EVENTS.iter().map(|event| Word { name: event.name.into(), doc: event.doc.into() }).collect()
}

/// Every reading but those of work, with unit and meaning.
#[must_use]
pub fn readings() -> Vec<Word> {
    let word = |reading: &microbench_formats::event::reading::ReadingSpec| Word {
        name: reading.name.into(),
        doc: format!("{} ({})", reading.doc, reading.unit),
    };
    READINGS.iter().map(word).collect()
}

/// The built-in metrics with their labels and definitions.
#[must_use]
pub fn metrics() -> Vec<Word> {
    BUILT_IN
        .iter()
        .map(|metric| Word { name: metric.name.into(), doc: format!("{}. {}", metric.label, metric.definition()) })
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
        "What the study is called, and what holds for all of it.",
        "",
    ),
    key(
        "guest",
        Shape::Table(GUEST_KEYS, Rest::Guest),
        Need::Never,
        "What every VM has, whatever runs it. A variant or an axis of the matrix may say otherwise.",
        "each setting's default",
    ),
    key(
        "variants",
        Shape::Each("variant", &Shape::Table(VARIANT, Rest::Variant)),
        Need::Always,
        "What is compared: one table for each configuration under test. Its key names its cells.",
        "",
    ),
    key(
        "matrix",
        Shape::Table(MATRIX, Rest::Axes),
        Need::Always,
        "Every variant at every level of every axis is a cell; this says which axes there are and how often each cell runs.",
        "",
    ),
    key(
        "profiles",
        Shape::Each("profile", &Shape::Table(PROFILE, Rest::Nothing)),
        Need::Never,
        "Other numbers of trials for the same study, to be chosen by `--profile NAME`.",
        "the profile `full`, which is [matrix] itself",
    ),
    key(
        "metrics",
        Shape::Each("metric", &Shape::Table(METRIC, Rest::Nothing)),
        Need::Always,
        "What is measured on each VM. A built-in metric needs its name only, as in `kernel_boot_time = {}`.",
        "",
    ),
    key(
        "figures",
        Shape::Each("figure", &Shape::Table(FIGURE, Rest::Nothing)),
        Need::Never,
        "What is drawn: one table for each figure. Its key names its files.",
        "no figures",
    ),
    key(
        "claims",
        Shape::List(&Shape::Table(CLAIM, Rest::Nothing), (0, MOST_CLAIMS)),
        Need::Never,
        "Sentences that the run is to judge, each with the comparison that it stands for.",
        "no claims",
    ),
];

/// Keys of `[study]`.
pub const STUDY: &[Key] = &[
    key("name", Shape::Name("study"), Need::Always, "Part of file names: a-z, 0-9 and `-`.", ""),
    key("title", Shape::Line, Need::Always, "Stands over reports.", ""),
    key(
        "seed",
        Shape::Int(0, i64::MAX),
        Need::Never,
        "Seed of the run order, which is random but the same for the same seed; `--seed` gives another.",
        "0",
    ),
    key("description", Shape::Line, Need::Never, "What the study is for.", "empty"),
    key(
        "protocol",
        Shape::Word(protocols),
        Need::Never,
        "The reading of the 2019 paper's protocol that holds where the manifest does not say otherwise.",
        "corrected",
    ),
    key(
        "reference",
        Shape::Line,
        Need::Never,
        "File of published values to show beside the measured ones, relative to the manifest.",
        "none",
    ),
    key(
        "family",
        Shape::List(&Shape::Line, (1, usize::MAX)),
        Need::Never,
        "Metrics whose comparisons are one family of tests: the more, the smaller each p must be.",
        "all metrics",
    ),
];

/// Keys of `[guest]`: none of its own.
pub const GUEST_KEYS: &[Key] = &[];

/// Keys of a variant.
pub const VARIANT: &[Key] = &[
    key(
        "label",
        Shape::Line,
        Need::Never,
        "Name in figures and tables; no two variants may have the same.",
        "the variant's key",
    ),
    key(
        "engine",
        Shape::Line,
        Need::Always,
        "The VMM: a built-in engine, or one described in engines/ beside the manifest.",
        "",
    ),
];

/// Keys of `[matrix]`.
pub const MATRIX: &[Key] = &[
    key(
        "variant",
        Shape::List(&Shape::Line, (1, usize::MAX)),
        Need::Never,
        "The variants that are combined with the other axes.",
        "all of them",
    ),
    key(
        "concurrency",
        Shape::List(&Shape::Int(1, 10_000), (1, usize::MAX)),
        Need::Never,
        "VMs that are released together in one trial.",
        "[1]",
    ),
    key(
        "trials",
        Shape::Trials,
        Need::Either(&["trials", "precision"]),
        "How often each cell runs: one number, or one for each level of concurrency, as in `{ 1 = 30, 10 = 6 }`.",
        "",
    ),
    key(
        "precision",
        Shape::Table(PRECISION, Rest::Nothing),
        Need::Either(&["trials", "precision"]),
        "Run until the interval of a statistic is narrow enough, in place of a number of trials.",
        "",
    ),
    key(
        "limit",
        Shape::Table(LIMIT, Rest::Nothing),
        Need::Never,
        "How far the levels of `concurrency` go: they are run one after the other, and beyond the first that meets a limit none is.",
        "every level",
    ),
    key(
        "exclude",
        Shape::List(&Shape::Table(EXCLUDE, Rest::Levels), (0, MOST_LINES)),
        Need::Never,
        "Combinations to leave out: each line a table such as `{ variant = \"qemu\", concurrency = 20 }`.",
        "nothing",
    ),
    key(
        "include",
        Shape::List(&Shape::Table(INCLUDE, Rest::Levels), (0, MOST_LINES)),
        Need::Never,
        "Combinations to add; an axis that a line does not name takes every level.",
        "nothing",
    ),
    key("warmup", Shape::Truth, Need::Never, "Run one VM of each distinct machine first, which never counts.", "true"),
    key(
        "instrument_trials",
        Shape::Int(1, 1000),
        Need::Never,
        "Trials of each cell of one VM under an instrument such as strace, when a metric needs one; they are never timed.",
        "1",
    ),
    key(
        "max_consecutive_failures",
        Shape::Int(0, 1000),
        Need::Never,
        "A cell is given up after so many trials in a row in which no VM completed; 0 for never.",
        "5",
    ),
];

/// Keys of `precision`, the stopping rule.
pub const PRECISION: &[Key] = &[
    key("metric", Shape::Line, Need::Always, "The metric that is to be precise.", ""),
    key("statistic", Shape::Word(statistics), Need::Never, "Which statistic of it.", "median"),
    key(
        "relative",
        Shape::Share,
        Need::Always,
        "Half width of the 95 % interval over the statistic: 0.02 for 2 % either way, in every cell and twice in a row.",
        "",
    ),
    key("n_min", Shape::Int(6, MOST_TRIALS), Need::Never, "Trials of each cell before the first look.", "30"),
    key("every", Shape::Int(1, MOST_TRIALS), Need::Never, "Trials of each cell between two looks.", "10"),
    key("n_max", Shape::Int(6, MOST_TRIALS), Need::Never, "Trials of each cell at most.", "200"),
];

/// Keys of `limit`: how far a sweep of concurrency goes.
pub const LIMIT: &[Key] = &[
    key("failures", Shape::Number, Need::Never, "Share of a cell's VMs that may fail.", "no limit"),
    key(
        "memory_mib",
        Shape::Number,
        Need::Never,
        "Memory of the host, MiB, that a trial's VMs may take together: the median of the reading `host.memory_used`, for which they \
         are held (`hold_s`).",
        "no limit",
    ),
    key(
        "startup_slope_ms",
        Shape::Number,
        Need::Never,
        "Time, ms, that each VM more may add to the median start-up, from the level before to this one.",
        "no limit",
    ),
];

/// Keys of a line of `exclude`: none of its own.
pub const EXCLUDE: &[Key] = &[];

/// Keys of a line of `include`.
pub const INCLUDE: &[Key] =
    &[key("trials", Shape::Int(1, MOST_TRIALS), Need::Never, "Trials of these cells.", "those of [matrix]")];

/// Keys of a profile.
pub const PROFILE: &[Key] = &[
    key("trials", Shape::Trials, Need::Always, "How often each cell runs, in place of what [matrix] says.", ""),
    key("where", Shape::Table(WHERE, Rest::Levels), Need::Never, "The cells that the profile keeps.", "all"),
    key("rounds", Shape::Int(1, 1_000_000), Need::Never, "Rounds of every workload at most.", "the metrics' own"),
];

/// Keys of a selection of cells: none of its own.
pub const WHERE: &[Key] = &[];

/// Keys of a metric.
pub const METRIC: &[Key] = &[
    key("from", Shape::Word(events), Need::Never, "The event at which a duration begins; `to` goes with it.", ""),
    key("to", Shape::Word(events), Need::Never, "The event at which it ends.", ""),
    key(
        "reading",
        Shape::Reading,
        Need::Never,
        "A value that is reported, in place of a duration between two events.",
        "",
    ),
    key(
        "workload",
        Shape::Table(WORKLOAD, Rest::Nothing),
        Need::Never,
        "Workload that each guest is given; how long it takes, or another of its values, is the metric.",
        "",
    ),
    key("label", Shape::Line, Need::Never, "Name on axes and in tables.", "the built-in metric's, or the key in words"),
    key("definition", Shape::Line, Need::Never, "The sentence that stands below figures.", "made of the source"),
    key(
        "better",
        Shape::Word(directions),
        Need::Never,
        "Which direction of the values is better: `compare` calls a difference better or worse by it.",
        "`lower` for a duration, for a reading its direction in the table of readings",
    ),
    key(
        "probe",
        Shape::Word(probes),
        Need::Never,
        "How the start of the web service is observed, for all metrics: a VM has one probe.",
        "that of [guest]",
    ),
];

/// Keys of `workload`.
pub const WORKLOAD: &[Key] = &[
    key("kind", Shape::Word(works), Need::Always, "What the guest does with the bytes.", ""),
    key(
        "bytes",
        Shape::Size,
        Need::Always,
        "Bytes of one round: an integer, or a text such as `1 MB` or `16 MiB`.",
        "",
    ),
    key("rounds", Shape::Int(1, 1_000_000), Need::Always, "How often; of `http` the number of requests.", ""),
    key("warmup", Shape::Int(0, MOST_WARMUP), Need::Never, "Rounds before them that do not count.", "0"),
    key(
        "value",
        Shape::Word(work_values),
        Need::Never,
        "Which of the workload's values the metric is. The others are readings: `workload.METRIC.VALUE`.",
        "duration",
    ),
    key(
        "block",
        Shape::Size,
        Need::Never,
        "Of a workload on the disk: bytes of one read or write, a power of two between 512 B and 1 MiB.",
        "4 KiB",
    ),
    key(
        "direct",
        Shape::Truth,
        Need::Never,
        "Of a workload on the disk: past the guest's page cache (`O_DIRECT`), or through it, from which the file is dropped before each \
         round of reads.",
        "true",
    ),
    key("order", Shape::Word(orders), Need::Never, "Of a workload on the disk: the order of its blocks.", "sequential"),
    key("connections", Shape::Int(1, MOST_CONNECTIONS), Need::Never, "Of `http`: connections at once.", "1"),
];

/// Keys of a figure.
pub const FIGURE: &[Key] = &[
    key("form", Shape::Word(forms), Need::Always, "Form of the chart.", ""),
    key("metric", Shape::Line, Need::Never, "What is drawn: a metric of the study.", ""),
    key(
        "metrics",
        Shape::List(&Shape::Line, (1, usize::MAX)),
        Need::Never,
        "Several metrics of one unit, in place of `metric`.",
        "",
    ),
    key("x", Shape::Line, Need::Never, "Axis along x.", "variant"),
    key("groups", Shape::Line, Need::Never, "Axis that the colours stand for.", "none"),
    key("panels", Shape::Line, Need::Never, "Axis whose levels make one panel each.", "none"),
    key("where", Shape::Table(WHERE, Rest::Levels), Need::Never, "Draw only these cells.", "all"),
    key(
        "statistic",
        Shape::Word(statistics),
        Need::Never,
        "What a bar's height is.",
        "median; mean where bars are stacked",
    ),
    key("title", Shape::Line, Need::Never, "Heading above the plot.", "none"),
    key("theme", Shape::Word(themes), Need::Never, "Look of the chart.", "publication"),
    key("column", Shape::Word(columns), Need::Never, "Width: one column of a page or both.", "double"),
    key(
        "bars",
        Shape::List(&Shape::Table(BAR, Rest::Nothing), (1, usize::MAX)),
        Need::Never,
        "Bars one by one, left to right, in place of `x`, `groups`, `panels` and `where`.",
        "those of the axes",
    ),
    key("y_label", Shape::Line, Need::Never, "Label of the y axis.", "the metric's label and unit"),
    key("reference", Shape::Truth, Need::Never, "Draw the study's published values beside the measured ones.", "false"),
    key("x_scale", Shape::Word(scales), Need::Never, "Scale of the x axis, where it is one of numbers.", "linear"),
    key("y_scale", Shape::Word(scales), Need::Never, "Scale of the y axis; a logarithmic one is named so.", "linear"),
];

/// Keys of a bar.
pub const BAR: &[Key] = &[
    key("label", Shape::Line, Need::Always, "The words below the bar.", ""),
    key("group", Shape::Line, Need::Never, "The colour that it shares with others.", "none"),
    key("where", Shape::Table(WHERE, Rest::Levels), Need::Always, "The cells that it shows.", ""),
];

/// The keys of which a claim has exactly one.
const COMPARISON: Need = Need::Either(&["value", "ratio", "difference", "unmeasured"]);

/// Keys of a claim.
pub const CLAIM: &[Key] = &[
    key("name", Shape::Name("claim"), Need::Always, "Name in tables and files.", ""),
    key("text", Shape::Text(LONGEST_TEXT), Need::Always, "The sentence that is claimed.", ""),
    key("metric", Shape::Line, Need::Never, "The metric that is compared, unless each side names its own.", ""),
    key(
        "where",
        Shape::Table(WHERE, Rest::Levels),
        Need::Never,
        "Levels that the cells of every side have; a side names the others.",
        "none",
    ),
    key("value", Shape::Table(SIDE, Rest::Nothing), COMPARISON, "The cells whose value is judged.", ""),
    key(
        "ratio",
        Shape::List(&Shape::Table(SIDE, Rest::Nothing), (2, 2)),
        COMPARISON,
        "Two sets of cells: the first one's value over the second one's.",
        "",
    ),
    key(
        "difference",
        Shape::List(&Shape::Table(SIDE, Rest::Nothing), (2, 2)),
        COMPARISON,
        "Two sets of cells: the first one's value less the second one's.",
        "",
    ),
    key(
        "expect",
        Shape::Line,
        Need::Never,
        "What makes it true: a limit (`> 1`, `<= 2`) or a range (`1.0 .. 1.3`).",
        "",
    ),
    key("statistic", Shape::Word(statistics), Need::Never, "Which statistic is compared.", "mean"),
    key("published", Shape::Number, Need::Never, "The value that was published, to stand beside the measured one.", ""),
    key("data", Shape::Line, Need::Never, "What the paper's own data says, in words.", ""),
    key(
        "unmeasured",
        Shape::Text(LONGEST_TEXT),
        COMPARISON,
        "Why the claim is not measured, in place of a comparison.",
        "",
    ),
];

/// Keys of a side of a comparison.
pub const SIDE: &[Key] = &[
    key("metric", Shape::Line, Need::Never, "The metric of this side.", "the claim's"),
    key("where", Shape::Table(WHERE, Rest::Levels), Need::Never, "The cells of this side.", "all of the claim's"),
];

/// Keys of a file of published values.
pub const REFERENCE: &[Key] = &[
    key("label", Shape::Line, Need::Always, "Name in legends.", ""),
    key("citation", Shape::Line, Need::Always, "Where the values were published.", ""),
    key("values", Shape::List(&Shape::Table(VALUE, Rest::Nothing), (1, usize::MAX)), Need::Always, "The values.", ""),
];

/// Keys of a published value.
pub const VALUE: &[Key] = &[
    key("metric", Shape::Line, Need::Always, "The study's metric that was measured.", ""),
    key("label", Shape::Line, Need::Always, "The value's name where it was published.", ""),
    key("where", Shape::Table(WHERE, Rest::Levels), Need::Always, "The cells that it corresponds to.", ""),
    key("value", Shape::Number, Need::Always, "The value, in the metric's unit.", ""),
    key("n", Shape::Int(1, 1_000_000_000), Need::Never, "Number of values behind it.", "unknown"),
];

/// Keys of a mapping, the file by which `import` reads a table of others.
pub const MAPPING: &[Key] = &[
    key("source", Shape::Line, Need::Never, "Where the values come from, in words.", ""),
    key(
        "columns",
        Shape::Table(WHERE, Rest::Columns),
        Need::Never,
        "The table's names of our columns: `metric`, `value`, `unit`, `trial`, `vm`, `reason` and the axes.",
        "our names",
    ),
    key(
        "where",
        Shape::Table(WHERE, Rest::Columns),
        Need::Never,
        "Take only the rows that have one of these values in each column that is named.",
        "all",
    ),
    key(
        "where_not",
        Shape::Table(WHERE, Rest::Columns),
        Need::Never,
        "Leave out the rows that have one of these values in any column that is named.",
        "none",
    ),
    key(
        "cells",
        Shape::List(&Shape::Table(MAPPED_CELL, Rest::Nothing), (0, usize::MAX)),
        Need::Never,
        "The cells of the rows; the first entry that fits a row is taken.",
        "each axis from the column of its name",
    ),
];

/// Keys of an entry of `cells` in a mapping.
pub const MAPPED_CELL: &[Key] = &[
    key("where", Shape::Table(WHERE, Rest::Columns), Need::Never, "Values of the rows, by column.", "every row"),
    key("cell", Shape::Table(WHERE, Rest::OneLevel), Need::Never, "The level of their cell on each axis.", ""),
];

/// The limits of an integer key; everything when the table has no such key.
pub(super) fn limits(keys: &[Key], name: &str) -> (i64, i64) {
    match keys.iter().find(|key| key.name == name).map(|key| key.shape) {
        Some(Shape::Int(least, most)) => (least, most),
        _ => (i64::MIN, i64::MAX),
    }
}
