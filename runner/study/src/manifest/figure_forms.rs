//! What the forms of figures other than bars ask for: an axis of numbers, spans that follow one another; and which keys each refuses.

use std::ops::Range;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::code::Code;
use microbench_formats::figure::FigureForm;
use microbench_formats::metric::{Metric, MetricSource};

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::quote;
use super::raw;
use super::read::At;

/// Reports what does not go with the form. Without `axes` (they are in error) their levels are not looked at; `metrics` are those that
/// are not in error.
pub(super) fn check(
    raw: &raw::Figure,
    form: Option<FigureForm>,
    axes: Option<&[Axis]>,
    metrics: &[Metric],
    errors: &mut Diagnostics,
) {
    let (Some(form), Some(word)) = (form, &raw.form) else { return };
    let mut keys = Keys { form: word, errors };
    scales(raw, form, &mut keys);
    match form {
        FigureForm::Line | FigureForm::Scaling => {
            keys.deny_bars(raw, "name the axis of numbers by `x`, and that of the lines by `groups`");
            keys.deny_reference(raw);
            numbers(raw, axes, word, errors);
        }
        FigureForm::Violin => keys.deny_reference(raw),
        FigureForm::Timeline => {
            keys.deny_reference(raw);
            keys.deny("y_label", raw.y_label.as_ref(), "its rows say what they are: take the key away");
            let quantile = raw.statistic.as_ref().filter(|statistic| !["median", "mean"].contains(&&*statistic.value));
            keys.deny("statistic", quantile, "take \"median\" or \"mean\"");
            follow(raw, metrics, word, errors);
        }
        FigureForm::HeatMap => {
            keys.deny_bars(raw, "name the axis of the columns by `x`, and that of the rows by `groups`");
            keys.deny_reference(raw);
            keys.deny("panels", raw.panels.as_ref(), "make a figure for each level, with `where`");
            keys.deny("y_label", raw.y_label.as_ref(), "its axes are named by themselves: take the key away");
            if raw.groups.is_none() {
                let message = "the form `heat-map` needs `groups`, the axis of its rows";
                errors.push(
                    ManifestError::new(Code::Missing, word.span.clone(), message)
                        .help("name an axis of the matrix, for instance `groups = \"concurrency\"`"),
                );
            }
        }
        _ => {}
    }
}

/// The keys of one figure.
struct Keys<'a> {
    form: &'a At<String>,
    errors: &'a mut Diagnostics,
}

impl Keys<'_> {
    fn deny_at(&mut self, key: &str, span: Range<usize>, help: &str) {
        let message = format!("`{key}` does not go with the form `{}`", self.form.value);
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
        self.deny("reference", reference, "published values stand beside bars, as in `form = \"bars\"`");
    }
}

/// Logarithmic axes stand where values do not begin at zero for a reason.
fn scales(raw: &raw::Figure, form: FigureForm, keys: &mut Keys<'_>) {
    let (x, y) = (raw.x_scale.as_ref(), raw.y_scale.as_ref());
    match form {
        FigureForm::Line | FigureForm::Scaling => {}
        FigureForm::Ecdf => keys.deny("y_scale", y, "its values are along x: take `x_scale`"),
        FigureForm::Box | FigureForm::Violin | FigureForm::Strip => {
            keys.deny("x_scale", x, "its values are along y: take `y_scale`");
        }
        FigureForm::Bars | FigureForm::GroupedBars | FigureForm::OverlaidBars | FigureForm::StackedBars => {
            keys.deny("x_scale", x, "its bars stand side by side: take the key away");
            let help = "bars start at zero, which a logarithmic axis does not have: take `form = \"strip\"`, \"box\" or \"violin\"";
            keys.deny("y_scale", y, help);
        }
        FigureForm::Timeline => {
            keys.deny("x_scale", x, "its segments start at zero, which a logarithmic axis does not have");
            keys.deny("y_scale", y, "its rows stand one below the other: take the key away");
        }
        FigureForm::HeatMap | FigureForm::Setup => {
            keys.deny("x_scale", x, "it has no axis of numbers: take the key away");
            keys.deny("y_scale", y, "it has no axis of numbers: take the key away");
        }
    }
}

/// A line needs an axis of numbers along x, above zero for a logarithmic one.
fn numbers(raw: &raw::Figure, axes: Option<&[Axis]>, form: &At<String>, errors: &mut Diagnostics) {
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
        let message =
            format!("axis {} is not one of numbers: it has the level {}", quote(&x.value), quote(&level.to_string()));
        errors.push(
            ManifestError::new(Code::NotOfForm, x.span.clone(), message)
                .related(form.span.clone(), "the form needs one")
                .help("take an axis such as `concurrency` or `memory_mib`, and this one for `groups` or `panels`"),
        );
    } else if let Some(scale) = raw.x_scale.as_ref().filter(|scale| scale.value == "log")
        && let Some(level) = axis.levels.iter().find(|level| number(level).is_some_and(|value| value <= 0.0))
    {
        let message = format!("a logarithmic axis has no place for the level {level} of {}", quote(&x.value));
        errors.push(
            ManifestError::new(Code::NotOfForm, scale.span.clone(), message)
                .help("take `x_scale = \"linear\"`, or leave the level out with an axis of positive ones"),
        );
    }
}

/// A timeline's metrics are spans, each from where the one before it ends.
fn follow(raw: &raw::Figure, metrics: &[Metric], form: &At<String>, errors: &mut Diagnostics) {
    let help = "list spans in their order without a gap, for instance `metrics = [\"phase_spawn\", \"phase_vmm\", \"phase_kernel\", \
                \"phase_init\", \"phase_agent\"]`";
    let mut before: Option<(&At<String>, &str)> = None;
    for name in &raw.metrics {
        let Some(metric) = metrics.iter().find(|metric| metric.name == name.value) else { return };
        let MetricSource::Span { from, to } = &metric.source else {
            let message =
                format!("{} is a reading and no span of time, which the form `timeline` needs", quote(&name.value));
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
