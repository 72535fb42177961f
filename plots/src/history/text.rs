//! A history as text: a table for each series, its changes, and the parts that were not searched.

use microbench_formats::terminal::{Column, OutputWidth, fitted, wrapped_to};

use super::{ALPHA, Change, History, Part, Point, Series};
use crate::number::{Estimate, change_percent, significant, unit_suffix};
use crate::stats::change_point::{CONFIRM, MIN_SIDE, MIN_VALUES, Support};

/// Hexadecimal digits of a commit and of a fingerprint in the table.
const DIGITS: usize = 10;

/// The history as text that fits `width`. `command` is the study as the user named it, for the command that confirms a
/// change.
#[must_use]
pub fn render(history: &History, command: &str, width: OutputWidth) -> String {
    let mut text = String::new();
    for series in &history.series {
        text.push_str(&render_series(history, series, command, width));
        text.push('\n');
    }
    let mut push = |line: &str| {
        text.push_str(&wrapped_to(width.prose, line, 2));
        text.push('\n');
    };
    for run in &history.left_out {
        push(&format!("left out: {}: {}", run.name, run.reason));
    }
    push(&searches_sentence(history));
    text
}

/// What was searched, at which level.
fn searches_sentence(history: &History) -> String {
    let searches = history.series.iter().flat_map(|series| &series.parts).filter(|part| part.searched).count();
    if searches == 0 {
        return format!(
            "no series was searched for changes: a search needs {MIN_VALUES} runs without a change of host or settings"
        );
    }
    let searches = if searches == 1 { "1 search".to_owned() } else { format!("{searches} searches") };
    format!(
        "{searches} for changes with at least {MIN_SIDE} runs on each side, each at the level {} ({ALPHA} over all \
         searches); the median is that over trials, with its order-statistic interval from 6 trials on",
        short_number(history.level)
    )
}

/// The heading of a series: metric, cell and host.
#[must_use]
pub(crate) fn heading(series: &Series) -> String {
    let cpu = series.host_cpu.as_ref().map_or_else(String::new, |cpu| format!(", CPU {cpu}"));
    let unit = if series.unit == "1" { String::new() } else { format!(", {}", series.unit) };
    format!("{} of {} ({}{cpu}){unit}", series.metric.name, series.cell, series.host.note())
}

fn render_series(history: &History, series: &Series, command: &str, width: OutputWidth) -> String {
    const COLUMNS: [Column; 9] = [
        Column::left("begun (UTC)", 0),
        Column::left("label", 0),
        Column::left("commit", 3),
        Column::left("host", 4),
        Column::right("n", 1),
        Column::right("median", 0),
        Column::right("95 % interval", 1),
        Column::left("remark", 0),
        Column::left("run", 5),
    ];
    let row = |(at, point): (usize, &Point)| {
        let run = &history.runs[point.run];
        let commit = run.build.as_ref().and_then(|build| build.commit.as_deref()).map_or("-", short).to_owned();
        let fingerprint = run.fingerprint.as_deref().map_or("-", short);
        vec![
            run.minute(),
            run.label.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            commit,
            format!("{fingerprint}{}", if point.host_changed { " *" } else { "" }),
            point.n.to_string(),
            median_text(point),
            interval_text(point),
            remark(series, at),
            run.name.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = series.points.iter().enumerate().map(row).collect();
    let (table, left_out) = fitted(&COLUMNS, &rows, width.table);
    let mut text = format!("{}\n{table}{}", wrapped_to(width.prose, &heading(series), 2), width.left_out(&left_out));
    let mut push = |line: &str| {
        text.push_str(&wrapped_to(width.prose, line, 2));
        text.push('\n');
    };
    series.changes.iter().for_each(|change| push(&change_sentence(history, series, change, command)));
    if let Some(part) = series.parts.last().filter(|part| !part.searched) {
        push(&not_searched(history, series, part));
    }
    text
}

/// The first digits of a commit or fingerprint.
fn short(text: &str) -> &str {
    text.get(..DIGITS).unwrap_or(text)
}

/// What changes at the point, and VMs without a value; empty without a remark.
fn remark(series: &Series, at: usize) -> String {
    let point = &series.points[at];
    let mut all = Vec::new();
    if let Some(change) = series.changes.iter().find(|change| change.point == at) {
        all.push(format!("change{}", share_text(change)));
    }
    if point.host_changed {
        all.push("host changed".to_owned());
    }
    if point.settings_changed {
        all.push("settings changed".to_owned());
    }
    if point.missing > 0 {
        all.push(format!("{} VMs missing", point.missing));
    }
    all.join(", ")
}

fn share_text(change: &Change) -> String {
    change.share().map_or_else(String::new, |share| format!(" {}", change_percent(share)))
}

fn estimate(point: &Point) -> Estimate {
    Estimate::with_interval(point.median, point.interval)
}

fn median_text(point: &Point) -> String {
    match point.median {
        Some(_) => estimate(point).value(),
        None if point.censored => "censored".to_owned(),
        None => "-".to_owned(),
    }
}

fn interval_text(point: &Point) -> String {
    let reason = if point.n == 0 { "-" } else { "n < 6" };
    estimate(point).range("").unwrap_or_else(|| reason.to_owned())
}

fn change_sentence(history: &History, series: &Series, change: &Change, command: &str) -> String {
    let first = &series.points[change.point];
    let run = &history.runs[first.run];
    let unit = unit_suffix(&series.unit);
    let has_unit = |of: f64, next: f64| of.is_finite() && !next.is_finite();
    let level = |level: f64, has_unit| estimate(first).beside(level) + if has_unit { unit.as_str() } else { "" };
    let before = level(change.before, has_unit(change.before, change.after));
    let after = level(change.after, change.after.is_finite());
    let share = share_text(change);
    let share = if share.is_empty() { String::new() } else { format!("{share},") };
    let host = if first.host_changed { "; the host changed at this run" } else { "" };
    let support = match change.support {
        Support::Confirmed => format!("confirmed by the {} runs after the alarm", change.added),
        Support::Unsupported => format!("the {} runs after the alarm do not support it", change.added),
        Support::Unconfirmed if change.end < series.points.len() => {
            "unconfirmed: the series ended or changed again before it could be confirmed".to_owned()
        }
        Support::Unconfirmed => format!(
            "unconfirmed: {} of {CONFIRM} runs after the alarm; confirm: microbench run {command} --label TEXT",
            change.added
        ),
    };
    let at = run.label.as_ref().map_or_else(|| run.date(), |label| format!("{label} ({})", run.date()));
    format!(
        "change at {at}: {before} to {after},{share} {}, p = {}{host}: {support}",
        change.verdict(&series.metric),
        short_number(change.p),
    )
}

/// A number with at most three significant digits, without zeros at its end.
fn short_number(value: f64) -> String {
    let text = significant(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Why the newest part was not searched.
fn not_searched(history: &History, series: &Series, part: &Part) -> String {
    let runs = |n: usize| if n == 1 { "1 run".to_owned() } else { format!("{n} runs") };
    let first = &series.points[part.from];
    let since = match (part.from, first.host_changed, first.settings_changed) {
        (0, ..) => String::new(),
        (_, true, true) => " since host and settings changed".to_owned(),
        (_, true, false) => " since the host changed".to_owned(),
        (_, false, _) => " since the settings changed".to_owned(),
    };
    let at = if part.from == 0 { String::new() } else { format!(" at {}", history.runs[first.run].title()) };
    format!("not searched for changes: {} with a value{since}{at}, and a search needs {MIN_VALUES}", runs(part.values))
}
