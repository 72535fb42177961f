//! The definition of a metric as captions, tables and reports state it.

use microbench_formats::direction::IMPORTED;
use microbench_formats::event::{self, reading};
use microbench_formats::metric::{Metric, MetricSource};

/// Definition of an imported metric for which the manifest does not have its own text.
const BY_THE_SOURCE: &str = "As defined by the source of the table.";

/// The definition of `metric`. An imported value was not measured between the events of microbench, so a generated
/// definition is replaced by a reference to the table; a definition of the manifest is kept.
pub(crate) fn definition(metric: &Metric) -> &str {
    let imported = matches!(&metric.source, MetricSource::Reading(name) if name.starts_with(IMPORTED));
    if imported && is_generated(&metric.definition) { BY_THE_SOURCE } else { &metric.definition }
}

/// Whether a definition has the form of those that microbench generates: with the name of an event or a reading in
/// parentheses, or of a number of bytes on a clock.
fn is_generated(definition: &str) -> bool {
    let mut named = definition.split("(`").skip(1).filter_map(|rest| Some(rest.split_once("`)")?.0));
    named.any(|name| event::find(name).is_some() || reading::find(name).is_some())
        || definition.starts_with("Of the workload of `")
        || (definition.contains(" bytes") && definition.ends_with("'s clock."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metric(source: &str, definition: &str) -> Metric {
        Metric {
            name: "m".into(),
            label: "M".into(),
            definition: definition.into(),
            unit: "ms".into(),
            source: MetricSource::Reading(source.into()),
            better: None,
            instrument: None,
            gate: None,
        }
    }

    #[test]
    fn imported_values_do_not_have_the_definitions_of_microbench() {
        for generated in [
            "From the instant before the fork of the VMM process (`spawn`) to the first HTTP 200 response of the \
             guest's web service (`http.ok`), on the monotonic clock of the host.",
            "Time stamp of the start of init, on the guest kernel's clock (`kernel.init`).",
            "Time that the guest takes for SHA-256 of 65536 bytes, 2 times, on the guest's clock.",
        ] {
            assert_eq!(definition(&metric("imported.m", generated)), BY_THE_SOURCE);
            assert_eq!(definition(&metric("kernel.init", generated)), generated);
        }
        let own = "Stamp of the kernel's message `random: fast init done` (`dmesg`), as published.";
        assert_eq!(definition(&metric("imported.m", own)), own);
    }
}
