//! The data formats that the runner writes and the analysis reads: `plan.json` and `journal.ndjson`.
//!
//! `plan.json` is one [`Plan`]. `journal.ndjson` holds one [`Record`] a line, framed by [`journal`](crate::journal). Times are
//! nanoseconds of the executing host's `CLOCK_MONOTONIC`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use crate::direction::Better;
pub use crate::name::Name;
use crate::precision::{Look, Precision};
pub use crate::values::Values;

/// Version of `plan.json` and of the journal, as they are written.
pub const FORMAT_VERSION: u32 = 6;
/// The oldest version that is read, the one before. Others are refused with [`Code::OtherFormat`](crate::code::Code::OtherFormat).
pub const OLDEST_FORMAT: u32 = FORMAT_VERSION - 1;
/// What the reason of a [`Record::Reading`] begins with that its kind of guest can never have.
pub const NOT_APPLICABLE: &str = "not applicable: ";

/// A study, expanded: what to run, in which order, and what to make of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`FORMAT_VERSION`].
    pub format: u32,
    /// The study's name (`[a-z0-9-]+`).
    pub study: String,
    /// One line for titles.
    pub title: String,
    /// Which reading of the 2019 paper's protocol the settings and metrics follow where the manifest does not say otherwise.
    pub protocol: Protocol,
    /// The manifest's profile that decided on the trials; empty when it has none.
    pub profile: String,
    /// Seed of the run order.
    pub seed: u64,
    /// A cell's first trial in a session is preceded by a warm-up of one VM, which is kept, labelled, never counted.
    pub warmup: bool,
    /// A cell is given up after so many trials in a row in which no VM completed; 0 for never.
    pub give_up_after: u32,
    /// Names of the matrix's axes in manifest order (`variant`, `concurrency`, `rootfs` ...).
    pub axes: Vec<Axis>,
    /// Every cell in manifest order.
    pub cells: Vec<Cell>,
    /// Every trial in execution order; `index` counts from 0.
    pub trials: Vec<PlannedTrial>,
    /// What each VM is made to do between its start and its stop, in manifest order.
    pub workloads: Vec<Workload>,
    /// What each VM is measured on, in manifest order.
    pub metrics: Vec<Metric>,
    /// What is drawn, in manifest order.
    pub figures: Vec<Figure>,
    /// Sentences that the run is to judge, in manifest order.
    pub claims: Vec<Claim>,
    /// Published values to show beside the measured ones.
    pub reference: Option<Reference>,
    /// [`Metric::name`] of those whose comparisons make one family of tests; empty for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub family: Vec<String>,
    /// When there are enough trials; `None` to run each that is planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
    /// How far the levels of concurrency go; `None` to run each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<Limit>,
    /// Combinations of levels that an exclude line took out.
    pub excluded: Vec<Exclusion>,
}

/// How far a sweep of concurrency goes: beyond the first level at which a cell meets one of these, cells that are alike but for their
/// concurrency are not run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// More than this share of the cell's VMs did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failures: Option<f64>,
    /// The VMs of a trial together take more than this of the host's memory, MiB: the median over trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<f64>,
    /// Each further VM adds more than this to the start-up time, ms: the medians' difference to the level before, over the VMs more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup_slope_ms: Option<f64>,
}

/// A reading of the 2019 paper's protocol.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Protocol {
    /// What the paper says.
    AsWritten,
    /// What its tool did.
    AsCoded,
    /// What measures the things that the paper names.
    #[default]
    Corrected,
}

/// What is attached to a VMM in trials of their own, because it would disturb a timed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Instrument {
    /// `strace -c -f`: counts system calls.
    Strace,
}

/// One axis of the matrix with its levels in manifest order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// Axis name.
    pub name: String,
    /// Levels in the order of the manifest (also the order of bars in a figure).
    pub levels: Vec<Level>,
}

/// A level of an axis, or the value of a setting.
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Level {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Text(String),
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
        }
    }
}

