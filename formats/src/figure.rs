//! Figures of a plan.

use serde::{Deserialize, Serialize};

use crate::selection::Selection;
use crate::statistic::Statistic;

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
