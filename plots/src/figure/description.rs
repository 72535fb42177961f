//! The content of a figure as data, before it is drawn: values, labels, order and caption.

use microbench_formats::figure::{Column, Figure, FigureForm, Theme};
use microbench_formats::plan::Plan;

use super::{curves, ecdf, forest, heat_map, history, marks, sequence, setup, stack, timeline};
use crate::Error;
use crate::samples::Sample;
use crate::summary::Row;

/// One figure, ready to be drawn by [`save`](super::save).
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// File name without extension.
    pub name: String,
    pub title: String,
    pub theme: Theme,
    /// Width: a single or a double column of a paper.
    pub column: Column,
    /// Entries in drawing order; empty for a figure without a legend.
    pub legend: Vec<LegendEntry>,
    pub chart: Chart,
    /// States the statistic, the interval, n, what is missing, the metric's definition and the host kind.
    pub caption: String,
}

impl Description {
    /// Appends `remark`, a sentence without its full stop, to the caption.
    #[must_use]
    pub fn with_remark(mut self, remark: &str) -> Self {
        self.caption = format!("{} {remark}.", self.caption).trim_start().to_owned();
        self
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegendEntry {
    pub label: String,
    pub key: LegendKey,
}

/// The symbol of a legend entry. Numbers are indices of colours, which [`theme::Style`](super::theme::Style) maps to
/// colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegendKey {
    /// A bar or area in the group's colour.
    Group(usize),
    /// The shade of one layer of overlaid bars: index, and number of layers. Index 0 is the layer at the back.
    Layer(usize, usize),
    /// The outlined bar of a published value.
    Reference,
    /// The mark of one kind of execution in a sequence.
    Point(sequence::PointKind),
    /// The median's line in a sequence.
    Line,
    /// A group's line with its markers.
    Curve(usize),
    /// A plain line: a distribution function, or a median in a strip plot.
    Steps(usize),
    /// The cross of a missing value.
    Missing,
    /// A run's value with its interval.
    Value,
    /// A vertical line of a history.
    Rule(history::RuleKind),
}

/// The chart of a figure, by kind.
#[derive(Clone, Debug, PartialEq)]
pub enum Chart {
    /// Bars, boxes, violins or strips over categories.
    Marks {
        /// Label of the x axis; empty where the tick labels need none.
        x_label: String,
        /// Label of the y axis, with the unit.
        y_label: String,
        /// Whether the y axis is logarithmic. A linear axis starts at zero if there are bars.
        log: bool,
        /// From left to right.
        panels: Vec<Panel>,
    },
    /// Empirical distribution functions.
    Ecdf(ecdf::Ecdf),
    /// Lines over an axis of numbers, such as the number of VMs.
    Curves(curves::Curves),
    /// The phases of a start-up over time.
    Timeline(timeline::Timeline),
    /// A value for each pair of levels of two axes.
    HeatMap(heat_map::HeatMap),
    /// The ratios of claims.
    Forest(forest::Forest),
    /// Values in execution order.
    Sequence(sequence::Sequence),
    /// Values of runs by date.
    History(history::HistoryChart),
    /// Diagram of host, tap devices and guests.
    Setup(setup::Setup),
}

/// One coordinate system.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Heading; empty for a single panel.
    pub title: String,
    /// Labels along x.
    pub ticks: Vec<String>,
    /// Number of positions next to each other at each tick: one for each group.
    pub slots: usize,
    /// In drawing order, from back to front.
    pub marks: Vec<Mark>,
}

/// What is drawn at one tick in one slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Index into [`Panel::ticks`].
    pub tick: usize,
    /// Position within the tick, below [`Panel::slots`].
    pub slot: usize,
    /// Index of the colour.
    pub group: usize,
    /// Index of the layer, and number of layers; (0, 1) if there is one layer.
    pub layer: (usize, usize),
    pub shape: MarkShape,
    /// A published value, drawn next to the measured value.
    pub reference: Option<f64>,
    /// Text in red above or instead of the shape, for example the number of failures; empty if no value is missing.
    pub note: String,
}

/// The shape of a mark, with its values in the unit of the y axis.
#[derive(Clone, Debug, PartialEq)]
pub enum MarkShape {
    Bar {
        height: f64,
        /// 95 % interval; `None` if there are too few trials.
        interval: Option<(f64, f64)>,
        points: Vec<f64>,
    },
    Box {
        /// First quartile, median, third quartile.
        quartiles: [f64; 3],
        /// Lowest and highest value within 1.5 interquartile ranges of the box.
        whiskers: (f64, f64),
        /// Values outside the whiskers.
        outliers: Vec<f64>,
    },
    /// A violin plot: the estimated density of the values, mirrored.
    Violin {
        /// The value of each trial, in run order.
        values: Vec<f64>,
        median: f64,
        /// Pairs of value and density relative to the maximum density, from the lowest to the highest value.
        /// Empty if there are too few values, or all are equal.
        outline: Vec<(f64, f64)>,
    },
    /// Each trial's value, in run order.
    Strip { values: Vec<f64>, median: f64 },
    /// A stacked bar, with the first part at the bottom.
    Stack {
        /// The parts that have a value.
        parts: Vec<Part>,
        /// 95 % interval of the mean sum; `None` if there are too few trials.
        interval: Option<(f64, f64)>,
        /// The sum of each trial.
        points: Vec<f64>,
    },
    /// No value; [`Mark::note`] contains the reason.
    Empty,
}

/// A part of a stacked bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Index of the colour, which is the index of the metric in the figure.
    pub colour: usize,
    /// Height of this part, without the parts below it.
    pub height: f64,
}

/// The input of a figure.
///
/// ```no_run
/// use microbench_plots::figure::{Data, describe, save};
///
/// fn draw(data: Data<'_>, folder: &std::path::Path) -> Result<(), microbench_plots::Error> {
///     for figure in &data.plan.figures {
///         for description in describe(data, figure)? {
///             save(&description, folder)?;
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    pub plan: &'a Plan,
    /// Summary rows, one for each cell and metric.
    pub rows: &'a [Row],
    pub samples: &'a [Sample],
}

/// Describes `figure`: one description for each metric, or one for all metrics if the form draws them together.
///
/// # Errors
/// If the figure names an axis or a metric that the plan does not have, or its form cannot draw the axis.
pub fn describe(data: Data<'_>, figure: &Figure) -> Result<Vec<Description>, Error> {
    match figure.form {
        FigureForm::Bars
        | FigureForm::GroupedBars
        | FigureForm::OverlaidBars
        | FigureForm::Box
        | FigureForm::Violin
        | FigureForm::Strip => marks::describe(data, figure),
        FigureForm::StackedBars => Ok(vec![stack::describe(data, figure)?]),
        FigureForm::Ecdf => ecdf::describe(data, figure),
        FigureForm::Line | FigureForm::Scaling => curves::describe(data, figure),
        FigureForm::Timeline => Ok(vec![timeline::describe(data, figure)?]),
        FigureForm::HeatMap => heat_map::describe(data, figure),
        FigureForm::Forest => Ok(vec![forest::describe(data, figure)]),
        FigureForm::Setup => Ok(vec![setup::describe(data.plan, figure)]),
    }
}
