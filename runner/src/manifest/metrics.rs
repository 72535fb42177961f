//! Metrics: each with exactly one source, and the work that some of them need.

use microbench_agent::HashRequest;
use microbench_plots::record::{Cell, Level, Metric, MetricSource, Workload, WorkloadKind};

use super::code::Code;
use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{list, quote, suggest};
use super::protocol::Preset;
use super::raw::{self, RawWork};
use super::read::At;
use super::size;
use crate::event::{self, reading};

/// Most bytes that one round of work may hold: what the agent takes.
const MOST_BYTES: u64 = HashRequest::MAX_BYTES;

/// A metric that needs no more than its name in the manifest, as in `kernel_boot_time = {}`.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// Key in the manifest.
    pub name: &'static str,
    /// Name for axes and tables.
    pub label: &'static str,
    source: Source,
}

impl BuiltIn {
    /// What it measures, one sentence, where no protocol has another definition.
    #[must_use]
    pub fn definition(&self) -> String {
        match self.source {
            Source::Span(from, to) => of_span(from, to).2,
            Source::Reading(name) => of_reading(name, &[]).map(|resolved| resolved.2).unwrap_or_default(),
            Source::Work(kind, bytes, rounds) => {
                work_definition(&Workload { metric: self.name.into(), kind, bytes, rounds })
            }
        }
    }
}

/// Where a built-in metric's value comes from.
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
                let word = WORKLOADS.iter().find(|(_, known)| known == kind).map_or("", |(word, _)| word);
                write!(f, "{word} of {bytes} bytes, {rounds} times")
            }
        }
    }
}

/// Kinds of work with their names in a manifest.
pub(super) const WORKLOADS: &[(&str, WorkloadKind)] = &[("sha256", WorkloadKind::Sha256), ("copy", WorkloadKind::Copy)];

/// Every built-in metric: the four of the 2019 study, what a kernel says while it boots, what its VMM asks the host, the phases
/// of `webservice_startup_time`, each of which ends where the next one begins, and what a VM takes of the host.
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
        label: "First answer",
        source: Source::Span(event::AGENT_LISTENING, event::HTTP_OK),
    },
    // What a VM takes of the host.
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
        name: "steady_answer_time",
        label: "Answer while steady",
        source: Source::Span(event::STEADY_END, event::STEADY_ANSWERED),
    },
    BuiltIn {
        name: "vms_completed",
        label: "Share of VMs that completed",
        source: Source::Reading(reading::VM_COMPLETED),
    },
];

/// The manifest's metrics, and the work for the guests; those in error are left out.
pub(super) fn check(
    manifest: &raw::Manifest,
    preset: &Preset,
    errors: &mut Diagnostics,
) -> (Vec<Metric>, Vec<Workload>) {
    let (mut metrics, mut works) = (Vec::new(), Vec::new());
    let workers: Vec<&str> =
        manifest.metrics.iter().filter(|raw| needs_work(raw, preset)).map(|raw| raw.name.value.as_str()).collect();
    for raw in &manifest.metrics {
        let Some((source, unit, definition, work)) = resolve(raw, preset, &workers, errors) else { continue };
        works.extend(work);
        metrics.push(Metric {
            name: raw.name.value.clone(),
            label: raw.label.as_ref().map_or_else(|| label(&raw.name.value), |label| label.value.clone()),
            definition: raw.definition.as_ref().map_or(definition, |definition| definition.value.clone()),
            unit,
            instrument: match &source {
                MetricSource::Reading(name) => reading::instrument(name),
                MetricSource::Span { .. } => None,
            },
            source,
        });
    }
    (metrics, works)
}

/// Reports metrics that need an instrument when no cell can have it: it is attached to one VM alone.
pub(super) fn check_cells(manifest: &raw::Manifest, metrics: &[Metric], cells: &[Cell], errors: &mut Diagnostics) {
    if cells.iter().any(|cell| cell.concurrency == 1) {
        return;
    }
    for (metric, raw) in metrics.iter().zip(&manifest.metrics).filter(|(metric, _)| metric.instrument.is_some()) {
        let message = format!("{} is taken from trials of one VM, but no cell has concurrency 1", quote(&metric.name));
        errors.push(
            ManifestError::new(Code::NoCells, raw.name.span.clone(), message)
                .help("add 1 to the levels of `concurrency`"),
        );
    }
}

/// The source of the built-in metric of this name, as the protocol defines it.
fn source_of(name: &str, preset: &Preset) -> Option<Source> {
    let own = preset.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.source);
    own.or_else(|| built_in(name).map(|metric| metric.source))
}

