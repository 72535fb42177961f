//! Stacked bars: parts that add up to a total.
//!
//! Medians do not add up, but means over the same VMs do. The parts of a cell are therefore means over the VMs that
//! have a value for every part. The height of the bar is the mean of their sums. A part that no VM of the cell has is
//! left out, and the caption lists the bar as incomplete.

use std::collections::BTreeMap;

use microbench_formats::figure::{Figure, Theme};
use microbench_formats::metric::Metric;
use microbench_formats::statistic::Statistic;

use super::cells::{self, Place};
use super::description::{Chart, Data, Description, LegendEntry, LegendKey, Mark, MarkShape, Panel, Part};
use crate::Error;
use crate::samples::{Sample, Status};
use crate::stats::mean::mean;
use crate::summary::{Row, Trial};

/// # Errors
/// If the figure names an axis or a metric that the plan does not have.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Result<Description, Error> {
    let metrics =
        figure.metrics.iter().map(|name| cells::find_metric(data.plan, figure, name)).collect::<Result<Vec<_>, _>>()?;
    let places = cells::places(data.plan, figure)?;
    let panel = |title: &String| Panel {
        title: title.clone(),
        ticks: places.ticks.clone(),
        slots: places.slots,
        marks: vec![],
    };
    let mut panels: Vec<Panel> = places.panels.iter().map(panel).collect();
    let (mut ns, mut incomplete, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for place in &places.all {
        let bar = Bar::new(data, figure, &metrics, place);
        let partial = !bar.absent.is_empty() && !bar.parts.is_empty();
        if partial {
            let panel = places.panels.get(place.panel).filter(|panel| !panel.is_empty());
            let panel = panel.map_or_else(String::new, |panel| format!(", {panel},"));
            incomplete.push(format!("{}{panel} without {}", place.label, bar.absent.join(", ")));
        }
        ns.push(bar.n);
        let mark = bar.mark(figure.theme, place);
        // The sentence on incomplete bars covers these.
        notes.push(if partial { String::new() } else { mark.note.clone() });
        panels[place.panel].marks.push(mark);
    }
    let rows = |place| metrics.iter().flat_map(move |metric| cells::rows(data, place, metric));
    let host = places.all.iter().flat_map(rows).find_map(|row| row.host);
    let y_label = match (figure.y_label.as_str(), metrics.first()) {
        ("", Some(metric)) => format!("{}{}", quantity(metric), cells::unit_suffix(metric, host)),
        (label, _) => label.to_owned(),
    };
    let incomplete =
        if incomplete.is_empty() { String::new() } else { format!(" Incomplete bars: {}.", incomplete.join("; ")) };
    let context = cells::context_sentences(data, figure, &metrics, &places).join(" ");
    let caption = format!(
        "{}{incomplete}{} {} {context}",
        bar_sentence(figure.theme, &panels),
        cells::notes_sentence(&places, &notes),
        cells::trials_sentence(&ns)
    );
    Ok(Description {
        name: figure.name.clone(),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend: legend(&metrics),
        caption,
        chart: Chart::Marks { x_label: cells::x_label(figure), y_label, log: false, panels },
    })
}

fn legend(metrics: &[&Metric]) -> Vec<LegendEntry> {
    let entry = |(n, metric): (usize, &&Metric)| LegendEntry { label: metric.label.clone(), key: LegendKey::Group(n) };
    metrics.iter().enumerate().map(entry).collect()
}

/// Label of the y axis for a metric's unit, without the unit.
fn quantity(metric: &Metric) -> &'static str {
    match metric.unit.as_str() {
        "ms" => "Time",
        "bytes" | "MiB" => "Size",
        "MB/s" => "Throughput",
        "1/s" => "Rate",
        _ => "Number",
    }
}

