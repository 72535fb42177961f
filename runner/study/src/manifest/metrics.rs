//! Metrics: each with exactly one source, and the work that some of them need.

use microbench_formats::axis::Level;
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::direction::Better;
use microbench_formats::event::{self, reading};
use microbench_formats::metric::{Metric, MetricSource};
use microbench_formats::workload::{Workload, WorkloadKind};

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{list, quote, suggest};
use super::protocol::Preset;
use super::raw;
use super::read::At;
use super::word::names;
use super::works::{self, DURATION, WorkSpec, work_definition};

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
                work_definition(&works::plain(self.name, kind, bytes, rounds), DURATION)
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
                write!(f, "{} of {bytes} bytes, {rounds} times", WorkSpec::of(*kind).name())
            }
        }
    }
}

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
        source: Source::Span(event::STEADY_END, event::STEADY_RESPONSE),
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
    let workers: Vec<Worker<'_>> = manifest.metrics.iter().filter_map(|raw| worker(raw, preset)).collect();
    for raw in &manifest.metrics {
        let better = raw.better.as_ref().map(|better| known_direction(better, errors));
        let Some((source, unit, definition, work)) = resolve(raw, preset, &workers, errors) else { continue };
        let better = better.flatten().unwrap_or_else(|| source.better(&unit));
        works.extend(work);
        metrics.push(Metric {
            name: raw.name.value.clone(),
            label: raw.label.as_ref().map_or_else(|| label(&raw.name.value), |label| label.value.clone()),
            definition: raw.definition.as_ref().map_or(definition, |definition| definition.value.clone()),
            unit,
            better: Some(better),
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

/// Reports metrics of work on the disk when a cell's VMs have none of their own.
pub(super) fn check_disks(manifest: &raw::Manifest, works: &[Workload], cells: &[Cell], errors: &mut Diagnostics) {
    let own = Level::Text("clone".into());
    let Some(cell) = cells.iter().find(|cell| cell.settings.get("disk") != Some(&own)) else { return };
    for work in works.iter().filter(|work| work.disk.is_some()) {
        let Some(raw) = manifest.metrics.iter().find(|raw| raw.name.value == work.metric) else { continue };
        let message = format!(
            "the workload of {} is on the disk, but the VMs of cell {} share theirs",
            quote(&work.metric),
            cell.id
        );
        errors.push(
            ManifestError::new(Code::NoOwnDisk, raw.name.span.clone(), message)
                .help("give each VM a copy of its own: `disk = \"clone\"` in [guest]"),
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

/// A metric that has work, and the kind of it; `None` where an error is reported.
type Worker<'a> = (&'a str, Option<&'static WorkSpec>);

fn worker<'a>(raw: &'a raw::Metric, preset: &Preset) -> Option<Worker<'a>> {
    let name = raw.name.value.as_str();
    if raw.broken {
        return Some((name, None));
    }
    if let Some(work) = &raw.workload {
        return Some((name, work.value.kind.as_ref().and_then(|kind| WorkSpec::named(&kind.value))));
    }
    let silent = raw.from.is_none() && raw.to.is_none() && raw.reading.is_none();
    match source_of(name, preset).filter(|_| silent)? {
        Source::Work(kind, ..) => Some((name, Some(WorkSpec::of(kind)))),
        _ => None,
    }
}

/// The readings that the metrics' work has: each with its metric and value.
fn of_workers<'a>(workers: &'a [Worker<'a>]) -> impl Iterator<Item = (String, &'a str, &'static str)> {
    workers.iter().flat_map(|(metric, kind)| {
        let values: Vec<&str> = match kind {
            Some(kind) => kind.all_values().collect(),
            None => works::WORKS.iter().flat_map(WorkSpec::all_values).collect(),
        };
        values.into_iter().map(|value| (reading::workload_reading(metric, value), *metric, value))
    })
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
        let (_, unit, definition, _) = self.resolved();
        (unit, definition)
    }

    /// The better direction of its values.
    #[must_use]
    pub fn better(&self) -> Better {
        let (source, unit, ..) = self.resolved();
        source.better(&unit)
    }

    fn resolved(&self) -> Resolved {
        of_source(self.name, self.source, &[]).unwrap_or_else(|| of_span("", ""))
    }
}

type Resolved = (MetricSource, String, String, Option<Workload>);

fn resolve(raw: &raw::Metric, preset: &Preset, workers: &[Worker<'_>], errors: &mut Diagnostics) -> Option<Resolved> {
    let span = raw.name.span.clone();
    let name = quote(&raw.name.value);
    if raw.broken {
        for event in [&raw.from, &raw.to].into_iter().flatten() {
            known_event(event, errors);
        }
        let _ = raw.workload.as_ref().and_then(|work| works::check(&raw.name.value, work, errors));
        return None;
    }
    match (&raw.from, &raw.to, &raw.reading, &raw.workload) {
        (None, None, None, None) => {
            let Some(source) = source_of(&raw.name.value, preset) else {
                let message = format!("{name} is not a built-in metric, so it needs a source");
                errors.push(
                    ManifestError::new(Code::NotBuiltIn, span, message)
                        .help("a source is `from` and `to`, `reading`, or `workload`")
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
                let works: Vec<String> = of_workers(workers).map(|(name, ..)| name).collect();
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
        (None, None, None, Some(work)) => {
            works::check(&raw.name.value, work, errors).map(|(work, value)| of_work(work, value))
        }
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
                    .help("keep one of: `from` and `to`, `reading`, `workload`"),
            );
            None
        }
    }
}

fn of_source(metric: &str, source: Source, workers: &[Worker<'_>]) -> Option<Resolved> {
    Some(match source {
        Source::Span(from, to) => of_span(from, to),
        Source::Reading(name) => of_reading(name, workers)?,
        Source::Work(kind, bytes, rounds) => of_work(works::plain(metric, kind, bytes, rounds), DURATION),
    })
}

fn known_direction(word: &At<String>, errors: &mut Diagnostics) -> Option<Better> {
    let found = word.value.parse::<Better>().ok();
    if found.is_none() {
        let message = format!("{} is not a direction of a metric", quote(&word.value));
        let help = suggest(&word.value, "directions", names::<Better>());
        errors.push(ManifestError::new(Code::NotAChoice, word.span.clone(), message).help(help));
    }
    found
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

fn of_reading(name: &str, workers: &[Worker<'_>]) -> Option<Resolved> {
    let (unit, doc) = match reading::find(name) {
        Some(reading) => (reading.unit, sentence(reading.doc)),
        None => {
            let (_, metric, value) = of_workers(workers).find(|(known, ..)| known == name)?;
            let value = reading::find_workload_reading(value)?;
            (value.unit, format!("Of the work of `{metric}`: {}", value.doc))
        }
    };
    Some((MetricSource::Reading(name.into()), reported(unit).into(), format!("{doc} (`{name}`)."), None))
}

/// Durations are recorded in ns and reported in ms, sizes in bytes and MiB.
fn reported(unit: &str) -> &str {
    match unit {
        "ns" => "ms",
        "bytes" => "MiB",
        unit => unit,
    }
}

pub(super) fn sentence(doc: &str) -> String {
    let mut chars = doc.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn of_work(work: Workload, value: &str) -> Resolved {
    let unit = reading::find_workload_reading(value).map_or("ns", |reading| reading.unit);
    let source = MetricSource::Reading(reading::workload_reading(&work.metric, value));
    (source, reported(unit).into(), work_definition(&work, value), Some(work))
}
