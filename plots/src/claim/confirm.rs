//! The verdicts of a run next to those of a reference run.

use microbench_formats::terminal::{Column, OutputWidth, fitted};
use serde::Serialize;

use super::{Outcome, Verdict};
use crate::number;

/// The verdicts of two runs on one claim of the reference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Confirmation {
    pub name: String,
    /// The verdict of the reference.
    #[serde(rename = "there")]
    pub reference: Outcome,
    /// The verdict of the run; `None` if it has no such claim.
    #[serde(rename = "here")]
    pub run: Option<Outcome>,
    /// The values of the reference and of the run.
    pub values: [Option<f64>; 2],
    /// The texts of `values`.
    #[serde(skip)]
    texts: [String; 2],
}

impl Confirmation {
    /// Whether both verdicts are the same.
    #[must_use]
    pub fn same(&self) -> bool {
        self.run == Some(self.reference)
    }
}

/// The verdicts of `run` and of `reference` on each claim of `reference`.
#[must_use]
pub fn confirm(reference: &[Verdict], run: &[Verdict]) -> Vec<Confirmation> {
    let confirmation = |verdict: &Verdict| {
        let other = run.iter().find(|other| other.claim.name == verdict.claim.name);
        Confirmation {
            name: verdict.claim.name.clone(),
            reference: verdict.outcome,
            run: other.map(|other| other.outcome),
            values: [verdict.value, other.and_then(|other| other.value)],
            texts: [Some(verdict), other]
                .map(|verdict| verdict.map_or_else(|| "-".to_owned(), |verdict| verdict.estimate().value())),
        }
    };
    reference.iter().map(confirmation).collect()
}

/// The confirmations as a table that fits `width`, with a line that counts them.
#[must_use]
pub fn render_confirmations(all: &[Confirmation], reference: &str, run: &str, width: OutputWidth) -> String {
    const COLUMNS: [Column; 6] = [
        Column::left("claim", 0),
        Column::left("reference", 0),
        Column::left("here", 0),
        Column::right("reference's value", 2),
        Column::right("value here", 1),
        Column::left("", 0),
    ];
    let row = |one: &Confirmation| {
        vec![
            one.name.clone(),
            one.reference.to_string(),
            one.run.map_or_else(|| "no such claim".to_owned(), |outcome| outcome.to_string()),
            one.texts[0].clone(),
            one.texts[1].clone(),
            if one.same() { String::new() } else { "differs".to_owned() },
        ]
    };
    let same = all.iter().filter(|claim| claim.same()).count();
    let (table, left_out) = fitted(&COLUMNS, &all.iter().map(row).collect::<Vec<_>>(), width.table);
    format!(
        "reference: {reference}\nhere: {run}\n\n{table}{}\n{}: {same} with the same verdict, {} not\n",
        width.left_out(&left_out),
        number::count(all.len(), "claim"),
        all.len() - same
    )
}
