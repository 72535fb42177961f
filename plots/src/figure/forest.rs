//! Forest plots: the ratio of each claim with its interval, the expected range and the published value.

use microbench_formats::claim::Comparison;
use microbench_formats::figure::Figure;

use super::description::{Chart, Data, Description, LegendEntry, LegendKey};
use crate::claim::{Outcome, Verdict, judge};
use crate::summary::LEVEL;

/// The ratios of the claims of a study, in plan order.
#[derive(Clone, Debug, PartialEq)]
pub struct Forest {
    pub rows: Vec<Row>,
}

/// The ratio of one claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The text of the claim.
    pub label: String,
    pub outcome: Outcome,
    /// `None` if the ratio is censored or was not measured.
    pub value: Option<f64>,
    /// 95 % interval; a censored end is infinite. `None` if there are too few trials.
    pub interval: Option<(f64, f64)>,
    /// The expected range; `None` for an end without a limit.
    pub limits: (Option<f64>, Option<f64>),
    pub published: Option<f64>,
    /// Ratio and interval in words, or why the claim was not measured.
    pub text: String,
}

/// Describes the ratios of the claims of the plan.
pub(super) fn describe(data: Data<'_>, figure: &Figure) -> Description {
    let verdicts = judge(data.plan, data.rows);
    let is_ratio = |verdict: &&Verdict| matches!(verdict.claim.comparison, Some(Comparison::Ratio(..)));
    let rows: Vec<Row> = verdicts.iter().filter(is_ratio).map(row).collect();
    let host = verdicts.iter().find_map(|verdict| verdict.host);
    let ns = || verdicts.iter().filter(is_ratio).flat_map(|verdict| &verdict.n);
    let trials = match (ns().min(), ns().max()) {
        (Some(least), Some(most)) if least == most => format!("n = {least} trials of each side. "),
        (Some(least), Some(most)) => format!("n = {least} to {most} trials of a side. "),
        _ => String::new(),
    };
    let entry = |label: &str, key| LegendEntry { label: label.to_owned(), key };
    let mut legend =
        vec![entry("measured, with interval", LegendKey::Value), entry("expected", LegendKey::Layer(0, 2))];
    if rows.iter().any(|row| row.published.is_some()) {
        legend.push(entry("published", LegendKey::Reference));
    }
    Description {
        name: figure.name.clone(),
        title: figure.title.clone(),
        theme: figure.theme,
        column: figure.column,
        legend,
        caption: format!(
            "Rows: the ratio of each claim, on a logarithmic axis; whiskers: its {} % interval, which decides the verdict \
             at the right; bands: the expected range. {trials}Host: {}.",
            LEVEL * 100.0,
            host.map_or_else(|| "none, no trial was executed".to_owned(), |host| host.note().to_string()),
        ),
        chart: Chart::Forest(Forest { rows }),
    }
}

fn row(verdict: &Verdict) -> Row {
    let above_zero = |value: &f64| *value > 0.0;
    let text = match (verdict.outcome, verdict.value_text()) {
        (Outcome::NotMeasured, _) | (_, None) => String::new(),
        _ => verdict.estimate().with_range(),
    };
    Row {
        label: verdict.claim.text.trim().to_owned(),
        outcome: verdict.outcome,
        value: verdict.value.filter(above_zero),
        interval: verdict.interval.as_ref().map(|(interval, _)| (interval.low, interval.high)),
        limits: (verdict.claim.least.filter(above_zero), verdict.claim.most.filter(above_zero)),
        published: verdict.claim.published.filter(above_zero),
        text,
    }
}
