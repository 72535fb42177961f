//! What is to be seen in a figure, before anything is drawn: pure data, off which tests read heights, labels and order.

use microbench_formats::figure::{Column, Figure, FigureForm, Theme};
use microbench_formats::plan::Plan;

use super::{curves, heat, lines, marks, sequence, setup, stack, timeline};
use crate::Error;
use crate::samples::Sample;
use crate::summary::Row;

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// File name without extension.
    pub name: String,
    /// Heading.
    pub title: String,
    /// Look.
    pub theme: Theme,
    /// Width.
    pub column: Column,
    /// Legend, in its order; empty for none.
    pub legend: Vec<Entry>,
    /// What is drawn.
    pub chart: Chart,
    /// What stands below: statistic, n, level, definition, host kind.
    pub caption: String,
}

impl Description {
    /// The figure with this sentence at the end of its caption.
    #[must_use]
    pub fn with_remark(mut self, remark: &str) -> Self {
        self.caption = format!("{} {remark}.", self.caption).trim_start().to_owned();
        self
    }
}

/// One entry of a legend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Words.
    pub label: String,
    /// What it stands for.
    pub key: Key,
}

/// What an entry of a legend stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A group's colour.
    Group(usize),
    /// A layer's shade, of so many: 0 is the one behind.
    Layer(usize, usize),
    /// The outline of published values.
    Reference,
    /// The mark of an execution in a sequence.
    Point(sequence::Kind),
    /// The line of a median.
    Line,
    /// A group's line with its points.
    Curve(usize),
    /// A distribution function's line.
    Steps(usize),
    /// The mark of what has no value.
    Missing,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Chart {
    /// Marks over ticks: bars, boxes, violins, strips.
    Marks {
        /// Label of the x axis; empty where the ticks say what they are.
        x_label: String,
        /// Label of the y axis, with the unit.
        y_label: String,
        /// Whether the y axis is logarithmic; else it begins at zero.
        log: bool,
        /// Left to right.
        panels: Vec<Panel>,
    },
    /// Lines over a continuous axis: distribution functions.
    Lines(lines::Lines),
    /// Lines over an axis of numbers.
    Curves(curves::Curves),
    /// Phases of a start-up over time.
    Timeline(timeline::Timeline),
    /// A value for each pair of levels of two axes.
    Heat(heat::Heat),
    /// Values over the execution order.
    Sequence(sequence::Sequence),
    /// The set-up.
    Setup(setup::Setup),
}

/// One coordinate system.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Heading; empty for none.
    pub title: String,
    /// Labels along x.
    pub ticks: Vec<String>,
    /// Places side by side at each tick.
    pub slots: usize,
    /// Back to front.
    pub marks: Vec<Mark>,
}

/// What stands at one tick in one slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Mark {
    /// Index into the panel's ticks.
    pub tick: usize,
    /// Index into the tick's slots.
    pub slot: usize,
    /// Index of the colour.
    pub group: usize,
    /// Which of how many layers; (0, 1) for the only one.
    pub layer: (usize, usize),
    /// What was measured.
    pub shown: Shown,
    /// A published value, to stand beside.
    pub reference: Option<f64>,
    /// Said above or in its place: failures and the like; empty for none.
    pub note: String,
}

/// What was measured, in the unit of the y axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// A bar.
    Bar {
        /// Height.
        height: f64,
        /// Ends of the interval, where n allows one.
        interval: Option<(f64, f64)>,
        /// Each trial.
        points: Vec<f64>,
    },
    /// A box plot.
    Box {
        /// First quartile, median, third quartile.
        quartiles: [f64; 3],
        /// Lowest and highest value within 1.5 interquartile ranges of the box.
        whiskers: (f64, f64),
        /// Values beyond.
        outliers: Vec<f64>,
    },
    /// A violin plot: the values' estimated density, mirrored.
    Violin {
        /// The values, in run order.
        values: Vec<f64>,
        /// Their median.
        median: f64,
        /// The density at values from the lowest to the highest, as a share of the highest density; empty for too few values.
        outline: Vec<(f64, f64)>,
    },
    /// Each trial's value, in run order.
    Strip {
        /// The values.
        values: Vec<f64>,
        /// Their median.
        median: f64,
    },
    /// A bar of parts, the first one at the bottom.
    Stack {
        /// The parts that there are.
        parts: Vec<Part>,
        /// Ends of the interval of their sum, where n allows one.
        interval: Option<(f64, f64)>,
        /// Each trial's sum.
        points: Vec<f64>,
    },
    /// Nothing: the note says why.
    Nothing,
}

/// A part of a stacked bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Index of its colour, which is that of its metric.
    pub colour: usize,
    /// Height of the part alone.
    pub height: f64,
}

/// What a figure is made from.
#[derive(Clone, Copy, Debug)]
pub struct Data<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// One row for each cell and metric.
    pub rows: &'a [Row],
    /// Every sample.
    pub samples: &'a [Sample],
}

/// Describes `figure`: one description for each of its metrics, or one for all where the form draws them together.
///
/// # Errors
/// When it names an axis or a metric that the plan does not have.
pub fn describe(data: Data<'_>, figure: &Figure) -> Result<Vec<Description>, Error> {
    match figure.form {
        FigureForm::Bars
        | FigureForm::GroupedBars
        | FigureForm::OverlaidBars
        | FigureForm::Box
        | FigureForm::Violin
        | FigureForm::Strip => marks::describe(data, figure),
        FigureForm::StackedBars => Ok(vec![stack::describe(data, figure)?]),
        FigureForm::Ecdf => lines::describe(data, figure),
        FigureForm::Line | FigureForm::Scaling => curves::describe(data, figure),
        FigureForm::Timeline => Ok(vec![timeline::describe(data, figure)?]),
        FigureForm::HeatMap => heat::describe(data, figure),
        FigureForm::Setup => Ok(vec![setup::describe(data.plan, figure)]),
    }
}
