//! The claims with their verdicts.

use microbench_formats::claim::Comparison;
use microbench_formats::plan::Plan;

use super::{Cell, Column, Table, host};
use crate::claim::{Verdict, number};

/// The table of a run's verdicts.
pub(super) fn table(plan: &Plan, verdicts: &[Verdict]) -> Table {
    let mut table = Table {
        name: "claims".into(),
        title: format!("{}: claims", plan.title),
        long: true,
        columns: vec![
            Column::sentences("Claim", 0.24),
            Column::words("Verdict"),
            Column::sentences("Measured", 0.12),
            Column::sentences("95 % interval", 0.12),
            Column::sentences("n", 0.06),
            Column::sentences("Expected", 0.1),
            Column::words("Published"),
        ],
        rows: Vec::new(),
        notes: Vec::new(),
        footnotes: Vec::new(),
    };
    for verdict in verdicts {
        let line = line(&mut table, verdict);
        table.rows.push(line);
    }
    table.notes = vec![
        "A verdict is by the interval: holds within the limits, contradicted outside, else inconclusive.".to_owned(),
        "n: trials on each side.".to_owned(),
        host(verdicts.iter().find_map(|verdict| verdict.host)),
    ];
    table
}

fn line(table: &mut Table, verdict: &Verdict) -> Vec<Cell> {
    let unit = if verdict.unit.is_empty() { String::new() } else { format!(" {}", verdict.unit) };
    let kind = match &verdict.claim.comparison {
        Some(Comparison::Ratio(..)) => "ratio ",
        Some(Comparison::Difference(..)) => "difference ",
        _ => "",
    };
    let remark = [("", &verdict.remark), ("in the paper's data: ", &verdict.claim.data)];
    let remark: Vec<String> = remark
        .iter()
        .filter(|(_, words)| !words.is_empty())
        .map(|(before, words)| format!("{before}{words}"))
        .collect();
    let mark = (!remark.is_empty()).then(|| table.footnote(remark.join("; ")));
    let n: Vec<String> = verdict.n.iter().map(ToString::to_string).collect();
    let words = |text: String, instead: &str| {
        if text.is_empty() { Cell::missing(instead) } else { Cell::Words(text) }
    };
    vec![
        Cell::Words(verdict.claim.text.trim().to_owned()),
        Cell::Missing { words: verdict.outcome.to_string(), mark },
        words(verdict.value.map_or_else(String::new, |value| format!("{kind}{}{unit}", number(value))), "nothing"),
        words(
            verdict.interval.as_ref().map_or_else(String::new, |(interval, _)| {
                format!("{} to {}{unit}", number(interval.low), number(interval.high))
            }),
            "none",
        ),
        words(n.join(" and "), "0"),
        words(verdict.expectation(), "not said"),
        words(verdict.claim.published.map_or_else(String::new, number), "no number"),
    ]
}
