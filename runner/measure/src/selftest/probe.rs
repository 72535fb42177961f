//! How late the probe sees what is there: its error, over fake guests whose first instant is known.

use std::time::Duration;

use anyhow::{Context, bail};
use microbench_formats::record::ProbeError;
use microbench_study::engine::addresses::Addresses;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::fake_guest::FakeGuest;
use crate::guest::ready_datagram::Announcements;
use crate::host::resources::net::Tap;
use crate::probe::{self, Probe};
use crate::sys;
use crate::sys::clock::Instant;

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
    /// Fake guests that a session begins with where nobody says.
    pub const OF_A_SESSION: u32 = 20;

    /// What a session begins with: one guest at a time; those of any other number than [`Self::OF_A_SESSION`] over 3 s each, not 20 ms.
    #[must_use]
    pub fn of_a_session(guests: u32) -> Self {
        let spread = if guests == Self::OF_A_SESSION { Duration::from_millis(20) } else { Duration::from_secs(3) };
        Self { guests, at_once: 1, spread, seed: 1 }
    }
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

/// The `p`-quantile of ascending values, `None` of nothing: type 7 of R. J. Hyndman & Y. Fan, The American Statistician 50 (1996),
/// as the analysis has it, which the emulated host's init does not hold.
fn quantile(ascending: &[f64], p: f64) -> Option<f64> {
    let at = p * ascending.len().checked_sub(1)? as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place among the values")]
    let below = at.floor() as usize;
    let (low, high) = (ascending.get(below)?, ascending.get(below + 1).or(ascending.last())?);
    Some(low + (high - low) * (at - at.floor()))
}

/// What the probe saw of one guest.
struct Seen {
    error_ms: f64,
    cpu_ms: f64,
}

/// Measures the error of `probe`. The caller must be in a network namespace of its own.
///
/// Guests come in batches of [`FakeGuests::at_once`], each in the place of one of the batch before: it has that one's process and network,
/// and a service of its own. To set up and take down each would take most of a session's start, and all of the probe's first failures, by
/// which either side learns of the other, come before the instant that is measured.
///
/// # Errors
/// When a guest cannot be had or is not seen.
pub fn measure(probe: Probe, trial: FakeGuests) -> anyhow::Result<ProbeError> {
    let mut found = Vec::new();
    let all: Vec<u32> = (0..trial.guests).collect();
    let mut guests =
        (0..trial.at_once.clamp(1, trial.guests.max(1))).map(Waiting::prepare).collect::<anyhow::Result<Vec<_>>>()?;
    for guest in &mut guests {
        guest.process.joined()?;
    }
    for batch in all.chunks(guests.len()) {
        let begin = Instant::now();
        let seen: Vec<anyhow::Result<Seen>> = std::thread::scope(|scope| {
            let lanes: Vec<_> = guests
                .iter_mut()
                .zip(batch)
                .map(|(guest, &number)| scope.spawn(move || guest.see(probe, begin.after(delay(trial, number)))))
                .collect();
            lanes
                .into_iter()
                .map(|lane| lane.join().unwrap_or_else(|_| bail!("a thread of the self-test panicked")))
                .collect()
        });
        found.extend(seen.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
    }
    summary(found)
}

/// Uniform in `0..spread`, the same for the same seed and guest.
fn delay(trial: FakeGuests, guest: u32) -> Duration {
    let mut random = ChaCha8Rng::seed_from_u64(trial.seed);
    random.set_stream(u64::from(guest));
    let share = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    trial.spread.mul_f64(share)
}

const NONCE: &str = "5e1f7e57";

/// A fake guest that has been set up, and what it takes to see it.
struct Waiting {
    // Dropped in this order: the guest before its tap.
    process: FakeGuest,
    announcements: Announcements,
    addresses: Addresses,
    _tap: Tap,
}

impl Waiting {
    fn prepare(lane: u32) -> anyhow::Result<Self> {
        let addresses = Addresses::of(lane);
        let tap = Tap::create(lane, &addresses, true, nix::unistd::geteuid().as_raw())?;
        let announcements = Announcements::on(tap.name()).context("cannot listen for announcements")?;
        let process = FakeGuest::start(tap.name(), &addresses, NONCE)?;
        Ok(Self { process, announcements, addresses, _tap: tap })
    }

    /// From now until the probe sees the answer of the guest, which begins to listen at `instant`.
    fn see(&mut self, probe: Probe, instant: Instant) -> anyhow::Result<Seen> {
        let exited = sys::pidfd_open(self.process.pid()).context("cannot watch the fake guest")?;
        // One that nobody waited for any more, of the guest before.
        while self.announcements.take(NONCE) {}
        self.process.listen_at(instant)?;
        let (guest, deadline) = (self.addresses.guest, instant.after(Duration::from_secs(30)));
        let exited = std::os::fd::AsFd::as_fd(&exited);
        let found = probe::wait(probe, guest, NONCE, &mut self.announcements, deadline, exited)?;
        let ready = self.process.ready()?;
        Ok(Seen { error_ms: (found.ok.0 as f64 - ready.0 as f64) / 1e6, cpu_ms: found.cpu_time_ns as f64 / 1e6 })
    }
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