/// The sentence of the caption that defines the bars.
fn bar_sentence(theme: Theme, panels: &[Panel]) -> String {
    let intervals = (panels.iter().flat_map(|panel| &panel.marks))
        .any(|mark| matches!(&mark.shape, MarkShape::Stack { interval: Some(_), .. }));
    let spread = match theme {
        Theme::Paper => "neither intervals nor single trials are drawn, as in the paper",
        Theme::Publication if intervals => {
            "whiskers: 95 % interval of the mean sum (BCa bootstrap, from 100 trials on); points: sums of single trials"
        }
        Theme::Publication => "no interval of a mean below 100 trials; points: sums of single trials",
    };
    format!(
        "Bars: means over trials of the VMs that have every part, stacked in the order of the legend (medians would \
         not add up); the height of a bar is the mean of the sums; {spread}."
    )
}

/// The stacked bar of one place.
struct Bar<'a> {
    parts: Vec<Part>,
    interval: Option<(f64, f64)>,
    points: Vec<f64>,
    /// Labels of the missing parts.
    absent: Vec<&'a str>,
    /// Whether all missing parts are not applicable, rather than not measured.
    not_applicable: bool,
    /// Number of trials.
    n: usize,
    /// What is missing, for a bar that has all parts or no part.
    note: String,
}

impl<'a> Bar<'a> {
    fn new(data: Data<'_>, figure: &Figure, metrics: &[&'a Metric], place: &Place<'_>) -> Self {
        let names: Vec<&str> = figure.metrics.iter().map(String::as_str).collect();
        let withheld = cells::is_mean_withheld(data, metrics, place);
        let stacks: Vec<Stack> = (place.cells.iter().filter(|_| !withheld))
            .map(|cell| Stack::from_samples(data.samples, &cell.id, &names))
            .filter(|stack| !stack.sums.is_empty())
            .collect();
        let height = |n: usize| mean(&stacks.iter().filter_map(|stack| stack.parts[n]).collect::<Vec<_>>());
        let parts = (0..metrics.len()).filter_map(|colour| Some(Part { colour, height: height(colour)? })).collect();
        let absent = |n: usize| stacks.iter().any(|stack| stack.parts[n].is_none());
        let absent: Vec<&Metric> =
            metrics.iter().enumerate().filter(|(n, _)| absent(*n)).map(|(_, metric)| *metric).collect();
        let absent_rows = || absent.iter().flat_map(|metric| cells::rows(data, place, metric));
        let not_applicable =
            absent_rows().flat_map(|row| row.missing.keys()).all(|status| *status == Status::NotApplicable);
        let sums: Vec<Row> = stacks.iter().map(|stack| sum_row(&stack.sums)).collect();
        let sum = cells::value(&sums.iter().collect::<Vec<_>>(), Statistic::Mean, data.plan.seed);
        Self {
            parts,
            interval: sum.interval,
            points: sum.points,
            absent: absent.iter().map(|metric| metric.label.as_str()).collect(),
            not_applicable,
            n: stacks.iter().map(|stack| stack.sums.len()).sum(),
            note: cells::largest_missing_note(data, metrics, place),
        }
    }

    fn mark(self, theme: Theme, place: &Place<'_>) -> Mark {
        let note = match (self.parts.len(), self.absent.len()) {
            (0, _) | (_, 0) => self.note,
            (_, number) => {
                let parts = if number == 1 { "part" } else { "parts" };
                format!("{number} {parts} {}", if self.not_applicable { "n/a" } else { "missing" })
            }
        };
        // The paper's figures show neither intervals nor single trials, and an incomplete bar has no sum.
        let bare = theme == Theme::Paper || !self.absent.is_empty();
        let (interval, points) = if bare { (None, Vec::new()) } else { (self.interval, self.points) };
        let empty = self.parts.is_empty();
        let shape = if empty { MarkShape::Empty } else { MarkShape::Stack { parts: self.parts, interval, points } };
        let (tick, slot, group) = (place.tick, place.slot, place.group);
        Mark { tick, slot, group, layer: (0, 1), shape, reference: None, note }
    }
}

/// A summary row made of each trial's sum, which has an interval like any other row.
pub(super) fn sum_row(sums: &[f64]) -> Row {
    Row {
        trials: sums
            .iter()
            .zip(0..)
            .map(|(&sum, at)| Trial { index: at, block: at, repetition: 0, machine: 0, median: sum, mean: Some(sum) })
            .collect(),
        vms: sums.len(),
        ..Row::default()
    }
}

