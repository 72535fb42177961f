//! A comparison as text for a terminal.

use std::fmt::Write as _;

use microbench_formats::family::{ALPHA, trials_needed};
use microbench_formats::statistic::Statistic;
use microbench_formats::terminal::{Column, OutputWidth, fitted, wrapped_to};

use super::{Comparison, Settings, Verdict};
use crate::host_cpu;
use crate::number::{Estimate, decimals_of_half_width, declared_percent, fixed, p_value, significant, unit_suffix};
use crate::stats::median::Interval;
use crate::stats::shift::Test;
use crate::summary::{LEVEL, printable};

/// Characters of a remark that are shown at most.
const MAX_REMARK: usize = 320;
/// Cells that a remark names at most for each metric.
const MAX_CELLS: usize = 6;

/// The names and the part of a comparison that a text shows.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// Names of the two sides.
    pub sides: [&'a str; 2],
    /// Title of the study.
    pub title: &'a str,
    /// The metrics whose rows are shown; empty for all. Counts and notes are of all rows.
    pub metrics: &'a [String],
}

impl View<'_> {
    /// The rows that are shown.
    pub(super) fn rows<'b>(&self, comparisons: &'b [Comparison]) -> impl Iterator<Item = &'b Comparison> {
        comparisons.iter().filter(|row| self.metrics.is_empty() || self.metrics.contains(&row.metric))
    }
}

/// The comparison as text that fits `width`: a table, and a line that counts the verdicts.
///
/// With `detail`, a second table has the shifts, A12 and the tests.
#[must_use]
pub fn render(
    comparisons: &[Comparison],
    view: View<'_>,
    settings: &Settings,
    detail: bool,
    width: OutputWidth,
) -> String {
    const COLUMNS: [Column; 8] = [
        Column::left("cell", 0),
        Column::left("metric", 0),
        Column::right("A", 3),
        Column::right("B", 3),
        Column::right("ratio", 0),
        Column::right("interval", 1),
        Column::left("n", 2),
        Column::left("verdict", 0),
    ];
    let mut out = format!("A: {}\nB: {}\n", view.sides[0], view.sides[1]);
    let shown: Vec<&Comparison> = view.rows(comparisons).collect();
    let _ = write!(out, "{}\n\n", wrapped_to(width.prose, &legend(comparisons, settings), 0));
    let (table, left_out) = fitted(&COLUMNS, &shown.iter().map(|row| cells(row)).collect::<Vec<_>>(), width.table);
    out.push_str(&table);
    out.push_str(&width.left_out(&left_out));
    for remark in remarks(&shown) {
        let _ = writeln!(out, "{}", wrapped_to(width.prose, &remark, 4));
    }
    for note in undecided(comparisons, settings) {
        let _ = writeln!(out, "{}", wrapped_to(width.prose, &note, 4));
    }
    if detail {
        out.push_str(&render_detail(&shown, settings, width));
    }
    let line = format!("{} ({})", count_verdicts(comparisons), view.title);
    // Scripts search for this line in output that is not a terminal, so it stays one line there.
    let line = if width == OutputWidth::ANY { line } else { wrapped_to(width.prose, &line, 2) };
    let _ = writeln!(out, "\n{line}");
    out
}

/// What the columns are, and what decides the verdict.
pub(super) fn legend(comparisons: &[Comparison], settings: &Settings) -> String {
    let mut hosts: Vec<&str> = comparisons.iter().flat_map(|row| &row.hosts).map(String::as_str).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let within = match hosts.as_slice() {
        [] => String::new(),
        [host] => format!(" on the host {host}"),
        several => format!(" within each of {} hosts ({})", several.len(), several.join(", ")),
    };
    let difference = if comparisons.iter().any(|row| row.difference.is_some()) {
        "; the difference B - A where a value of A is not above zero"
    } else {
        ""
    };
    let is_repeated = comparisons.iter().any(|row| row.test == Some(Test::Repetitions));
    let (unit, ratio) = match settings.statistic {
        _ if is_repeated => ("trials and repetitions (n)", "ratio B / A over repetitions"),
        Statistic::Mean => ("trials", "ratio of means B / A"),
        _ => ("trials", "Hodges-Lehmann ratio B / A"),
    };
    let mut margins: Vec<String> = comparisons.iter().filter_map(|row| row.margin).map(declared_percent).collect();
    if margins.is_empty() {
        margins.extend(settings.margin.map(declared_percent));
    }
    margins.dedup();
    let mut floors: Vec<String> = (comparisons.iter())
        .filter_map(|row| Some(format!("{} {}{}", row.metric, row.floor?, unit_suffix(&row.unit))))
        .collect();
    floors.sort_unstable();
    floors.dedup();
    let margin = match margins.as_slice() {
        [] if !floors.is_empty() => "no equivalence margin is declared".to_owned(),
        [] => "no equivalence margin is declared, so nothing is called equivalent".to_owned(),
        [one] => format!("equivalence margin {one}"),
        _ => "equivalence margins of the metrics' gates".to_owned(),
    };
    let floor = match floors.as_slice() {
        [] => String::new(),
        several => format!("; a difference up to the floor is equivalent: {}", several.join(", ")),
    };
    format!(
        "{} over {unit}{within}; {ratio} with its {} % interval, not adjusted for the number of rows{difference}; a \
         verdict needs p <= {ALPHA} after Holm's adjustment over {}; {margin}{floor}",
        settings.statistic.label(),
        LEVEL * 100.0,
        count_tests(comparisons.iter().filter(|row| row.adjusted_p.is_some()).count())
    )
}

