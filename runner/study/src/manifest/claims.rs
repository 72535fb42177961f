//! Claims: sentences, each with a comparison of cells and the expected result.

use std::collections::HashMap;

use microbench_formats::axis::Axis;
use microbench_formats::cell::Cell;
use microbench_formats::claim::{Claim, Clock, Comparison, Side};
use microbench_formats::code::Code;
use microbench_formats::metric::Metric;
use microbench_formats::selection::selects;
use microbench_formats::statistic::Statistic;

use super::diagnostic::{Diagnostics, ManifestError};
use super::expectation::{self, Expectation, SYNTAX};
use super::figures::{check_metric, parse_choice, parse_statistic, unit_name};
use super::nearest::quote;
use super::raw;
use super::read::At;
use super::selection;

/// The manifest's claims without those in error, each with its source.
pub(super) fn check<'a>(
    manifest: &'a raw::Manifest,
    axes: Option<&[Axis]>,
    metrics: &[Metric],
    errors: &mut Diagnostics,
) -> Vec<(&'a raw::Claim, Claim)> {
    let mut names: HashMap<&str, &At<String>> = HashMap::new();
    for name in manifest.claims.iter().filter_map(|raw| raw.name.as_ref()) {
        if let Some(first) = names.insert(&name.value, name) {
            let message = format!("two claims have the name {}", quote(&name.value));
            errors.push(
                ManifestError::new(Code::Duplicate, name.span.clone(), message)
                    .related(first.span.clone(), "the first"),
            );
        }
    }
    let valid = |raw: &'a raw::Claim| Some((raw, check_claim(raw, manifest, axes, metrics, errors)?));
    manifest.claims.iter().filter_map(valid).collect()
}

fn check_claim(
    raw: &raw::Claim,
    manifest: &raw::Manifest,
    axes: Option<&[Axis]>,
    metrics: &[Metric],
    errors: &mut Diagnostics,
) -> Option<Claim> {
    let before = errors.count();
    let statistic = parse_statistic(raw.statistic.as_ref(), Statistic::Median, errors);
    if let Some(metric) = &raw.metric {
        check_metric(metric, manifest, errors);
    }
    let given: Vec<&At<raw::Sides>> = [&raw.value, &raw.ratio, &raw.difference].into_iter().flatten().collect();
    if !raw.broken && given.len() + usize::from(raw.unmeasured.is_some()) != 1 {
        let several = given.len() > 1 || raw.unmeasured.is_some();
        let number = if several { "several of" } else { "none of" };
        let message = format!("the claim has {number} `value`, `ratio`, `difference` and `unmeasured`");
        errors.push(ManifestError::new(Code::ClaimComparison, raw.span.clone(), message).help(
            "give one comparison, for instance `ratio = [{ where = { variant = \"a\" } }, { where = { variant = \
             \"b\" } }]`, or the \
                 reason why there is no comparison: `unmeasured = \"...\"`",
        ));
    }
    let common = selection::check(&raw.selection, axes, errors);
    let mut side = |raw_side: &raw::Side| -> Option<Side> {
        let mut of = selection::check(&raw_side.selection, axes, errors);
        for (name, _) in &raw_side.selection {
            if let Some((first, _)) = raw.selection.iter().find(|(first, _)| first.value == name.value) {
                let message =
                    format!("{} is in the `where` of the claim and in the `where` of its side", quote(&name.value));
                let error = ManifestError::new(Code::Duplicate, name.span.clone(), message);
                errors.push(
                    error
                        .related(first.span.clone(), "holds for every side")
                        .help("keep it in the claim, where it holds for every side, or in each side"),
                );
            }
        }
        of.extend(common.clone());
        let metric = match (&raw_side.metric, &raw.metric) {
            (Some(own), _) => {
                check_metric(own, manifest, errors);
                own
            }
            (None, Some(metric)) => metric,
            (None, None) => {
                errors.push(
                    ManifestError::new(Code::Missing, raw_side.span.clone(), "this side has no metric")
                        .help("set `metric = \"...\"` in the claim or in each side"),
                );
                return None;
            }
        };
        Some(Side { metric: metric.value.clone(), of })
    };
    let mut sides = |sides: &At<raw::Sides>| sides.value.iter().filter_map(&mut side).collect::<Vec<_>>();
    let pair = |sides: Vec<Side>| <[Side; 2]>::try_from(sides).ok();
    let comparison = match (&raw.value, &raw.ratio, &raw.difference) {
        (Some(value), ..) => sides(value).pop().map(Comparison::Value),
        (None, Some(ratio), _) => pair(sides(ratio)).map(|[a, b]| Comparison::Ratio(a, b)),
        (None, None, Some(difference)) => pair(sides(difference)).map(|[a, b]| Comparison::Difference(a, b)),
        (None, None, None) => None,
    };
    if let Some(Comparison::Ratio(a, b) | Comparison::Difference(a, b)) = &comparison {
        check_units([a, b], metrics, raw, errors);
    }
    let clock = raw.clock.as_ref().map(|name| parse_choice::<Clock>(Some(name), "clocks", errors));
    let Expectation { least, most, strict, subject } = match &raw.expect {
        Some(expect) => expectation::check(expect, raw, errors)?,
        None => {
            if !raw.broken && raw.unmeasured.is_none() {
                errors.push(
                    ManifestError::new(Code::Missing, raw.span.clone(), "the claim has no `expect`")
                        .help(format!("state the expected value, for instance `expect = \"> 1\"`; {SYNTAX}")),
                );
            }
            Expectation::default()
        }
    };
    let gate = raw.gate.as_ref().filter(|gate| gate.value);
    if let (Some(gate), Some(_)) = (gate, &raw.unmeasured) {
        let message = "a gate cannot judge a claim that is not measured";
        errors
            .push(ManifestError::new(Code::Conflict, gate.span.clone(), message).help("remove `gate` or `unmeasured`"));
    }
    let text = |at: &Option<At<String>>| at.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    (errors.count() == before).then_some(Claim {
        name: text(&raw.name),
        text: text(&raw.text),
        comparison,
        statistic: statistic?,
        least,
        most,
        strict,
        subject,
        clock: clock.flatten(),
        gate: gate.is_some(),
        published: raw.published.as_ref().map(|at| at.value),
        data: text(&raw.data),
        unmeasured: text(&raw.unmeasured),
    })
}

