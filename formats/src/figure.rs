//! Figures of a plan.

use serde::{Deserialize, Serialize};

use crate::selection::Selection;
use crate::statistic::Statistic;

/// A figure of the study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figure {
    /// Key in the manifest and name of the files, for example `figures/<name>.svg`.
    pub name: String,
    /// Heading above the plot; empty for none.
    pub title: String,
    pub form: FigureForm,
    pub theme: Theme,
    pub column: Column,
    /// Names of the metrics, which have the same unit.
    ///
    /// `overlaid-bars` draws them at the same position, the last metric in front. `stacked-bars` stacks them. Other
    /// forms draw one figure for each metric.
    pub metrics: Vec<String>,
    /// Bars that the manifest lists, from left to right; empty if `x`, `groups` and `panels` define the bars.
    pub bars: Vec<FigureBar>,
    /// Label of the y axis; empty for the label of the metric.
    pub y_label: String,
    /// Draws the published values of [`Plan::reference`](crate::plan::Plan::reference) next to the measured values.
    pub reference: bool,
    /// Axis along x, whose levels are the ticks. `variant` shows the labels of the variants.
    pub x: String,
    /// Axis whose levels the colours distinguish; `None` for a single colour.
    pub groups: Option<String>,
    /// Axis whose levels are drawn in separate panels, side by side; `None` for one panel.
    pub panels: Option<String>,
    #[serde(deserialize_with = "crate::selection::one_or_many")]
    pub only: Selection,
    /// The statistic that a bar's height shows.
    pub statistic: Statistic,
    /// Scale of the x axis, if its levels are numbers.
    #[serde(default, skip_serializing_if = "Scaling::is_linear")]
    pub x_scale: Scaling,
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
    /// Equal differences have equal lengths.
    #[default]
    Linear,
    /// Equal ratios have equal lengths. The label of the axis states it.
    Log,
}

impl Scaling {
    #[must_use]
    pub fn is_linear(&self) -> bool {
        *self == Self::Linear
    }
}

/// A bar of a figure whose manifest lists the bars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureBar {
    pub label: String,
    /// Legend entry, which decides the colour; empty for no entry.
    pub group: String,
    /// The cells that the bar shows. Several cells are pooled with equal weights, which the caption states.
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
    /// One bar for each of [`Figure::bars`], or for each level of x.
    Bars,
    /// One bar for each level of x and group, with interval and raw points.
    GroupedBars,
    /// Like `bars`, but the bars of all metrics start at zero, each behind that of the next metric.
    OverlaidBars,
    /// Like `bars`, but the means of the metrics are stacked: parts that add up.
    StackedBars,
    /// Box plots over trials: quartiles, whiskers to the last value within 1.5 interquartile ranges, outliers as
    /// points.
    Box,
    /// Empirical cumulative distribution functions, one line per bar.
    Ecdf,
    /// Violin plots over trials: a mirrored kernel density estimate, with the median and each trial as a point.
    Violin,
    /// Each trial's value as a point in execution order, one strip per bar.
    Strip,
    /// The statistic over a numeric axis with its interval as a band, one line per level of [`Figure::groups`].
    Line,
    /// Like `line`, with the knee of each line if there is one.
    Scaling,
    /// Consecutive spans ([`Figure::metrics`]) as segments from their common start, one row per bar.
    Timeline,
    /// The statistic for each level of x (columns) and group (rows), as a colour and a number.
    HeatMap,
    /// The ratio of each claim with its interval, its limits and its published value, one row per claim.
    Forest,
    /// A diagram of the set-up in the plan: hosts, tap interfaces and guests. It shows no results.
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
    /// Intervals, raw points, and colours that colour-blind readers can distinguish.
    #[default]
    Publication,
    /// The style of the 2019 paper: the default style of matplotlib at that time, without intervals.
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
