//! How often a load beside a trial is seen, and how often one is seen that is not there.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use microbench_formats::record::Interference;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::host::counters::counts::{Counts, judge};
use crate::sys;
use crate::sys::clock::Instant;

/// What is tried: windows of time in which one process of our own uses a CPU, as a VMM does; in half of them another one, which is
/// not ours, uses one too.
#[derive(Clone, Copy, Debug)]
pub struct Windows {
    /// Windows in all.
    pub windows: u32,
    /// Length of one.
    pub length: Duration,
    /// Seed of which ones have a load.
    pub seed: u64,
}

/// What was seen of one kind of windows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Windows.
    pub windows: u32,
    /// Those that were found invalid, for whatever reason.
    pub invalid: u32,
    /// Windows by reason; one may have several.
    pub reasons: BTreeMap<Interference, u32>,
}

/// Uses one CPU for `time`: the hidden command that a window starts.
pub fn spin(time: Duration) {
    let end = Instant::now().after(time);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Tries `windows` on this machine's clock: what was seen of those with a load, and of those without.
///
/// # Errors
/// When no process can be started.
pub fn measure(windows: Windows) -> anyhow::Result<[Seen; 2]> {
    let mut random = ChaCha8Rng::seed_from_u64(windows.seed);
    let mut seen = [Seen::default(), Seen::default()];
    for _ in 0..windows.windows {
        let loaded = random.next_u64().is_multiple_of(2);
        let other = if loaded { Some(Other(spinner(windows.length * 100)?)) } else { None };
        let before = Counts::read("/".as_ref());
        let own = spinner(windows.length)?;
        sys::reap(own.id()).context("cannot reap a process")?;
        let found = judge(&before, &Counts::read("/".as_ref()));
        drop(other);
        let seen = &mut seen[usize::from(!loaded)];
        seen.windows += 1;
        seen.invalid += u32::from(!found.is_empty());
        for (reason, _) in found {
            *seen.reasons.entry(reason).or_default() += 1;
        }
    }
    Ok(seen)
}

fn spinner(time: Duration) -> anyhow::Result<Child> {
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(this);
    command.args(["spin", &time.as_nanos().to_string()]).stdin(Stdio::null());
    command.spawn().context("cannot start a process")
}

/// A load; ends with its scope.
struct Other(Child);

impl Drop for Other {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