fn built_in(name: &str) -> Option<&'static BuiltIn> {
    BUILT_IN.iter().find(|metric| metric.name == name)
}

fn needs_work(raw: &raw::Metric, preset: &Preset) -> bool {
    let silent = raw.from.is_none() && raw.to.is_none() && raw.reading.is_none();
    let built_in = source_of(&raw.name.value, preset).is_some_and(|source| matches!(source, Source::Work(..)));
    raw.work.is_some() || raw.broken || silent && built_in
}

/// `boot_to_agent` is shown as `Boot to agent`.
fn label(name: &str) -> String {
    if let Some(metric) = built_in(name) {
        return metric.label.into();
    }
    let words = name.replace(['_', '-'], " ");
    let mut chars = words.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

impl BuiltIn {
    /// The unit of its values, and the sentence that says what it measures.
    #[must_use]
    pub fn measures(&self) -> (String, String) {
        let (_, unit, definition, _) = of_source(self.name, self.source, &[]).unwrap_or_else(|| of_span("", ""));
        (unit, definition)
    }
}

type Resolved = (MetricSource, String, String, Option<Workload>);

fn resolve(raw: &raw::Metric, preset: &Preset, workers: &[&str], errors: &mut Diagnostics) -> Option<Resolved> {
    let span = raw.name.span.clone();
    let name = quote(&raw.name.value);
    if raw.broken {
        for event in [&raw.from, &raw.to].into_iter().flatten() {
            known_event(event, errors);
        }
        let _ = raw.work.as_ref().and_then(|work| of_raw_work(&raw.name.value, work, errors));
        return None;
    }
    match (&raw.from, &raw.to, &raw.reading, &raw.work) {
        (None, None, None, None) => {
            let Some(source) = source_of(&raw.name.value, preset) else {
                let message = format!("{name} is not a built-in metric, so it needs a source");
                errors.push(
                    ManifestError::new(Code::NotBuiltIn, span, message)
                        .help("a source is `from` and `to`, `reading`, or `work`")
                        .help(suggest(&raw.name.value, "built-in metrics", BUILT_IN.iter().map(|metric| metric.name))),
                );
                return None;
            };
            of_source(&raw.name.value, source, workers)
        }
        (Some(from), Some(to), None, None) => {
            let known = [from, to].map(|event| known_event(event, errors));
            if known.contains(&false) {
                return None;
            }
            if event::rank(&from.value) >= event::rank(&to.value) {
                let message = format!("{} does not come after {}", quote(&to.value), quote(&from.value));
                errors.push(
                    ManifestError::new(Code::EventOrder, to.span.clone(), message)
                        .label("the last event")
                        .related(from.span.clone(), "the first event")
                        .help(list("events in their order", event::EVENTS.iter().map(|event| event.name))),
                );
                return None;
            }
            Some(of_span(&from.value, &to.value))
        }
        (None, None, Some(reading), None) => {
            let found = of_reading(&reading.value, workers);
            if found.is_none() {
                let works: Vec<_> = workers.iter().map(|metric| reading::work_duration(metric)).collect();
                let valid =
                    reading::READINGS.iter().map(|reading| reading.name).chain(works.iter().map(String::as_str));
                let message = format!("there is no reading {}", quote(&reading.value));
                errors.push(ManifestError::new(Code::UnknownReading, reading.span.clone(), message).help(suggest(
                    &reading.value,
                    "readings",
                    valid,
                )));
            }
            found
        }
        (None, None, None, Some(work)) => of_raw_work(&raw.name.value, work, errors).map(of_work),
        (Some(one), None, None, None) | (None, Some(one), None, None) => {
            let missing = if raw.to.is_none() { "to" } else { "from" };
            let message = format!("metric {name} has no `{missing}`");
            errors.push(
                ManifestError::new(Code::MetricSource, span, message)
                    .related(one.span.clone(), "one of two events")
                    .help("a span is between two events: `from` and `to`"),
            );
            None
        }
        _ => {
            errors.push(
                ManifestError::new(Code::MetricSource, span, format!("metric {name} has several sources"))
                    .help("keep one of: `from` and `to`, `reading`, `work`"),
            );
            None
        }
    }
}

fn of_source(metric: &str, source: Source, workers: &[&str]) -> Option<Resolved> {
    Some(match source {
        Source::Span(from, to) => of_span(from, to),
        Source::Reading(name) => of_reading(name, workers)?,
        Source::Work(kind, bytes, rounds) => of_work(Workload { metric: metric.into(), kind, bytes, rounds }),
    })
}

fn known_event(name: &At<String>, errors: &mut Diagnostics) -> bool {
    if event::find(&name.value).is_some() {
        return true;
    }
    let message = format!("there is no event {}", quote(&name.value));
    let error = ManifestError::new(Code::UnknownEvent, name.span.clone(), message);
    errors.push(if reading::find(&name.value).is_some() {
        error.help(format!("it is a reading: write `reading = \"{}\"` instead of `from` and `to`", name.value))
    } else {
        error.help(suggest(&name.value, "events", event::EVENTS.iter().map(|event| event.name)))
    });
    false
}

fn of_span(from: &str, to: &str) -> Resolved {
    let doc = |name: &str| event::find(name).map_or("", |event| event.doc);
    let definition =
        format!("From {} (`{from}`) to {} (`{to}`), on the monotonic clock of the host.", doc(from), doc(to));
    (MetricSource::Span { from: from.into(), to: to.into() }, "ms".into(), definition, None)
}

fn of_reading(name: &str, workers: &[&str]) -> Option<Resolved> {
    let (unit, doc) = match reading::find(name) {
        Some(reading) => (reading.unit, sentence(reading.doc)),
        None => {
            let metric = workers.iter().find(|metric| reading::work_duration(metric) == name)?;
            ("ns", format!("Duration of the work of `{metric}`, on the guest's clock"))
        }
    };
    // Durations are recorded in ns and reported in ms, sizes in bytes and MiB.
    let unit = match unit {
        "ns" => "ms",
        "bytes" => "MiB",
        unit => unit,
    };
    Some((MetricSource::Reading(name.into()), unit.into(), format!("{doc} (`{name}`)."), None))
}

fn sentence(doc: &str) -> String {
    let mut chars = doc.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn of_work(work: Workload) -> Resolved {
    let name = reading::work_duration(&work.metric);
    (MetricSource::Reading(name), "ms".into(), work_definition(&work), Some(work))
}

/// The sentence that says what a metric of work measures.
#[must_use]
pub fn work_definition(work: &Workload) -> String {
    let what = match work.kind {
        WorkloadKind::Sha256 => "SHA-256",
        WorkloadKind::Copy => "one allocation and copy",
    };
    let rounds = if work.rounds == 1 { "once".into() } else { format!("{} times", work.rounds) };
    format!("Time that the guest takes for {what} of {} bytes, {rounds}, on the guest's clock.", work.bytes)
}

fn of_raw_work(metric: &str, raw: &At<RawWork>, errors: &mut Diagnostics) -> Option<Workload> {
    let RawWork { kind, bytes, rounds } = &raw.value;
    let kind = kind.as_ref().and_then(|kind| {
        let found = WORKLOADS.iter().find(|(name, _)| *name == kind.value).map(|(_, kind)| *kind);
        if found.is_none() {
            let message = format!("there is no work of kind {}", quote(&kind.value));
            let help = suggest(&kind.value, "kinds of work", WORKLOADS.iter().map(|(name, _)| *name));
            errors.push(ManifestError::new(Code::NotAChoice, kind.span.clone(), message).help(help));
        }
        found
    });
    let bytes = bytes.as_ref().and_then(|bytes| of_bytes(bytes, errors));
    let rounds = rounds.as_ref().and_then(|rounds| u32::try_from(rounds.value).ok());
    Some(Workload { metric: metric.into(), kind: kind?, bytes: bytes?, rounds: rounds? })
}

fn of_bytes(bytes: &At<Level>, errors: &mut Diagnostics) -> Option<u64> {
    let value = match &bytes.value {
        Level::Int(value) => u64::try_from(*value).ok(),
        Level::Text(text) => {
            let Some(value) = size::parse(text) else {
                let message = format!("{} is not a size in bytes", quote(text));
                errors.push(ManifestError::new(Code::BadSize, bytes.span.clone(), message).help(size::FORM));
                return None;
            };
            Some(value)
        }
        Level::Bool(_) | Level::Float(_) => {
            let message = "`bytes` is a size in bytes, but this is neither a string nor an integer";
            errors.push(ManifestError::new(Code::WrongType, bytes.span.clone(), message).help(size::FORM));
            return None;
        }
    };
    let value = value.filter(|value| (1..=MOST_BYTES).contains(value));
    if value.is_none() {
        let message = format!("`bytes` must be between 1 and {MOST_BYTES} (256 MiB)");
        errors.push(ManifestError::new(Code::OutOfRange, bytes.span.clone(), message));
    }
    value
}
