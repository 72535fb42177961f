//! Figures: looks up their names, and rejects bars that would pool cells with different levels.

use std::collections::HashMap;
use std::ops::Range;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::figure::{Figure, FigureBar, FigureForm};
use microbench_formats::metric::Metric;
use microbench_formats::selection::selects;
use microbench_formats::statistic::Statistic;

use super::axes::unknown_axis;
use super::choice::{Choice, names};
use super::diagnostic::{Diagnostics, ManifestError};
use super::figure_forms;
use super::metrics;
use super::nearest::{quote, suggest};
use super::raw;
use super::read::At;
use super::selection::{self, ENGINE};

/// The manifest's figures without those in error, each with its source. Without `axes` (they are in error), names of
/// axes are not checked.
pub(super) fn check<'a>(
    manifest: &'a raw::Manifest,
    axes: Option<&[Axis]>,
    metrics: &[Metric],
    errors: &mut Diagnostics,
) -> Vec<(&'a raw::Figure, Figure)> {
    let valid = |raw: &'a raw::Figure| {
        let before = errors.count();
        let figure = check_figure(raw, manifest, axes, metrics, errors)?;
        (!raw.broken && errors.count() == before).then_some((raw, figure))
    };
    manifest.figures.iter().filter_map(valid).collect()
}

/// The value of the name, or the default without a valid name. `kind` is a plural for messages.
fn parse_choice_or_default<T: Choice + Default>(name: Option<&At<String>>, kind: &str, errors: &mut Diagnostics) -> T {
    parse_choice(name, kind, errors).unwrap_or_default()
}

/// The statistic of this name, or `default` without a name. `None` after an error.
pub(super) fn parse_statistic(
    name: Option<&At<String>>,
    default: Statistic,
    errors: &mut Diagnostics,
) -> Option<Statistic> {
    if name.is_none() { Some(default) } else { parse_choice(name, "statistics", errors) }
}

fn check_figure(
    raw: &raw::Figure,
    manifest: &raw::Manifest,
    axes: Option<&[Axis]>,
    metrics: &[Metric],
    errors: &mut Diagnostics,
) -> Option<Figure> {
    let form = parse_choice(raw.form.as_ref(), "forms", errors);
    let theme = parse_choice_or_default(raw.theme.as_ref(), "themes", errors);
    let column = parse_choice_or_default(raw.column.as_ref(), "columns", errors);
    let x_scale = parse_choice_or_default(raw.x_scale.as_ref(), "scales", errors);
    let y_scale = parse_choice_or_default(raw.y_scale.as_ref(), "scales", errors);
    // The medians of the parts do not add up to the median of the sum.
    let usual = if form == Some(FigureForm::StackedBars) { Statistic::Mean } else { Statistic::Median };
    let statistic = parse_statistic(raw.statistic.as_ref(), usual, errors);
    check_metrics(raw, manifest, metrics, errors);
    let matrix = axes.map(|axes| axes.iter().filter(|axis| axis.name != ENGINE).cloned().collect::<Vec<_>>());
    if let Some(axes) = &matrix
        && !form.is_some_and(has_no_roles)
    {
        check_roles(raw, axes, errors);
    }
    let only = selection::check(&raw.selection, axes, errors);
    check_form(raw, form, errors);
    check_has_ratios(raw, form, manifest, errors);
    figure_forms::check(raw, form, matrix.as_deref(), metrics, errors);
    let bars = raw.bars.iter().flat_map(|bars| &bars.value);
    let bars = bars.map(|bar| FigureBar {
        label: bar.label.as_ref().map(|label| label.value.clone()).unwrap_or_default(),
        group: bar.group.as_ref().map(|group| group.value.clone()).unwrap_or_default(),
        of: selection::check(&bar.selection, axes, errors),
    });
    let bars = bars.collect();
    if let Some(reference) = raw.reference.as_ref().filter(|reference| reference.value)
        && manifest.study.reference.is_none()
    {
        errors.push(
            ManifestError::new(
                Code::NoReference,
                reference.span.clone(),
                "the figure shows published values, but [study] has no `reference`",
            )
            .help("name the file of published values in [study]: `reference = \"reference/paper.toml\"`"),
        );
    }
    let name = |name: &Option<At<String>>| name.as_ref().map(|name| name.value.clone());
    Some(Figure {
        name: raw.name.value.clone(),
        title: name(&raw.title).unwrap_or_default(),
        form: form?,
        theme,
        column,
        bars,
        y_label: name(&raw.y_label).unwrap_or_default(),
        reference: raw.reference.as_ref().is_some_and(|reference| reference.value),
        metrics: raw.metrics.iter().map(|metric| metric.value.clone()).collect(),
        x: name(&raw.x).unwrap_or_else(|| "variant".into()),
        groups: name(&raw.groups),
        panels: name(&raw.panels),
        only,
        statistic: statistic?,
        x_scale,
        y_scale,
    })
}