/// The parts of one cell.
#[derive(Clone, Debug, PartialEq)]
struct Stack {
    /// Mean of each part; `None` if no VM has the part.
    parts: Vec<Option<f64>>,
    /// The sum of each trial, in trial order; empty if no VM has all the parts that occur in the cell.
    sums: Vec<f64>,
}

impl Stack {
    fn from_samples(samples: &[Sample], cell: &str, metrics: &[&str]) -> Self {
        let mut vms: BTreeMap<(u32, u32), Vec<Option<f64>>> = BTreeMap::new();
        let good = |sample: &&Sample| sample.counts() && sample.status == Status::Ok && sample.cell == cell;
        for sample in samples.iter().filter(good) {
            let Some(n) = metrics.iter().position(|name| *name == sample.metric) else { continue };
            vms.entry((sample.trial, sample.vm)).or_insert_with(|| vec![None; metrics.len()])[n] = sample.value;
        }
        let occurs: Vec<bool> = (0..metrics.len()).map(|n| vms.values().any(|parts| parts[n].is_some())).collect();
        let is_complete =
            |parts: &Vec<Option<f64>>| parts.iter().zip(&occurs).all(|(part, occurs)| part.is_some() || !occurs);
        let mut trials: BTreeMap<u32, Vec<Vec<Option<f64>>>> = BTreeMap::new();
        for ((trial, _), parts) in vms.into_iter().filter(|(_, parts)| occurs.contains(&true) && is_complete(parts)) {
            trials.entry(trial).or_default().push(parts);
        }
        let trials: Vec<Vec<Option<f64>>> = trials.values().map(|vms| means(vms, metrics.len())).collect();
        Self {
            parts: means(&trials, metrics.len()),
            sums: trials.iter().map(|parts| parts.iter().flatten().sum()).collect(),
        }
    }
}

/// The mean of each part over `all`; `None` for a part without a value.
fn means(all: &[Vec<Option<f64>>], parts: usize) -> Vec<Option<f64>> {
    (0..parts).map(|n| mean(&all.iter().filter_map(|parts| parts[n]).collect::<Vec<_>>())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::example;

    fn vm(trial: u32, vm: u32, values: [Option<f64>; 3]) -> impl Iterator<Item = Sample> {
        ["a", "b", "c"].into_iter().zip(values).map(move |(metric, value)| example(trial, vm, metric, value))
    }

    fn stacked(vms: &[(u32, u32, [Option<f64>; 3])]) -> Stack {
        let samples: Vec<Sample> = vms.iter().flat_map(|(trial, id, values)| vm(*trial, *id, *values)).collect();
        Stack::from_samples(&samples, "fc/2", &["a", "b", "c"])
    }

    #[test]
    fn parts_add_up_to_the_mean_of_the_sums() {
        let some = |values: [f64; 3]| values.map(Some);
        let stack = stacked(&[
            (0, 0, some([1.0, 10.0, 100.0])),
            (0, 1, some([3.0, 30.0, 300.0])),
            (4, 0, some([4.0, 20.0, 900.0])),
            // A VM without one part does not count at all.
            (4, 1, [Some(1e6), None, Some(1e6)]),
        ]);
        assert_eq!(stack.parts, [Some(3.0), Some(20.0), Some(550.0)]);
        assert_eq!(stack.sums, [222.0, 924.0]);
        assert_eq!(stack.parts.iter().flatten().sum::<f64>(), 573.0);
    }

    #[test]
    fn a_part_that_no_vm_has_does_not_exclude_vms() {
        let stack = stacked(&[(0, 0, [Some(1.0), None, Some(3.0)]), (1, 0, [Some(3.0), None, Some(5.0)])]);
        assert_eq!(stack, Stack { parts: vec![Some(2.0), None, Some(4.0)], sums: vec![4.0, 8.0] });
    }

    #[test]
    fn a_cell_without_values_has_no_parts() {
        assert_eq!(stacked(&[(0, 0, [None; 3])]), Stack { parts: vec![None; 3], sums: vec![] });
    }
}
