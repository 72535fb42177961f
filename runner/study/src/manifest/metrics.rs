//! Metrics and their sources, and the workloads of those that need one.

use microbench_formats::axis::Level;
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::describe::capitalised;
use microbench_formats::direction::Better;
use microbench_formats::event::{self, reading};
use microbench_formats::metric::{Metric, MetricSource};
use microbench_formats::workload::{Workload, WorkloadKind};

use super::choice::names;
use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{list_valid, nearest, quote, suggest};
use super::protocol::Preset;
use super::raw;
use super::read::At;
use super::renamed;
use super::workloads::{self, DURATION, WorkloadSpec, workload_definition};

/// A metric that a manifest uses by its name only, as in `kernel_boot_time = {}`.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    pub name: &'static str,
    /// Name on axes and in tables.
    pub label: &'static str,
    source: Source,
}

impl BuiltIn {
    /// What it measures, one sentence. A protocol may have another definition.
    #[must_use]
    pub fn definition(&self) -> String {
        match self.source {
            Source::Span(from, to) => resolve_span(from, to).2,
            Source::Reading(name) => resolve_reading(name, &[]).map(|resolved| resolved.2).unwrap_or_default(),
            Source::Work(kind, bytes, rounds) => {
                workload_definition(&workloads::with_defaults(self.name, kind, bytes, rounds), DURATION)
            }
        }
    }
}

/// The source of a built-in metric: events of a span, a reading, or a workload (kind, bytes, rounds).
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Span(&'static str, &'static str),
    Reading(&'static str),
    Work(WorkloadKind, u64, u32),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Span(from, to) => write!(f, "from {from} to {to}"),
            Self::Reading(name) => write!(f, "reading {name}"),
            Self::Work(kind, bytes, rounds) => {
                write!(f, "{} of {bytes} bytes, {rounds} times", WorkloadSpec::for_kind(*kind).name())
            }
        }
    }
}

