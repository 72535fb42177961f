//! What is to be seen in a figure, before anything is drawn.

use std::collections::BTreeMap;

use crate::Error;
use crate::record::{Axis, Cell, Figure, FigureForm, HostKind, Level, Metric, Plan, Statistic};
use crate::samples::Status;
use crate::summary::Row;

/// One figure of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// File name without extension.
    pub name: String,
    /// Heading.
    pub title: String,
    /// Label of the y axis, with the unit.
    pub y_label: String,
    /// Legend; one entry without a label when there are no groups.
    pub groups: Vec<String>,
    /// Left to right.
    pub panels: Vec<Panel>,
    /// What stands below: statistic, n, level, definition, host kind.
    pub caption: String,
}

/// One coordinate system.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// Heading; empty for none.
    pub title: String,
    /// Labels along x.
    pub ticks: Vec<String>,
    /// A bar or a mark for each tick and group.
    pub bars: Vec<Bar>,
}

/// What stands at one tick in one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Index into the panel's ticks.
    pub tick: usize,
    /// Index into the figure's groups.
    pub group: usize,
    /// What was measured.
    pub shown: Shown,
    /// Said above the bar or in its place: failures and the like; empty for none.
    pub mark: String,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub enum Shown {
    /// A bar.
    Value {
        /// Height, in the unit of the y axis.
        height: f64,
        /// Ends of the interval, where n allows one.
        interval: Option<(f64, f64)>,
        /// Each trial.
        points: Vec<f64>,
    },
    /// Nothing: the mark says why.
    Nothing,
}

/// Describes `figure`: one description for each of its metrics.
///
/// # Errors
/// When it names an axis or a metric that the plan does not have.
pub fn describe(plan: &Plan, rows: &[Row], figure: &Figure) -> Result<Vec<Description>, Error> {
    let wrong = |problem: String| Error::Figure { name: figure.name.clone(), problem };
    let axis = |name: &str| -> Result<&Axis, Error> {
        plan.axes.iter().find(|axis| axis.name == name).ok_or_else(|| wrong(format!("there is no axis `{name}`")))
    };
    if figure.form != FigureForm::GroupedBars {
        return Err(wrong("its form cannot be drawn yet".into()));
    }
    let x = axis(&figure.x)?;
    let groups = figure.groups.as_deref().map(axis).transpose()?;
    let panels = figure.panels.as_deref().map(axis).transpose()?;
    let rows: BTreeMap<(&str, &str), &Row> =
        rows.iter().map(|row| ((row.cell.as_str(), row.metric.as_str()), row)).collect();
    figure
        .metrics
        .iter()
        .map(|name| {
            let metric = plan.metrics.iter().find(|metric| metric.name == *name);
            let metric = metric.ok_or_else(|| wrong(format!("there is no metric `{name}`")))?;
            Ok(of_metric(plan, &rows, figure, metric, x, groups, panels))
        })
        .collect()
}

fn of_metric(
    plan: &Plan,
    rows: &BTreeMap<(&str, &str), &Row>,
    figure: &Figure,
    metric: &Metric,
    x: &Axis,
    groups: Option<&Axis>,
    panels: Option<&Axis>,
) -> Description {
    let one = [Level::Text(String::new())];
    let levels = |axis: Option<&Axis>| axis.map_or(one.to_vec(), |axis| axis.levels.clone());
    let mut used: Vec<&Row> = Vec::new();
    let described = levels(panels)
        .iter()
        .map(|panel| {
            let mut bars = Vec::new();
            for (tick, at_x) in x.levels.iter().enumerate() {
                for (group, at_group) in levels(groups).iter().enumerate() {
                    let mut wanted: Vec<(&str, &Level)> = vec![(&x.name, at_x)];
                    wanted.extend(groups.map(|axis| (axis.name.as_str(), at_group)));
                    wanted.extend(panels.map(|axis| (axis.name.as_str(), panel)));
                    wanted.extend(figure.only.iter().map(|(name, level)| (name.as_str(), level)));
                    let cell = plan.cells.iter().find(|cell| fits(cell, &wanted));
                    let row = cell.and_then(|cell| rows.get(&(cell.id.as_str(), metric.name.as_str())));
                    let (shown, mark) = row.map_or((Shown::Nothing, "excluded".to_owned()), |row| bar(row, figure));
                    used.extend(row);
                    bars.push(Bar { tick, group, shown, mark });
                }
            }
            let ticks = x.levels.iter().map(|level| tick_label(plan, &x.name, level)).collect();
            Panel { title: panels.map_or(String::new(), |axis| named(plan, &axis.name, panel)), ticks, bars }
        })
        .collect();
    let clock = match used.iter().find_map(|row| row.host) {
        Some(HostKind::Emulated) if metric.unit == "ms" => ", virtual time",
        _ => "",
    };
    let unit = match metric.unit.as_str() {
        "1" => String::new(),
        unit => format!(" ({unit}{clock})"),
    };
    let several = figure.metrics.len() > 1;
    Description {
        name: if several { format!("{}-{}", figure.name, metric.name) } else { figure.name.clone() },
        title: figure.title.clone(),
        y_label: format!("{}{unit}", metric.label),
        groups: levels(groups)
            .iter()
            .map(|level| groups.map_or(String::new(), |a| named(plan, &a.name, level)))
            .collect(),
        panels: described,
        caption: caption(figure, metric, &used),
    }
}

