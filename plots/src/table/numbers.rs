//! Writes `numbers.tex`: a LaTeX macro for each number of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use microbench_formats::figure::Figure;
use microbench_formats::metric::Metric;
use microbench_formats::plan::Plan;
use microbench_formats::statistic::Statistic;

use crate::claim::Verdict;
use crate::figure::Data;
use crate::figure::cells::{self, Place, level_label};
use crate::latex::escape;
use crate::number::{Estimate, fixed};
use crate::samples::status_and_reason;
use crate::summary::Row;

/// The head of the file: instructions for use, and the definitions of the macros.
const HEAD: &str = include_str!("numbers.tex");
/// Largest number of characters of a reason.
const REASON: usize = 80;

/// The value of a field, or the reason why it is missing.
type Field = Result<String, String>;

/// The file as written so far.
struct Macros {
    text: String,
    /// Names in use: figures, metrics, `run` and `claims`. A second use of a name is left out.
    names: BTreeSet<String>,
}

/// The text of `numbers.tex`.
pub(super) fn macros(data: Data<'_>, verdicts: &[Verdict]) -> String {
    let head = HEAD.replace("{{version}}", env!("CARGO_PKG_VERSION"));
    let mut macros = Macros { text: head, names: BTreeSet::new() };
    macros.run(data);
    macros.claims(verdicts);
    for figure in &data.plan.figures {
        // `microbench plot` reports figures that cannot be drawn.
        let Ok(places) = cells::places(data.plan, figure) else { continue };
        for name in &figure.metrics {
            let Ok(metric) = cells::find_metric(data.plan, figure, name) else { continue };
            let name = if figure.metrics.len() > 1 { format!("{}-{name}", figure.name) } else { figure.name.clone() };
            macros.places(data, &name, metric, figure.statistic, &with_keys(figure, &places.all));
        }
    }
    for metric in &data.plan.metrics {
        let places: Vec<(Vec<String>, Place<'_>)> = (data.plan.cells.iter())
            .map(|cell| {
                let label = cell.label.to_string();
                let place = Place { panel: 0, tick: 0, slot: 0, group: 0, label, cells: vec![cell] };
                (vec![cell.id.to_string()], place)
            })
            .collect();
        macros.places(data, &metric.name, metric, Statistic::Median, &places);
    }
    macros.text.push_str("\\makeatother\n");
    macros.text
}

/// Places with the keys that address them: the cell's id, the label of a bar, and the variant if it has only one place.
fn with_keys<'a>(figure: &Figure, places: &[Place<'a>]) -> Vec<(Vec<String>, Place<'a>)> {
    let mut variants: BTreeMap<&str, usize> = BTreeMap::new();
    for cell in places.iter().flat_map(|place| &place.cells) {
        *variants.entry(&cell.variant).or_default() += 1;
    }
    let keys = |place: &Place<'_>| {
        let mut keys = Vec::new();
        if let [cell] = place.cells.as_slice() {
            keys.push(cell.id.to_string());
            keys.extend((variants.get(cell.variant.as_str()) == Some(&1)).then(|| cell.variant.to_string()));
        }
        if !figure.bars.is_empty() || keys.is_empty() {
            keys.push(place.label.clone());
        }
        keys
    };
    places.iter().map(|place| (keys(place), place.clone())).collect()
}

impl Macros {
    /// Reserves a name; false if it is in use.
    fn reserve(&mut self, name: &str) -> bool {
        let new = self.names.insert(macro_key(name));
        if !new {
            let _ = writeln!(self.text, "% {}: left out, because the name is in use", macro_key(name));
        }
        new
    }

    /// Writes the definition of `\mb{name}{key}{field}`.
    fn field(&mut self, name: &str, of: &str, field: &str, value: &Field) {
        let (macro_name, text) = match value {
            Ok(text) => ("set", text.clone()),
            Err(reason) => ("setmissing", escape(&reason.chars().take(REASON).collect::<String>())),
        };
        let _ =
            writeln!(self.text, "\\mb@{macro_name}{{{}}}{{{}}}{{{field}}}{{{text}}}", macro_key(name), macro_key(of));
    }

    fn run(&mut self, data: Data<'_>) {
        self.reserve("run");
        let plan = data.plan;
        let host = data.rows.iter().find_map(|row| row.host);
        let not_executed = || "no trial was executed".to_owned();
        let profile = if plan.profile.is_empty() { "none" } else { &plan.profile };
        for (of, field, value) in [
            ("host", "kind", host.map(|host| host.to_string()).ok_or_else(not_executed)),
            ("host", "note", host.map(|host| escape(host.note())).ok_or_else(not_executed)),
            ("study", "name", Ok(escape(&plan.study))),
            ("study", "title", Ok(escape(&plan.title))),
            ("study", "seed", Ok(plan.seed.to_string())),
            ("study", "profile", Ok(escape(profile))),
        ] {
            self.field("run", of, field, &value);
        }
    }

