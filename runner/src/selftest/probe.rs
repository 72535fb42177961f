//! How late the probe sees what is there: its error, over fake guests whose first instant is known.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use microbench_plots::record::ProbeError;
use microbench_plots::stats::quantile::quantile;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::fake_guest::FakeGuest;
use crate::announcement::Announcements;
use crate::clock::Instant;
use crate::host::net::{Addresses, Tap};
use crate::probe::{self, Probe};
use crate::sys;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct FakeGuests {
    /// Fake guests in all.
    pub guests: u32,
    /// How many are there at the same time.
    pub at_once: u32,
    /// They start to answer after a time that is uniform between nothing and this.
    pub spread: Duration,
    /// Seed of these times.
    pub seed: u64,
}

impl FakeGuests {
    /// What every run begins with: short, one guest at a time.
    pub const OF_A_RUN: Self = Self { guests: 20, at_once: 1, spread: Duration::from_millis(40), seed: 1 };
}

fn summary(mut found: Vec<Seen>) -> anyhow::Result<ProbeError> {
    found.sort_by(|a, b| a.error_ms.total_cmp(&b.error_ms));
    let errors: Vec<f64> = found.iter().map(|seen| seen.error_ms).collect();
    let at = |p: f64| quantile(&errors, p).context("no guest was seen");
    let n = u32::try_from(errors.len()).unwrap_or(u32::MAX);
    let p99_ms = at(if n < 100 { 1.0 } else { 0.99 })?;
    let cpu_ms = found.iter().map(|seen| seen.cpu_ms).sum::<f64>() / f64::from(n.max(1));
    Ok(ProbeError { n, median_ms: at(0.5)?, p99_ms, max_ms: at(1.0)?, cpu_ms })
}

/// What the probe saw of one guest.
struct Seen {
    error_ms: f64,
    cpu_ms: f64,
}

/// Measures the error of `probe`. The caller must be in a network namespace of its own.
///
/// # Errors
/// When a guest cannot be had or is not seen.
pub fn measure(probe: Probe, trial: FakeGuests) -> anyhow::Result<ProbeError> {
    let next = AtomicU32::new(0);
    let found = Mutex::new(Vec::new());
    let lane = |lane: u32| -> anyhow::Result<()> {
        loop {
            let guest = next.fetch_add(1, Ordering::Relaxed);
            if guest >= trial.guests {
                return Ok(());
            }
            let seen = see(probe, lane, delay(trial, guest))?;
            found.lock().map_err(|_| anyhow::anyhow!("another guest failed"))?.push(seen);
        }
    };
    let lane = &lane;
    std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..trial.at_once.max(1)).map(|n| scope.spawn(move || lane(n))).collect();
        for lane in lanes {
            match lane.join() {
                Ok(outcome) => outcome?,
                Err(_) => bail!("a thread of the self-test panicked"),
            }
        }
        Ok(())
    })?;
    summary(found.into_inner().unwrap_or_default())
}

/// Uniform in `0..spread`, the same for the same seed and guest.
fn delay(trial: FakeGuests, guest: u32) -> Duration {
    let mut random = ChaCha8Rng::seed_from_u64(trial.seed);
    random.set_stream(u64::from(guest));
    let share = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    trial.spread.mul_f64(share)
}

/// One guest from its start to the answer that the probe sees.
fn see(probe: Probe, lane: u32, delay: Duration) -> anyhow::Result<Seen> {
    const NONCE: &str = "5e1f7e57";
    let addresses = Addresses::of(lane);
    let tap = alone(|| Tap::create(lane, &addresses, true))?;
    let mut announcements = Announcements::on(tap.name()).context("cannot listen for announcements")?;
    let mut guest = alone(|| FakeGuest::start(tap.name(), &addresses, NONCE, delay))?;
    let exited = sys::pidfd_open(guest.pid()).context("cannot watch the fake guest")?;
    let deadline = Instant::now().after(delay + Duration::from_secs(30));
    let guest_ip = addresses.guest;
    let found = probe::wait(probe, guest_ip, NONCE, &mut announcements, deadline, std::os::fd::AsFd::as_fd(&exited))?;
    let ready = guest.ready()?;
    drop(guest);
    alone(|| drop(tap));
    Ok(Seen { error_ms: (found.ok.0 as f64 - ready.0 as f64) / 1e6, cpu_ms: found.cpu_time_ns as f64 / 1e6 })
}

/// Does `work` while no other lane does such work: a process that is started meanwhile would hold a copy of the tap's descriptor
/// until it executes its program, and the tap would be busy.
fn alone<T>(work: impl FnOnce() -> T) -> T {
    static SETUP: Mutex<()> = Mutex::new(());
    let _alone = SETUP.lock().unwrap_or_else(PoisonError::into_inner);
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_spread_and_the_same_again() {
        let trial = FakeGuests { guests: 1000, at_once: 1, spread: Duration::from_secs(3), seed: 9 };
        let all: Vec<f64> = (0..trial.guests).map(|guest| delay(trial, guest).as_secs_f64()).collect();
        assert_eq!(all[17], delay(trial, 17).as_secs_f64());
        let mean = all.iter().sum::<f64>() / 1000.0;
        assert!((1.4..1.6).contains(&mean) && all.iter().all(|delay| (0.0..3.0).contains(delay)), "{mean}");
    }

    #[test]
    fn the_largest_stands_for_a_percentile_that_few_guests_cannot_have() {
        let seen = |error_ms| Seen { error_ms, cpu_ms: 1.0 };
        let error = summary(vec![seen(2.0), seen(1.0), seen(4.0)]).unwrap();
        assert_eq!((error.n, error.median_ms, error.p99_ms, error.max_ms, error.cpu_ms), (3, 2.0, 4.0, 4.0, 1.0));
    }
}
