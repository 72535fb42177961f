//! A comparison as text for a terminal.

use std::fmt::Write as _;

use microbench_formats::terminal::{Column, OutputWidth, fitted, wrapped_to};

use super::{ALPHA, Comparison, Settings, Verdict};
use crate::host_cpu;
use crate::stats::contrast::CONTRAST_INTERVAL_FROM;
use crate::summary::{LEVEL, printable};

/// Characters of a remark that are shown at most.
const MAX_REMARK: usize = 320;
/// Cells that a remark names at most for each metric.
const MAX_CELLS: usize = 6;

/// The comparison as text that fits `width`: a table, and a line that counts the verdicts.
///
/// `sides` are the names of the two sides. With `detail`, a second table has the shifts, A12 and the tests.
#[must_use]
pub fn render(
    comparisons: &[Comparison],
    sides: [&str; 2],
    title: &str,
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
    let mut out = format!("A: {}\nB: {}\n", sides[0], sides[1]);
    let _ = write!(out, "{}\n\n", wrapped_to(width.prose, &legend(comparisons, settings), 0));
    let (table, left_out) = fitted(&COLUMNS, &comparisons.iter().map(cells).collect::<Vec<_>>(), width.table);
    out.push_str(&table);
    out.push_str(&width.left_out(&left_out));
    for remark in remarks(comparisons) {
        let _ = writeln!(out, "{}", wrapped_to(width.prose, &remark, 4));
    }
    if let Some(note) = too_few_trials(comparisons, settings) {
        let _ = writeln!(out, "{}", wrapped_to(width.prose, &note, 4));
    }
    if detail {
        out.push_str(&render_detail(comparisons, settings, width));
    }
    let line = format!("{} ({title})", count_verdicts(comparisons));
    // Scripts search for this line in output that is not a terminal, so it stays one line there.
    let line = if width == OutputWidth::ANY { line } else { wrapped_to(width.prose, &line, 2) };
    let _ = writeln!(out, "\n{line}");
    out
}

/// What the columns are, and what decides the verdict.
fn legend(comparisons: &[Comparison], settings: &Settings) -> String {
    let tests = comparisons.iter().filter(|row| row.adjusted_p.is_some()).count();
    let rule = settings.margin.map_or_else(
        || {
            format!(
                "no equivalence margin is declared: nothing is called equivalent, and a difference needs p <= {ALPHA} \
                 after Holm's adjustment over {}",
                count_tests(tests)
            )
        },
        |margin| {
            format!(
                "equivalence margin {:.1} %: an interval within it is equivalent, one beyond it is better or worse by \
                 the metric's direction",
                margin * 100.0
            )
        },
    );
    let mut hosts: Vec<&str> = comparisons.iter().flat_map(|row| &row.hosts).map(String::as_str).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let within = match hosts.as_slice() {
        [] => String::new(),
        [host] => format!(" on the host {host}"),
        several => format!(" within each of {} hosts ({}), which have equal weight", several.len(), several.join(", ")),
    };
    let difference = if comparisons.iter().any(|row| row.difference.is_some()) {
        "; if a value of A is zero, the difference B - A with its interval"
    } else {
        ""
    };
    format!(
        "{} over trials{within}; ratio B / A with its {} % interval, not adjusted for the number of rows{difference}; \
         {rule}",
        settings.statistic.label(),
        LEVEL * 100.0
    )
}

/// Number of tests as text: `1 test`, `4 tests`.
pub(crate) fn count_tests(tests: usize) -> String {
    if tests == 1 { "1 test".to_owned() } else { format!("{tests} tests") }
}

/// A note if no test of the family can be significant with this number of trials; `None` with a margin, which does
/// not need a test, and if a test can be significant.
fn too_few_trials(comparisons: &[Comparison], settings: &Settings) -> Option<String> {
    if settings.margin.is_some() {
        return None;
    }
    let family: Vec<&Comparison> = comparisons.iter().filter(|row| row.adjusted_p.is_some()).collect();
    let smallest = family.iter().filter_map(|row| row.smallest_p).min_by(f64::total_cmp)?;
    // Holm's adjustment multiplies the smallest p-value by the number of tests.
    let adjusted = (smallest * family.len() as f64).min(1.0);
    if adjusted <= ALPHA {
        return None;
    }
    let trials = || family.iter().flat_map(|row| row.n);
    let trials = match (trials().min()?, trials().max()?) {
        (1, 1) => "1 trial".to_owned(),
        (least, most) if least == most => format!("{most} trials"),
        (least, most) => format!("{least} to {most} trials"),
    };
    Some(format!(
        "{trials} cannot reach p <= {ALPHA} over {} (smallest possible p after Holm's adjustment: {adjusted:.3}): use \
         --margin or more trials",
        count_tests(family.len())
    ))
}

/// The columns of a row. A row of a missing value has only its cell, metric and verdict.
fn cells(row: &Comparison) -> Vec<String> {
    let nothing = || "-".to_owned();
    let show = |value: f64, unit: &str| if unit == "1" { format!("{value:.1}") } else { format!("{value:.2} {unit}") };
    let value = |side: usize| match &row.completed {
        Some(both) => format!("{} of {}", both[side].completed, both[side].of),
        None => row.values[side].map_or_else(nothing, |value| show(value, &row.unit)),
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
        row.ratio.map_or_else(nothing, |ratio| format!("{ratio:.4}")),
        interval(row),
        if row.completed.is_some() { nothing() } else { format!("{} and {}", row.n[0], row.n[1]) },
        row.verdict.to_string(),
    ]
}

