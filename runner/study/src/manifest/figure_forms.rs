//! Rules of single figure forms: the keys that each form rejects, the axis of numbers of lines, and the spans of
//! timelines.

use std::ops::Range;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::code::Code;
use microbench_formats::figure::FigureForm;
use microbench_formats::metric::{Metric, MetricSource};

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::quote;
use super::raw;
use super::read::At;

/// Reports violations of the rules of the figure's form. Without `axes` (they are in error), levels are not checked;
/// `metrics` are the valid metrics.
pub(super) fn check(
    raw: &raw::Figure,
    form: Option<FigureForm>,
    axes: Option<&[Axis]>,
    metrics: &[Metric],
    errors: &mut Diagnostics,
) {
    let (Some(form), Some(word)) = (form, &raw.form) else { return };
    let mut keys = KeyRules { form: word, errors };
    check_scales(raw, form, &mut keys);
    match form {
        FigureForm::Line | FigureForm::Scaling => {
            keys.deny_bars(raw, "set `x` to the axis of numbers, and `groups` to the axis of the lines");
            keys.deny_reference(raw);
            check_numeric_x(raw, axes, word, errors);
        }
        FigureForm::Violin => keys.deny_reference(raw),
        FigureForm::Timeline => {
            keys.deny_reference(raw);
            keys.deny("y_label", raw.y_label.as_ref(), "its rows are labelled by their cells: remove the key");
            let quantile = raw.statistic.as_ref().filter(|statistic| !["median", "mean"].contains(&&*statistic.value));
            keys.deny("statistic", quantile, "use \"median\" or \"mean\"");
            check_contiguous_spans(raw, metrics, word, errors);
        }
        FigureForm::HeatMap => {
            keys.deny_bars(raw, "set `x` to the axis of the columns, and `groups` to the axis of the rows");
            keys.deny_reference(raw);
            keys.deny("panels", raw.panels.as_ref(), "define one figure for each level, with `where`");
            keys.deny("y_label", raw.y_label.as_ref(), "its axes have their own labels: remove the key");
            if raw.groups.is_none() {
                let message = "the form `heat-map` needs `groups`, the axis of its rows";
                errors.push(
                    ManifestError::new(Code::Missing, word.span.clone(), message)
                        .help("name an axis of the matrix, for instance `groups = \"concurrency\"`"),
                );
            }
        }
        FigureForm::Forest => keys.deny_reference(raw),
        _ => {}
    }
}

/// Reports keys that a form does not have.
struct KeyRules<'a> {
    form: &'a At<String>,
    errors: &'a mut Diagnostics,
}

impl KeyRules<'_> {
    fn deny_at(&mut self, key: &str, span: Range<usize>, help: &str) {
        let message = format!("`{key}` cannot be used with the form `{}`", self.form.value);
        let error = ManifestError::new(Code::NotOfForm, span, message);
        self.errors.push(error.related(self.form.span.clone(), "here").help(help));
    }

    fn deny<T>(&mut self, key: &str, value: Option<&At<T>>, help: &str) {
        if let Some(value) = value {
            self.deny_at(key, value.span.clone(), help);
        }
    }

    fn deny_bars(&mut self, raw: &raw::Figure, help: &str) {
        self.deny("bars", raw.bars.as_ref(), help);
    }

    fn deny_reference(&mut self, raw: &raw::Figure) {
        let reference = raw.reference.as_ref().filter(|reference| reference.value);
        self.deny("reference", reference, "published values are drawn next to bars, as in `form = \"bars\"`");
    }
}

