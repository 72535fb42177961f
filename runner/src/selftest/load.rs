//! How often a load beside a trial is seen, and how often one is seen that is not there.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::clock::Instant;
use crate::host::counts::{Counts, judge};
use crate::sys;

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

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Windows with a load, and of these the ones that were found invalid.
    pub loaded: [u32; 2],
    /// Windows without, and of these the ones that were found invalid.
    pub quiet: [u32; 2],
}

/// Uses one CPU for `time`: the hidden command that a window starts.
pub fn spin(time: Duration) {
    let end = Instant::now().after(time);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// Tries `windows` on this machine's clock.
///
/// # Errors
/// When no process can be started.
pub fn measure(windows: Windows) -> anyhow::Result<Seen> {
    let mut random = ChaCha8Rng::seed_from_u64(windows.seed);
    let mut seen = Seen::default();
    for _ in 0..windows.windows {
        let loaded = random.next_u64().is_multiple_of(2);
        let other = if loaded { Some(Other(spinner(windows.length * 100)?)) } else { None };
        let before = Counts::read("/".as_ref());
        let own = spinner(windows.length)?;
        sys::reap(own.id()).context("cannot reap a process")?;
        let invalid = !judge(&before, &Counts::read("/".as_ref())).is_empty();
        drop(other);
        let counts = if loaded { &mut seen.loaded } else { &mut seen.quiet };
        counts[0] += 1;
        counts[1] += u32::from(invalid);
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