/// Whether the form draws no metric, so that no axis of the matrix has a role.
fn has_no_roles(form: FigureForm) -> bool {
    matches!(form, FigureForm::Setup | FigureForm::Forest)
}

/// Reports a forest plot of a study without a claim on a ratio.
fn check_has_ratios(raw: &raw::Figure, form: Option<FigureForm>, manifest: &raw::Manifest, errors: &mut Diagnostics) {
    let Some(word) = raw.form.as_ref().filter(|_| form == Some(FigureForm::Forest)) else { return };
    if manifest.claims.iter().any(|claim| claim.ratio.is_some()) {
        return;
    }
    let message = "the form `forest` draws claims with `ratio`, and the study has none";
    let help = "add a claim with `ratio = [...]`, or use another form";
    errors.push(ManifestError::new(Code::Missing, word.span.clone(), message).help(help));
}

/// Reports keys that cannot be used with the form or with `bars`.
fn check_form(raw: &raw::Figure, form: Option<FigureForm>, errors: &mut Diagnostics) {
    let (Some(form), Some(word)) = (form, &raw.form) else { return };
    let mut deny = |span: &Range<usize>, key: &str, why: &str, related: &Range<usize>, help: &str| {
        let message = format!("`{key}` cannot be used with {why}");
        errors.push(
            ManifestError::new(Code::NotOfForm, span.clone(), message).related(related.clone(), "here").help(help),
        );
    };
    let roles = [("x", &raw.x), ("groups", &raw.groups), ("panels", &raw.panels)];
    if has_no_roles(form) {
        let why = format!("the form `{form}`");
        let help = match form {
            FigureForm::Forest => "this form draws the ratios of the claims: remove the key",
            _ => "this form draws the set-up of the plan, without data: remove the key",
        };
        let names = roles.into_iter().chain([("statistic", &raw.statistic), ("y_label", &raw.y_label)]);
        for (key, name) in names {
            if let Some(name) = name {
                deny(&name.span, key, &why, &word.span, help);
            }
        }
        if let Some(metric) = raw.metrics.first() {
            deny(&metric.span, "metric", &why, &word.span, help);
        }
        if let Some(bars) = &raw.bars {
            deny(&bars.span, "bars", &why, &word.span, help);
        }
        return;
    }
    if form == FigureForm::StackedBars {
        deny_unstackable(raw, &word.span, &mut deny);
    }
    let Some(bars) = &raw.bars else { return };
    if form == FigureForm::GroupedBars {
        let help = "`bars` lists single bars: use `form = \"bars\"`, and `group` for their colours";
        deny(&bars.span, "bars", "the form `grouped-bars`", &word.span, help);
    }
    let help = "`bars` defines the bars: select the cells of each bar by its `where`";
    for (key, name) in roles {
        if let Some(name) = name {
            deny(&name.span, key, "`bars`", &bars.span, help);
        }
    }
    if let Some((name, _)) = raw.selection.first() {
        deny(&name.span, "where", "`bars`", &bars.span, help);
    }
}

