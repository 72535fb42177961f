//! Kinds of workloads of guests: their table, and the check of a manifest's `workload`.

use microbench_agent::workload::{BLOCKS, MOST_BYTES, MOST_OPERATIONS, MOST_ROUNDS, PAGE_BYTES, WORD_BYTES};
use microbench_agent::{INDEX_BLOCK_BYTES, INDEX_BLOCKS};
use microbench_formats::axis::Level;
use microbench_formats::code::Code;
use microbench_formats::describe::capitalised;
use microbench_formats::workload::{DiskAccess, Workload, WorkloadKind};

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{count, list_valid, quote, suggest};
use super::raw::RawWorkload;
use super::read::At;
use super::size;

/// A kind of workload.
#[derive(Clone, Copy, Debug)]
pub struct WorkloadSpec {
    pub kind: WorkloadKind,
    /// What the guest does in one round: a phrase that the number of bytes follows.
    pub doc: &'static str,
    /// Singular and plural of an operation; empty for a kind without operations.
    pub operation: (&'static str, &'static str),
    /// Values in addition to `duration` and `throughput`.
    pub values: &'static [&'static str],
    /// Keys in addition to those of every kind.
    pub keys: &'static [&'static str],
    /// The clock: `guest`, or `host` for workloads that the host times.
    pub clock: &'static str,
    /// `bytes` must be a multiple of this, and for a disk workload also of `block`.
    granule: u64,
    /// Maximum number of bytes of a round.
    most_bytes: u64,
}

/// Default of `value`.
pub const DURATION: &str = "duration";

/// Values of every kind.
const COMMON_VALUES: &[&str] = &[DURATION, "throughput"];
/// Keys of disk workloads.
const DISK_KEYS: &[&str] = &["block", "direct", "order"];
/// Values of `order`.
pub(super) const ORDERS: &[&str] = &["sequential", "random"];
/// Default of `block`, in bytes.
const DEFAULT_BLOCK: u64 = 4096;

const fn buffer_workload(kind: WorkloadKind, doc: &'static str, granule: u64) -> WorkloadSpec {
    let (operation, values, keys): (_, &[&str], &[&str]) = (("", ""), &[], &[]);
    WorkloadSpec { kind, doc, operation, values, keys, clock: "guest", granule, most_bytes: MOST_BYTES }
}

const fn disk_workload(kind: WorkloadKind, doc: &'static str) -> WorkloadSpec {
    let operation = ("block", "blocks");
    WorkloadSpec { operation, values: &["rate", "p50", "p99"], keys: DISK_KEYS, ..buffer_workload(kind, doc, BLOCKS.0) }
}

/// All kinds of workloads.
pub const WORKLOADS: &[WorkloadSpec] = &[
    buffer_workload(WorkloadKind::Sha256, "SHA-256 of", 1),
    buffer_workload(WorkloadKind::Copy, "one allocation and copy of", 1),
    buffer_workload(WorkloadKind::MemoryRead, "adding up every word of a buffer of", WORD_BYTES),
    buffer_workload(WorkloadKind::MemoryWrite, "writing every word of a buffer of", WORD_BYTES),
    buffer_workload(WorkloadKind::MemoryCopy, "copying a buffer to another buffer of", WORD_BYTES),
    WorkloadSpec {
        operation: ("page", "pages"),
        values: &["rate"],
        ..buffer_workload(
            WorkloadKind::PageTouch,
            "the first touch of each page of fresh anonymous memory of",
            PAGE_BYTES,
        )
    },
    disk_workload(WorkloadKind::DiskRead, "reading from its disk"),
    disk_workload(WorkloadKind::DiskWrite, "writing to its disk, with fdatasync,"),
    WorkloadSpec {
        operation: ("request", "requests"),
        values: &["rate", "p50", "p99"],
        keys: &["connections"],
        clock: "host",
        most_bytes: (INDEX_BLOCKS * INDEX_BLOCK_BYTES) as u64,
        ..buffer_workload(WorkloadKind::Http, "a GET of a static file of", 1)
    },
    WorkloadSpec { clock: "host", ..buffer_workload(WorkloadKind::TcpSend, "sending over one TCP connection", 1) },
    WorkloadSpec { clock: "host", ..buffer_workload(WorkloadKind::TcpReceive, "receiving over one TCP connection", 1) },
];

impl WorkloadSpec {
    /// The value of `kind` in a manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind.into()
    }

    /// The table's entry of a kind.
    #[must_use]
    pub fn for_kind(kind: WorkloadKind) -> &'static Self {
        WORKLOADS.iter().find(|spec| spec.kind == kind).unwrap_or(&WORKLOADS[0])
    }

    /// The table's entry of a name; `None` for an unknown name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        WORKLOADS.iter().find(|spec| spec.name() == name)
    }

    /// The limits of `bytes` as a phrase.
    #[must_use]
    pub fn size_limits(&self) -> String {
        let most = format_bytes(self.most_bytes);
        match (self.on_disk(), self.granule) {
            (true, _) => format!("a multiple of `block`, at most {most}"),
            (false, 1) => format!("at most {most}"),
            (false, granule) => format!("a multiple of {granule}, at most {most}"),
        }
    }

    /// All values of the kind. Each is a reading `workload.METRIC.VALUE`.
    pub fn all_values(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        COMMON_VALUES.iter().chain(self.values).copied()
    }

    /// True for disk workloads.
    #[must_use]
    pub fn on_disk(&self) -> bool {
        self.keys == DISK_KEYS
    }
}

