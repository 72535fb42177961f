//! The uncertainty budget: one row for each metric of each cell, one column for each component.

use std::collections::BTreeMap;

use microbench_formats::describe::capitalised;
use serde::Serialize;

use super::{Fact, Input, Limited};
use crate::hint::{Hint, tick_places};
use crate::number::significant;
use crate::uncertainty::{Budget, Component, Kind, budgets};

/// Largest number of rows in the page.
const MOST: usize = 3000;
/// The number of rows from which on the table is folded.
const FOLDED_FROM: usize = 20;

#[derive(Serialize)]
pub(super) struct Uncertainty {
    /// The hint that values lie ticks apart; empty if none do.
    ticks: String,
    heads: Vec<String>,
    table: Limited<Line>,
    open: bool,
    /// The definition of each component.
    components: Vec<Fact>,
    /// Why values of a component are missing.
    missing: Vec<Fact>,
}

#[derive(Serialize)]
struct Line {
    cell: String,
    metric: String,
    unit: String,
    values: Vec<String>,
}

pub(super) fn uncertainty(input: &Input<'_>) -> Uncertainty {
    let budgets = budgets(input.plan, input.rows, input.journal, input.kernels);
    let places = tick_places(input.plan, input.rows, input.kernels);
    let host = input.rows.iter().find_map(|row| row.host);
    let definition = |component: &Component| {
        let definition = component.definition();
        // The definitions of other kinds state their kind.
        let value = match component.kind(host) {
            Kind::Estimate => format!("An estimate: {definition}."),
            Kind::Bound => format!("A bound: {definition}."),
            Kind::HalfWidth | Kind::Deviation => capitalised(&format!("{definition}.")),
        };
        Fact { name: component.title(), value }
    };
    Uncertainty {
        ticks: if places.is_empty() { String::new() } else { sentence(&Hint::Ticks { places }) },
        heads: Component::ALL.iter().map(|component| component.title()).collect(),
        open: budgets.len() < FOLDED_FROM,
        components: Component::ALL.iter().map(definition).collect(),
        missing: missing(&budgets),
        table: Limited::new(budgets.iter().map(line).collect(), MOST),
    }
}

/// A hint as a sentence.
fn sentence(hint: &Hint) -> String {
    capitalised(&format!("{}; {}.", hint.message(), hint.advice("", None)))
}

fn line(budget: &Budget) -> Line {
    let value = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), significant);
    Line {
        cell: budget.cell.clone(),
        metric: budget.metric.clone(),
        unit: if budget.unit == "1" { String::new() } else { budget.unit.clone() },
        values: budget.entries.iter().map(|entry| value(entry.value.number())).collect(),
    }
}

/// The reasons of missing values with the number of rows, by component.
fn missing(budgets: &[Budget]) -> Vec<Fact> {
    let mut counts: BTreeMap<(Component, &str), usize> = BTreeMap::new();
    let entries = budgets.iter().flat_map(|budget| &budget.entries);
    for entry in entries.filter(|entry| entry.value.number().is_none()) {
        *counts.entry((entry.component, entry.value.reason())).or_default() += 1;
    }
    let fact = |((component, reason), rows): ((Component, &str), usize)| Fact {
        name: component.title(),
        value: format!("{} ({rows} {})", reason.replace('`', ""), if rows == 1 { "row" } else { "rows" }),
    };
    counts.into_iter().map(fact).collect()
}