/// All built-in metrics. These are the four of the 2019 study, counts of kernel messages and system calls, the phases
/// of `webservice_startup_time`, and resources that a VM uses on the host.
///
/// Each phase ends at the event that begins the next, so that the phases add up.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn { name: "kernel_boot_time", label: "Kernel boot", source: Source::Reading(reading::KERNEL_INIT) },
    BuiltIn {
        name: "webservice_startup_time",
        label: "Web service start-up",
        source: Source::Span(event::SPAWN, event::HTTP_OK),
    },
    BuiltIn { name: "hashing_time", label: "Hashing", source: Source::Work(WorkloadKind::Sha256, 1_000_000, 100) },
    BuiltIn { name: "shutdown_time", label: "Shutdown", source: Source::Span(event::STOP_REQUESTED, event::EXIT) },
    BuiltIn {
        name: "shutdown_poll_time",
        label: "Shutdown, polls of the keyboard controller",
        source: Source::Span(event::STOP_REQUESTED, event::GUEST_RESET_PULSE_LAST),
    },
    BuiltIn {
        name: "kernel_log_messages",
        label: "Kernel log messages",
        source: Source::Reading(reading::KERNEL_MESSAGES),
    },
    BuiltIn {
        name: "vmm_system_calls",
        label: "System calls of the VMM",
        source: Source::Reading(reading::VMM_SYSTEM_CALLS),
    },
    BuiltIn { name: "phase_spawn", label: "Spawn", source: Source::Span(event::SPAWN, event::VMM_EXEC) },
    BuiltIn {
        name: "phase_vmm",
        label: "VMM, firmware, loading",
        source: Source::Span(event::VMM_EXEC, event::KERNEL_BEGIN),
    },
    BuiltIn {
        name: "phase_kernel",
        label: "Guest kernel",
        source: Source::Span(event::KERNEL_BEGIN, event::INIT_BEGIN),
    },
    BuiltIn {
        name: "phase_init",
        label: "Guest init",
        source: Source::Span(event::INIT_BEGIN, event::AGENT_LISTENING),
    },
    BuiltIn {
        name: "phase_agent",
        label: "First response",
        source: Source::Span(event::AGENT_LISTENING, event::HTTP_OK),
    },
    // Resources on the host.
    BuiltIn {
        name: "memory_overhead",
        label: "Memory over the guest's, PSS",
        source: Source::Reading(reading::VMM_MEMORY_OVERHEAD_PSS),
    },
    BuiltIn {
        name: "memory_overhead_rss",
        label: "Memory over the guest's, RSS",
        source: Source::Reading(reading::VMM_MEMORY_OVERHEAD_RSS),
    },
    BuiltIn {
        name: "guest_memory_touched",
        label: "Guest memory touched, RSS",
        source: Source::Reading(reading::VMM_GUEST_MEMORY_RSS),
    },
    BuiltIn { name: "vmm_memory", label: "Memory of a VM, PSS", source: Source::Reading(reading::VMM_MEMORY_PSS) },
    BuiltIn { name: "vmm_peak_memory", label: "Peak memory, RSS", source: Source::Reading(reading::VMM_PEAK_RSS) },
    BuiltIn {
        name: "host_memory_used",
        label: "Host memory of all VMs",
        source: Source::Reading(reading::HOST_MEMORY_USED),
    },
    BuiltIn { name: "vmm_cpu_time", label: "CPU time of the VMM", source: Source::Reading(reading::VMM_CPU_TIME) },
    BuiltIn {
        name: "runner_cpu_time",
        label: "CPU time of the runner",
        source: Source::Reading(reading::RUNNER_CPU_TIME),
    },
    BuiltIn {
        name: "runner_share",
        label: "CPU time of the runner over that of the VMMs",
        source: Source::Reading(reading::RUNNER_SHARE),
    },
    BuiltIn {
        name: "page_faults",
        label: "Minor page faults of the VMM",
        source: Source::Reading(reading::VMM_MINOR_FAULTS),
    },
    BuiltIn { name: "kvm_exits", label: "KVM exits", source: Source::Reading(reading::VMM_KVM_EXITS) },
    BuiltIn {
        name: "disk_clone_time",
        label: "Disk clone",
        source: Source::Span(event::CLONE_BEGIN, event::CLONE_END),
    },
    BuiltIn { name: "tap_time", label: "Tap set-up", source: Source::Span(event::TAP_BEGIN, event::TAP_END) },
    BuiltIn {
        name: "steady_response_time",
        label: "Response while held",
        source: Source::Span(event::STEADY_END, event::STEADY_RESPONSE),
    },
    BuiltIn {
        name: "vms_completed",
        label: "Share of VMs that completed",
        source: Source::Reading(reading::VM_COMPLETED),
    },
];

/// The metrics of the manifest and their workloads, without those in error.
pub(super) fn check(
    manifest: &raw::Manifest,
    preset: &Preset,
    errors: &mut Diagnostics,
) -> (Vec<Metric>, Vec<Workload>) {
    let (mut metrics, mut workloads) = (Vec::new(), Vec::new());
    let metric_workloads: Vec<MetricWorkload<'_>> =
        manifest.metrics.iter().filter_map(|raw| metric_workload(raw, preset)).collect();
    for raw in &manifest.metrics {
        let better = raw.better.as_ref().map(|better| parse_direction(better, errors));
        let Some((source, unit, definition, workload)) = resolve(raw, preset, &metric_workloads, errors) else {
            continue;
        };
        let better = better.flatten().unwrap_or_else(|| source.better(&unit));
        workloads.extend(workload);
        metrics.push(Metric {
            name: raw.name.value.clone(),
            label: raw.label.as_ref().map_or_else(|| default_label(&raw.name.value), |label| label.value.clone()),
            definition: raw.definition.as_ref().map_or(definition, |definition| definition.value.clone()),
            unit,
            better: Some(better),
            instrument: match &source {
                MetricSource::Reading(name) => reading::instrument(name),
                MetricSource::Span { .. } => None,
            },
            gate: raw.gate,
            source,
        });
    }
    (metrics, workloads)
}