/// Variant x concurrency x every other axis.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Stable short name: the levels joined by `/`, in axis order, for instance `fc/4/minimal`.
    pub id: Name,
    /// Level of every axis, `variant` and `concurrency` included.
    pub levels: Values,
    /// The variant's key in the manifest.
    pub variant: Name,
    /// The variant's label for figures.
    pub label: Name,
    /// The engine's name.
    pub engine: Name,
    /// VMs released together in one trial.
    pub concurrency: u32,
    /// Trials planned for this cell.
    pub trials: u32,
    /// Every effective setting of the cell's VMs (kernel, rootfs, vcpus, memory_mib, the engine's own).
    pub settings: Values,
}

impl Cell {
    /// A setting that is a whole number, none below zero; `None` where it is not.
    #[must_use]
    pub fn number(&self, setting: &str) -> Option<u64> {
        match self.settings.get(setting) {
            Some(Level::Int(number)) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// Whether it has the levels of `other`, but for that on axis `but`.
    #[must_use]
    pub fn is_like(&self, other: &Self, but: &str) -> bool {
        let other_axis = |(axis, _): &(&String, &Level)| *axis != but;
        self.levels.iter().filter(other_axis).eq(other.levels.iter().filter(other_axis))
    }

    /// What its VMs are, as one text: the same for cells that differ in nothing but how many VMs run at once.
    #[must_use]
    pub fn machine(&self) -> String {
        let settings = self.settings.iter().map(|(name, level)| format!("\n{name}={level}"));
        settings.fold(self.engine.to_string(), |text, setting| text + &setting)
    }
}

/// One execution of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTrial {
    /// Position in the execution order, from 0; names the trial in the journal.
    pub index: u32,
    /// Block of the randomised complete block design, from 0.
    pub block: u32,
    /// [`Cell::id`].
    pub cell: Name,
    /// What is attached to the VMMs; only metrics of the same instrument are sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument: Option<Instrument>,
}

/// A part of a plan: every `of`-th of its blocks. Blocks stay whole, so that each part has every cell that has a trial in it, and what
/// two hosts differ in falls on all cells alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shard {
    /// Which one, from 1.
    pub index: u32,
    /// How many there are.
    pub of: u32,
}

impl Shard {
    /// The one of `of` that has the block.
    #[must_use]
    pub fn of_block(block: u32, of: u32) -> Self {
        Self { index: block.checked_rem(of).map_or(0, |rest| rest + 1), of }
    }

    /// Whether the block is in it.
    #[must_use]
    pub fn has(self, block: u32) -> bool {
        self == Self::of_block(block, self.of)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((index, of)) if (1..=of).contains(&index) => Ok(Self { index, of }),
            _ => Err("a shard is K/N with K from 1 to N, for instance 2/3".to_owned()),
        }
    }
}

/// A combination of levels that is not run, and the line that says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exclusion {
    /// The levels joined by `/`, as a cell's id.
    pub cell: String,
    /// Line of the manifest (1-based) that excluded it.
    pub line: u32,
}

/// Work that a guest is given; its readings are `work.<metric>.<value>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// [`Metric::name`] of the metric that reports it.
    pub metric: String,
    /// What is done.
    pub kind: WorkloadKind,
    /// Bytes a round.
    pub bytes: u64,
    /// Rounds that count.
    pub rounds: u32,
    /// Rounds before them that do not.
    #[serde(default, skip_serializing_if = "none")]
    pub warmup: u32,
    /// How the disk is worked on; of disk work alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskAccess>,
    /// Connections at once; of [`WorkloadKind::Http`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<u32>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn none(rounds: &u32) -> bool {
    *rounds == 0
}

/// How a workload works on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskAccess {
    /// Bytes of one read or write.
    pub block: u64,
    /// Past the guest's page cache (`O_DIRECT`).
    pub direct: bool,
    /// The blocks in a random order, else one after the other.
    pub random: bool,
}

/// What a workload does.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum WorkloadKind {
    /// SHA-256 over one buffer of pseudo-random bytes, `rounds` times.
    Sha256,
    /// One allocation and copy of the buffer, `rounds` times, nothing hashed: what the 2019 paper's tool did where its text says
    /// hashing. It called Go's `h.Sum(buffer)`, which appends the digest of what was written before, here nothing, to a copy of
    /// its argument.
    Copy,
    /// Every word of a buffer is read.
    MemoryRead,
    /// Every word of a buffer is written.
    MemoryWrite,
    /// A buffer is copied to another one.
    MemoryCopy,
    /// Memory is mapped anew and each of its pages touched.
    PageTouch,
    /// Every block of a region of the disk is read.
    DiskRead,
    /// Every block of a region of the disk is written, and the disk told to keep them.
    DiskWrite,
    /// The guest serves a static file over HTTP; a round is one request.
    Http,
    /// The guest sends over one TCP connection.
    TcpSend,
    /// The guest receives over one TCP connection.
    TcpReceive,
}

