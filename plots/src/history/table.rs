//! The points of a history as CSV.

use super::{History, Series};

const COLUMNS: [&str; 24] = [
    "study",
    "metric",
    "unit",
    "cell",
    "host",
    "host_cpu",
    "run",
    "started",
    "label",
    "commit",
    "fingerprint",
    "host_changed",
    "settings_changed",
    "n",
    "missing",
    "median",
    "low",
    "high",
    "level",
    "censored",
    "searched",
    "change",
    "p",
    "support",
];

/// The history as CSV, one row for each point. Unknown values are empty; `change` is the change at this point as a share
/// of the level before.
///
/// # Errors
/// Never: the text is in memory.
pub fn to_csv(history: &History) -> Result<String, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for series in &history.series {
        for at in 0..series.points.len() {
            writer.write_record(row(history, series, at))?;
        }
    }
    let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn row(history: &History, series: &Series, at: usize) -> [String; COLUMNS.len()] {
    let point = &series.points[at];
    let run = &history.runs[point.run];
    let number = |value: Option<f64>| {
        value.filter(|value| value.is_finite()).map_or_else(String::new, |value| value.to_string())
    };
    let change = series.changes.iter().find(|change| change.point == at);
    let searched = series.parts.iter().any(|part| part.searched && (part.from..part.to).contains(&at));
    [
        history.study.clone(),
        series.metric.name.clone(),
        series.unit.clone(),
        series.cell.clone(),
        series.host.to_string(),
        series.host_cpu.clone().unwrap_or_default(),
        run.name.clone(),
        run.started.clone(),
        run.label.as_ref().map_or_else(String::new, ToString::to_string),
        run.build.as_ref().and_then(|build| build.commit.clone()).unwrap_or_default(),
        run.fingerprint.clone().unwrap_or_default(),
        point.host_changed.to_string(),
        point.settings_changed.to_string(),
        point.n.to_string(),
        point.missing.to_string(),
        number(point.median),
        number(point.interval.map(|interval| interval.low)),
        number(point.interval.map(|interval| interval.high)),
        number(point.interval.map(|interval| interval.level)),
        point.censored.to_string(),
        searched.to_string(),
        number(change.and_then(super::Change::share)),
        number(change.map(|change| change.p)),
        change.map_or_else(String::new, |change| change.support.to_string()),
    ]
}
