//! Rendezvous of the VMs of one trial: they start at the same time, and wait for each other at common points.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::host::counters::memory;
use crate::sys;
use crate::sys::clock::Instant;

/// Rendezvous of the VMs of one trial.
///
/// The threads of the VMs share it. A VM that fails deregisters, so that the others do not wait for it.
///
/// ```
/// use std::time::Duration;
///
/// use microbench_measure::rendezvous::Rendezvous;
/// use microbench_measure::sys::clock::Instant;
///
/// let rendezvous = Rendezvous::new(2, None);
/// let deadline = Instant::now().after(Duration::from_secs(10));
/// std::thread::scope(|scope| {
///     let vms = [(); 2].map(|()| scope.spawn(|| rendezvous.arrive(deadline)));
///     let [first, second] = vms.map(|vm| vm.join().unwrap());
///     assert_eq!(first, second);
/// });
/// ```
#[derive(Debug)]
pub struct Rendezvous {
    vms: usize,
    release: Barrier,
    state: Mutex<State>,
    changed: Condvar,
    /// Available memory of the host before the trial was prepared, bytes; `None` if unknown.
    available: Option<u64>,
    used: OnceLock<Result<f64, String>>,
    cpu: RunnerCpu,
}

/// CPU time of the runner process at points of the trial.
#[derive(Debug, Default)]
struct RunnerCpu {
    released: Point,
    responded: Point,
    ended: Point,
}

/// A point that each VM of a trial reaches once. The last VM reads the clock, and not each one: the kernel adds up the
/// times of all threads, of which there is one for each VM.
#[derive(Debug, Default)]
struct Point {
    reached: AtomicUsize,
    /// CPU time of the runner process, ns; 0 before the last VM.
    cpu_ns: AtomicU64,
}

impl Point {
    fn reach(&self, vms: usize) {
        if self.reached.fetch_add(1, Ordering::Relaxed) + 1 == vms {
            self.cpu_ns.store(sys::process_cpu_ns(), Ordering::Relaxed);
        }
    }

    fn cpu_ns(&self) -> Option<u64> {
        Some(self.cpu_ns.load(Ordering::Relaxed)).filter(|ns| *ns > 0)
    }
}

/// CPU time of the runner process in the timed window of a trial, ns, from the release of its VMs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCpu {
    /// Up to the last first response; `None` if a VM did not respond.
    pub startup: Option<u64>,
    /// Up to the end of the last VMM; `None` if a VMM was not started.
    pub whole: Option<u64>,
}

#[derive(Debug)]
struct State {
    registered: usize,
    /// Registered VMs that have arrived in this round.
    arrived: usize,
    /// Number of completed rounds.
    round: u64,
    /// Completion of the last round.
    completed: Instant,
}

impl Rendezvous {
    /// Creates a rendezvous of `vms` VMs. `available` is the available memory of the host before the first of
    /// them was prepared, bytes.
    #[must_use]
    pub fn new(vms: usize, available: Option<u64>) -> Self {
        Self {
            vms,
            release: Barrier::new(vms),
            state: Mutex::new(State { registered: vms, arrived: 0, round: 0, completed: Instant(0) }),
            changed: Condvar::new(),
            available,
            used: OnceLock::new(),
            cpu: RunnerCpu::default(),
        }
    }

    /// Waits until every VM of the trial has called this, then releases all of them.
    pub fn release(&self) {
        // Before the wait: the VMs start after it, so the clock is not read in their start-up.
        self.cpu.released.reach(self.vms);
        self.release.wait();
    }

    /// To be called when the first response of a VM has arrived.
    pub fn responded(&self) {
        self.cpu.responded.reach(self.vms);
    }

    /// To be called when a VMM has ended.
    pub fn ended(&self) {
        self.cpu.ended.reach(self.vms);
    }