/// Number of tests as text: `1 test`, `4 tests`.
pub(crate) fn count_tests(tests: usize) -> String {
    if tests == 1 { "1 test".to_owned() } else { format!("{tests} tests") }
}

/// Notes on rows without a verdict: too few trials, outside of the family, or not significant after the adjustment.
pub(super) fn undecided(comparisons: &[Comparison], settings: &Settings) -> Vec<String> {
    let with_p = || comparisons.iter().filter(|row| row.is_contrast() && row.p.is_some());
    let family = || with_p().filter(|row| settings.is_in_family(&row.metric));
    let tests = family().filter(|row| row.adjusted_p.is_some()).count();
    let mut notes = Vec::new();
    let too_few: Vec<&Comparison> = family().filter(|row| row.adjusted_p.is_none()).collect();
    if let Some(trials) = range_of_trials(&too_few) {
        let all = family().count();
        let rows = if too_few.len() == all { "any comparison" } else { "a comparison" };
        notes.push(format!(
            "{trials} cannot decide {rows} of a family of {}: run {} or more of each cell, or name fewer metrics in \
             `family` of [study]",
            count_tests(all),
            trials_needed(all)
        ));
    }
    let unsure = family().filter(|row| row.p.is_some_and(|p| p <= ALPHA) && row.adjusted_p.is_some_and(|p| p > ALPHA));
    match unsure.count() {
        0 => {}
        rows => notes.push(format!(
            "{} p <= {ALPHA} before the adjustment over {}, but not after it",
            if rows == 1 { "1 row has".to_owned() } else { format!("{rows} rows have") },
            count_tests(tests)
        )),
    }
    let outside = with_p().filter(|row| !settings.is_in_family(&row.metric)).count();
    if outside > 0 {
        let rows = if outside == 1 { "1 row has".to_owned() } else { format!("{outside} rows have") };
        notes.push(format!(
            "{rows} no verdict, because the metric is not in `family` of [study] ({})",
            settings.family.join(", ")
        ));
    }
    notes
}

/// The number of trials of each side of `rows`, as text; `None` without a row.
fn range_of_trials(rows: &[&Comparison]) -> Option<String> {
    let trials = || rows.iter().flat_map(|row| row.n);
    Some(match (trials().min()?, trials().max()?) {
        (1, 1) => "1 trial".to_owned(),
        (least, most) if least == most => format!("{most} trials"),
        (least, most) => format!("{least} to {most} trials"),
    })
}

/// The columns of a row. A row of a missing value has only its cell, metric and verdict.
pub(super) fn cells(row: &Comparison) -> Vec<String> {
    let nothing = || "-".to_owned();
    let show = |value: f64| side_value(row, value) + &unit_suffix(&row.unit);
    let value = |side: usize| match &row.completed {
        Some(both) => format!("{} of {}", both[side].completed, both[side].of),
        None if row.values[side].is_none() && row.is_compared() => "censored".to_owned(),
        None => row.values[side].map_or_else(nothing, show),
    };
    if row.missing.is_some() {
        let mut cells = vec![String::new(); 8];
        cells[0].clone_from(&row.cell);
        cells[1].clone_from(&row.metric);
        cells[7] = row.verdict.to_string();
        return cells;
    }
    vec![
        row.cell.clone(),
        row.metric.clone(),
        value(0),
        value(1),
        ratio(row).value(),
        interval_of(row),
        if row.completed.is_some() { nothing() } else { format!("{} and {}", row.n[0], row.n[1]) },
        row.verdict.to_string(),
    ]
}