/// A workload with defaults for everything else.
pub(super) fn with_defaults(metric: &str, kind: WorkloadKind, bytes: u64, rounds: u32) -> Workload {
    Workload { metric: metric.into(), kind, bytes, rounds, warmup: 0, disk: None, connections: None }
}

/// The definition of a workload's value, one sentence.
#[must_use]
pub fn workload_definition(workload: &Workload, value: &str) -> String {
    let spec = WorkloadSpec::for_kind(workload.kind);
    let (one, several) = spec.operation;
    let subject = match value {
        "throughput" => "Bytes a second (1 MB is 1,000,000) of".into(),
        "rate" => format!("{several} a second of"),
        "p50" => format!("Median time of one {one} of"),
        "p99" => format!("99th percentile of the time of one {one} of"),
        _ => "Time that the guest takes for".into(),
    };
    let subject = capitalised(&subject);
    let mut definition = format!("{} {} bytes", spec.doc, workload.bytes);
    if let Some(DiskAccess { block, direct, random }) = workload.disk {
        let order = if random { "in random order" } else { "one after the other" };
        let cache = if direct { "past" } else { "through" };
        definition = format!(
            "{} {} bytes in blocks of {block} bytes, {order}, {cache} the page cache",
            spec.doc, workload.bytes
        );
    }
    if let Some(connections) = workload.connections {
        let plural = if connections == 1 { "" } else { "s" };
        definition.push_str(&format!(" over {connections} connection{plural}"));
    }
    let times = |n: u32| if n == 1 { "once".into() } else { format!("{n} times") };
    let before =
        if workload.warmup == 0 { String::new() } else { format!(" after {} that do not count", workload.warmup) };
    format!("{subject} {definition}, {}{before}, on the {}'s clock.", times(workload.rounds), spec.clock)
}

/// The workload of `metric`, and the value that the metric reports. `None` after an error.
pub(super) fn check(metric: &str, raw: &At<RawWorkload>, errors: &mut Diagnostics) -> Option<(Workload, &'static str)> {
    let raw = &raw.value;
    let kind = raw.kind.as_ref().and_then(|kind| parse_kind(kind, errors));
    let most = kind.map_or(MOST_BYTES, |kind| kind.most_bytes);
    let bytes = raw.bytes.as_ref().and_then(|bytes| parse_bytes("bytes", bytes, most, errors));
    let block = raw.block.as_ref().map_or(Some(DEFAULT_BLOCK), |block| parse_block(block, errors));
    let random = raw.order.as_ref().map_or(Some(false), |order| parse_order(order, errors));
    let number = |given: &Option<At<i64>>| given.as_ref().and_then(|given| u32::try_from(given.value).ok());
    let kind = kind?;
    let keys = check_keys(kind, raw, errors);
    let value = raw.value.as_ref().map_or(Some(DURATION), |value| parse_value(kind, value, errors));
    let mut workload = Workload {
        warmup: number(&raw.warmup).unwrap_or(0),
        ..with_defaults(metric, kind.kind, bytes?, number(&raw.rounds)?)
    };
    if kind.on_disk() {
        let direct = raw.direct.as_ref().is_none_or(|direct| direct.value);
        workload.disk = Some(DiskAccess { block: block?, direct, random: random? });
    }
    if kind.kind == WorkloadKind::Http {
        workload.connections = Some(number(&raw.connections).unwrap_or(1));
    }
    let valid = check_limits(kind, &workload, raw, errors);
    Some((workload, value?)).filter(|_| keys && valid)
}

fn parse_kind(word: &At<String>, errors: &mut Diagnostics) -> Option<&'static WorkloadSpec> {
    let found = WorkloadSpec::by_name(&word.value);
    if found.is_none() {
        let message = format!("there is no workload of kind {}", quote(&word.value));
        let help = suggest(&word.value, "kinds of workloads", WORKLOADS.iter().map(WorkloadSpec::name));
        errors.push(ManifestError::new(Code::NotAChoice, word.span.clone(), message).help(help));
    }
    found
}

fn parse_value(kind: &WorkloadSpec, value: &At<String>, errors: &mut Diagnostics) -> Option<&'static str> {
    let found = kind.all_values().find(|known| *known == value.value);
    if found.is_none() {
        let message = format!("a workload of kind {} has no value {}", quote(kind.name()), quote(&value.value));
        let help = suggest(&value.value, "values of this workload", kind.all_values());
        errors.push(ManifestError::new(Code::NotAChoice, value.span.clone(), message).help(help));
    }
    found
}

