//! Kinds of work that a guest can be given: the one table of them, and what a manifest may ask of each.

use microbench_agent::workload::{BLOCKS, MOST_BYTES, MOST_OPERATIONS, MOST_ROUNDS, PAGE_BYTES, WORD_BYTES};
use microbench_agent::{INDEX_BLOCK_BYTES, INDEX_BLOCKS};
use microbench_formats::axis::Level;
use microbench_formats::code::Code;
use microbench_formats::workload::{DiskAccess, Workload, WorkloadKind};

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{list, quote, suggest};
use super::raw::RawWork;
use super::read::At;
use super::size;

/// A kind of work.
#[derive(Clone, Copy, Debug)]
pub struct WorkSpec {
    /// The kind.
    pub kind: WorkloadKind,
    /// What the guest does in a round, as a noun phrase of which the bytes come next.
    pub doc: &'static str,
    /// What an operation is, one and several; empty for a kind that has none.
    pub operation: (&'static str, &'static str),
    /// The values that it has beside `duration` and `throughput`.
    pub values: &'static [&'static str],
    /// The keys that it has beside those of every kind.
    pub keys: &'static [&'static str],
    /// Whose clock times it: `guest`, or `host` for what the host sees itself.
    pub clock: &'static str,
    /// What `bytes` must be a multiple of; a block of disk work besides.
    granule: u64,
    /// Most bytes of a round.
    most_bytes: u64,
}

/// The value that a metric is where the manifest does not say.
pub const DURATION: &str = "duration";

/// Values that every kind has.
const OF_EVERY_KIND: &[&str] = &[DURATION, "throughput"];
/// Keys of disk work.
const OF_DISK: &[&str] = &["block", "direct", "order"];
/// Orders of blocks.
pub(super) const ORDERS: &[&str] = &["sequential", "random"];
/// Bytes of a block where the manifest does not say.
const BLOCK: u64 = 4096;

const fn of_buffer(kind: WorkloadKind, doc: &'static str, granule: u64) -> WorkSpec {
    let (operation, values, keys): (_, &[&str], &[&str]) = (("", ""), &[], &[]);
    WorkSpec { kind, doc, operation, values, keys, clock: "guest", granule, most_bytes: MOST_BYTES }
}

const fn of_disk(kind: WorkloadKind, doc: &'static str) -> WorkSpec {
    let operation = ("block", "blocks");
    WorkSpec { operation, values: &["rate", "p50", "p99"], keys: OF_DISK, ..of_buffer(kind, doc, BLOCKS.0) }
}

/// Every kind of work.
pub const WORKS: &[WorkSpec] = &[
    of_buffer(WorkloadKind::Sha256, "SHA-256 of", 1),
    of_buffer(WorkloadKind::Copy, "one allocation and copy of", 1),
    of_buffer(WorkloadKind::MemoryRead, "adding up every word of a buffer of", WORD_BYTES),
    of_buffer(WorkloadKind::MemoryWrite, "writing every word of a buffer of", WORD_BYTES),
    of_buffer(WorkloadKind::MemoryCopy, "copying to another one a buffer of", WORD_BYTES),
    WorkSpec {
        operation: ("page", "pages"),
        values: &["rate"],
        ..of_buffer(WorkloadKind::PageTouch, "the first touch of each page of fresh anonymous memory of", PAGE_BYTES)
    },
    of_disk(WorkloadKind::DiskRead, "reading from its disk"),
    of_disk(WorkloadKind::DiskWrite, "writing to its disk, with fdatasync,"),
    WorkSpec {
        operation: ("request", "requests"),
        values: &["rate", "p50", "p99"],
        keys: &["connections"],
        clock: "host",
        most_bytes: (INDEX_BLOCKS * INDEX_BLOCK_BYTES) as u64,
        ..of_buffer(WorkloadKind::Http, "a GET of a static file of", 1)
    },
    WorkSpec { clock: "host", ..of_buffer(WorkloadKind::TcpSend, "sending over one TCP connection", 1) },
    WorkSpec { clock: "host", ..of_buffer(WorkloadKind::TcpReceive, "receiving over one TCP connection", 1) },
];