/// Reports metrics that need an instrument if no cell has concurrency 1: an instrument is attached to a single VM.
pub(super) fn check_cells(manifest: &raw::Manifest, metrics: &[Metric], cells: &[Cell], errors: &mut Diagnostics) {
    if cells.iter().any(|cell| cell.concurrency == 1) {
        return;
    }
    for metric in metrics.iter().filter(|metric| metric.instrument.is_some()) {
        let Some(raw) = manifest.metrics.iter().find(|raw| raw.name.value == metric.name) else { continue };
        let message = format!("{} is measured in trials of one VM, but no cell has concurrency 1", quote(&metric.name));
        errors.push(
            ManifestError::new(Code::NoCells, raw.name.span.clone(), message)
                .help("add 1 to the levels of `concurrency`"),
        );
    }
}

/// Reports metrics with a disk workload if the VMs of a cell share their disk.
pub(super) fn check_disks(manifest: &raw::Manifest, workloads: &[Workload], cells: &[Cell], errors: &mut Diagnostics) {
    let own = Level::Text("clone".into());
    let Some(cell) = cells.iter().find(|cell| cell.settings.get("disk") != Some(&own)) else { return };
    for workload in workloads.iter().filter(|workload| workload.disk.is_some()) {
        let Some(raw) = manifest.metrics.iter().find(|raw| raw.name.value == workload.metric) else { continue };
        let message = format!(
            "the workload of {} uses the disk, but the VMs of cell {} share their disk",
            quote(&workload.metric),
            cell.id
        );
        errors.push(
            ManifestError::new(Code::NoOwnDisk, raw.name.span.clone(), message)
                .help("set `disk = \"clone\"` in [guest]: each VM gets its own copy"),
        );
    }
}

/// The source of a built-in metric under the protocol; `None` for another name.
fn source_of(name: &str, preset: &Preset) -> Option<Source> {
    let own = preset.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.source);
    own.or_else(|| built_in(name).map(|metric| metric.source))
}

fn built_in_names() -> impl Iterator<Item = &'static str> + Clone {
    BUILT_IN.iter().map(|metric| metric.name)
}

/// True if `raw` is reported as a typo of the built-in metric `name`.
pub(super) fn is_typo_of(raw: &raw::Metric, name: &str) -> bool {
    let has_source = raw.broken || raw.from.is_some() || raw.to.is_some();
    let has_source = has_source || raw.reading.is_some() || raw.workload.is_some();
    let own = raw.name.value.as_str();
    let suggested = || renamed::new_name(own).or_else(|| nearest(own, built_in_names()).map(str::to_owned));
    !has_source && built_in(own).is_none() && suggested().as_deref() == Some(name)
}

fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|metric| metric.name == name)
}

/// A metric with a workload, and the kind of the workload; `None` for a kind in error.
type MetricWorkload<'a> = (&'a str, Option<&'static WorkloadSpec>);

fn metric_workload<'a>(raw: &'a raw::Metric, preset: &Preset) -> Option<MetricWorkload<'a>> {
    let name = raw.name.value.as_str();
    if raw.broken {
        return Some((name, None));
    }
    if let Some(workload) = &raw.workload {
        return Some((name, workload.value.kind.as_ref().and_then(|kind| WorkloadSpec::by_name(&kind.value))));
    }
    let silent = raw.from.is_none() && raw.to.is_none() && raw.reading.is_none();
    match source_of(name, preset).filter(|_| silent)? {
        Source::Work(kind, ..) => Some((name, Some(WorkloadSpec::for_kind(kind)))),
        _ => None,
    }
}

/// The readings of the metrics' workloads: name, metric and value.
fn workload_readings<'a>(
    metric_workloads: &'a [MetricWorkload<'a>],
) -> impl Iterator<Item = (String, &'a str, &'static str)> {
    metric_workloads.iter().flat_map(|(metric, kind)| {
        let values: Vec<&str> = match kind {
            Some(kind) => kind.all_values().collect(),
            None => workloads::WORKLOADS.iter().flat_map(WorkloadSpec::all_values).collect(),
        };
        values.into_iter().map(|value| (reading::workload_reading(metric, value), *metric, value))
    })
}