impl WorkloadKind {
    /// Whether the host times it: it is the traffic of the guest's service, and no request asks the guest for it.
    #[must_use]
    pub const fn is_timed_by_host(self) -> bool {
        matches!(self, Self::Http | Self::TcpSend | Self::TcpReceive)
    }
}

/// What one VM is measured on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Key in the manifest, for instance `webservice_startup_time`.
    pub name: String,
    /// Name for axes and tables, for instance `Web service start-up`.
    pub label: String,
    /// One sentence: from what to what, on which clock.
    pub definition: String,
    /// Unit of a sample's value: `ms` for durations, `MiB` for sizes, else as the reading is recorded (`1` for a count).
    pub unit: String,
    /// Where the value comes from.
    pub source: MetricSource,
    /// Which direction is better; `None` in plans of earlier versions: [`Metric::direction`] is the one to ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
    /// What must be attached for it; `None` for timed trials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instrument: Option<Instrument>,
}

/// Where a metric's value comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum MetricSource {
    /// `to - from`, both [`Record::Event`]s of one VM; reported in ms.
    Span {
        /// Name of the first event.
        from: String,
        /// Name of the last event.
        to: String,
    },
    /// A [`Record::Reading`] of this name; a reading in `ns` is reported in ms, one in `bytes` in MiB.
    Reading(String),
}

/// One figure of the study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Key in the manifest; names the files `figures/<name>.svg`.
    pub name: String,
    /// Heading above the plot; empty for none.
    pub title: String,
    /// Form of the chart.
    pub form: FigureForm,
    /// Look of the chart.
    pub theme: Theme,
    /// Width of the chart.
    pub column: Column,
    /// [`Metric::name`], of one unit. `overlaid-bars` draws them at one place, the last one in front, and
    /// `stacked-bars` one on the other; other forms make one figure each.
    pub metrics: Vec<String>,
    /// Bars that the manifest lists one by one, left to right; empty to take them from `x`, `groups` and `panels`.
    pub bars: Vec<FigureBar>,
    /// Label of the y axis in place of the metric's; empty for that.
    pub y_label: String,
    /// Draw the published values of [`Plan::reference`] beside the measured ones.
    pub reference: bool,
    /// Axis along x; the ticks are its levels (`variant` shows labels).
    pub x: String,
    /// Axis that the colours stand for; `None` draws bars of one colour.
    pub groups: Option<String>,
    /// Axis whose levels make one panel each, side by side.
    pub panels: Option<String>,
    /// Only these cells.
    #[serde(deserialize_with = "crate::selection::one_or_many")]
    pub only: Selection,
    /// What a bar's height is.
    pub statistic: Statistic,
    /// Scale of the x axis, where that is an axis of numbers.
    #[serde(default, skip_serializing_if = "Scaling::is_linear")]
    pub x_scale: Scaling,
    /// Scale of the y axis.
    #[serde(default, skip_serializing_if = "Scaling::is_linear")]
    pub y_scale: Scaling,
}

/// Scale of an axis of numbers.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Scaling {
    /// The same difference has the same length.
    #[default]
    Linear,
    /// The same ratio has the same length; its label says so.
    Log,
}

impl Scaling {
    /// True for [`Scaling::Linear`].
    #[must_use]
    pub fn is_linear(&self) -> bool {
        *self == Self::Linear
    }
}

/// One bar of a figure that lists its bars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureBar {
    /// Words below it.
    pub label: String,
    /// Entry of the legend, which its colour stands for; empty for none.
    pub group: String,
    /// The cells that it shows: several are pooled, each with equal weight, and the caption says so.
    pub of: Selection,
}