/// The interval of the ratio or difference, or the reason why it is missing.
fn interval_of(row: &Comparison) -> String {
    let (difference, unit) = (difference(row), unit_suffix(&row.unit));
    match ratio(row).range("").or_else(|| difference.range(&unit)) {
        // No other column has the difference.
        Some(width) if row.interval.is_none() && difference.has_zero_width() => {
            format!("{}{unit} ({width})", difference.value())
        }
        Some(range) => range,
        _ if !row.is_contrast() => "-".to_owned(),
        _ if row.remark.starts_with(host_cpu::NOT_COMPARED) => "other host CPU".to_owned(),
        _ if row.verdict == Verdict::NotCompared => "no common host".to_owned(),
        _ => "n too small".to_owned(),
    }
}

/// The ratio of a row with its interval.
pub(crate) fn ratio(row: &Comparison) -> Estimate {
    Estimate::of_ratio(row.ratio, row.interval.map(|interval| [interval.low, interval.high]))
}

/// The difference of a row with its interval.
pub(crate) fn difference(row: &Comparison) -> Estimate {
    Estimate::with_interval(row.difference, row.difference_interval).signed()
}

/// The value of a side. Its decimals are those of the difference's half-width: of the difference itself, or of the
/// ratio times the value.
fn side_value(row: &Comparison, value: f64) -> String {
    let half = |interval: Interval| (interval.high - interval.low) / 2.0;
    let half = match (row.interval, row.difference_interval) {
        (Some(interval), _) => half(interval) / row.ratio.unwrap_or(1.0) * value.abs(),
        (None, Some(interval)) => half(interval),
        (None, None) => 0.0,
    };
    // With zero width, the value has its own digits.
    let is_certain = ratio(row).has_zero_width() || difference(row).has_zero_width();
    let bare = Estimate::new(Some(value), is_certain.then_some([value; 2]));
    fixed(value, bare.decimals().max(decimals_of_half_width(half)))
}

/// The number of rows with each verdict; rare verdicts only if there are any.
pub(super) fn count_verdicts(comparisons: &[Comparison]) -> String {
    let count = |verdict| comparisons.iter().filter(|row| row.verdict == verdict).count();
    let always = [Verdict::Better, Verdict::Worse, Verdict::Equivalent, Verdict::Inconclusive];
    let rare = [Verdict::Differs, Verdict::NotCompared, Verdict::Missing, Verdict::Dropped];
    let rare = rare.into_iter().filter(|verdict| count(*verdict) > 0);
    let counts: Vec<String> =
        always.into_iter().chain(rare).map(|verdict| format!("{} {verdict}", count(verdict))).collect();
    let compared = comparisons.iter().filter(|row| row.is_compared()).count();
    format!("{compared} compared: {}", counts.join(", "))
}

/// The cells of each metric.
type MetricCells<'a> = Vec<(&'a str, Vec<&'a str>)>;

/// The remarks on rows; rows with the same remark share a line, and rows of one metric name it once.
fn remarks<'a>(comparisons: &[&'a Comparison]) -> Vec<String> {
    let mut all: Vec<(&'a str, MetricCells<'a>)> = Vec::new();
    for row in comparisons.iter().filter(|row| !row.remark.is_empty()) {
        let at = all.iter().position(|(remark, _)| *remark == row.remark).unwrap_or_else(|| {
            all.push((&row.remark, Vec::new()));
            all.len() - 1
        });
        match all[at].1.iter_mut().find(|(metric, _)| *metric == row.metric) {
            Some((_, cells)) => cells.push(&row.cell),
            None => all[at].1.push((&row.metric, vec![&row.cell])),
        }
    }
    let names = |(metric, cells): &(&str, Vec<&str>)| match cells.len().saturating_sub(MAX_CELLS) {
        0 => format!("{metric} of {}", cells.join(", ")),
        more => format!("{metric} of {} and {more} more cells", cells[..MAX_CELLS].join(", ")),
    };
    let line = |(remark, places): (&str, MetricCells<'_>)| {
        let places: Vec<String> = places.iter().map(names).collect();
        format!("{}: {}", places.join("; "), printable(remark, MAX_REMARK))
    };
    all.into_iter().map(line).collect()
}

