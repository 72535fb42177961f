//! `claims.csv` and `claims.md`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use microbench_formats::plan::Plan;

use super::{Bound, Verdict};
use crate::Error;
use crate::file::write;

/// Writes `claims.md` and `claims.csv` into the directory `run` and returns their paths.
///
/// # Errors
/// If a file cannot be written.
pub fn save(run: &Path, plan: &Plan, verdicts: &[Verdict]) -> Result<Vec<PathBuf>, Error> {
    let files = [run.join("claims.md"), run.join("claims.csv")];
    write(&files[0], markdown(plan, verdicts).as_bytes())?;
    let refused = |problem: String| Error::Figure { name: "claims.csv".into(), problem };
    let mut csv = csv::Writer::from_writer(Vec::new());
    let header = [
        "claim",
        "verdict",
        "value",
        "low",
        "high",
        "bound",
        "method",
        "n",
        "n_second",
        "unit",
        "least",
        "most",
        "published",
        "host",
        "remark",
    ];
    csv.write_record(header).map_err(|error| refused(error.to_string()))?;
    // An end that is not finite is unknown: its column is empty.
    let show = |value: Option<f64>| {
        value.filter(|value| value.is_finite()).map_or_else(String::new, |value| value.to_string())
    };
    for verdict in verdicts {
        let interval = verdict.interval.as_ref();
        let n = |side: usize| verdict.n.get(side).map_or_else(String::new, ToString::to_string);
        csv.write_record([
            verdict.claim.name.clone(),
            verdict.outcome.to_string(),
            show(verdict.value),
            show(interval.map(|(interval, _)| interval.low)),
            show(interval.map(|(interval, _)| interval.high)),
            verdict.bound().map_or("", Bound::name).to_owned(),
            interval.map_or_else(String::new, |(_, method)| method.name().to_owned()),
            n(0),
            n(1),
            verdict.unit.clone(),
            show(verdict.claim.least),
            show(verdict.claim.most),
            show(verdict.claim.published),
            verdict.host.map_or_else(String::new, |host| host.to_string()),
            verdict.remark.clone(),
        ])
        .map_err(|error| refused(error.to_string()))?;
    }
    let bytes = csv.into_inner().map_err(|error| refused(error.to_string()))?;
    write(&files[1], &bytes)?;
    Ok(files.into())
}

fn markdown(plan: &Plan, verdicts: &[Verdict]) -> String {
    let mut out = format!("# {}: claims\n\n", plan.title);
    if let Some(host) = verdicts.iter().find_map(|verdict| verdict.host) {
        let _ = writeln!(out, "Host: {}.\n", host.note());
    }
    out.push_str("| claim | verdict | measured | expected | published | in the paper's data | remark |\n");
    out.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for verdict in verdicts {
        let cells = [
            verdict.claim.text.clone(),
            verdict.outcome.to_string(),
            verdict.measured(),
            verdict.expectation(),
            verdict.claim.published.map_or_else(String::new, |value| value.to_string()),
            verdict.claim.data.clone(),
            verdict.remark.clone(),
        ];
        let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out
}