/// Cells, by axis (or `engine`): all that have one of the levels on every axis that is named. Empty for every cell.
pub type Selection = BTreeMap<String, Vec<Level>>;

/// Form of a chart.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum FigureForm {
    /// One bar for each of [`Figure::bars`], or each level of x.
    Bars,
    /// One bar a level of x and group, with interval and raw points.
    GroupedBars,
    /// As `bars`, but each metric's bar stands behind the next one's, from zero.
    OverlaidBars,
    /// As `bars`, but each metric's mean stands on the one before it: parts that add up.
    StackedBars,
    /// Box plots over trials: quartiles, whiskers to the last value within 1.5 interquartile ranges, values beyond as points.
    Box,
    /// Empirical cumulative distribution functions, one line a bar.
    Ecdf,
    /// Violin plots over trials: a kernel estimate of their density, mirrored, with each trial as a point and the median.
    Violin,
    /// Every trial's value as a point in run order, one strip a bar.
    Strip,
    /// The statistic over an axis of numbers with its interval as a band, one line a level of [`Figure::groups`].
    Line,
    /// As `line`, with the knee of each line, or that there is none.
    Scaling,
    /// [`Figure::metrics`], spans that follow one another, as segments from their common start, one row a bar.
    Timeline,
    /// The statistic for each level of x (columns) and group (rows), as a colour and as a number.
    HeatMap,
    /// The set-up: hosts, taps, guests, from the plan; no data.
    Setup,
}

/// Look of a chart.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Theme {
    /// Intervals, raw points, colours for every eye.
    #[default]
    Publication,
    /// As the 2019 paper printed its charts: matplotlib's default look of the time, no intervals.
    Paper,
}

/// Width of a chart.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Column {
    /// One column of a paper, 3.5 inches.
    Single,
    /// Two columns, 7.2 inches.
    #[default]
    Double,
}

/// A sentence that can be judged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Key in the manifest.
    pub name: String,
    /// What is claimed, in words.
    pub text: String,
    /// What is compared; its unit follows from it. `None` for a claim that is [`unmeasured`](Self::unmeasured).
    pub comparison: Option<Comparison>,
    /// Statistic of each cell: a side of several cells is the mean of theirs.
    pub statistic: Statistic,
    /// Least value for which the claim holds; `None` for no limit.
    pub least: Option<f64>,
    /// Largest value for which it holds; `None` for no limit.
    pub most: Option<f64>,
    /// The limit itself does not make it true (`> 1`, `< 2`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// The value that the paper states, if it states one.
    pub published: Option<f64>,
    /// What the paper's own data says, in words.
    pub data: String,
    /// Why it cannot be judged here, in words; empty when it can.
    pub unmeasured: String,
}

/// What a claim compares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// One side's statistic, in the metric's unit.
    Value(Side),
    /// First side over second side.
    Ratio(Side, Side),
    /// First side minus second side, in the metric's unit.
    Difference(Side, Side),
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// [`Metric::name`].
    pub metric: String,
    /// The cells.
    pub of: Selection,
}

/// Values that somebody published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Name for legends, for instance `Mieden & Partarrieu 2019`.
    pub label: String,
    /// Full citation.
    pub citation: String,
    /// The values.
    pub values: Vec<ReferenceValue>,
    /// Why the values of a metric are not among them, by its name: they would stand beside what they are not of.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
}

/// One published value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceValue {
    /// [`Metric::name`].
    pub metric: String,
    /// The value's name where it was published.
    pub label: String,
    /// The cells of this study that it corresponds to.
    pub of: Selection,
    /// The value, in the metric's unit.
    pub value: f64,
    /// How many observations it is of; `None` when that was not published.
    pub n: Option<u32>,
}

/// Statistic over trials.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Statistic {
    /// Sample median.
    Median,
    /// Arithmetic mean.
    Mean,
    /// 90th percentile; needs 29 trials.
    P90,
    /// 95th percentile; needs 59 trials.
    P95,
    /// 99th percentile; needs 299 trials.
    P99,
}