/// Reports two sides whose metrics have different units.
fn check_units(sides: [&Side; 2], metrics: &[Metric], raw: &raw::Claim, errors: &mut Diagnostics) {
    let [a, b] = sides.map(|side| metrics.iter().find(|metric| metric.name == side.metric));
    if let (Some(a), Some(b)) = (a, b)
        && a.unit != b.unit
    {
        let [name_a, name_b] = [a, b].map(|metric| quote(&metric.name));
        let message = format!("{name_b} is in {}, but {name_a} is in {}", unit_name(&b.unit), unit_name(&a.unit));
        errors.push(
            ManifestError::new(Code::MixedUnits, raw.span.clone(), message).help("compare metrics of the same unit"),
        );
    }
}

/// Reports the sides of comparisons that have no cell, and comparisons of cells with different CPUs of the emulated host
/// unless `across_host_cpus`.
pub(super) fn check_cells(
    claims: &[(&raw::Claim, Claim)],
    cells: &[Cell],
    across_host_cpus: bool,
    errors: &mut Diagnostics,
) {
    for (raw, claim) in claims {
        let sides: Vec<&Side> = match &claim.comparison {
            Some(Comparison::Value(side)) => vec![side],
            Some(Comparison::Ratio(a, b) | Comparison::Difference(a, b)) => vec![a, b],
            None => Vec::new(),
        };
        let places = [&raw.value, &raw.ratio, &raw.difference].into_iter().flatten().flat_map(|sides| &sides.value);
        for (side, place) in sides.into_iter().zip(places) {
            if !cells.iter().any(|cell| selects(&side.of, cell)) {
                let message = format!("a side of claim {} has no cell", quote(&claim.name));
                errors.push(
                    ManifestError::new(Code::NoCells, place.span.clone(), message)
                        .help("no cell has all of these levels"),
                );
            }
        }
        if !across_host_cpus {
            check_host_cpus(raw, claim, cells, errors);
        }
    }
}

/// Reports a ratio or difference of cells with different CPUs of the emulated host.
fn check_host_cpus(raw: &raw::Claim, claim: &Claim, cells: &[Cell], errors: &mut Diagnostics) {
    let Some(Comparison::Ratio(a, b) | Comparison::Difference(a, b)) = &claim.comparison else { return };
    let of = |side: &Side| cells.iter().filter(|cell| selects(&side.of, cell)).collect::<Vec<_>>();
    let (of_a, of_b) = (of(a), of(b));
    let Some(first) = of_a.first() else { return };
    let differs = |cell: &&&Cell| cell.host_cpu() != first.host_cpu();
    // A pair of both sides, if there is one: the claim is about it.
    let Some(other) = of_b.iter().chain(&of_a).find(differs) else { return };
    let [name_a, name_b] = [first, other].map(|cell| quote(&cell.id));
    let message = format!(
        "claim {} compares {name_a} on the host CPU `{}` with {name_b} on `{}`",
        quote(&claim.name),
        first.host_cpu(),
        other.host_cpu()
    );
    errors.push(ManifestError::new(Code::AcrossHostCpus, raw.span.clone(), message).help(
        "compare cells with the same `host_cpu`, or set `across_host_cpus = true` in [study] if the difference of the \
         CPUs is meant",
    ));
}