impl WorkSpec {
    /// Word in a manifest.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.kind.into()
    }

    /// That of a kind.
    #[must_use]
    pub fn of(kind: WorkloadKind) -> &'static Self {
        WORKS.iter().find(|spec| spec.kind == kind).unwrap_or(&WORKS[0])
    }

    /// The kind of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        WORKS.iter().find(|spec| spec.name() == name)
    }

    /// What `bytes` may be, in words.
    #[must_use]
    pub fn sizes(&self) -> String {
        let most = written(self.most_bytes);
        match (self.on_disk(), self.granule) {
            (true, _) => format!("a multiple of `block`, at most {most}"),
            (false, 1) => format!("at most {most}"),
            (false, granule) => format!("a multiple of {granule}, at most {most}"),
        }
    }

    /// Every value that its work has, each a reading `workload.METRIC.VALUE`.
    pub fn all_values(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        OF_EVERY_KIND.iter().chain(self.values).copied()
    }

    /// Whether it works on the disk.
    #[must_use]
    pub fn on_disk(&self) -> bool {
        self.keys == OF_DISK
    }
}

/// Work of these bytes and rounds, and the defaults for all else.
pub(super) fn plain(metric: &str, kind: WorkloadKind, bytes: u64, rounds: u32) -> Workload {
    Workload { metric: metric.into(), kind, bytes, rounds, warmup: 0, disk: None, connections: None }
}

/// The sentence that says what a value of work measures.
#[must_use]
pub fn work_definition(work: &Workload, value: &str) -> String {
    let spec = WorkSpec::of(work.kind);
    let (one, several) = spec.operation;
    let subject = match value {
        "throughput" => "Bytes a second (1 MB is 1,000,000) of".into(),
        "rate" => format!("{several} a second of"),
        "p50" => format!("Median time of one {one} of"),
        "p99" => format!("99th percentile of the time of one {one} of"),
        _ => "Time that the guest takes for".into(),
    };
    let subject = super::metrics::sentence(&subject);
    let mut what = format!("{} {} bytes", spec.doc, work.bytes);
    if let Some(DiskAccess { block, direct, random }) = work.disk {
        let order = if random { "in random order" } else { "one after the other" };
        let cache = if direct { "past" } else { "through" };
        what = format!("{} {} bytes in blocks of {block} bytes, {order}, {cache} the page cache", spec.doc, work.bytes);
    }
    if let Some(connections) = work.connections {
        let plural = if connections == 1 { "" } else { "s" };
        what.push_str(&format!(" over {connections} connection{plural}"));
    }
    let times = |n: u32| if n == 1 { "once".into() } else { format!("{n} times") };
    let before = if work.warmup == 0 { String::new() } else { format!(" after {} that do not count", work.warmup) };
    format!("{subject} {what}, {}{before}, on the {}'s clock.", times(work.rounds), spec.clock)
}

/// The work of `metric` and the value that it is; `None` means that an error was reported.
pub(super) fn check(metric: &str, raw: &At<RawWork>, errors: &mut Diagnostics) -> Option<(Workload, &'static str)> {
    let raw = &raw.value;
    let kind = raw.kind.as_ref().and_then(|kind| of_kind(kind, errors));
    let most = kind.map_or(MOST_BYTES, |kind| kind.most_bytes);
    let bytes = raw.bytes.as_ref().and_then(|bytes| of_bytes("bytes", bytes, most, errors));
    let block = raw.block.as_ref().map_or(Some(BLOCK), |block| of_block(block, errors));
    let random = raw.order.as_ref().map_or(Some(false), |order| of_order(order, errors));
    let number = |given: &Option<At<i64>>| given.as_ref().and_then(|given| u32::try_from(given.value).ok());
    let kind = kind?;
    let keys = has_own_keys(kind, raw, errors);
    let value = raw.value.as_ref().map_or(Some(DURATION), |value| of_value(kind, value, errors));
    let mut work =
        Workload { warmup: number(&raw.warmup).unwrap_or(0), ..plain(metric, kind.kind, bytes?, number(&raw.rounds)?) };
    if kind.on_disk() {
        let direct = raw.direct.as_ref().is_none_or(|direct| direct.value);
        work.disk = Some(DiskAccess { block: block?, direct, random: random? });
    }
    if kind.kind == WorkloadKind::Http {
        work.connections = Some(number(&raw.connections).unwrap_or(1));
    }
    let fits = fits(kind, &work, raw, errors);
    Some((work, value?)).filter(|_| keys && fits)
}

fn of_kind(word: &At<String>, errors: &mut Diagnostics) -> Option<&'static WorkSpec> {
    let found = WorkSpec::named(&word.value);
    if found.is_none() {
        let message = format!("there is no workload of kind {}", quote(&word.value));
        let help = suggest(&word.value, "kinds of workloads", WORKS.iter().map(WorkSpec::name));
        errors.push(ManifestError::new(Code::NotAChoice, word.span.clone(), message).help(help));
    }
    found
}