/// The interval that decides the verdict, or the reason why it is missing.
fn interval(row: &Comparison) -> String {
    match (&row.interval, &row.difference_interval) {
        (Some(interval), _) => format!("{:.4} to {:.4}", interval.low, interval.high),
        (None, Some(interval)) => {
            let unit = if row.unit == "1" { String::new() } else { format!(" {}", row.unit) };
            format!("{:+.2} to {:+.2}{unit}", interval.low, interval.high)
        }
        _ if !row.is_contrast() => "-".to_owned(),
        _ if row.remark.starts_with(host_cpu::NOT_COMPARED) => "other host CPU".to_owned(),
        _ if row.ratio.is_none() && row.difference.is_none() => "no common host".to_owned(),
        _ => format!("n < {CONTRAST_INTERVAL_FROM}"),
    }
}

/// The number of rows with each verdict; rare verdicts only if there are any.
fn count_verdicts(comparisons: &[Comparison]) -> String {
    let count = |verdict| comparisons.iter().filter(|row| row.verdict == verdict).count();
    let always = [Verdict::Better, Verdict::Worse, Verdict::Equivalent, Verdict::Inconclusive];
    let rare = [Verdict::Differs, Verdict::Missing, Verdict::Dropped];
    let rare = rare.into_iter().filter(|verdict| count(*verdict) > 0);
    let counts: Vec<String> =
        always.into_iter().chain(rare).map(|verdict| format!("{} {verdict}", count(verdict))).collect();
    let compared = comparisons.iter().filter(|row| row.is_contrast()).count();
    format!("{compared} compared: {}", counts.join(", "))
}

/// The cells of each metric.
type MetricCells<'a> = Vec<(&'a str, Vec<&'a str>)>;

/// The remarks on rows; rows with the same remark share a line, and rows of one metric name it once.
fn remarks(comparisons: &[Comparison]) -> Vec<String> {
    let mut all: Vec<(&str, MetricCells<'_>)> = Vec::new();
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
fn render_detail(comparisons: &[Comparison], settings: &Settings, width: OutputWidth) -> String {
    const COLUMNS: [Column; 7] = [
        Column::left("cell", 0),
        Column::left("metric", 0),
        Column::right("shift", 1),
        Column::right("interval", 2),
        Column::right("A12", 3),
        Column::right("p", 0),
        Column::right("Holm", 0),
    ];
    let test = if settings.blocks { "permutation test within blocks" } else { "Mann-Whitney test" };
    let legend = format!(
        "shift: Hodges-Lehmann estimate of B - A; A12: probability that a trial of B exceeds a trial of A; p: {test}; \
         Holm: p with Holm's adjustment over the family ({})",
        if settings.family.is_empty() { "every metric".to_owned() } else { settings.family.join(", ") }
    );
    let show = |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"));
    let columns = |row: &Comparison| {
        let unit = if row.unit == "1" { String::new() } else { format!(" {}", row.unit) };
        vec![
            row.cell.clone(),
            row.metric.clone(),
            row.shift.map_or_else(|| "-".to_owned(), |shift| format!("{shift:.3}{unit}")),
            row.shift_interval
                .as_ref()
                .map_or_else(|| "n too small".to_owned(), |i| format!("{:.3} to {:.3}", i.low, i.high)),
            show(row.a12, 2),
            show(row.p, 4),
            row.adjusted_p.map_or_else(|| "not in family".to_owned(), |p| format!("{p:.4}")),
        ]
    };
    let rows: Vec<_> = comparisons.iter().filter(|row| row.is_contrast()).map(columns).collect();
    let (table, left_out) = fitted(&COLUMNS, &rows, width.table);
    format!("\n{}\n\n{table}{}", wrapped_to(width.prose, &legend, 0), width.left_out(&left_out))
}

#[cfg(test)]
mod tests {
    use microbench_formats::direction::Better;
    use microbench_formats::statistic::Statistic;

    use super::*;

    /// The note for a family of `tests` permutation tests with `n` trials on each side.
    fn note(n: usize, tests: usize, margin: Option<f64>) -> Option<String> {
        let smallest = 2.0 / f64::from(1_u32 << n);
        let test = Comparison {
            n: [n, n],
            p: Some(smallest),
            smallest_p: Some(smallest),
            adjusted_p: Some(smallest * tests as f64),
            ..Comparison::empty("b", "m", "ms", Better::Lower)
        };
        let settings = Settings {
            statistic: Statistic::Median,
            margin,
            seed: 1,
            family: Vec::new(),
            blocks: true,
            pooled: false,
            across_host_cpus: false,
        };
        too_few_trials(&vec![test; tests], &settings)
    }

    #[test]
    fn note_states_that_too_few_trials_cannot_be_significant() {
        let stated = "6 trials cannot reach p <= 0.05 over 4 tests (smallest possible p after Holm's adjustment: 0.125): \
                      use --margin or more trials";
        assert_eq!(note(6, 4, None).as_deref(), Some(stated));
        assert!(note(5, 1, None).unwrap().starts_with("5 trials cannot reach p <= 0.05 over 1 test ("));
        assert_eq!(note(6, 1, None), None);
        assert_eq!(note(8, 4, None), None);
        assert_eq!(note(6, 4, Some(0.02)), None);
        assert_eq!(note(6, 0, None), None);
    }
}
