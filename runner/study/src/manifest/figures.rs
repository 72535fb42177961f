//! Figures: every name looked up, and no bar that would mix what it should compare.

use std::collections::HashMap;
use std::ops::Range;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::figure::{Figure, FigureBar, FigureForm};
use microbench_formats::metric::Metric;
use microbench_formats::statistic::Statistic;

use super::axes::unknown_axis;
use super::diagnostic::{Diagnostics, ManifestError};
use super::figure_forms;
use super::nearest::{quote, suggest};
use super::raw;
use super::read::At;
use super::selection::{self, ENGINE};
use super::word::{Word, names};

/// The manifest's figures; those in error are left out. Without `axes` (they are in error) names of axes are let pass.
pub(super) fn check(
    manifest: &raw::Manifest,
    axes: Option<&[Axis]>,
    metrics: &[Metric],
    errors: &mut Diagnostics,
) -> Vec<Figure> {
    manifest.figures.iter().filter_map(|raw| figure(raw, manifest, axes, metrics, errors)).collect()
}

/// The word's meaning, or that of its absence.
fn word_or<T: Word + Default>(name: Option<&At<String>>, kind: &str, errors: &mut Diagnostics) -> T {
    word(name, kind, errors).unwrap_or_default()
}

/// The statistic that the key names, or `default` without it; `None` when it is in error.
pub(super) fn statistic(name: Option<&At<String>>, default: Statistic, errors: &mut Diagnostics) -> Option<Statistic> {
    if name.is_none() { Some(default) } else { word(name, "statistics", errors) }
}

fn figure(
    raw: &raw::Figure,
    manifest: &raw::Manifest,
    axes: Option<&[Axis]>,
    metrics: &[Metric],
    errors: &mut Diagnostics,
) -> Option<Figure> {
    let form = word(raw.form.as_ref(), "forms", errors);
    let theme = word_or(raw.theme.as_ref(), "themes", errors);
    let column = word_or(raw.column.as_ref(), "columns", errors);
    let x_scale = word_or(raw.x_scale.as_ref(), "scales", errors);
    let y_scale = word_or(raw.y_scale.as_ref(), "scales", errors);
    // Medians do not add up.
    let usual = if form == Some(FigureForm::StackedBars) { Statistic::Mean } else { Statistic::Median };
    let statistic = statistic(raw.statistic.as_ref(), usual, errors);
    known_metrics(raw, manifest, metrics, errors);
    let matrix = axes.map(|axes| axes.iter().filter(|axis| axis.name != ENGINE).cloned().collect::<Vec<_>>());
    if let Some(axes) = &matrix
        && form != Some(FigureForm::Setup)
    {
        check_roles(raw, axes, errors);
    }
    let only = selection::check(&raw.selection, axes, errors);
    check_form(raw, form, errors);
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
                "the figure shows published values, but the study names none",
            )
            .help("name their file in [study]: `reference = \"reference/paper.toml\"`"),
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

/// Reports the keys that do not go together with the form or with one another.
fn check_form(raw: &raw::Figure, form: Option<FigureForm>, errors: &mut Diagnostics) {
    let (Some(form), Some(word)) = (form, &raw.form) else { return };
    let mut deny = |span: &Range<usize>, key: &str, why: &str, related: &Range<usize>, help: &str| {
        let message = format!("`{key}` does not go with {why}");
        errors.push(
            ManifestError::new(Code::NotOfForm, span.clone(), message).related(related.clone(), "here").help(help),
        );
    };
    let roles = [("x", &raw.x), ("groups", &raw.groups), ("panels", &raw.panels)];
    if form == FigureForm::Setup {
        let help = "the form draws the set-up from the plan, without data: take the key away";
        let names = roles.into_iter().chain([("statistic", &raw.statistic), ("y_label", &raw.y_label)]);
        for (key, name) in names {
            if let Some(name) = name {
                deny(&name.span, key, "the form `setup`", &word.span, help);
            }
        }
        if let Some(metric) = raw.metrics.first() {
            deny(&metric.span, "metric", "the form `setup`", &word.span, help);
        }
        if let Some(bars) = &raw.bars {
            deny(&bars.span, "bars", "the form `setup`", &word.span, help);
        }
        return;
    }
    if form == FigureForm::StackedBars {
        deny_unstackable(raw, &word.span, &mut deny);
    }
    let Some(bars) = &raw.bars else { return };
    if form == FigureForm::GroupedBars {
        let help = "`bars` lists single bars: take `form = \"bars\"`, and colour them by the bars' `group`";
        deny(&bars.span, "bars", "the form `grouped-bars`", &word.span, help);
    }
    let help = "`bars` says itself which bars there are: give each its cells by `where`";
    for (key, name) in roles {
        if let Some(name) = name {
            deny(&name.span, key, "`bars`", &bars.span, help);
        }
    }
    if let Some((name, _)) = raw.selection.first() {
        deny(&name.span, "where", "`bars`", &bars.span, help);
    }
}

