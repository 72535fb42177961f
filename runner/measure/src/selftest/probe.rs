//! Error of the probe, measured with fake guests whose first possible response is at a known instant.

use std::time::Duration;

use anyhow::{Context, bail};
use microbench_formats::record::ProbeError;
use microbench_study::engine::addresses::Addresses;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::fake_guest::FakeGuest;
use crate::guest::ready_datagram::ReadySocket;
use crate::host::resources::net::Tap;
use crate::probe::{self, Probe};
use crate::sys;
use crate::sys::clock::Instant;

/// Parameters of the measurement.
#[derive(Clone, Copy, Debug)]
pub struct FakeGuests {
    /// Total number of fake guests.
    pub guests: u32,
    /// Number of simultaneous fake guests.
    pub at_once: u32,
    /// A guest starts to respond after a delay that is uniformly distributed between 0 and this.
    pub spread: Duration,
    /// Seed of the delays.
    pub seed: u64,
}

impl FakeGuests {
    /// Default number of fake guests at the beginning of a session.
    pub const SESSION_DEFAULT: u32 = 20;

    /// Parameters of the measurement at the beginning of a session: one guest at a time. The spread is 20 ms
    /// for the default number of guests, and 3 s for any other.
    #[must_use]
    pub fn for_session(guests: u32) -> Self {
        let spread = if guests == Self::SESSION_DEFAULT { Duration::from_millis(20) } else { Duration::from_secs(3) };
        Self { guests, at_once: 1, spread, seed: 1 }
    }
}

fn summary(mut found: Vec<Measured>) -> anyhow::Result<ProbeError> {
    found.sort_by(|a, b| a.error_ms.total_cmp(&b.error_ms));
    let errors: Vec<f64> = found.iter().map(|seen| seen.error_ms).collect();
    let at = |p: f64| quantile(&errors, p).context("no fake guest was measured");
    let n = u32::try_from(errors.len()).unwrap_or(u32::MAX);
    let p99_ms = at(if n < 100 { 1.0 } else { 0.99 })?;
    let cpu_ms = found.iter().map(|seen| seen.cpu_ms).sum::<f64>() / f64::from(n.max(1));
    Ok(ProbeError { n, median_ms: at(0.5)?, p99_ms, max_ms: at(1.0)?, cpu_ms })
}

/// Returns the `p`-quantile of ascending values; `None` for an empty slice. Type 7 of R. J. Hyndman & Y. Fan,
/// The American Statistician 50 (1996), as in the analysis, which the init of the emulated host does not
/// include.
fn quantile(ascending: &[f64], p: f64) -> Option<f64> {
    let at = p * ascending.len().checked_sub(1)? as f64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the values")]
    let below = at.floor() as usize;
    let (low, high) = (ascending.get(below)?, ascending.get(below + 1).or(ascending.last())?);
    Some(low + (high - low) * (at - at.floor()))
}

/// Result of one fake guest.
struct Measured {
    error_ms: f64,
    cpu_ms: f64,
}

/// Measures the error of `probe`. The caller must be in its own network namespace.
///
/// The guests run in batches of [`FakeGuests::at_once`]. A guest reuses the process and the network of a
/// guest of the previous batch, with a new service. To create and remove a process and a network per guest
/// would take most of a session's start. The reuse does not change the error. The two sides resolve each
/// other's address in the probe's first failed attempts, which precede the measured instant.
///
/// # Errors
/// Fails if a guest cannot be started or the probe does not get its response.
pub fn measure(probe: Probe, trial: FakeGuests) -> anyhow::Result<ProbeError> {
    let mut found = Vec::new();
    let all: Vec<u32> = (0..trial.guests).collect();
    let mut guests = (0..trial.at_once.clamp(1, trial.guests.max(1)))
        .map(PreparedGuest::prepare)
        .collect::<anyhow::Result<Vec<_>>>()?;
    for guest in &mut guests {
        guest.process.wait_until_joined()?;
    }
    for batch in all.chunks(guests.len()) {
        let begin = Instant::now();
        let measured: Vec<anyhow::Result<Measured>> = std::thread::scope(|scope| {
            let lanes: Vec<_> = guests
                .iter_mut()
                .zip(batch)
                .map(|(guest, &number)| scope.spawn(move || guest.measure(probe, begin.after(delay(trial, number)))))
                .collect();
            lanes
                .into_iter()
                .map(|lane| lane.join().unwrap_or_else(|_| bail!("a thread of the self-test panicked")))
                .collect()
        });
        found.extend(measured.into_iter().collect::<anyhow::Result<Vec<_>>>()?);
    }
    summary(found)
}

/// Returns the delay of a guest: uniform in `0..spread`, and determined by the seed and the guest.
fn delay(trial: FakeGuests, guest: u32) -> Duration {
    let mut random = ChaCha8Rng::seed_from_u64(trial.seed);
    random.set_stream(u64::from(guest));
    let share = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
    trial.spread.mul_f64(share)
}

const NONCE: &str = "5e1f7e57";

/// Fake guest with its network and the socket of its ready datagram.
struct PreparedGuest {
    // Dropped in this order: the guest before its tap.
    process: FakeGuest,
    ready_socket: ReadySocket,
    addresses: Addresses,
    _tap: Tap,
}

impl PreparedGuest {
    fn prepare(lane: u32) -> anyhow::Result<Self> {
        let addresses = Addresses::for_vm(lane);
        let tap = Tap::create(lane, &addresses, true, nix::unistd::geteuid().as_raw())?;
        let ready_socket = ReadySocket::bind(tap.name()).context("cannot receive ready datagrams")?;
        let process = FakeGuest::start(tap.name(), &addresses, NONCE)?;
        Ok(Self { process, ready_socket, addresses, _tap: tap })
    }

    /// Runs the probe from now until it gets the response of the guest, which begins to listen at `instant`.
    fn measure(&mut self, probe: Probe, instant: Instant) -> anyhow::Result<Measured> {
        let exited = sys::pidfd_open(self.process.pid()).context("cannot watch the fake guest")?;
        // Discard a late datagram of the previous guest.
        while self.ready_socket.receive(NONCE) {}
        self.process.listen_at(instant)?;
        let (guest, deadline) = (self.addresses.guest, instant.after(Duration::from_secs(30)));
        let exited = std::os::fd::AsFd::as_fd(&exited);
        let found = probe::wait_for_first_response(probe, guest, NONCE, &mut self.ready_socket, deadline, exited)?;
        let ready = self.process.ready_instant()?;
        Ok(Measured { error_ms: (found.ok.0 as f64 - ready.0 as f64) / 1e6, cpu_ms: found.cpu_time_ns as f64 / 1e6 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_uniform_and_reproducible() {
        let trial = FakeGuests { guests: 1000, at_once: 1, spread: Duration::from_secs(3), seed: 9 };
        let all: Vec<f64> = (0..trial.guests).map(|guest| delay(trial, guest).as_secs_f64()).collect();
        assert_eq!(all[17], delay(trial, 17).as_secs_f64());
        let mean = all.iter().sum::<f64>() / 1000.0;
        assert!((1.4..1.6).contains(&mean) && all.iter().all(|delay| (0.0..3.0).contains(delay)), "{mean}");
    }

    #[test]
    fn p99_is_the_maximum_below_100_guests() {
        let seen = |error_ms| Measured { error_ms, cpu_ms: 1.0 };
        let error = summary(vec![seen(2.0), seen(1.0), seen(4.0)]).unwrap();
        assert_eq!((error.n, error.median_ms, error.p99_ms, error.max_ms, error.cpu_ms), (3, 2.0, 4.0, 4.0, 1.0));
    }
}