impl Statistic {
    /// As it stands in a sentence.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::Mean => "mean",
            Self::P90 => "90th percentile",
            Self::P95 => "95th percentile",
            Self::P99 => "99th percentile",
        }
    }

    /// The share of values below the quantile that it is; `None` for the mean.
    #[must_use]
    pub fn share(self) -> Option<f64> {
        match self {
            Self::Median => Some(0.5),
            Self::Mean => None,
            Self::P90 => Some(0.9),
            Self::P95 => Some(0.95),
            Self::P99 => Some(0.99),
        }
    }
}

/// Where trials executed.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum HostKind {
    /// Hardware virtualisation of the machine the runner is on; times are wall time.
    Kvm,
    /// The emulated host: QEMU TCG with AMD SVM; times are virtual time (one instruction = 1 ns).
    Emulated,
    /// A test's stand-in for a VMM, on the machine's own clock; never a measurement.
    Fake,
    /// Values from a table that somebody else measured; [`Record::RunStart`] was written by `microbench import`.
    Imported,
}

impl HostKind {
    /// What a reader must know of times that were measured there.
    #[must_use]
    pub fn note(self) -> &'static str {
        match self {
            Self::Kvm => "KVM, wall time",
            Self::Emulated => "emulated host, virtual time: 1 instruction = 1 ns; no caches, no cost of a world switch",
            Self::Fake => "a test's stand-in, no measurement",
            Self::Imported => "imported values, measured elsewhere",
        }
    }
}

/// One line of the journal. Lines of one trial stand between its `TrialStart` and its `TrialEnd`; a trial without
/// its `TrialEnd` (the run was cut off) does not count and is run again as the next attempt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// A session of the run began (the first, or a resumed one).
    RunStart {
        /// [`FORMAT_VERSION`].
        format: u32,
        /// The run's name.
        run: String,
        /// SHA-256 of `plan.json`, hex.
        plan_sha256: String,
        /// SHA-256 of `engines.json`, hex; `None` in format 5.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        engines_sha256: Option<String>,
        /// SHA-256 of `lock.toml`, hex; `None` in format 5, and where nothing is executed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lock_sha256: Option<String>,
        /// Where this session's trials execute.
        host: HostKind,
        /// Hosts that share them: emulated hosts beside one another, 1 otherwise.
        hosts: u32,
        /// Wall clock, RFC 3339.
        started: String,
        /// `microbench` version.
        version: String,
        /// The part of the plan that the session executes; `None` for all of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shard: Option<Shard>,
        /// Of a shard, the name of the host: trials of one name are of one host, and cells are compared within hosts. Emulated hosts
        /// that are the same machine in virtual time have one name, wherever they run. Empty without a shard: a run is of one host.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        machine: String,
        /// Why the session's VMMs were not isolated from the host, which `--allow-unisolated` permitted; `None` where
        /// they were.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unisolated: Option<String>,
    },
    /// A trial began.
    TrialStart {
        /// [`PlannedTrial::index`].
        trial: u32,
        /// 0 for the first execution, more after a cut-off.
        attempt: u32,
        /// [`Cell::id`].
        cell: String,
        /// True for a warm-up: kept, labelled, never in a statistic. Its `trial` is that of the trial it precedes.
        warmup: bool,
    },
    /// A named instant in one VM's life.
    Event {
        /// VM of the trial, from 0.
        vm: u32,
        /// Event name, for instance `http.ok`.
        name: String,
        /// `CLOCK_MONOTONIC`, nanoseconds.
        t_ns: u64,
    },
    /// A value that the guest or the kernel reports, or the runner reads, for one VM.
    Reading {
        /// VM of the trial, from 0.
        vm: u32,
        /// Reading name, for instance `kernel.init`; or that of an event that could not be had, with the reason and no value.
        name: String,
        /// The value; `None` when it cannot be had here.
        value: Option<f64>,
        /// Unit (`ns`, `bytes`, `1` ...).
        unit: String,
        /// Why `value` is `None`; empty else. After [`NOT_APPLICABLE`] where no guest of the kind can have it.
        reason: String,
    },
    /// A VM did not complete its protocol. What it did record stays.
    Failure {
        /// VM of the trial, from 0.
        vm: u32,
        /// What went wrong.
        reason: FailureReason,
        /// The last stage begun: the name of the event that was being waited for.
        stage: String,
        /// One line of detail (the VMM's message, the deadline ...).
        message: String,
    },
    /// Something disturbed the trial that is open, so that its values do not count: it is kept, and run again within a budget.
    Invalid {
        /// What it was.
        reason: Interference,
        /// What was seen, in words.
        message: String,
    },
    /// The stopping rule looked at every cell after so many blocks.
    Look {
        /// Blocks that had ended.
        blocks: u32,
        /// What it found, by cell.
        cells: BTreeMap<String, Look>,
    },
    /// A trial ended; its records are complete and on disk.
    TrialEnd {
        /// [`PlannedTrial::index`].
        trial: u32,
        /// As in its `TrialStart`.
        attempt: u32,
        /// VMs that completed the protocol.
        ok: u32,
        /// VMs that did not.
        failed: u32,
    },
    /// How late the probe saw fake guests at the start of this session, on the host that executes.
    Probe(ProbeError),
    /// Every trial of the plan has ended.
    RunEnd {
        /// Wall clock, RFC 3339.
        ended: String,
    },
}

