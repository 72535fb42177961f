//! CPUs of the emulated host: which cells are not compared, and the sentences of captions.
//!
//! On other kinds of host the setting is not applied: their cells are compared, and captions do not state it.

use std::collections::BTreeMap;

use microbench_formats::cell::{Cell, DEFAULT_HOST_CPU};
use microbench_formats::host::HostKind;

/// Beginning of the reason why cells are not compared.
pub(crate) const NOT_COMPARED: &str = "not compared: the CPUs of the emulated hosts differ";

/// Why cells of a run on `host`, pairs of an id and a CPU of the emulated host, are not compared: their CPUs differ. It
/// says what to do. `None` if they may be compared.
pub(crate) fn why_not_compared<'a>(
    host: Option<HostKind>,
    cells: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let differing = differing(host, cells)?;
    Some(format!(
        "not compared: {differing}; set `across_host_cpus = true` in [study] of the next run, or use `microbench compare \
         --across-hosts` for this one"
    ))
}

/// The clause for a comparison of cells, pairs of an id and a CPU of the emulated host, whose CPUs differ: `the CPUs of
/// the emulated hosts differ (qemu/1 on EPYC; fc/1 on Skylake-Server)`. `None` if the CPUs are the same, and on other
/// kinds of host.
pub(crate) fn differing<'a>(
    host: Option<HostKind>,
    cells: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Option<String> {
    let places = places(host, cells)?;
    Some(format!("the CPUs of the emulated hosts differ ({places})"))
}

/// The first cell of each CPU: `qemu/1 on EPYC; fc/1 on Skylake-Server`. `None` if the CPUs are the same, and on other
/// kinds of host.
fn places<'a>(host: Option<HostKind>, cells: impl IntoIterator<Item = (&'a str, &'a str)>) -> Option<String> {
    if host != Some(HostKind::Emulated) {
        return None;
    }
    let mut of_cpu: BTreeMap<&str, &str> = BTreeMap::new();
    for (cell, cpu) in cells {
        of_cpu.entry(cpu).or_insert(cell);
    }
    if of_cpu.len() < 2 {
        return None;
    }
    let places: Vec<String> = of_cpu.iter().map(|(cpu, cell)| format!("{cell} on {cpu}")).collect();
    Some(places.join("; "))
}

/// The sentence of a caption that states the CPUs of the emulated hosts of `cells`. `None` if all have the default CPU,
/// and on other kinds of host.
pub(crate) fn sentence<'a>(host: Option<HostKind>, cells: impl IntoIterator<Item = &'a Cell>) -> Option<String> {
    if host != Some(HostKind::Emulated) {
        return None;
    }
    let mut labels: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for cell in cells {
        let labels = labels.entry(cell.host_cpu()).or_default();
        if !labels.contains(&cell.label.as_str()) {
            labels.push(&cell.label);
        }
    }
    let cpus: Vec<&str> = labels.keys().copied().collect();
    match cpus.as_slice() {
        [] | [DEFAULT_HOST_CPU] => None,
        [cpu] => Some(format!("CPU of the emulated host: {cpu}.")),
        _ => {
            let of_cpu: Vec<String> =
                labels.iter().map(|(cpu, labels)| format!("{cpu} ({})", labels.join(", "))).collect();
            Some(format!("CPUs of the emulated hosts: {}.", of_cpu.join("; ")))
        }
    }
}
