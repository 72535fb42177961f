//! The pairs of cells that are compared.

use std::collections::BTreeSet;

use microbench_formats::cell::Cell;
use microbench_formats::plan::Plan;

/// A cell of each side, or a cell of one side if its counterpart is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The first side's cell; `None` if it is missing.
    pub first: Option<String>,
    /// The second side's cell; `None` if it is missing.
    pub second: Option<String>,
    /// The name that the second side's cell has, or would have.
    pub name: String,
    /// Why a side does not have the cell; empty if both sides have it.
    pub absent: String,
}

impl Pair {
    /// The pair of two cells that exist.
    #[must_use]
    pub fn new(first: &str, second: &str) -> Self {
        let [own, other] = [first, second].map(str::to_owned);
        Self { first: Some(own), second: Some(other.clone()), name: other, absent: String::new() }
    }

    fn only_first(first: &str, name: String, absent: String) -> Self {
        Self { first: Some(first.to_owned()), second: None, name, absent }
    }

    fn only_second(second: &str, absent: String) -> Self {
        Self { first: None, second: Some(second.to_owned()), name: second.to_owned(), absent }
    }
}

/// The cells of two plans, paired by name: those of the first plan in its order, then those that only the second plan
/// has.
#[must_use]
pub fn pairs_of_plans(first: &Plan, second: &Plan) -> Vec<Pair> {
    let ids = |plan: &Plan| plan.cells.iter().map(|cell| cell.id.to_string()).collect::<BTreeSet<String>>();
    let (in_first, in_second) = (ids(first), ids(second));
    let of_first = first.cells.iter().map(|cell| match in_second.contains(cell.id.as_str()) {
        true => Pair::new(&cell.id, &cell.id),
        false => Pair::only_first(&cell.id, cell.id.to_string(), reason_absent(second, &cell.id, &cell.variant)),
    });
    let rest = second.cells.iter().filter(|cell| !in_first.contains(cell.id.as_str()));
    let of_second = rest.map(|cell| Pair::only_second(&cell.id, reason_absent(first, &cell.id, &cell.variant)));
    of_first.chain(of_second).collect()
}

/// Each cell of the variant `baseline`, paired with the cell of every other variant at the same levels. After these,
/// the cells of other variants at levels that `baseline` does not have.
#[must_use]
pub(super) fn pairs_with_baseline(plan: &Plan, baseline: &str) -> Vec<Pair> {
    let mut others: Vec<&str> = Vec::new();
    for cell in plan.cells.iter().filter(|cell| cell.variant != baseline) {
        if !others.contains(&cell.variant.as_str()) {
            others.push(&cell.variant);
        }
    }
    let like = |cell: &Cell, variant: &str| {
        plan.cells.iter().find(|other| other.variant == variant && cell.equals_except(other, "variant"))
    };
    let mut pairs = Vec::new();
    for cell in plan.cells.iter().filter(|cell| cell.variant == baseline) {
        for variant in &others {
            pairs.push(like(cell, variant).map_or_else(
                || {
                    let name = name_with_variant(plan, cell, variant);
                    let absent = reason_absent(plan, &name, variant);
                    Pair::only_first(&cell.id, name, absent)
                },
                |other| Pair::new(&cell.id, &other.id),
            ));
        }
    }
    let alone = plan.cells.iter().filter(|cell| cell.variant != baseline && like(cell, baseline).is_none());
    pairs.extend(alone.map(|cell| {
        let absent = reason_absent(plan, &name_with_variant(plan, cell, baseline), baseline);
        Pair::only_second(&cell.id, absent)
    }));
    pairs
}

/// The name of the cell with the levels of `cell` but another variant: the levels joined by `/`, in axis order.
fn name_with_variant(plan: &Plan, cell: &Cell, variant: &str) -> String {
    let level = |axis: &str| match axis {
        "variant" => variant.to_owned(),
        axis => cell.levels.get(axis).map(ToString::to_string).unwrap_or_default(),
    };
    plan.axes.iter().map(|axis| level(&axis.name)).collect::<Vec<_>>().join("/")
}

/// Why the plan does not have the cell.
fn reason_absent(plan: &Plan, cell: &str, variant: &str) -> String {
    if let Some(exclusion) = plan.excluded.iter().find(|exclusion| exclusion.cell == cell) {
        return format!("line {} of the manifest excludes the cell {cell}", exclusion.line);
    }
    if plan.cells.iter().any(|cell| cell.variant == variant) {
        format!("the plan has no cell {cell}")
    } else {
        format!("the plan has no variant {variant}")
    }
}