/// The label of a built-in metric, or one made of the key: `Boot to agent` for `boot_to_agent`.
fn default_label(name: &str) -> String {
    if let Some(metric) = built_in(name) {
        return metric.label.into();
    }
    capitalised(&name.replace(['_', '-'], " "))
}

impl BuiltIn {
    /// Unit and definition.
    #[must_use]
    pub fn measures(&self) -> (String, String) {
        let (_, unit, definition, _) = self.resolved();
        (unit, definition)
    }

    /// Whether lower or higher values are better.
    #[must_use]
    pub fn better(&self) -> Better {
        let (source, unit, ..) = self.resolved();
        source.better(&unit)
    }

    fn resolved(&self) -> Resolved {
        resolve_source(self.name, self.source, &[]).unwrap_or_else(|| resolve_span("", ""))
    }
}

/// A metric's source, unit, definition and workload.
type Resolved = (MetricSource, String, String, Option<Workload>);

fn resolve(
    raw: &raw::Metric,
    preset: &Preset,
    metric_workloads: &[MetricWorkload<'_>],
    errors: &mut Diagnostics,
) -> Option<Resolved> {
    let span = raw.name.span.clone();
    let name = quote(&raw.name.value);
    if raw.broken {
        for event in [&raw.from, &raw.to].into_iter().flatten() {
            check_event(event, errors);
        }
        let _ = raw.workload.as_ref().and_then(|workload| workloads::check(&raw.name.value, workload, errors));
        return None;
    }
    match (&raw.from, &raw.to, &raw.reading, &raw.workload) {
        (None, None, None, None) => {
            let Some(source) = source_of(&raw.name.value, preset) else {
                let message = format!("{name} is not a built-in metric, so it needs a source");
                errors.push(
                    ManifestError::new(Code::NotBuiltIn, span, message)
                        .help("a source is `from` and `to`, `reading`, or `workload`")
                        .help(suggest_name(&raw.name.value, "built-in metrics", built_in_names())),
                );
                return None;
            };
            resolve_source(&raw.name.value, source, metric_workloads)
        }
        (Some(from), Some(to), None, None) => {
            let known = [from, to].map(|event| check_event(event, errors));
            if known.contains(&false) {
                return None;
            }
            if event::rank(&from.value) >= event::rank(&to.value) {
                let message = format!("{} is not after {}", quote(&to.value), quote(&from.value));
                errors.push(
                    ManifestError::new(Code::EventOrder, to.span.clone(), message)
                        .label("the last event")
                        .related(from.span.clone(), "the first event")
                        .help(list_valid("events in their order", event::EVENTS.iter().map(|event| event.name))),
                );
                return None;
            }
            Some(resolve_span(&from.value, &to.value))
        }
        (None, None, Some(reading), None) => {
            let found = resolve_reading(&reading.value, metric_workloads);
            if found.is_none() {
                let workloads: Vec<String> = workload_readings(metric_workloads).map(|(name, ..)| name).collect();
                let valid =
                    reading::READINGS.iter().map(|reading| reading.name).chain(workloads.iter().map(String::as_str));
                let message = format!("there is no reading {}", quote(&reading.value));
                errors.push(
                    ManifestError::new(Code::UnknownReading, reading.span.clone(), message).help(suggest_name(
                        &reading.value,
                        "readings",
                        valid,
                    )),
                );
            }
            found
        }
        (None, None, None, Some(workload)) => workloads::check(&raw.name.value, workload, errors)
            .map(|(workload, value)| resolve_workload(workload, value)),
        (Some(one), None, None, None) | (None, Some(one), None, None) => {
            let missing = if raw.to.is_none() { "to" } else { "from" };
            let message = format!("metric {name} has no `{missing}`");
            errors.push(
                ManifestError::new(Code::MetricSource, span, message)
                    .related(one.span.clone(), "the only event")
                    .help("a span needs two events: `from` and `to`"),
            );
            None
        }
        _ => {
            errors.push(
                ManifestError::new(Code::MetricSource, span, format!("metric {name} has several sources"))
                    .help("keep one source: `from` and `to`, `reading`, or `workload`"),
            );
            None
        }
    }
}

fn resolve_source(metric: &str, source: Source, metric_workloads: &[MetricWorkload<'_>]) -> Option<Resolved> {
    Some(match source {
        Source::Span(from, to) => resolve_span(from, to),
        Source::Reading(name) => resolve_reading(name, metric_workloads)?,
        Source::Work(kind, bytes, rounds) => {
            resolve_workload(workloads::with_defaults(metric, kind, bytes, rounds), DURATION)
        }
    })
}

fn parse_direction(word: &At<String>, errors: &mut Diagnostics) -> Option<Better> {
    let found = word.value.parse::<Better>().ok();
    if found.is_none() {
        let message = format!("{} is not a direction of a metric", quote(&word.value));
        let help = suggest(&word.value, "directions", names::<Better>());
        errors.push(ManifestError::new(Code::NotAChoice, word.span.clone(), message).help(help));
    }
    found
}

fn check_event(name: &At<String>, errors: &mut Diagnostics) -> bool {
    if event::find(&name.value).is_some() {
        return true;
    }
    let message = format!("there is no event {}", quote(&name.value));
    let error = ManifestError::new(Code::UnknownEvent, name.span.clone(), message);
    errors.push(if reading::find(&name.value).is_some() {
        error.help(format!("it is a reading: write `reading = \"{}\"` instead of `from` and `to`", name.value))
    } else {
        error.help(suggest_name(&name.value, "events", event::EVENTS.iter().map(|event| event.name)))
    });
    false
}

/// The new name of a renamed metric, event or reading if it is valid here; else the nearest valid names.
pub(super) fn suggest_name<'a>(name: &str, nouns: &str, valid: impl Iterator<Item = &'a str> + Clone) -> String {
    match renamed::new_name(name).filter(|new| valid.clone().any(|valid| valid == new)) {
        Some(new) => format!("it was renamed to `{new}`"),
        None => suggest(name, nouns, valid),
    }
}

fn resolve_span(from: &str, to: &str) -> Resolved {
    let doc = |name: &str| event::find(name).map_or("", |event| event.doc);
    let definition =
        format!("From {} (`{from}`) to {} (`{to}`), on the monotonic clock of the host.", doc(from), doc(to));
    (MetricSource::Span { from: from.into(), to: to.into() }, "ms".into(), definition, None)
}

fn resolve_reading(name: &str, metric_workloads: &[MetricWorkload<'_>]) -> Option<Resolved> {
    let (unit, doc) = match reading::find(name) {
        Some(reading) => (reading.unit, capitalised(reading.doc)),
        None => {
            let (_, metric, value) = workload_readings(metric_workloads).find(|(known, ..)| known == name)?;
            let value = reading::find_workload_reading(value)?;
            (value.unit, format!("Of the workload of `{metric}`: {}", value.doc))
        }
    };
    Some((MetricSource::Reading(name.into()), reported_unit(unit).into(), format!("{doc} (`{name}`)."), None))
}

/// The reported unit: ms for recorded ns, MiB for recorded bytes.
fn reported_unit(unit: &str) -> &str {
    match unit {
        "ns" => "ms",
        "bytes" => "MiB",
        unit => unit,
    }
}

fn resolve_workload(workload: Workload, value: &str) -> Resolved {
    let unit = reading::find_workload_reading(value).map_or("ns", |reading| reading.unit);
    let source = MetricSource::Reading(reading::workload_reading(&workload.metric, value));
    (source, reported_unit(unit).into(), workload_definition(&workload, value), Some(workload))
}
