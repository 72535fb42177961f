//! Phases of a start-up over time: one row for each place, one segment for each phase.

use std::collections::BTreeMap;

use microbench_formats::figure::{Figure, Theme};
use microbench_formats::metric::Metric;
use microbench_formats::statistic::Statistic;

use super::cells::{self, Place};
use super::description::{Chart, Data, Description, LegendEntry, LegendKey};
use super::stack::sum_row;
use crate::Error;
use crate::samples::{Sample, Status};
use crate::stats::mean::mean;
use crate::stats::median::median;

/// Rows over an axis of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// Label of the x axis, with the unit.
    pub x_label: String,
    /// Unit of the numbers at the ends of the rows.
    pub unit: String,
    /// From top to bottom.
    pub rows: Vec<Row>,
}

/// The phases of one place.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub label: String,
    /// The measured phases, without a gap from the first phase on.
    pub spans: Vec<Span>,
    /// 95 % interval of the end of the last phase; `None` if there are too few trials.
    pub interval: Option<(f64, f64)>,
    /// What is missing; empty if every phase was measured.
    pub note: String,
}

/// One phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// Index of the colour, which is the index of the metric in the figure.
    pub colour: usize,
    /// Start, measured from the start of the first phase.
    pub from: f64,
    /// End, measured from the start of the first phase.
    pub to: f64,
}

/// # Errors
/// If the figure names an axis or a metric that the plan does not have.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Result<Description, Error> {
    let metrics =
        figure.metrics.iter().map(|name| cells::find_metric(data.plan, figure, name)).collect::<Result<Vec<_>, _>>()?;
    let places = cells::places(data.plan, figure)?;
    let (mut rows, mut ns, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for place in &places.all {
        let (row, n) = place_row(data, figure, &metrics, place, cells::label_with_panel(&places, place));
        notes.push(row.note.clone());
        rows.push(row);
        ns.push(n);
    }
    let rows_of = |place| metrics.iter().flat_map(move |metric| cells::rows(data, place, metric));
    let host = places.all.iter().flat_map(rows_of).find_map(|row| row.host);
    let unit = metrics.first().map_or(String::new(), |metric| cells::unit_suffix(metric, host));
    let entry = |(n, metric): (usize, &&Metric)| LegendEntry { label: metric.label.clone(), key: LegendKey::Group(n) };
    let context = cells::context_sentences(data, figure, &metrics, &places).join(" ");
    Ok(Description {
        name: figure.name.clone(),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend: metrics.iter().enumerate().map(entry).collect(),
        caption: format!(
            "{}{} {} {context}",
            segment_sentence(figure, &rows),
            cells::notes_sentence(&places, &notes),
            cells::trials_sentence(&ns)
        ),
        chart: Chart::Timeline(Timeline {
            x_label: format!("Time{unit}"),
            unit: metrics.first().map_or(String::new(), |metric| metric.unit.clone()),
            rows,
        }),
    })
}

/// The sentence of the caption that defines segments, whiskers and numbers.
fn segment_sentence(figure: &Figure, rows: &[Row]) -> String {
    let statistic = figure.statistic.label();
    let whiskers = match figure.statistic {
        _ if figure.theme == Theme::Paper => "no intervals are drawn",
        // Censored VMs have no last phase, so no interval is open.
        _ if !rows.iter().any(|row| row.interval.is_some()) => cells::no_interval_sentence(figure.statistic, []),
        Statistic::Mean => {
            "whiskers: 95 % interval of the mean end of the last phase (BCa bootstrap, from 100 trials on)"
        }
        _ => "whiskers: 95 % order-statistic interval of the end of the last phase",
    };
    format!(
        "Segments: phases, each from the {statistic} over trials of its start to the {statistic} of its end, both \
         measured from the start of the first phase (a trial of several VMs counts as its {statistic}). Only VMs with \
         every phase up to that point count, so a row ends at the {statistic} of the whole; {whiskers}; numbers: \
         end of the row."
    )
}

/// The row of one place, and its number of trials.
fn place_row(data: Data<'_>, figure: &Figure, metrics: &[&Metric], place: &Place<'_>, label: String) -> (Row, usize) {
    let names: Vec<&str> = figure.metrics.iter().map(String::as_str).collect();
    let withheld = figure.statistic == Statistic::Mean && cells::is_mean_withheld(data, metrics, place);
    let cells: Vec<Instants> = (place.cells.iter().filter(|_| !withheld))
        .map(|cell| Instants::from_samples(data.samples, &cell.id, &names, figure.statistic))
        .filter(|instants| !instants.ends.is_empty())
        .collect();
    // A place of several cells shows only the phases that all of them have.
    let phases = cells.iter().map(|instants| instants.ends.len()).min().unwrap_or(0);
    let end = |n: usize| mean(&cells.iter().filter_map(|cell| cell.ends.get(n).copied()).collect::<Vec<_>>());
    let mut spans: Vec<Span> = Vec::new();
    for colour in 0..phases {
        let from = spans.last().map_or(0.0, |span| span.to);
        spans.extend(end(colour).map(|to| Span { colour, from, to }));
    }
    let sums: Vec<_> = cells.iter().map(|cell| sum_row(&cell.last)).collect();
    let total = cells::value(&sums.iter().collect::<Vec<_>>(), figure.statistic, data.plan.seed);
    let rows: Vec<_> = metrics.iter().flat_map(|metric| cells::rows(data, place, metric)).collect();
    let note = match metrics.len() - phases {
        0 => cells::largest_missing_note(data, metrics, place),
        _ if phases == 0 => match cells::largest_missing_note(data, metrics, place) {
            note if note.is_empty() && !rows.is_empty() => "no phase".to_owned(),
            note => note,
        },
        1 => "the last phase is missing".to_owned(),
        missing => format!("the last {missing} phases are missing"),
    };
    let bare = figure.theme == Theme::Paper || phases < metrics.len();
    let interval = total.interval.filter(|_| !bare);
    (Row { label, spans, interval, note }, cells.iter().map(|cell| cell.last.len()).sum())
}

