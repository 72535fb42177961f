//! Observers of a VM by perf events: the trace of its boot, its reset pulses, and counts.

use std::io;

use microbench_formats::event::{self, reading};
use microbench_formats::instrument::Instrument;
use microbench_study::engine::description::Engine;
use microbench_study::engine::guest_settings::GuestSettings;
use microbench_study::engine::machine;

use super::Vm;
use super::failure::VmFailure;
use super::process::VmmProcess;
use crate::host::counters::perf_counts::{Counted, PerfCounts};
use crate::host::counters::reset_pulses::ResetPulses;
use crate::host::counters::trace::Trace;
use crate::probe;
use crate::sys::clock::Instant;

/// The observers of one VM. Those that it needs are opened just before its release.
#[derive(Debug)]
pub(super) struct Observers {
    traces_boot: bool,
    traces_reset_pulses: bool,
    /// The runner ends the VM at its last reset pulse.
    ends_at_reset_pulses: bool,
    counts: bool,
    boot: Option<Trace>,
    reset_pulses: Option<Result<ResetPulses, String>>,
    counters: Option<PerfCounts>,
    /// The counts when the runner ended the VM.
    counted: Option<Counted>,
}

/// How the wait for the end of a VM ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VmEnd {
    /// The VMM exited by itself.
    Exited,
    /// The runner killed the VMM at the guest's last reset pulse, as the setting `stop_at` states.
    AtResetPulses,
    /// The deadline passed.
    TimedOut,
}

impl Observers {
    /// The observers that the settings and the trial's instrument ask for; none is open.
    pub(super) fn new(engine: &Engine, guest: &GuestSettings, instrument: Option<Instrument>) -> Self {
        Self {
            traces_boot: machine::traced(engine, guest),
            traces_reset_pulses: machine::reset_pulses_traced(engine, guest),
            ends_at_reset_pulses: machine::ends_at_reset_pulses(engine, guest),
            counts: instrument == Some(Instrument::Perf),
            boot: None,
            reset_pulses: None,
            counters: None,
            counted: None,
        }
    }

    /// Opens the perf events for the next child of the calling thread.
    pub(super) fn open_for_next_child(&mut self) {
        self.boot = self.traces_boot.then(Trace::open_for_next_child);
        self.reset_pulses = self.traces_reset_pulses.then(ResetPulses::open_for_next_child);
        self.counters = self.counts.then(PerfCounts::open_for_next_child);
    }

    /// Why the reset pulses that end the VM cannot be traced; `None` if they can, or if they do not end it.
    pub(super) fn no_reset_pulses(&self) -> Option<&str> {
        let pulses = self.reset_pulses.as_ref().filter(|_| self.ends_at_reset_pulses);
        pulses.and_then(|pulses| pulses.as_ref().err()).map(String::as_str)
    }

    /// Waits until `limit` for the end of the VM, and kills its VMM at its last reset pulse if that is its end.
    pub(super) fn wait_for_end(&mut self, process: &VmmProcess, limit: Instant) -> io::Result<VmEnd> {
        let end = |exited| if exited { VmEnd::Exited } else { VmEnd::TimedOut };
        let Some(Ok(pulses)) = self.reset_pulses.as_mut().filter(|_| self.ends_at_reset_pulses) else {
            return probe::wait_exit(process.exited(), limit).map(end);
        };
        loop {
            let exited = probe::wait_exit_or_readable(process.exited(), &pulses.descriptors(), limit.remaining())?;
            if exited {
                return Ok(VmEnd::Exited);
            }
            if pulses.are_complete() {
                self.counted = self.counters.as_mut().map(PerfCounts::read);
                process.kill();
                return Ok(VmEnd::AtResetPulses);
            }
            if limit.passed() {
                return Ok(VmEnd::TimedOut);
            }
        }
    }
}

impl Vm {
    /// Records what the observers saw, after the VMM has ended.
    pub(super) fn record_observed(&mut self, failure: Option<&VmFailure>) {
        for (name, instant) in self.observers.boot.take().map(Trace::finish).unwrap_or_default() {
            self.record_derived_event(name, instant);
        }
        self.record_reset_pulses(failure);
        let counts = self.observers.counted.take();
        let counts = counts.or_else(|| self.observers.counters.take().map(|mut counters| counters.read()));
        for (name, count) in counts.unwrap_or_default() {
            match count {
                _ if name == reading::GUEST_KEYBOARD_POLLS && self.kind.shares_kernel() => {
                    self.missing_reading(name, "1", self.kind.no_kernel().unwrap_or_default());
                }
                Ok(count) => self.reading(name, count as f64, "1"),
                Err(reason) => self.missing_reading(name, "1", reason),
            }
        }
    }

    /// Records the first and the last reset pulse. If the VM failed before its last pulse, that event is not recorded,
    /// and it has no reason: it was yet to come.
    fn record_reset_pulses(&mut self, failure: Option<&VmFailure>) {
        let names = [event::GUEST_RESET_PULSE, event::GUEST_RESET_PULSE_LAST];
        let reason = match (self.observers.reset_pulses.take(), self.kind.no_kernel()) {
            (None, Some(no_kernel)) => no_kernel,
            // Without this reason, a VM that did not exit in time would count as one without pulses until then.
            (None, None) if failure.is_some_and(|failure| failure.stage == event::EXIT) => {
                "the VM was not traced".to_owned()
            }
            (None, None) => return,
            (Some(Err(reason)), _) => reason,
            (Some(Ok(mut pulses)), _) => match pulses.first_and_last(failure.is_some()) {
                (None, _) if failure.is_some() => return,
                (None, _) => "KVM's tracepoints recorded no reset pulse".to_owned(),
                (Some(first), last) => {
                    for (name, time) in names.into_iter().zip([Some(first), last]) {
                        if let Some(time) = time {
                            self.record_derived_event(name, Ok(time));
                        }
                    }
                    return;
                }
            },
        };
        for name in names {
            self.missing_event(name, reason.clone());
        }
    }
}