fn fits(cell: &Cell, wanted: &[(&str, &Level)]) -> bool {
    wanted.iter().all(|(name, level)| cell.levels.get(*name) == Some(level))
}

/// The statistic of one bar; what is missing goes into the mark.
fn bar(row: &Row, figure: &Figure) -> (Shown, String) {
    let planned = row.planned();
    let marks: Vec<String> = (row.missing.iter())
        .map(|(status, (count, _))| match status {
            Status::Ok => String::new(),
            Status::Failed => format!("{count}/{planned} failed"),
            Status::NotApplicable => "n/a here".to_owned(),
            Status::NotAvailable => "not available".to_owned(),
            Status::NotRun if row.vms > 0 => format!("{count}/{planned} not run"),
            Status::NotRun => "not run".to_owned(),
        })
        .collect();
    let (height, interval, points) = match figure.statistic {
        Statistic::Median => (row.median(), row.median_interval().map(|i| (i.low, i.high)), &row.medians),
        Statistic::Mean => (row.mean(), None, &row.means),
    };
    let shown = match height {
        Some(height) => Shown::Value { height, interval, points: points.clone() },
        None => Shown::Nothing,
    };
    (shown, marks.join(", "))
}

/// A tick's words: a variant's label, else the level.
fn tick_label(plan: &Plan, axis: &str, level: &Level) -> String {
    let variant = || plan.cells.iter().find(|cell| cell.variant == level.to_string()).map(|cell| cell.label.clone());
    (axis == "variant").then(variant).flatten().unwrap_or_else(|| level.to_string())
}

/// A legend's or a panel's words.
fn named(plan: &Plan, axis: &str, level: &Level) -> String {
    match (axis, level) {
        ("variant", _) => tick_label(plan, axis, level),
        ("concurrency", Level::Int(1)) => "1 VM".to_owned(),
        ("concurrency", _) => format!("{level} VMs at once"),
        ("rootfs", _) => format!("root file system {level}"),
        _ => format!("{} {level}", axis.replace('_', " ")),
    }
}

fn caption(figure: &Figure, metric: &Metric, rows: &[&Row]) -> String {
    let ns: Vec<usize> = rows.iter().map(|row| row.n()).filter(|n| *n > 0).collect();
    let n = match (ns.iter().min(), ns.iter().max()) {
        (Some(low), Some(high)) if low == high => format!("n = {low} trials a bar"),
        (Some(low), Some(high)) => format!("n = {low} to {high} trials a bar"),
        _ => "Nothing was measured".to_owned(),
    };
    let statistic = match figure.statistic {
        Statistic::Median => "median",
        Statistic::Mean => "mean",
    };
    let with_interval = rows.iter().any(|row| row.median_interval().is_some()) && figure.statistic == Statistic::Median;
    let interval = match figure.statistic {
        Statistic::Median if with_interval => "; whiskers: 95 % order-statistic interval (from 6 trials on)",
        Statistic::Median => "; no interval below 6 trials",
        Statistic::Mean => "",
    };
    let host = match rows.iter().find_map(|row| row.host) {
        Some(HostKind::Emulated) => {
            " Emulated host, virtual time: 1 instruction = 1 ns; no caches, no cost of a world switch."
        }
        Some(HostKind::Kvm) => " KVM, wall time.",
        Some(HostKind::Fake) => " Fake VMM of the tests: not a measurement.",
        Some(HostKind::Imported) => " Imported values, measured elsewhere.",
        None => "",
    };
    // Code's own marks are for a terminal.
    let definition = metric.definition.trim_end_matches('.').replace('`', "");
    format!(
        "Bars: {statistic} over trials (a trial of several VMs counts as its {statistic}){interval}; \
         points: single trials. {n}. {}: {definition}.{host}",
        metric.label
    )
}
