//! The timed part of a VM's life: from the release to its end.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use microbench_formats::describe::describe;
use microbench_formats::event::{self, reading};
use microbench_formats::record::{FailureReason, Record};
use microbench_study::engine::launch::{LaunchApi, LaunchCall};

use super::Vm;
use super::failed::Failed;
use super::process::{Process, ended, wait_for_socket};
use crate::guest::console::{Console, Seen};
use crate::host::counters::memory;
use crate::host::machine::kvm;
use crate::probe::{self, Found, ProbeError};
use crate::rendezvous::Together;
use crate::sys::Exit;
use crate::sys::clock::Instant;
use crate::vm::api::ApiError;

/// Time between a guest's falling silent and the end of its VMM, when the one is of the other.
const MOMENT: Duration = Duration::from_millis(100);

/// Why a VM has no events of an API.
const NO_API: &str = "the VMM is told all as it starts, not over an API";

impl Vm {
    /// Starts the VMM.
    pub(super) fn start(&mut self) -> Result<(Process, Console), Failed> {
        let ready = self.ready.take();
        let ready =
            ready.ok_or_else(|| Failed::new(FailureReason::Host, event::SPAWN, "the VMM was started before"))?;
        let inside = self
            .net
            .as_ref()
            .map_or(Ok(None), |net| net.link.enter())
            .context("cannot enter the guest's network")
            .map_err(Failed::host(event::SPAWN))?;
        self.event(event::SPAWN);
        let running = ready.go().map_err(Failed::host(event::SPAWN))?;
        self.event(event::VMM_EXEC);
        drop(inside);
        Ok(running)
    }

    pub(super) fn live(&mut self, together: &Together) -> Result<(), Failed> {
        let (mut process, console) = self.start()?;
        let mut result = match self.net {
            Some(_) => self.serve(&process, &console, together),
            None => self.see(&process, &console),
        };
        if let Err(failure) = &mut result {
            // A VMM that ended by itself is the cause of what its guest did not answer; both are seen at nearly the same time.
            let moment = Instant::now().after(MOMENT);
            let died = failure.reason == FailureReason::Protocol
                && probe::wait_exit(process.exited(), moment).unwrap_or(false);
            if died {
                failure.reason = FailureReason::Exited;
            }
            process.kill();
        }
        let exit = process.reap();
        let Seen { marks, tail, complaint, stats } = console.finish();
        self.complaint = complaint;
        for (name, instant) in [
            (event::CONSOLE_FIRST, marks.first),
            (event::AGENT_READY, marks.ready),
            (event::GUEST_RESTART, marks.restart),
        ] {
            if let Some(instant) = instant {
                self.records.push(Record::Event { vm: self.vm, name: name.into(), t_ns: instant.0 });
            }
        }
        self.witness(marks.ready);
        let exit = exit
            .map_err(|error| Failed::new(FailureReason::Host, event::EXIT, format!("cannot reap the VMM: {error}")))?;
        match self.counts.clone() {
            None => self.account(exit),
            Some(file) if result.is_ok() => self.count(&file),
            Some(_) => {}
        }
        if self.net.is_none() {
            result = result.and_then(|()| self.seen(marks, stats.as_deref()));
        }
        result.map_err(|failure| self.explain(failure, exit, &tail)).and_then(|()| match (exit.code, self.ended) {
            (Some(0), Some(instant)) => {
                self.records.push(Record::Event { vm: self.vm, name: event::EXIT.into(), t_ns: instant.0 });
                Ok(())
            }
            // An end that is no success is no shutdown: the event is withheld.
            _ => Err(Failed::new(FailureReason::Exited, event::EXIT, format!("the VMM ended with {}", ended(exit)))),
        })
    }

    /// From the running process to the guest's first answer.
    pub(super) fn answered(&mut self, process: &Process, console: &Console) -> Result<Found, Failed> {
        let deadline = Instant::now().after(self.deadlines.boot);
        let api = self.launch.api.clone();
        if let Some(api) = &api {
            self.configure(api, process, deadline)?;
        }
        let net = self.net.as_mut().ok_or_else(|| Failed::new(FailureReason::Host, event::HTTP_OK, "no network"))?;
        let guest = self.addresses.guest;
        let found = probe::wait(self.probe, guest, &self.nonce, &mut net.announcements, deadline, process.exited());
        if api.is_none() {
            // Said when nothing is timed any more: only engines without an API have this to say.
            for name in [event::API_READY, event::BOOT_REQUESTED, event::BOOT_ACKNOWLEDGED] {
                self.no_event(name, NO_API.to_owned());
            }
        }
        found.map_err(|error| self.probe_failed(&error, console))
    }

