//! The budgets as text for a terminal.

use microbench_formats::terminal::{OutputWidth, wrapped_to};

use super::{Budget, Component, Kind};
use crate::number::significant;

/// One line for each metric: the largest component that is not statistical, over all cells. Empty if no
/// metric has one.
#[must_use]
pub fn render(budgets: &[Budget], width: OutputWidth) -> String {
    // The budgets of each metric, in the order of the plan.
    let mut metrics: Vec<(&str, Vec<&Budget>)> = Vec::new();
    for budget in budgets {
        match metrics.iter_mut().find(|(metric, _)| *metric == budget.metric) {
            Some((_, of_metric)) => of_metric.push(budget),
            None => metrics.push((&budget.metric, vec![budget])),
        }
    }
    let lines: Vec<String> = metrics.iter().filter_map(|(metric, of_metric)| line(metric, of_metric)).collect();
    if lines.is_empty() {
        return String::new();
    }
    let head = "uncertainty beside the interval, the largest component of each metric (uncertainty.csv has all):";
    let wrapped = |line: &str, indent| wrapped_to(width.prose, line, indent) + "\n";
    lines.iter().fold(wrapped(head, 4), |all, line| all + &wrapped(line, 4))
}

fn line(metric: &str, budgets: &[&Budget]) -> Option<String> {
    let largest = budgets.iter().filter_map(|budget| {
        let entry = budget.largest()?;
        Some((budget, entry, entry.value.number()?))
    });
    let (budget, entry, value) = largest.max_by(|(.., a), (.., b)| a.total_cmp(b))?;
    let show = |value: f64| format!("{} {}", significant(value), budget.unit);
    let kind = match entry.kind {
        Kind::Bound => "at most ",
        Kind::Estimate => "estimated at ",
        Kind::Deviation | Kind::HalfWidth => "",
    };
    let interval = budget
        .value(Component::Statistical)
        .map_or_else(|| "no interval".to_owned(), |half| format!("half width of the interval {}", show(half)));
    Some(format!(
        "{metric}: {}, {kind}{} in {} ({}); {interval}",
        entry.component.title(),
        show(value),
        budget.cell,
        entry.value.source()
    ))
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, Value};
    use super::*;

    #[test]
    fn each_metric_has_one_line_with_its_largest_component() {
        let budget = |cell: &str, metric: &str, observer: Option<f64>| Budget {
            cell: cell.into(),
            metric: metric.into(),
            unit: "ms".into(),
            entries: vec![
                Entry {
                    component: Component::Statistical,
                    kind: Kind::HalfWidth,
                    value: Value::known(0.03, "order statistics"),
                },
                Entry {
                    component: Component::Observer,
                    kind: Kind::Bound,
                    value: observer.map_or_else(|| Value::missing("no"), |value| Value::known(value, "CPU time")),
                },
            ],
        };
        let all = [budget("a/1", "boot", Some(3.6)), budget("b/1", "boot", Some(4.0)), budget("a/1", "memory", None)];
        let lines: Vec<String> = render(&all, OutputWidth::ANY).lines().map(str::to_owned).collect();
        assert_eq!(
            lines[1..].join(" ").split_whitespace().collect::<Vec<_>>().join(" "),
            "boot: observer, at most 4.00 ms in b/1 (CPU time); half width of the interval 0.0300 ms"
        );
        assert_eq!(render(&all[2..], OutputWidth::ANY), "");
    }
}
