//! `selftest`: measurements of microbench itself and of the host.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use microbench_formats::code::Code;
use microbench_formats::record::ProbeError;
use microbench_measure::outln;
use microbench_measure::probe::Probe;
use microbench_measure::sandbox::{self, isolation};
use microbench_measure::selftest::probe::{FakeGuests, measure};
use microbench_measure::selftest::{host_resources, load as load_test, spawn};

use super::arguments::SelfTest;
use super::store::print_json;
use super::{noise_floor, workload};

pub(super) fn selftest(test: SelfTest) -> anyhow::Result<ExitCode> {
    match test {
        SelfTest::Probe { guests, at_once, spread, seed } => probe(guests, at_once, spread, seed),
        SelfTest::Load { windows, length, seed } => load(windows, length, seed),
        SelfTest::Workload { folder } => workload::print(&folder.unwrap_or_else(std::env::temp_dir)),
        SelfTest::Spawn { times, argv } => {
            sandbox::enter()?;
            isolation::require(false)?;
            print_json(&spawn::measure(&argv, times, &sandbox::mount_scratch()?)?)
        }
        SelfTest::HostResources { vms, image } => {
            sandbox::enter()?;
            print_json(&host_resources::measure(vms, &image, &sandbox::mount_scratch()?.join("host-resources"))?)
        }
        SelfTest::NoiseFloor { study, cell, repetitions, blocks, margin, host, out, allow_unisolated } => {
            let options = noise_floor::Options { repetitions, blocks, margin, allow_unisolated };
            noise_floor::measure(&study, cell.as_deref(), options, host, out.as_deref())
        }
    }
}

/// Prints the error of each kind of probe with fake guests.
fn probe(guests: u32, at_once: u32, spread: f64, seed: u64) -> anyhow::Result<ExitCode> {
    let spread = Duration::try_from_secs_f64(spread)
        .with_context(|| Code::BadValue.with_message("`--spread` is not a valid duration"))?;
    sandbox::enter()?;
    outln!("{:8} {:>6} {:>10} {:>10} {:>10} {:>10}", "probe", "n", "median ms", "p99 ms", "max ms", "CPU ms")?;
    for (name, probe) in [("exact", Probe::Exact), ("paper", Probe::Paper), ("busy", Probe::Busy)] {
        let found = measure(probe, FakeGuests { guests, at_once, spread, seed })?;
        let ProbeError { n, median_ms, p99_ms, max_ms, cpu_ms } = found;
        outln!("{name:8} {n:>6} {median_ms:>10.3} {p99_ms:>10.3} {max_ms:>10.3} {cpu_ms:>10.3}")?;
    }
    outln!(
        "time from listen(2) of a fake guest to the response that the probe received; mean CPU time of the probe per guest"
    )?;
    Ok(ExitCode::SUCCESS)
}

/// Prints how often a concurrent load is detected, and how often a load is reported without one.
fn load(windows: u32, length: f64, seed: u64) -> anyhow::Result<ExitCode> {
    let length = Duration::try_from_secs_f64(length)
        .with_context(|| Code::BadValue.with_message("`--length` is not a valid duration"))?;
    let [loaded, quiet] = load_test::measure(load_test::Windows { windows, length, seed })?;
    outln!("{:28} {:>8} {:>14}  reasons", "windows", "n", "invalid")?;
    for (name, seen) in [("with a concurrent load", loaded), ("without a load", quiet)] {
        let share = f64::from(seen.invalid) / f64::from(seen.windows.max(1)) * 100.0;
        let reasons: Vec<String> = seen.reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        let (n, invalid) = (seen.windows, seen.invalid);
        outln!("{name:28} {n:>8} {invalid:>8} {share:>3.0} %  {}", reasons.join(", "))?;
    }
    outln!(
        "window: one process of microbench uses a CPU for {} ms; load: another process uses a CPU.\n\
             Other activity of this machine is detected as well; `stolen` is CPU time that a hypervisor took.",
        length.as_millis()
    )?;
    Ok(ExitCode::SUCCESS)
}
