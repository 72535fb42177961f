//! The table of claims and verdicts.

use microbench_formats::plan::Plan;

use super::{Cell, Column, Table, host_sentence};
use crate::claim::Verdict;
use crate::host_cpu;

pub(super) fn table(plan: &Plan, verdicts: &[Verdict]) -> Table {
    let mut table = Table {
        name: "claims".into(),
        title: format!("{}: claims", plan.title),
        long: true,
        columns: vec![
            Column::sentences("Claim", 0.24),
            Column::text("Verdict"),
            Column::sentences("Measured", 0.12),
            Column::sentences("95 % interval", 0.12),
            Column::sentences("n", 0.06),
            Column::sentences("Expected", 0.1),
            Column::text("Published"),
        ],
        rows: Vec::new(),
        notes: Vec::new(),
        footnotes: Vec::new(),
    };
    for verdict in verdicts {
        let row = claim_row(&mut table, verdict);
        table.rows.push(row);
    }
    let host = verdicts.iter().find_map(|verdict| verdict.host);
    table.notes = vec![
        "Verdicts by the 95 % interval: holds (within the limits), contradicted (outside), inconclusive (otherwise), \
         not comparable (limits for the wall clock, run in virtual time)."
            .to_owned(),
        "n: number of trials on each side.".to_owned(),
        host_sentence(host),
    ];
    table.notes.extend(host_cpu::sentence(host, &plan.cells));
    table
}

fn claim_row(table: &mut Table, verdict: &Verdict) -> Vec<Cell> {
    let remark = [("", &verdict.remark), ("in the paper's data: ", &verdict.claim.data)];
    let remark: Vec<String> =
        remark.iter().filter(|(_, text)| !text.is_empty()).map(|(before, text)| format!("{before}{text}")).collect();
    let mark = (!remark.is_empty()).then(|| table.footnote(remark.join("; ")));
    let n: Vec<String> = verdict.n.iter().map(ToString::to_string).collect();
    let text_or = |text: String, reason: &str| {
        if text.is_empty() { Cell::missing(reason) } else { Cell::Text(text) }
    };
    vec![
        Cell::Text(verdict.claim.text.trim().to_owned()),
        Cell::Missing { text: verdict.outcome.to_string(), mark },
        text_or(verdict.value_text().unwrap_or_default(), "not measured"),
        text_or(verdict.interval_text().unwrap_or_default(), "no interval"),
        text_or(n.join(" and "), "0"),
        text_or(verdict.expectation(), "not stated"),
        text_or(verdict.claim.published.map_or_else(String::new, |value| value.to_string()), "no number"),
    ]
}