/// True for a random order. `None` after an error.
fn parse_order(order: &At<String>, errors: &mut Diagnostics) -> Option<bool> {
    if !ORDERS.contains(&order.value.as_str()) {
        let message = format!("there is no order {}", quote(&order.value));
        let help = suggest(&order.value, "orders", ORDERS.iter().copied());
        errors.push(ManifestError::new(Code::NotAChoice, order.span.clone(), message).help(help));
        return None;
    }
    Some(order.value == "random")
}

fn parse_block(block: &At<Level>, errors: &mut Diagnostics) -> Option<u64> {
    let bytes = parse_bytes("block", block, BLOCKS.1, errors)?;
    if !bytes.is_power_of_two() || bytes < BLOCKS.0 {
        let message = format!("`block` must be a power of two between {} and {}", BLOCKS.0, BLOCKS.1);
        errors.push(ManifestError::new(Code::OutOfRange, block.span.clone(), message));
        return None;
    }
    Some(bytes)
}

/// Reports keys that the kind does not have. True without an error.
fn check_keys(kind: &WorkloadSpec, raw: &RawWorkload, errors: &mut Diagnostics) -> bool {
    let given = [
        ("block", raw.block.as_ref().map(|key| &key.span)),
        ("direct", raw.direct.as_ref().map(|key| &key.span)),
        ("order", raw.order.as_ref().map(|key| &key.span)),
        ("connections", raw.connections.as_ref().map(|key| &key.span)),
    ];
    let mut own = true;
    for (name, span) in given {
        let Some(span) = span.filter(|_| !kind.keys.contains(&name)) else { continue };
        let message = format!("{} is not a key of a workload of kind {}", quote(name), quote(kind.name()));
        let others = WORKLOADS.iter().filter(|other| other.keys.contains(&name)).map(WorkloadSpec::name);
        let error = ManifestError::new(Code::NotOfWorkload, span.clone(), message);
        errors.push(error.help(list_valid("kinds that have it", others)));
        own = false;
    }
    own
}

/// Reports combinations of bytes, block, rounds and connections that the agent refuses. True without an error.
fn check_limits(kind: &WorkloadSpec, workload: &Workload, raw: &RawWorkload, errors: &mut Diagnostics) -> bool {
    let granule = workload.disk.map_or(kind.granule, |disk| disk.block);
    let operations = workload.disk.map_or(0, |disk| workload.bytes / disk.block);
    let connections = workload.connections.unwrap_or(1);
    let (at, message) = if !workload.bytes.is_multiple_of(granule) {
        let message = format!("`bytes` must be a multiple of {granule} for a workload of kind {}", quote(kind.name()));
        (raw.bytes.as_ref().map(|key| &key.span), message)
    } else if operations * u64::from(workload.rounds) > MOST_OPERATIONS {
        let message = format!(
            "{} of {operations} blocks exceed the limit of {MOST_OPERATIONS} operations",
            count(u64::from(workload.rounds), "round")
        );
        (raw.rounds.as_ref().map(|key| &key.span), message)
    } else if connections > workload.rounds {
        let requests = count(u64::from(workload.rounds), "request");
        let message = format!("{connections} connections are more than the {requests}");
        (raw.connections.as_ref().map(|key| &key.span), message)
    } else {
        return true;
    };
    errors.push(ManifestError::new(Code::OutOfRange, at.cloned().unwrap_or_default(), message));
    false
}

/// A size in MiB from 1 MiB on, else in KiB.
fn format_bytes(bytes: u64) -> String {
    match (bytes >> 20, bytes >> 10) {
        (0, kib) => format!("{kib} KiB"),
        (mib, _) => format!("{mib} MiB"),
    }
}

fn parse_bytes(key: &str, bytes: &At<Level>, most: u64, errors: &mut Diagnostics) -> Option<u64> {
    let value = match &bytes.value {
        Level::Int(value) => u64::try_from(*value).ok(),
        Level::Text(text) => {
            let Some(value) = size::parse(text) else {
                let message = format!("{} is not a size in bytes", quote(text));
                errors.push(ManifestError::new(Code::BadSize, bytes.span.clone(), message).help(size::SYNTAX));
                return None;
            };
            Some(value)
        }
        Level::Bool(_) | Level::Float(_) => {
            let message = format!("`{key}` must be a size in bytes, as a string or an integer");
            errors.push(ManifestError::new(Code::WrongType, bytes.span.clone(), message).help(size::SYNTAX));
            return None;
        }
    };
    let value = value.filter(|value| (1..=most).contains(value));
    if value.is_none() {
        let message = format!("`{key}` must be between 1 and {most} ({})", format_bytes(most));
        errors.push(ManifestError::new(Code::OutOfRange, bytes.span.clone(), message));
    }
    value
}

/// Maximum number of concurrent connections.
pub(super) const MOST_CONNECTIONS: i64 = 64;
/// Maximum number of warm-up rounds.
pub(super) const MOST_WARMUP: i64 = MOST_ROUNDS as i64;