/// Denies what does not go with `stacked-bars`: what would not add up, and what would take the metrics' colours.
fn deny_unstackable(
    raw: &raw::Figure,
    form: &Range<usize>,
    deny: &mut impl FnMut(&Range<usize>, &str, &str, &Range<usize>, &str),
) {
    let why = "the form `stacked-bars`";
    if let [metric] = raw.metrics.as_slice() {
        let help = "stack several `metrics`, or take `form = \"bars\"`";
        deny(&metric.span, "metric", why, form, help);
    }
    if let Some(statistic) = raw.statistic.as_ref().filter(|statistic| statistic.value == "median") {
        deny(&statistic.span, "median", why, form, "medians do not add up: take the key away for means, which do");
    }
    if let Some(groups) = &raw.groups {
        deny(&groups.span, "groups", why, form, "its colours stand for the metrics: take `x` or `panels` for the axis");
    }
    let groups = raw.bars.iter().flat_map(|bars| &bars.value).find_map(|bar| bar.group.as_ref());
    if let Some(group) = groups {
        deny(&group.span, "group", why, form, "its colours stand for the metrics: take the bars' `group` away");
    }
    if let Some(reference) = raw.reference.as_ref().filter(|reference| reference.value) {
        deny(
            &reference.span,
            "reference",
            why,
            form,
            "published values stand beside whole bars, as in `form = \"bars\"`",
        );
    }
}

/// Reports the axes of `x`, `groups` and `panels` that do not exist or stand twice.
fn check_roles(raw: &raw::Figure, axes: &[Axis], errors: &mut Diagnostics) {
    let mut first: HashMap<&str, &At<String>> = HashMap::new();
    for name in [&raw.x, &raw.groups, &raw.panels].into_iter().flatten() {
        if !axes.iter().any(|axis| axis.name == name.value) {
            errors.push(unknown_axis(name, axes.iter()));
        }
        if let Some(before) = first.insert(&name.value, name) {
            let message = format!("the figure uses axis {} twice", quote(&name.value));
            errors.push(
                ManifestError::new(Code::AxisTwice, name.span.clone(), message)
                    .related(before.span.clone(), "the first"),
            );
        }
    }
    if raw.x.is_none()
        && let Some(name) = first.get("variant")
    {
        let message = "the figure uses axis `variant` twice: it is `x` unless the figure says otherwise";
        errors.push(
            ManifestError::new(Code::AxisTwice, name.span.clone(), message)
                .help("give `x` another axis, for instance `x = \"concurrency\"`"),
        );
    }
}

fn word<T: Word>(name: Option<&At<String>>, kind: &str, errors: &mut Diagnostics) -> Option<T> {
    let name = name?;
    let found = T::VARIANTS.iter().find(|value| T::name(**value) == name.value).copied();
    if found.is_none() {
        let message = format!("{} is not one of the {kind}", quote(&name.value));
        let help = suggest(&name.value, kind, names::<T>());
        errors.push(ManifestError::new(Code::NotAChoice, name.span.clone(), message).help(help));
    }
    found
}

/// True when the study has the metric, else an error is reported. A metric that is in error itself is known all the same.
pub(super) fn known_metric(name: &At<String>, manifest: &raw::Manifest, errors: &mut Diagnostics) -> bool {
    let known = manifest.metrics.iter().any(|metric| metric.name.value == name.value);
    if !known {
        let valid = manifest.metrics.iter().map(|metric| metric.name.value.as_str());
        let message = format!("the study has no metric {}", quote(&name.value));
        let help = suggest(&name.value, "metrics", valid);
        errors.push(ManifestError::new(Code::UnknownMetric, name.span.clone(), message).help(help));
    }
    known
}

fn known_metrics(raw: &raw::Figure, manifest: &raw::Manifest, metrics: &[Metric], errors: &mut Diagnostics) {
    let mut seen: HashMap<&str, &At<String>> = HashMap::new();
    let mut unit: Option<(&str, &At<String>)> = None;
    for name in &raw.metrics {
        if !known_metric(name, manifest, errors) {
            continue;
        }
        if let Some(before) = seen.insert(&name.value, name) {
            let message = format!("metric {} stands twice", quote(&name.value));
            errors.push(
                ManifestError::new(Code::Twice, name.span.clone(), message).related(before.span.clone(), "the first"),
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

/// Reports figures whose bars would pool cells, and those without any cell.
pub(super) fn check_bars(
    manifest: &raw::Manifest,
    figures: &[Figure],
    axes: &[Axis],
    cells: &[Cell],
    errors: &mut Diagnostics,
) {
    for (figure, raw) in figures.iter().zip(&manifest.figures) {
        if figure.form == FigureForm::Setup {
            continue;
        }
        if let Some(bars) = &raw.bars {
            for (bar, raw) in figure.bars.iter().zip(&bars.value) {
                if !cells.iter().any(|cell| selection::has(&bar.of, cell)) {
                    let message = format!("bar {} of figure {} has no cell", quote(&bar.label), quote(&figure.name));
                    errors.push(
                        ManifestError::new(Code::NoCells, raw.span.clone(), message)
                            .help("no cell has all the levels that `where` asks for"),
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
        let chosen: Vec<&Cell> = cells.iter().filter(|cell| selection::has(&figure.only, cell)).collect();
        if chosen.is_empty() {
            let message = format!("figure {} has no cell", quote(&figure.name));
            errors.push(
                ManifestError::new(Code::NoCells, raw.name.span.clone(), message)
                    .help("no cell has all the levels that `where` asks for"),
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