/// The error of a probe: from a fake guest's `listen(2)` to the answer that the probe saw, milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbeError {
    /// Fake guests.
    pub n: u32,
    /// Median.
    pub median_ms: f64,
    /// 99th percentile; of fewer than 100 guests it is the largest.
    pub p99_ms: f64,
    /// Largest.
    pub max_ms: f64,
    /// CPU time of the probe, mean of a guest.
    pub cpu_ms: f64,
}

/// What disturbs a trial.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Interference {
    /// The hypervisor below took CPU time away.
    Stolen,
    /// A quota or the heat throttled a CPU.
    Throttled,
    /// The CPUs' governor or frequency limits changed.
    Frequency,
    /// Something else used the CPUs.
    Load,
    /// Pages went to or came from swap.
    Swap,
    /// Tasks waited for memory.
    MemoryPressure,
    /// Another VM of the run was still there.
    Overlap,
    /// The runner was stopped or could not run.
    Paused,
    /// The host's kernel complained.
    HostKernel,
    /// A guest's kernel complained on its console.
    GuestKernel,
    /// The emulated host hung or died under the trial.
    Testbed,
}

/// Why a VM did not complete.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum FailureReason {
    /// A wait's deadline passed; the VM was killed.
    Timeout,
    /// The VMM ended before it was asked to.
    Exited,
    /// The VMM refused the configuration on this host (a CPU template on another CPU, for instance).
    NotApplicable,
    /// An answer that breaks the protocol: wrong nonce, wrong digest, malformed.
    Protocol,
    /// The host could not prepare or start the VM.
    Host,
    /// The emulated host hung or died under the trial.
    Testbed,
    /// The kernel killed the VMM because memory had run out.
    Memory,
    /// An artefact is no longer the one that the run began with.
    Artifact,
    /// Not run: the cell's last trials all failed.
    GivenUp,
    /// Not run: a level of less concurrency met the study's [`Limit`].
    BeyondLimit,
}

/// The name of one VM's files, its console log `console/NAME.log` among them: `t0012-a0-vm003`; `w` marks a warm-up.
#[must_use]
pub fn vm_id(trial: u32, warmup: bool, attempt: u32, vm: u32) -> String {
    format!("t{trial:04}{}-a{attempt}-vm{vm:03}", if warmup { "w" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of an enum are one list: what serde writes, what `Display` shows and what is parsed.
    fn words<T>()
    where
        T: Copy + PartialEq + fmt::Debug + fmt::Display + Serialize + strum::VariantArray + std::str::FromStr,
    {
        for value in T::VARIANTS {
            let word = value.to_string();
            assert_eq!(serde_json::to_value(value).unwrap(), serde_json::Value::from(word.as_str()));
            assert_eq!(word.parse::<T>().ok(), Some(*value), "{word}");
        }
    }

    #[test]
    fn a_value_has_one_word_in_json_and_text() {
        words::<Better>();
        words::<Column>();
        words::<FailureReason>();
        words::<FigureForm>();
        words::<HostKind>();
        words::<Interference>();
        words::<Protocol>();
        words::<Scaling>();
        words::<Statistic>();
        words::<Theme>();
        words::<WorkloadKind>();
    }
}