/// The ends of the phases of one cell.
#[derive(Clone, Debug, PartialEq)]
struct Instants {
    /// End of each phase: the statistic over trials. As many phases from the first one on as any VM has.
    ends: Vec<f64>,
    /// End of the last of these phases, for each trial.
    last: Vec<f64>,
}

impl Instants {
    fn from_samples(samples: &[Sample], cell: &str, metrics: &[&str], statistic: Statistic) -> Self {
        let mut vms: BTreeMap<(u32, u32), Vec<Option<f64>>> = BTreeMap::new();
        let good = |sample: &&Sample| sample.counts() && sample.status == Status::Ok && sample.cell == cell;
        for sample in samples.iter().filter(good) {
            let Some(n) = metrics.iter().position(|name| *name == sample.metric) else { continue };
            vms.entry((sample.trial, sample.vm)).or_insert_with(|| vec![None; metrics.len()])[n] = sample.value;
        }
        let count_phases = |phases: &Vec<Option<f64>>| phases.iter().take_while(|phase| phase.is_some()).count();
        let phases = vms.values().map(count_phases).max().unwrap_or(0);
        let mut trials: BTreeMap<u32, Vec<Vec<f64>>> = BTreeMap::new();
        for ((trial, _), values) in vms.into_iter().filter(|(_, values)| phases > 0 && count_phases(values) == phases) {
            let mut sum = 0.0;
            let ends = values.into_iter().take(phases).flatten().map(|phase| {
                sum += phase;
                sum
            });
            trials.entry(trial).or_default().push(ends.collect());
        }
        let over = |values: &[f64]| if statistic == Statistic::Mean { mean(values) } else { median(values) };
        let each = |rows: &[Vec<f64>]| -> Vec<f64> {
            (0..phases).filter_map(|n| over(&rows.iter().map(|row| row[n]).collect::<Vec<_>>())).collect()
        };
        let trials: Vec<Vec<f64>> = trials.values().map(|vms| each(vms)).collect();
        Self { ends: each(&trials), last: trials.iter().filter_map(|ends| ends.last().copied()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::example;

    fn instants(vms: &[(u32, [Option<f64>; 3])], statistic: Statistic) -> Instants {
        let all = vms.iter().zip(0..).flat_map(|((trial, values), vm)| {
            ["a", "b", "c"].into_iter().zip(*values).map(move |(metric, value)| example(*trial, vm, metric, value))
        });
        Instants::from_samples(&all.collect::<Vec<_>>(), "fc/2", &["a", "b", "c"], statistic)
    }

    #[test]
    fn a_row_ends_at_the_statistic_of_the_whole() {
        // Phases whose medians do not add up to the median of their sums: 1 + 1 + 2 against 12, 9, 13.
        let vms = [
            (0, [Some(1.0), Some(10.0), Some(1.0)]),
            (1, [Some(6.0), Some(1.0), Some(2.0)]),
            (2, [Some(1.0), Some(1.0), Some(11.0)]),
        ];
        let found = instants(&vms, Statistic::Median);
        assert_eq!(found, Instants { ends: vec![1.0, 7.0, 12.0], last: vec![12.0, 9.0, 13.0] });
        let found = instants(&vms, Statistic::Mean).ends;
        assert!((found[2] - 34.0 / 3.0).abs() < 1e-12 && found[0] < found[1] && found[1] < found[2], "{found:?}");
    }

    #[test]
    fn phases_after_one_that_no_vm_has_are_left_out() {
        let vms = [(0, [Some(1.0), None, Some(3.0)]), (1, [Some(3.0), None, Some(5.0)])];
        assert_eq!(instants(&vms, Statistic::Median).ends, [2.0]);
        assert_eq!(instants(&[(0, [None; 3])], Statistic::Mean), Instants { ends: vec![], last: vec![] });
        // A VM without a phase that others have does not count.
        let vms = [(0, [Some(1.0), Some(1.0), Some(1.0)]), (1, [Some(9.0), None, Some(9.0)])];
        assert_eq!(instants(&vms, Statistic::Median), Instants { ends: vec![1.0, 2.0, 3.0], last: vec![3.0] });
    }
}
