//! A comparison as text.

use std::fmt::Write as _;

use microbench_formats::terminal::{Column, Room, fitted, wrapped_to};

use super::{ALPHA, Comparison, Settings, Verdict};
use crate::stats::contrast::CONTRAST_INTERVAL_FROM;
use crate::summary::LEVEL;

/// Characters of a remark that are shown.
const LONGEST_REMARK: usize = 320;

/// The comparison as a table and a line that counts the verdicts. `sides` name the two sides; with `detail` the shifts,
/// the probabilities and the tests stand in a table of their own.
#[must_use]
pub fn text(comparisons: &[Comparison], sides: [&str; 2], title: &str, settings: &Settings, detail: bool) -> String {
    text_in(comparisons, sides, title, settings, detail, Room::ANY)
}

/// As [`text`], in so much room.
#[must_use]
pub fn text_in(
    comparisons: &[Comparison],
    sides: [&str; 2],
    title: &str,
    settings: &Settings,
    detail: bool,
    room: Room,
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
    let tests = comparisons.iter().filter(|one| one.adjusted_p.is_some()).count();
    let margin = settings.margin.map_or_else(
        || {
            format!(
                "no margin is declared: nothing is called equivalent, and a difference needs p <= {ALPHA} over the \
                 family of \
                 {tests} tests (Holm)"
            )
        },
        |margin| {
            format!(
                "margin {:.1} %: what lies within is equivalent, beyond it better or worse by the metric's \
                 direction",
                margin * 100.0
            )
        },
    );
    let percent = LEVEL * 100.0;
    let mut hosts: Vec<&str> = comparisons.iter().flat_map(|one| &one.hosts).map(String::as_str).collect();
    hosts.sort_unstable();
    hosts.dedup();
    let within = match hosts.as_slice() {
        [] => String::new(),
        [host] => format!(" on the host {host}"),
        several => format!(" within each of {} hosts ({}), which count alike", several.len(), several.join(", ")),
    };
    let difference = if comparisons.iter().any(|one| one.difference.is_some()) {
        "; where a value of A is zero, B - A with its interval"
    } else {
        ""
    };
    let words = format!(
        "{} over trials{within}; ratio B / A with its {percent} % interval, each by itself{difference}; {margin}",
        settings.statistic.text()
    );
    let _ = write!(out, "{}\n\n", wrapped_to(room.words, &words, 0));
    let (table, left_out) = fitted(&COLUMNS, &comparisons.iter().map(cells).collect::<Vec<_>>(), room.table);
    out.push_str(&table);
    out.push_str(&room.left_out(&left_out));
    for remark in remarks(comparisons) {
        let _ = writeln!(out, "{}", wrapped_to(room.words, &remark, 4));
    }
    if detail {
        out.push_str(&details(comparisons, settings, room));
    }
    let words = format!("{} ({title})", tally(comparisons));
    // One line where there is no terminal: scripts look for it.
    let words = if room == Room::ANY { words } else { wrapped_to(room.words, &words, 2) };
    let _ = writeln!(out, "\n{words}");
    out
}

/// The columns of a row.
fn cells(one: &Comparison) -> Vec<String> {
    let nothing = || "-".to_owned();
    let show = |value: f64, unit: &str| if unit == "1" { format!("{value:.1}") } else { format!("{value:.2} {unit}") };
    let value = |side: usize| match &one.completed {
        Some(both) => format!("{} of {}", both[side].completed, both[side].of),
        None => one.values[side].map_or_else(nothing, |value| show(value, &one.unit)),
    };
    vec![
        one.cell.clone(),
        one.metric.clone(),
        value(0),
        value(1),
        one.ratio.map_or_else(nothing, |ratio| format!("{ratio:.4}")),
        interval(one),
        if one.completed.is_some() { nothing() } else { format!("{} and {}", one.n[0], one.n[1]) },
        one.verdict.to_string(),
    ]
}