    fn claims(&mut self, verdicts: &[Verdict]) {
        self.reserve("claims");
        for verdict in verdicts {
            let name = &verdict.claim.name;
            let reason = || if verdict.remark.is_empty() { "no data".to_owned() } else { verdict.remark.clone() };
            let estimate = Estimate::with_interval(verdict.value, verdict.interval.map(|(interval, _)| interval));
            let number = |value: Option<f64>| {
                let value = value.filter(|value| value.is_finite()).ok_or_else(reason)?;
                Ok(fixed(value, estimate.decimals()))
            };
            let [low, high] = estimate.ends().map_or([None; 2], |ends| ends.map(Some));
            let n: Vec<String> = verdict.n.iter().map(ToString::to_string).collect();
            for (field, value) in [
                ("verdict", Ok(verdict.outcome.to_string())),
                ("value", number(verdict.value)),
                ("low", number(low)),
                ("high", number(high)),
                ("n", if n.is_empty() { Err(reason()) } else { Ok(n.join(" and ")) }),
                ("unit", Ok(escape(&verdict.unit))),
                (
                    "published",
                    verdict.claim.published.map(|value| value.to_string()).ok_or_else(|| "no number".to_owned()),
                ),
            ] {
                self.field("claims", name, field, &value);
            }
            self.siunit("claims", name, &verdict.unit);
        }
    }

    fn places(
        &mut self,
        data: Data<'_>,
        name: &str,
        metric: &Metric,
        statistic: Statistic,
        places: &[(Vec<String>, Place<'_>)],
    ) {
        if places.is_empty() || !self.reserve(name) {
            return;
        }
        let mut used = BTreeSet::new();
        for (keys, place) in places {
            let rows = cells::rows(data, place, metric);
            let fields = fields(data.plan, place, &rows, statistic);
            for of in keys {
                let mut of = macro_key(of);
                while !used.insert(of.clone()) {
                    of.push('+');
                }
                for (field, value) in &fields {
                    self.field(name, &of, field, value);
                }
                self.field(name, &of, "unit", &Ok(escape(if metric.unit == "1" { "" } else { &metric.unit })));
                self.siunit(name, &of, &metric.unit);
            }
        }
    }

    fn siunit(&mut self, name: &str, of: &str, unit: &str) {
        if let Some(macros) = super::latex::siunitx_macros(unit) {
            self.field(name, of, "siunit", &Ok(macros.to_owned()));
        }
    }
}

/// All fields of a place except its unit.
fn fields(plan: &Plan, place: &Place<'_>, rows: &[&Row], statistic: Statistic) -> Vec<(&'static str, Field)> {
    let reason = || {
        let first = rows.iter().find_map(|row| row.missing.iter().next());
        first.map_or_else(|| "not planned".to_owned(), |(status, (_, reason))| status_and_reason(*status, reason))
    };
    let interval_reason =
        || if rows.iter().all(|row| row.n() == 0) { reason() } else { "too few trials for an interval".to_owned() };
    let value = cells::value(rows, statistic, plan.seed);
    let values: Vec<f64> = rows.iter().flat_map(|row| row.finite(Statistic::Median)).collect();
    let estimate = Estimate::new(value.height, value.interval.map(|(low, high)| [low, high]));
    // The median and mean of a figure's other statistic, and the range, have no interval of their own.
    let number = |value: Option<f64>| value.map(|value| estimate.beside(value)).ok_or_else(reason);
    let end = |value: Option<f64>| match value {
        Some(value) if value.is_finite() => Ok(fixed(value, estimate.decimals())),
        Some(_) => Err("censored".to_owned()),
        None => Err(interval_reason()),
    };
    let of_statistic = |other: Statistic| match other == statistic {
        true => value.height.map(|_| estimate.value()).ok_or_else(reason),
        false => number(cells::value(rows, other, plan.seed).height),
    };
    let n: usize = rows.iter().map(|row| row.n()).sum();
    let label = match place.cells.as_slice() {
        [cell] => level_label(plan, "variant", &microbench_formats::axis::Level::Text(cell.variant.to_string())),
        _ => place.label.clone(),
    };
    vec![
        ("value", of_statistic(statistic)),
        ("low", end(value.interval.map(|(low, _)| low))),
        ("high", end(value.interval.map(|(_, high)| high))),
        ("statistic", Ok(statistic.label().to_owned())),
        ("median", of_statistic(Statistic::Median)),
        ("mean", of_statistic(Statistic::Mean)),
        ("least", number(values.iter().copied().reduce(f64::min))),
        ("most", number(values.iter().copied().reduce(f64::max))),
        ("n", Ok(n.to_string())),
        ("vms", Ok(rows.iter().map(|row| row.vms).sum::<usize>().to_string())),
        ("label", Ok(escape(&label))),
    ]
}

/// A name for use in `\csname` that an author can type: unusual characters become `-`.
fn macro_key(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || " ./+:,()=-_".contains(c);
    name.chars().map(|c| if plain(c) { c } else { '-' }).collect()
}
