//! Detection rate of interference: how often another load during a trial is detected, and how often a load is
//! reported that does not exist.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use microbench_formats::record::Interference;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::host::counters::counts::{Counts, find_interference};
use crate::sys;
use crate::sys::clock::Instant;

/// Test windows. In each window one process of the runner uses a CPU, as a VMM does. In a random half of
/// them, a process that does not belong to the runner uses a CPU, too.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    pub windows: u32,
    /// Length of a window.
    pub length: Duration,
    /// Seed of the choice of windows with another load.
    pub seed: u64,
}

/// Result for windows of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WindowResult {
    pub windows: u32,
    /// Windows that were classified as invalid, for any reason.
    pub invalid: u32,
    /// Windows by reason; a window can have several.
    pub reasons: BTreeMap<Interference, u32>,
}

/// Uses one CPU for `time`: the hidden command `spin`, which the windows start.
pub fn spin(time: Duration) {
    let end = Instant::now().after(time);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Runs `windows`; returns the results of those with another load, and of those without.
///
/// # Errors
/// Fails if a process cannot be started.
pub fn measure(windows: Windows) -> anyhow::Result<[WindowResult; 2]> {
    let mut random = ChaCha8Rng::seed_from_u64(windows.seed);
    let mut results = [WindowResult::default(), WindowResult::default()];
    for _ in 0..windows.windows {
        let loaded = random.next_u64().is_multiple_of(2);
        let other = if loaded { Some(OtherLoad(spinner(windows.length * 100)?)) } else { None };
        let before = Counts::read("/".as_ref());
        let own = spinner(windows.length)?;
        sys::reap(own.id()).context("cannot reap a process")?;
        let found = find_interference(&before, &Counts::read("/".as_ref()));
        drop(other);
        let result = &mut results[usize::from(!loaded)];
        result.windows += 1;
        result.invalid += u32::from(!found.is_empty());
        for (reason, _) in found {
            *result.reasons.entry(reason).or_default() += 1;
        }
    }
    Ok(results)
}

fn spinner(time: Duration) -> anyhow::Result<Child> {
    let executable = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(executable);
    command.args(["spin", &time.as_nanos().to_string()]).stdin(Stdio::null());
    command.spawn().context("cannot start a process")
}

/// Process of another load; killed on drop.
struct OtherLoad(Child);

impl Drop for OtherLoad {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