/// Reports keys that cannot be used with `stacked-bars`: statistics that do not add up, and keys that set colours.
fn deny_unstackable(
    raw: &raw::Figure,
    form: &Range<usize>,
    deny: &mut impl FnMut(&Range<usize>, &str, &str, &Range<usize>, &str),
) {
    let why = "the form `stacked-bars`";
    if let [metric] = raw.metrics.as_slice() {
        let help = "stack several `metrics`, or use `form = \"bars\"`";
        deny(&metric.span, "metric", why, form, help);
    }
    if let Some(statistic) = raw.statistic.as_ref().filter(|statistic| statistic.value == "median") {
        deny(&statistic.span, "median", why, form, "medians do not add up, means do: remove the key");
    }
    if let Some(groups) = &raw.groups {
        deny(&groups.span, "groups", why, form, "its colours stand for the metrics: use `x` or `panels` for the axis");
    }
    let groups = raw.bars.iter().flat_map(|bars| &bars.value).find_map(|bar| bar.group.as_ref());
    if let Some(group) = groups {
        deny(&group.span, "group", why, form, "its colours stand for the metrics: remove `group` from the bars");
    }
    if let Some(reference) = raw.reference.as_ref().filter(|reference| reference.value) {
        deny(
            &reference.span,
            "reference",
            why,
            form,
            "published values are drawn next to whole bars, as in `form = \"bars\"`",
        );
    }
}

/// Reports axes of `x`, `groups` and `panels` that do not exist or are used twice.
fn check_roles(raw: &raw::Figure, axes: &[Axis], errors: &mut Diagnostics) {
    let mut first: HashMap<&str, &At<String>> = HashMap::new();
    for name in [&raw.x, &raw.groups, &raw.panels].into_iter().flatten() {
        if !axes.iter().any(|axis| axis.name == name.value) {
            errors.push(unknown_axis(name, axes.iter()));
        }
        if let Some(before) = first.insert(&name.value, name) {
            let message = format!("the figure uses axis {} twice", quote(&name.value));
            errors.push(
                ManifestError::new(Code::DuplicateAxis, name.span.clone(), message)
                    .related(before.span.clone(), "the first"),
            );
        }
    }
    if raw.x.is_none()
        && let Some(name) = first.get("variant")
    {
        let message = "the figure uses axis `variant` twice: `x` is `variant` by default";
        errors.push(
            ManifestError::new(Code::DuplicateAxis, name.span.clone(), message)
                .help("set `x` to another axis, for instance `x = \"concurrency\"`"),
        );
    }
}

pub(super) fn parse_choice<T: Choice>(name: Option<&At<String>>, kind: &str, errors: &mut Diagnostics) -> Option<T> {
    let name = name?;
    let found = T::VARIANTS.iter().find(|value| T::name(**value) == name.value).copied();
    if found.is_none() {
        let message = format!("{} is not one of the {kind}", quote(&name.value));
        let help = suggest(&name.value, kind, names::<T>());
        errors.push(ManifestError::new(Code::NotAChoice, name.span.clone(), message).help(help));
    }
    found
}

/// True if the study has the metric; reports an error otherwise. A metric that is itself in error counts, and so does
/// the right name of a metric that is reported as a typo: otherwise each error would suggest the name of the other.
pub(super) fn check_metric(name: &At<String>, manifest: &raw::Manifest, errors: &mut Diagnostics) -> bool {
    let known = (manifest.metrics.iter())
        .any(|metric| metric.name.value == name.value || metrics::is_typo_of(metric, &name.value));
    if !known {
        let valid = manifest.metrics.iter().map(|metric| metric.name.value.as_str());
        let message = format!("the study has no metric {}", quote(&name.value));
        let help = metrics::suggest_name(&name.value, "metrics", valid);
        errors.push(ManifestError::new(Code::UnknownMetric, name.span.clone(), message).help(help));
    }
    known
}