fn of_value(kind: &WorkSpec, value: &At<String>, errors: &mut Diagnostics) -> Option<&'static str> {
    let found = kind.all_values().find(|known| *known == value.value);
    if found.is_none() {
        let message = format!("a workload of kind {} has no value {}", quote(kind.name()), quote(&value.value));
        let help = suggest(&value.value, "values of this workload", kind.all_values());
        errors.push(ManifestError::new(Code::NotAChoice, value.span.clone(), message).help(help));
    }
    found
}

/// Whether the order is random.
fn of_order(order: &At<String>, errors: &mut Diagnostics) -> Option<bool> {
    if !ORDERS.contains(&order.value.as_str()) {
        let message = format!("there is no order {}", quote(&order.value));
        let help = suggest(&order.value, "orders", ORDERS.iter().copied());
        errors.push(ManifestError::new(Code::NotAChoice, order.span.clone(), message).help(help));
        return None;
    }
    Some(order.value == "random")
}

fn of_block(block: &At<Level>, errors: &mut Diagnostics) -> Option<u64> {
    let bytes = of_bytes("block", block, BLOCKS.1, errors)?;
    if !bytes.is_power_of_two() || bytes < BLOCKS.0 {
        let message = format!("`block` must be a power of two between {} and {}", BLOCKS.0, BLOCKS.1);
        errors.push(ManifestError::new(Code::OutOfRange, block.span.clone(), message));
        return None;
    }
    Some(bytes)
}

/// Whether every key that is there is one of the kind's.
fn has_own_keys(kind: &WorkSpec, raw: &RawWork, errors: &mut Diagnostics) -> bool {
    let given = [
        ("block", raw.block.as_ref().map(|key| &key.span)),
        ("direct", raw.direct.as_ref().map(|key| &key.span)),
        ("order", raw.order.as_ref().map(|key| &key.span)),
        ("connections", raw.connections.as_ref().map(|key| &key.span)),
    ];
    let mut own = true;
    for (name, span) in given {
        let Some(span) = span.filter(|_| !kind.keys.contains(&name)) else { continue };
        let message = format!("{} is no key of a workload of kind {}", quote(name), quote(kind.name()));
        let others = WORKS.iter().filter(|other| other.keys.contains(&name)).map(WorkSpec::name);
        let error = ManifestError::new(Code::NotOfWorkload, span.clone(), message);
        errors.push(error.help(list("kinds that have it", others)));
        own = false;
    }
    own
}

/// Whether bytes, blocks, rounds and connections go together; the agent holds to the same.
fn fits(kind: &WorkSpec, work: &Workload, raw: &RawWork, errors: &mut Diagnostics) -> bool {
    let granule = work.disk.map_or(kind.granule, |disk| disk.block);
    let operations = work.disk.map_or(0, |disk| work.bytes / disk.block);
    let connections = work.connections.unwrap_or(1);
    let (at, message) = if !work.bytes.is_multiple_of(granule) {
        let message = format!("`bytes` must be a multiple of {granule} for a workload of kind {}", quote(kind.name()));
        (raw.bytes.as_ref().map(|key| &key.span), message)
    } else if operations * u64::from(work.rounds) > MOST_OPERATIONS {
        let message = format!(
            "{} rounds of {operations} blocks are more than {MOST_OPERATIONS} operations, the time of each of which is kept",
            work.rounds
        );
        (raw.rounds.as_ref().map(|key| &key.span), message)
    } else if connections > work.rounds {
        let message = format!("of {connections} connections some would have none of the {} requests", work.rounds);
        (raw.connections.as_ref().map(|key| &key.span), message)
    } else {
        return true;
    };
    errors.push(ManifestError::new(Code::OutOfRange, at.cloned().unwrap_or_default(), message));
    false
}

/// A limit in the largest unit of which it is at least one.
fn written(bytes: u64) -> String {
    match (bytes >> 20, bytes >> 10) {
        (0, kib) => format!("{kib} KiB"),
        (mib, _) => format!("{mib} MiB"),
    }
}

fn of_bytes(key: &str, bytes: &At<Level>, most: u64, errors: &mut Diagnostics) -> Option<u64> {
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
            let message = format!("`{key}` is a size in bytes, but this is neither a string nor an integer");
            errors.push(ManifestError::new(Code::WrongType, bytes.span.clone(), message).help(size::FORM));
            return None;
        }
    };
    let value = value.filter(|value| (1..=most).contains(value));
    if value.is_none() {
        let message = format!("`{key}` must be between 1 and {most} ({})", written(most));
        errors.push(ManifestError::new(Code::OutOfRange, bytes.span.clone(), message));
    }
    value
}

/// Most connections at once.
pub(super) const MOST_CONNECTIONS: i64 = 64;
/// Most rounds that do not count, as a key's limit.
pub(super) const MOST_WARMUP: i64 = MOST_ROUNDS as i64;