/// The interval that decides, or why there is none.
fn interval(one: &Comparison) -> String {
    match (&one.interval, &one.difference_interval) {
        (Some(interval), _) => format!("{:.4} to {:.4}", interval.low, interval.high),
        (None, Some(interval)) => {
            let unit = if one.unit == "1" { String::new() } else { format!(" {}", one.unit) };
            format!("{:+.2} to {:+.2}{unit}", interval.low, interval.high)
        }
        _ if !one.is_contrast() => "-".to_owned(),
        _ if one.ratio.is_none() && one.difference.is_none() => "no common host".to_owned(),
        _ => format!("n < {CONTRAST_INTERVAL_FROM}"),
    }
}

/// How many rows have which verdict, those that are rare only where there are any.
fn tally(comparisons: &[Comparison]) -> String {
    let count = |verdict| comparisons.iter().filter(|one| one.verdict == verdict).count();
    let always = [Verdict::Better, Verdict::Worse, Verdict::Equivalent, Verdict::Inconclusive];
    let rare = [Verdict::Differs, Verdict::Missing, Verdict::Dropped];
    let rare = rare.into_iter().filter(|verdict| count(*verdict) > 0);
    let counts: Vec<String> =
        always.into_iter().chain(rare).map(|verdict| format!("{} {verdict}", count(verdict))).collect();
    let compared = comparisons.iter().filter(|one| one.is_contrast()).count();
    format!("{compared} compared: {}", counts.join(", "))
}

/// What is to be said of single comparisons, those of one remark together.
fn remarks(comparisons: &[Comparison]) -> Vec<String> {
    let mut all: Vec<(&str, Vec<String>)> = Vec::new();
    for one in comparisons.iter().filter(|one| !one.remark.is_empty()) {
        let place = format!("{} of {}", one.metric, one.cell);
        match all.iter_mut().find(|(remark, _)| *remark == one.remark) {
            Some((_, places)) => places.push(place),
            None => all.push((&one.remark, vec![place])),
        }
    }
    // A reason may hold a guest's words, which a terminal must not obey.
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    let short = |remark: &str| remark.chars().take(LONGEST_REMARK).map(plain).collect::<String>();
    all.into_iter().map(|(remark, places)| format!("{}: {}", places.join(", "), short(remark))).collect()
}

/// Shifts, probabilities and tests.
fn details(comparisons: &[Comparison], settings: &Settings, room: Room) -> String {
    const COLUMNS: [Column; 7] = [
        Column::left("cell", 0),
        Column::left("metric", 0),
        Column::right("shift", 1),
        Column::right("interval", 2),
        Column::right("A12", 3),
        Column::right("p", 0),
        Column::right("Holm", 0),
    ];
    let test = if settings.blocks { "permutation of labels within blocks" } else { "Mann and Whitney's test" };
    let words = format!(
        "shift: Hodges and Lehmann's, B - A; A12: how often a trial of B exceeds one of A; p: {test}; Holm: p over the family of {}",
        if settings.family.is_empty() { "every metric".to_owned() } else { settings.family.join(", ") }
    );
    let show = |value: Option<f64>, digits: usize| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.digits$}"));
    let row = |one: &Comparison| {
        let unit = if one.unit == "1" { String::new() } else { format!(" {}", one.unit) };
        vec![
            one.cell.clone(),
            one.metric.clone(),
            one.shift.map_or_else(|| "-".to_owned(), |shift| format!("{shift:.3}{unit}")),
            one.shift_interval
                .as_ref()
                .map_or_else(|| "n too small".to_owned(), |i| format!("{:.3} to {:.3}", i.low, i.high)),
            show(one.a12, 2),
            show(one.p, 4),
            one.adjusted_p.map_or_else(|| "not in it".to_owned(), |p| format!("{p:.4}")),
        ]
    };
    let rows: Vec<_> = comparisons.iter().filter(|one| one.is_contrast()).map(row).collect();
    let (table, left_out) = fitted(&COLUMNS, &rows, room.table);
    format!("\n{}\n\n{table}{}", wrapped_to(room.words, &words, 0), room.left_out(&left_out))
}