fn check_metrics(raw: &raw::Figure, manifest: &raw::Manifest, metrics: &[Metric], errors: &mut Diagnostics) {
    let mut seen: HashMap<&str, &At<String>> = HashMap::new();
    let mut unit: Option<(&str, &At<String>)> = None;
    for name in &raw.metrics {
        if !check_metric(name, manifest, errors) {
            continue;
        }
        if let Some(before) = seen.insert(&name.value, name) {
            let message = format!("metric {} is listed twice", quote(&name.value));
            errors.push(
                ManifestError::new(Code::Duplicate, name.span.clone(), message)
                    .related(before.span.clone(), "the first"),
            );
        }
        let Some(metric) = metrics.iter().find(|metric| metric.name == name.value) else { continue };
        match unit {
            None => unit = Some((&metric.unit, name)),
            Some((first, place)) if first != metric.unit => errors.push(
                ManifestError::new(
                    Code::MixedUnits,
                    name.span.clone(),
                    format!(
                        "{} is in {}, but {} is in {first}",
                        quote(&name.value),
                        unit_name(&metric.unit),
                        quote(&place.value)
                    ),
                )
                .related(place.span.clone(), "the first metric")
                .help("make one figure for each unit"),
            ),
            Some(_) => {}
        }
    }
}

pub(super) fn unit_name(unit: &str) -> &str {
    if unit == "1" { "counts" } else { unit }
}

/// Reports figures whose bars would pool cells, and figures and bars without a cell.
pub(super) fn check_bars(figures: &[(&raw::Figure, Figure)], axes: &[Axis], cells: &[Cell], errors: &mut Diagnostics) {
    for (raw, figure) in figures {
        if has_no_roles(figure.form) {
            continue;
        }
        if let Some(bars) = &raw.bars {
            for (bar, raw) in figure.bars.iter().zip(&bars.value) {
                if !cells.iter().any(|cell| selects(&bar.of, cell)) {
                    let message = format!("bar {} of figure {} has no cell", quote(&bar.label), quote(&figure.name));
                    errors.push(
                        ManifestError::new(Code::NoCells, raw.span.clone(), message)
                            .help("no cell has all the levels of `where`"),
                    );
                }
            }
            continue;
        }
        let drawn: Vec<&str> = [Some(&figure.x), figure.groups.as_ref(), figure.panels.as_ref()]
            .into_iter()
            .flatten()
            .map(String::as_str)
            .collect();
        let chosen: Vec<&Cell> = cells.iter().filter(|cell| selects(&figure.only, cell)).collect();
        if chosen.is_empty() {
            let message = format!("figure {} has no cell", quote(&figure.name));
            errors.push(
                ManifestError::new(Code::NoCells, raw.name.span.clone(), message)
                    .help("no cell has all the levels of `where`"),
            );
            continue;
        }
        let mut bars: HashMap<String, &Cell> = HashMap::new();
        for cell in chosen {
            let bar: Vec<_> = drawn.iter().map(|axis| format!("{:?}", cell.levels.get(axis))).collect();
            let Some(other) = bars.insert(bar.join("\0"), cell) else { continue };
            let mixed: Vec<&str> = axes
                .iter()
                .map(|axis| axis.name.as_str())
                .filter(|axis| cell.levels.get(axis) != other.levels.get(axis))
                .collect();
            let Some(axis) = mixed.first() else { continue };
            let level = other.levels.get(axis).map_or_else(String::new, |level| match level {
                Level::Text(text) => format!("{text:?}"),
                other => other.to_string(),
            });
            let free = ["groups", "panels"]
                .into_iter()
                .zip([&figure.groups, &figure.panels])
                .find(|(_, used)| used.is_none())
                .map_or_else(String::new, |(role, _)| {
                    format!("draw the axis, for instance `{role} = \"{axis}\"`, or ")
                });
            let message = format!("a bar of figure {} would pool different levels of `{axis}`", quote(&figure.name));
            errors.push(
                ManifestError::new(Code::Pooled, raw.name.span.clone(), message)
                    .label(format!("cells {} and {} in one bar", quote(&other.id), quote(&cell.id)))
                    .help(format!("{free}keep one level: `where = {{ {axis} = {level} }}`")),
            );
            break;
        }
    }
}