/// Logarithmic scales are allowed on axes that need not begin at zero.
fn check_scales(raw: &raw::Figure, form: FigureForm, keys: &mut KeyRules<'_>) {
    let (x, y) = (raw.x_scale.as_ref(), raw.y_scale.as_ref());
    match form {
        FigureForm::Line | FigureForm::Scaling => {}
        FigureForm::Ecdf => keys.deny("y_scale", y, "its values are along x: use `x_scale`"),
        FigureForm::Box | FigureForm::Violin | FigureForm::Strip => {
            keys.deny("x_scale", x, "its values are along y: use `y_scale`");
        }
        FigureForm::Bars | FigureForm::GroupedBars | FigureForm::OverlaidBars | FigureForm::StackedBars => {
            keys.deny("x_scale", x, "its x axis has no numbers: remove the key");
            let help = "bars start at zero, which a logarithmic axis does not have: use `form = \"strip\"`, \"box\" \
             or \"violin\"";
            keys.deny("y_scale", y, help);
        }
        FigureForm::Timeline => {
            keys.deny("x_scale", x, "its segments start at zero, which a logarithmic axis does not have");
            keys.deny("y_scale", y, "its y axis has no numbers: remove the key");
        }
        FigureForm::Forest => {
            keys.deny("x_scale", x, "its axis is logarithmic: remove the key");
            keys.deny("y_scale", y, "it has no axis of numbers along y: remove the key");
        }
        FigureForm::HeatMap | FigureForm::Setup => {
            keys.deny("x_scale", x, "it has no axis of numbers: remove the key");
            keys.deny("y_scale", y, "it has no axis of numbers: remove the key");
        }
    }
}

/// A line needs an axis of numbers along x, with positive levels on a logarithmic scale.
fn check_numeric_x(raw: &raw::Figure, axes: Option<&[Axis]>, form: &At<String>, errors: &mut Diagnostics) {
    let Some(x) = &raw.x else {
        let message = format!("the form `{}` needs `x`, an axis of numbers", form.value);
        errors.push(
            ManifestError::new(Code::Missing, form.span.clone(), message)
                .help("name an axis of the matrix, for instance `x = \"concurrency\"`"),
        );
        return;
    };
    let Some(axis) = axes.into_iter().flatten().find(|axis| axis.name == x.value) else { return };
    let number = |level: &Level| match level {
        Level::Int(value) => Some(*value as f64),
        Level::Float(value) => Some(*value),
        Level::Bool(_) | Level::Text(_) => None,
    };
    if let Some(level) = axis.levels.iter().find(|level| number(level).is_none()) {
        let message = format!(
            "axis {} must have numbers as levels, but it has the level {}",
            quote(&x.value),
            quote(&level.to_string())
        );
        errors.push(
            ManifestError::new(Code::NotOfForm, x.span.clone(), message)
                .related(form.span.clone(), "this form needs an axis of numbers")
                .help(
                    "use an axis such as `concurrency` or `memory_mib` as `x`, and this axis as `groups` or `panels`",
                ),
        );
    } else if let Some(scale) = raw.x_scale.as_ref().filter(|scale| scale.value == "log")
        && let Some(level) = axis.levels.iter().find(|level| number(level).is_some_and(|value| value <= 0.0))
    {
        let message = format!("a logarithmic axis cannot show the level {level} of {}", quote(&x.value));
        errors.push(
            ManifestError::new(Code::NotOfForm, scale.span.clone(), message)
                .help("use `x_scale = \"linear\"`, or remove the level from the axis"),
        );
    }
}

/// The metrics of a timeline are spans, each of which begins at the end of the one before.
fn check_contiguous_spans(raw: &raw::Figure, metrics: &[Metric], form: &At<String>, errors: &mut Diagnostics) {
    let help = "list spans in their order without a gap, for instance `metrics = [\"phase_spawn\", \"phase_vmm\", \
     \"phase_kernel\", \
                \"phase_init\", \"phase_agent\"]`";
    let mut before: Option<(&At<String>, &str)> = None;
    for name in &raw.metrics {
        let Some(metric) = metrics.iter().find(|metric| metric.name == name.value) else { return };
        let MetricSource::Span { from, to } = &metric.source else {
            let message = format!("{} is a reading, but the form `timeline` needs spans", quote(&name.value));
            errors.push(
                ManifestError::new(Code::NotOfForm, name.span.clone(), message)
                    .related(form.span.clone(), "here")
                    .help(help),
            );
            return;
        };
        if let Some((last, end)) = before.filter(|(_, end)| end != from) {
            let message = format!(
                "{} begins at `{from}`, but {} before it ends at `{end}`",
                quote(&name.value),
                quote(&last.value)
            );
            errors.push(
                ManifestError::new(Code::NotOfForm, name.span.clone(), message)
                    .related(form.span.clone(), "a timeline has no gaps")
                    .help(help),
            );
            return;
        }
        before = Some((name, to));
    }
}