/// The table of shifts, A12 and tests, with its legend.
fn render_detail(comparisons: &[&Comparison], settings: &Settings, width: OutputWidth) -> String {
    const COLUMNS: [Column; 7] = [
        Column::left("cell", 0),
        Column::left("metric", 0),
        Column::right("shift", 1),
        Column::right("interval", 2),
        Column::right("A12", 3),
        Column::right("p", 0),
        Column::right("Holm", 0),
    ];
    let mut tests: Vec<&str> = comparisons.iter().filter_map(|row| row.test).map(Test::name).collect();
    tests.sort_unstable();
    tests.dedup();
    let test = if tests.is_empty() { "test".to_owned() } else { tests.join(" or the ") };
    let legend = format!(
        "shift: Hodges-Lehmann estimate of B - A; A12: probability that a trial of B exceeds a trial of A; p: two-sided, \
         of the {test} beyond or within the margin; Holm: p with Holm's adjustment over the family ({})",
        if settings.family.is_empty() { "every metric".to_owned() } else { settings.family.join(", ") }
    );
    let show = |value: Option<f64>, text: fn(f64) -> String| value.map_or_else(|| "-".to_owned(), text);
    let columns = |row: &&Comparison| {
        let shift = Estimate::with_interval(row.shift, row.shift_interval);
        vec![
            row.cell.clone(),
            row.metric.clone(),
            row.shift.map_or_else(|| "-".to_owned(), |_| shift.value() + &unit_suffix(&row.unit)),
            shift.range("").unwrap_or_else(|| {
                let is_censored = row.with_value.iter().any(|(with, of)| with < of);
                if is_censored { "censored" } else { "n too small" }.to_owned()
            }),
            show(row.a12, significant),
            show(row.p, p_value),
            row.adjusted_p.map_or_else(
                || if settings.is_in_family(&row.metric) { "n too small" } else { "not in family" }.to_owned(),
                p_value,
            ),
        ]
    };
    let rows: Vec<_> = comparisons.iter().filter(|row| row.is_compared()).map(columns).collect();
    let (table, left_out) = fitted(&COLUMNS, &rows, width.table);
    format!("\n{}\n\n{table}{}", wrapped_to(width.prose, &legend, 0), width.left_out(&left_out))
}

#[cfg(test)]
mod tests {
    use microbench_formats::direction::Better;

    use super::*;
    use crate::stats::null::Null;

    /// The notes on a family of `tests` rank-sum tests with `n` trials on each side, of values that do not overlap.
    fn notes(n: usize, tests: usize) -> Vec<String> {
        let smallest = Null::rank_sum(&[(n, n)]).smallest_p();
        let can_decide = smallest * tests as f64 <= ALPHA;
        let test = Comparison {
            n: [n, n],
            p: Some(smallest),
            smallest_p: Some(smallest),
            adjusted_p: can_decide.then_some(smallest * tests as f64),
            ..Comparison::empty("b", "m", "ms", Better::Lower)
        };
        let settings = Settings {
            statistic: Statistic::Median,
            margin: None,
            seed: 1,
            family: Vec::new(),
            blocks: true,
            alternating: true,
            pooled: false,
            across_host_cpus: false,
        };
        undecided(&vec![test; tests], &settings)
    }

    #[test]
    fn note_states_that_too_few_trials_cannot_be_significant() {
        let stated = "5 trials cannot decide any comparison of a family of 20 tests: run 6 or more of each cell, or name \
                      fewer metrics in `family` of [study]";
        assert_eq!(notes(5, 20), [stated]);
        assert!(
            notes(3, 1)[0].starts_with("3 trials cannot decide any comparison of a family of 1 test: run 4 or more")
        );
        assert_eq!(notes(6, 20), Vec::<String>::new());
        assert_eq!(notes(6, 0), Vec::<String>::new());
    }

    #[test]
    fn a_side_has_its_own_digits_if_the_ratio_has_zero_width() {
        let value = |low, high| {
            let interval = Some(Interval { low, high, level: 0.95 });
            let row = Comparison { interval, ratio: Some(1.5), ..Comparison::empty("b", "m", "ms", Better::Lower) };
            side_value(&row, 307.25)
        };
        assert_eq!([value(1.5, 1.5), value(1.4, 1.6)], ["307.2", "307"]);
    }

    #[test]
    fn an_interval_with_a_censored_end_is_a_bound() {
        let text = |low, high| {
            let interval = Some(Interval { low, high, level: 0.95 });
            interval_of(&Comparison { interval, ..Comparison::empty("b", "m", "ms", Better::Lower) })
        };
        assert_eq!(text(1.0, 2.0), "1.00 to 2.00");
        assert_eq!(text(1.5, f64::INFINITY), "at least 1.50");
        assert_eq!(text(f64::INFINITY, f64::INFINITY), "censored");
        assert_eq!(text(0.0, 0.25), "at most 0.250");
        assert_eq!(text(1.0, 1.0), "zero width");
    }
}