    /// From the running process to its exit.
    pub(super) fn serve(&mut self, process: &Process, console: &Console, together: &Together) -> Result<(), Failed> {
        let found = self.answered(process, console)?;
        self.api = None;
        if let Some(instant) = found.announced {
            self.records.push(Record::Event { vm: self.vm, name: event::AGENT_READY_DATAGRAM.into(), t_ns: instant.0 });
        }
        self.records.push(Record::Event { vm: self.vm, name: event::HTTP_OK.into(), t_ns: found.ok.0 });
        self.reading(reading::PROBE_ATTEMPTS, f64::from(found.attempts), "1");
        self.reading(reading::PROBE_CPU_TIME, found.cpu_time_ns as f64, "ns");
        match found.last_failed {
            Some(last) => self.reading(reading::PROBE_GAP, (found.ok.0 - last.0) as f64, "ns"),
            None => self.no_reading(reading::PROBE_GAP, "ns", "the first request was answered".into()),
        }

        let stats = self.guest.stats().map_err(|error| Failed::from((error, "stats")))?;
        if self.restored {
            self.not_booted(&stats);
        } else {
            self.stats(&stats);
            self.derive(found.ok, &stats);
        }
        let busy = |what| Some(what).filter(|_| !together.alone());
        match self.steady {
            Some(time) => self.hold(process, together, time)?,
            None => self.memory(process, reading::MEMORY, busy("may still boot; `hold_s` holds them")),
        }
        for task in std::mem::take(&mut self.tasks) {
            self.work(&task)?;
        }

        self.isolated(process.id())?;
        if self.kvm && self.counts.is_none() {
            for (name, count) in kvm::exits(Path::new(kvm::DEBUGFS), process.id()) {
                match count {
                    Ok(count) => self.reading(name, count as f64, "1"),
                    Err(reason) => self.no_reading(name, "1", reason),
                }
            }
        }
        if self.kind.shares_kernel() {
            self.resident(process.id());
        }
        self.memory(process, reading::MEMORY_END, busy("may still work"));
        self.event(event::STOP_REQUESTED);
        let limit = Instant::now().after(self.deadlines.stop);
        // The guest may be gone before its answer is read: then its exit is the answer.
        let asked = self.guest.shutdown();
        if asked.is_ok() {
            self.event(event::STOP_ACKNOWLEDGED);
        }
        let gone = probe::wait_exit(process.exited(), limit)
            .map_err(|error| Failed::new(FailureReason::Host, event::EXIT, error))?;
        if !gone {
            let seconds = self.deadlines.stop.as_secs();
            let refused = asked.err().map(|error| format!(" ({})", describe(&error))).unwrap_or_default();
            let message = format!("the VMM had not ended {seconds} s after the request to stop{refused}");
            return Err(Failed::new(FailureReason::Timeout, event::EXIT, message));
        }
        self.ended = Some(Instant::now());
        asked.map_err(|error| Failed::from((error, event::STOP_ACKNOWLEDGED)))
    }

    /// Holds the VM until every one of the trial has answered or failed, and `time` from then on; finds that its guest still answers.
    fn hold(&mut self, process: &Process, together: &Together, time: Duration) -> Result<(), Failed> {
        let limit = Instant::now().after(self.deadlines.boot + self.deadlines.request);
        let missed =
            |stage| Failed::new(FailureReason::Timeout, stage, "another VM of the trial did not come this far");
        let begin = together.gather(limit).ok_or_else(|| missed(event::STEADY_BEGIN))?;
        self.records.push(Record::Event { vm: self.vm, name: event::STEADY_BEGIN.into(), t_ns: begin.0 });
        let gone = probe::wait_exit(process.exited(), begin.after(time))
            .map_err(|error| Failed::new(FailureReason::Host, event::STEADY_END, error))?;
        if gone {
            let message = "the VMM ended while the trial's VMs were held";
            return Err(Failed::new(FailureReason::Exited, event::STEADY_END, message));
        }
        match together.memory_used() {
            Ok(bytes) => self.reading(reading::HOST_MEMORY_USED, bytes, "bytes"),
            Err(reason) => self.no_reading(reading::HOST_MEMORY_USED, "bytes", reason),
        }
        self.memory(process, reading::MEMORY, None);
        // Nobody is asked for anything, or stops, while the memory of another one is read.
        let limit = Instant::now().after(self.deadlines.request);
        together.gather(limit).ok_or_else(|| missed(event::STEADY_END))?;
        self.event(event::STEADY_END);
        self.guest.answers().map_err(|error| Failed::from((error, event::STEADY_RESPONSE)))?;
        self.event(event::STEADY_RESPONSE);
        Ok(())
    }

