//! The stopping rule (`precision` of `[matrix]`) and the family of tests (`family` of `[study]`).

use microbench_formats::code::Code;
use microbench_formats::metric::Metric;
use microbench_formats::precision::Precision;

use super::diagnostic::{Diagnostics, ManifestError};
use super::figures::{check_metric, parse_statistic};
use super::nearest::quote;
use super::raw;

/// The stopping rule. `None` without one, or after an error.
pub(super) fn check(manifest: &raw::Manifest, metrics: &[Metric], errors: &mut Diagnostics) -> Option<Precision> {
    let raw = manifest.matrix.precision.as_ref()?;
    let statistic = parse_statistic(raw.statistic.as_ref(), microbench_formats::statistic::Statistic::Median, errors);
    let (metric, relative) = (raw.metric.as_ref()?, raw.relative.as_ref()?);
    let known = check_metric(metric, manifest, errors);
    let instrument = metrics.iter().find(|own| own.name == metric.value).and_then(|own| own.instrument);
    if instrument.is_some() {
        let message =
            format!("{} is measured in separate trials, which the stopping rule does not count", quote(&metric.value));
        errors.push(ManifestError::new(Code::Conflict, metric.span.clone(), message).help("use a timed metric"));
    }
    if !(relative.value > 0.0 && relative.value < 1.0) {
        let message = format!("`relative` is {}, but it must be above 0 and below 1", relative.value);
        errors.push(
            ManifestError::new(Code::OutOfRange, relative.span.clone(), message)
                .help("the half width of the interval over the statistic, for instance `relative = 0.02` for 2 %"),
        );
    }
    if raw.n_max < raw.n_min {
        let message = format!("`n_max` is {}, which is less than `n_min`, {}", raw.n_max, raw.n_min);
        errors.push(
            ManifestError::new(Code::OutOfRange, raw.span.clone(), message).help("`n_max` must be at least `n_min`"),
        );
    }
    let number = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    known.then_some(Precision {
        metric: metric.value.clone(),
        statistic: statistic?,
        relative: relative.value,
        n_min: number(raw.n_min),
        every: number(raw.every),
        n_max: number(raw.n_max),
    })
}

/// The metrics whose comparisons form one family of tests; empty for all metrics.
pub(super) fn family(manifest: &raw::Manifest, errors: &mut Diagnostics) -> Vec<String> {
    let known = manifest.study.family.iter().filter(|name| check_metric(name, manifest, errors));
    known.map(|name| name.value.clone()).collect()
}