    /// Returns the runner's CPU time from the release to the points that all VMs have reached so far.
    #[must_use]
    pub fn window_cpu(&self) -> WindowCpu {
        let since = |point: &Point| Some(point.cpu_ns()?.saturating_sub(self.cpu.released.cpu_ns()?));
        WindowCpu { startup: since(&self.cpu.responded), whole: since(&self.cpu.ended) }
    }

    #[must_use]
    pub fn is_single_vm(&self) -> bool {
        self.vms == 1
    }

    /// Waits until every registered VM has arrived. Returns the instant at which the last one arrived, the
    /// same for all; `None` if the deadline passes first.
    #[must_use]
    pub fn arrive(&self, deadline: Instant) -> Option<Instant> {
        let mut state = self.state();
        let round = state.round;
        state.arrived += 1;
        self.complete_round_if_all_arrived(&mut state);
        while state.round == round {
            if deadline.passed() {
                state.arrived -= 1;
                return None;
            }
            state = self.changed.wait_timeout(state, deadline.remaining()).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(state.completed)
    }

    /// Deregisters one VM: the others no longer wait for it.
    pub fn deregister(&self) {
        let mut state = self.state();
        state.registered = state.registered.saturating_sub(1);
        self.complete_round_if_all_arrived(&mut state);
    }

    fn complete_round_if_all_arrived(&self, state: &mut State) {
        if state.arrived > 0 && state.arrived >= state.registered {
            *state =
                State { registered: state.registered, arrived: 0, round: state.round + 1, completed: Instant::now() };
            self.changed.notify_all();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the memory that the trial uses, bytes: the available memory of the host before the trial less
    /// that at the first call. Every VM gets the same value.
    ///
    /// # Errors
    /// Returns the reason in one line if the kernel does not report available memory.
    pub fn memory_used(&self) -> Result<f64, String> {
        let found = self.used.get_or_init(|| match (self.available, memory::available_bytes()) {
            (Some(before), Some(now)) => Ok(before as f64 - now as f64),
            _ => Err("/proc/meminfo has no MemAvailable".to_owned()),
        });
        found.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn later() -> Instant {
        Instant::now().after(Duration::from_secs(300))
    }

    #[test]
    fn registered_vms_wait_for_each_other_and_get_the_same_instant_in_each_round() {
        let rendezvous = Rendezvous::new(4, None);
        let rounds: Vec<Vec<Option<Instant>>> = std::thread::scope(|scope| {
            let stay = || (0..3).map(|_| rendezvous.arrive(later())).collect::<Vec<_>>();
            let threads = [scope.spawn(stay), scope.spawn(stay), scope.spawn(stay)];
            rendezvous.deregister();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(rounds.iter().all(|own| *own == rounds[0]), "{rounds:?}");
        assert!(rounds[0].iter().all(Option::is_some) && rounds[0].is_sorted());
    }

    #[test]
    fn window_ends_at_the_last_vm_and_is_missing_before_it() {
        let rendezvous = Rendezvous::new(2, None);
        std::thread::scope(|scope| drop([(); 2].map(|()| scope.spawn(|| rendezvous.release()))));
        rendezvous.responded();
        rendezvous.ended();
        assert_eq!(rendezvous.window_cpu(), WindowCpu::default());
        rendezvous.responded();
        let responded = rendezvous.window_cpu();
        assert!(responded.startup.is_some() && responded.whole.is_none(), "{responded:?}");
        rendezvous.ended();
        let ended = rendezvous.window_cpu();
        assert!(ended.startup == responded.startup && ended.whole >= ended.startup, "{responded:?}, {ended:?}");
    }

    #[test]
    fn missing_vm_is_waited_for_until_the_deadline() {
        let rendezvous = Rendezvous::new(2, None);
        assert_eq!(rendezvous.arrive(Instant::now()), None);
        // The VM that timed out no longer counts as arrived.
        assert_eq!(rendezvous.arrive(Instant::now()), None);
        rendezvous.deregister();
        assert!(rendezvous.arrive(later()).is_some());
        assert!(rendezvous.memory_used().unwrap_err().contains("MemAvailable"));
    }
}