    pub(super) fn configure(&mut self, api: &LaunchApi, process: &Process, deadline: Instant) -> Result<(), Failed> {
        wait_for_socket(Path::new(&api.socket), self.watch.as_ref(), process, deadline)?;
        self.event(event::API_READY);
        self.call(&api.calls, deadline)
    }

    /// Makes calls to the VMM, one after the other.
    pub(super) fn call(&mut self, calls: &[LaunchCall], deadline: Instant) -> Result<(), Failed> {
        for call in calls {
            if call.boots {
                self.event(event::BOOT_REQUESTED);
            }
            let timeout = deadline.remaining().max(Duration::from_millis(1));
            let client = self.api.as_ref();
            let client = client
                .ok_or_else(|| Failed::new(FailureReason::Host, event::BOOT_REQUESTED, "the API's client is gone"))?;
            client.call(call, timeout).map_err(|error| match &error {
                ApiError::Refused { message, .. } if self.foreign_to_host(message) => {
                    Failed::new(FailureReason::NotApplicable, event::BOOT_REQUESTED, message)
                }
                ApiError::Refused { .. } => Failed::new(FailureReason::Host, event::BOOT_REQUESTED, &error),
                ApiError::Transport { source, .. } if source.is_timeout() => {
                    Failed::new(FailureReason::Timeout, event::BOOT_REQUESTED, describe(&error))
                }
                ApiError::Transport { .. } => {
                    Failed::new(FailureReason::Exited, event::BOOT_REQUESTED, describe(&error))
                }
            })?;
            if call.boots {
                self.event(event::BOOT_ACKNOWLEDGED);
            }
        }
        Ok(())
    }

    pub(super) fn probe_failed(&self, error: &ProbeError, console: &Console) -> Failed {
        let reason = match error {
            ProbeError::Deadline { .. } => FailureReason::Timeout,
            ProbeError::Exited => FailureReason::Exited,
            ProbeError::Protocol(_) => FailureReason::Protocol,
            ProbeError::Host(_) => FailureReason::Host,
        };
        let seconds = self.deadlines.boot.as_secs();
        let message = match (error, console.marks().ready) {
            (ProbeError::Deadline { .. }, Some(_)) => {
                format!("{error}; the deadline is {seconds} s; the agent's console mark was seen: is the network up?")
            }
            (ProbeError::Deadline { .. }, None) => format!("{error}; the deadline is {seconds} s"),
            _ => error.to_string(),
        };
        Failed::new(reason, event::HTTP_OK, message)
    }

    /// Adds how the VMM ended and its last words, and finds out whether it refused the configuration on this host.
    pub(super) fn explain(&self, mut failure: Failed, exit: Exit, tail: &str) -> Failed {
        if failure.reason == FailureReason::NotApplicable {
            // The VMM's answer says it all.
            return failure;
        }
        if failure.reason == FailureReason::Exited {
            if exit.signal == Some(libc::SIGKILL) && memory::oom_kills() > self.oom_kills {
                failure.reason = FailureReason::Memory;
                failure.message = format!("{}: the kernel killed the VMM because memory had run out", failure.message);
            }
            if self.foreign_to_host(tail) {
                failure.reason = FailureReason::NotApplicable;
            }
            failure.message = format!("{} ({})", failure.message, ended(exit));
        }
        let last: Vec<&str> = tail.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        if !last.is_empty() {
            let words: Vec<&str> = last.into_iter().rev().collect();
            failure.message = format!("{}; console: {}", failure.message, words.join(" | "));
        }
        failure
    }

    pub(super) fn foreign_to_host(&self, message: &str) -> bool {
        self.messages.iter().any(|pattern| message.contains(pattern.as_str()))
    }
}
