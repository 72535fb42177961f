//! The timed part of a VM's life, from the release to its exit.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use microbench_formats::describe::describe;
use microbench_formats::event::{self, reading};
use microbench_formats::record::{FailureReason, NOT_APPLICABLE, Record};
use microbench_study::engine::launch::{LaunchApi, LaunchCall};

use super::Vm;
use super::failure::VmFailure;
use super::observers::VmEnd;
use super::process::{VmmProcess, describe_exit, wait_for_socket};
use crate::guest::console::{Console, ConsoleSummary};
use crate::host::counters::memory;
use crate::host::machine::kvm;
use crate::probe::{self, FirstResponse, ProbeError};
use crate::rendezvous::Rendezvous;
use crate::sys::Exit;
use crate::sys::clock::Instant;
use crate::vm::api::ApiError;

/// Grace period for attributing a protocol error to a VMM exit: the two are seen at nearly the same time.
const EXIT_GRACE: Duration = Duration::from_millis(100);

/// Why the API events of a VM are missing.
const NO_API: &str = "this engine has no API";

/// Why a VM that the runner ended has no exit.
const ENDED_AT_RESET_PULSES: &str = "the runner ended the VM at its last reset pulse (`stop_at = \"reset-pulses\"`)";

impl Vm {
    /// Starts the VMM in the guest's network namespace, if there is one.
    pub(super) fn start(&mut self) -> Result<(VmmProcess, Console), VmFailure> {
        let prepared = self.process.take();
        let prepared = prepared
            .ok_or_else(|| VmFailure::new(FailureReason::Host, event::SPAWN, "the VMM has already been started"))?;
        // Before the spawn is recorded, so that the time of these calls is not part of it.
        let processes = prepared.enter_for_children();
        let processes =
            processes.context("cannot enter the VM's PID namespace").map_err(VmFailure::host(event::SPAWN))?;
        let namespace = self
            .net
            .as_ref()
            .map_or(Ok(None), |net| net.link.enter_namespace())
            .context("cannot enter the guest's network")
            .map_err(VmFailure::host(event::SPAWN))?;
        self.event(event::SPAWN);
        let running = prepared.spawn().map_err(VmFailure::host(event::SPAWN))?;
        self.event(event::VMM_EXEC);
        drop((processes, namespace));
        Ok(running)
    }

    /// Runs the VM from the start of its VMM to its exit, and records events and readings.
    pub(super) fn run_to_exit(&mut self, rendezvous: &Rendezvous) -> Result<(), VmFailure> {
        let (mut process, console) = self.start()?;
        let mut result = match self.net {
            Some(_) => self.run_with_network(&process, &console, rendezvous),
            None => self.run_without_network(&process, &console),
        };
        if let Err(failure) = &mut result {
            // If the VMM exited by itself, that is the cause of the guest's missing response.
            let grace = Instant::now().after(EXIT_GRACE);
            let exited =
                failure.reason == FailureReason::Protocol && probe::wait_exit(process.exited(), grace).unwrap_or(false);
            if exited {
                failure.reason = FailureReason::Exited;
            }
            process.kill();
        }
        let exit = process.reap();
        rendezvous.ended();
        // Processes that the VMM has left. If one does not end, the next trial is invalid and names it.
        drop(process.end());
        self.ended = Some(process);
        let ConsoleSummary { marks, tail, kernel_error, stats } = console.finish();
        self.kernel_error = kernel_error;
        for (name, instant) in [
            (event::CONSOLE_FIRST, marks.first),
            (event::AGENT_READY, marks.ready),
            (event::GUEST_RESTART, marks.restart),
        ] {
            if let Some(instant) = instant {
                self.records.push(Record::Event { vm: self.vm, name: name.into(), t_ns: instant.0 });
            }
        }
        self.record_console_mark(marks.ready);
        let exit = exit.map_err(|error| {
            VmFailure::new(FailureReason::Host, event::EXIT, format!("cannot reap the VMM: {error}"))
        })?;
        match self.instrument_output.clone() {
            None => self.record_resource_usage(exit),
            Some(file) if result.is_ok() => self.record_system_calls(&file),
            Some(_) => {}
        }
        if self.net.is_none() {
            result = result.and_then(|()| self.record_console(marks, stats.as_ref()));
        }
        result.map_err(|failure| self.complete_failure(failure, exit, &tail)).and_then(|()| {
            if self.ended_at_reset_pulses {
                self.missing_event(event::EXIT, format!("{NOT_APPLICABLE}{ENDED_AT_RESET_PULSES}"));
                return Ok(());
            }
            match (exit.code, self.exited_at) {
                (Some(0), Some(instant)) => {
                    self.records.push(Record::Event { vm: self.vm, name: event::EXIT.into(), t_ns: instant.0 });
                    Ok(())
                }
                // An exit that reports an error is not a shutdown: the event is not recorded.
                _ => Err(VmFailure::new(
                    FailureReason::Exited,
                    event::EXIT,
                    format!("the VMM exited with {}", describe_exit(exit)),
                )),
            }
        })
    }

    /// Waits for the guest's first response; before that, configures the VMM over its API, if it has one.
    pub(super) fn wait_for_first_response(
        &mut self,
        process: &VmmProcess,
        console: &Console,
    ) -> Result<FirstResponse, VmFailure> {
        let deadline = Instant::now().after(self.deadlines.boot);
        let api = self.launch.api.clone();
        if let Some(api) = &api {
            self.configure(api, process, deadline)?;
        }
        let net = self.net.as_mut().ok_or_else(|| VmFailure::new(FailureReason::Host, event::HTTP_OK, "no network"))?;
        let guest = self.addresses.guest;
        let found = probe::wait_for_first_response(
            self.probe,
            guest,
            &self.nonce,
            &mut net.ready_socket,
            deadline,
            process.exited(),
        );
        if api.is_none() {
            // Recorded after the timed part, because engines with an API do not record this.
            for name in [event::API_READY, event::BOOT_REQUESTED, event::BOOT_ACKNOWLEDGED] {
                self.missing_event(name, NO_API.to_owned());
            }
        }
        found.map_err(|error| self.probe_failed(&error, console))
    }

    /// Runs a VM whose guest has a network, from the start of its process to its exit.
    pub(super) fn run_with_network(
        &mut self,
        process: &VmmProcess,
        console: &Console,
        rendezvous: &Rendezvous,
    ) -> Result<(), VmFailure> {
        let found = self.wait_for_first_response(process, console)?;
        rendezvous.responded();
        self.api = None;
        if let Some(instant) = found.ready_datagram {
            self.records.push(Record::Event { vm: self.vm, name: event::AGENT_READY_DATAGRAM.into(), t_ns: instant.0 });
        }
        self.records.push(Record::Event { vm: self.vm, name: event::HTTP_OK.into(), t_ns: found.ok.0 });
        self.reading(reading::PROBE_ATTEMPTS, f64::from(found.attempts), "1");
        self.reading(reading::PROBE_CPU_TIME, found.cpu_time_ns as f64, "ns");
        match found.last_failed {
            Some(last) => self.reading(reading::PROBE_GAP, (found.ok.0 - last.0) as f64, "ns"),
            None => self.missing_reading(reading::PROBE_GAP, "ns", "the first request succeeded".into()),
        }

        let stats = self.guest.stats().map_err(|error| VmFailure::from((error, "stats")))?;
        self.record_guest(&stats, found.ok, Instant::now()).map_err(|error| VmFailure::from((error, "stats")))?;
        let busy = |what| Some(what).filter(|_| !rendezvous.is_single_vm());
        match self.steady {
            Some(time) => self.hold(process, rendezvous, time)?,
            None => self.record_memory(process, reading::MEMORY, busy("may still boot; set `hold_s` to hold them")),
        }
        for workload in std::mem::take(&mut self.workloads) {
            self.run_workload(&workload)?;
        }

        self.check_isolation(process.id())?;
        if self.kvm && self.instrument_output.is_none() {
            for (name, count) in kvm::read_exits(Path::new(kvm::DEBUGFS), process.id()) {
                match count {
                    Ok(count) => self.reading(name, count as f64, "1"),
                    Err(reason) => self.missing_reading(name, "1", reason),
                }
            }
        }
        if self.kind.shares_kernel() {
            self.record_resident_set(process.id());
        }
        self.record_memory(process, reading::MEMORY_END, busy("may still run their workloads"));
        self.event(event::STOP_REQUESTED);
        let limit = Instant::now().after(self.deadlines.stop);
        // The guest may shut down before its response is read; then its exit confirms the request.
        let requested = self.guest.shutdown();
        if requested.is_ok() {
            self.event(event::STOP_ACKNOWLEDGED);
        }
        let end = (self.observers.wait_for_end(process, limit))
            .map_err(|error| VmFailure::new(FailureReason::Host, event::EXIT, error))?;
        match end {
            VmEnd::Exited => self.exited_at = Some(Instant::now()),
            VmEnd::AtResetPulses => self.ended_at_reset_pulses = true,
            VmEnd::TimedOut => {
                let seconds = self.deadlines.stop.as_secs();
                let error = requested.err().map(|error| format!(" ({})", describe(&error))).unwrap_or_default();
                let untraced = self.observers.no_reset_pulses();
                let untraced = untraced.map(|why| format!("; its reset pulses are unknown: {why}")).unwrap_or_default();
                let message =
                    format!("the VMM did not exit within {seconds} s of the request to shut down{error}{untraced}");
                return Err(VmFailure::new(FailureReason::Timeout, event::EXIT, message));
            }
        }
        requested.map_err(|error| VmFailure::from((error, event::STOP_ACKNOWLEDGED)))
    }

    /// Holds the VM until every VM of the trial has responded or failed, and then for `time`. Checks that its
    /// guest still responds.
    fn hold(&mut self, process: &VmmProcess, rendezvous: &Rendezvous, time: Duration) -> Result<(), VmFailure> {
        let limit = Instant::now().after(self.deadlines.boot + self.deadlines.request);
        let missed = |stage| {
            VmFailure::new(FailureReason::Timeout, stage, "another VM of the trial did not reach this point in time")
        };
        let begin = rendezvous.arrive(limit).ok_or_else(|| missed(event::STEADY_BEGIN))?;
        self.records.push(Record::Event { vm: self.vm, name: event::STEADY_BEGIN.into(), t_ns: begin.0 });
        let exited = probe::wait_exit(process.exited(), begin.after(time))
            .map_err(|error| VmFailure::new(FailureReason::Host, event::STEADY_END, error))?;
        if exited {
            let message = "the VMM exited while the VMs of the trial were held";
            return Err(VmFailure::new(FailureReason::Exited, event::STEADY_END, message));
        }
        match rendezvous.memory_used() {
            Ok(bytes) => self.reading(reading::HOST_MEMORY_USED, bytes, "bytes"),
            Err(reason) => self.missing_reading(reading::HOST_MEMORY_USED, "bytes", reason),
        }
        self.record_memory(process, reading::MEMORY, None);
        // No guest gets a request or shuts down while the memory of another VM is read.
        let limit = Instant::now().after(self.deadlines.request);
        rendezvous.arrive(limit).ok_or_else(|| missed(event::STEADY_END))?;
        self.event(event::STEADY_END);
        self.guest.check_responds().map_err(|error| VmFailure::from((error, event::STEADY_RESPONSE)))?;
        self.event(event::STEADY_RESPONSE);
        Ok(())
    }

    /// Waits for the VMM's API socket, then configures and boots the VM over it.
    pub(super) fn configure(
        &mut self,
        api: &LaunchApi,
        process: &VmmProcess,
        deadline: Instant,
    ) -> Result<(), VmFailure> {
        let socket = wait_for_socket(Path::new(&api.socket), self.socket_watch.as_ref(), process, deadline)?;
        let used = self.api.as_mut().map_or(Ok(()), |client| client.use_socket(&socket));
        used.map_err(|error| VmFailure::new(FailureReason::Host, event::API_READY, error))?;
        self.event(event::API_READY);
        self.call_api(&api.calls, deadline)
    }

    /// Sends the calls to the VMM's API, one after the other.
    pub(super) fn call_api(&mut self, calls: &[LaunchCall], deadline: Instant) -> Result<(), VmFailure> {
        for call in calls {
            if call.boots {
                self.event(event::BOOT_REQUESTED);
            }
            let timeout = deadline.remaining().max(Duration::from_millis(1));
            let client = self.api.as_ref();
            let client = client.ok_or_else(|| {
                VmFailure::new(FailureReason::Host, event::BOOT_REQUESTED, "the API client is already closed")
            })?;
            client.call(call, timeout).map_err(|error| match &error {
                ApiError::Refused { message, .. } if self.is_not_applicable(message) => {
                    VmFailure::new(FailureReason::NotApplicable, event::BOOT_REQUESTED, message)
                }
                ApiError::Refused { .. } => VmFailure::new(FailureReason::Host, event::BOOT_REQUESTED, &error),
                ApiError::Transport { source, .. } if source.is_timeout() => {
                    VmFailure::new(FailureReason::Timeout, event::BOOT_REQUESTED, describe(&error))
                }
                ApiError::Transport { .. } => {
                    VmFailure::new(FailureReason::Exited, event::BOOT_REQUESTED, describe(&error))
                }
            })?;
            if call.boots {
                self.event(event::BOOT_ACKNOWLEDGED);
            }
        }
        Ok(())
    }

    pub(super) fn probe_failed(&self, error: &ProbeError, console: &Console) -> VmFailure {
        let reason = match error {
            ProbeError::Deadline { .. } => FailureReason::Timeout,
            ProbeError::Exited => FailureReason::Exited,
            ProbeError::Protocol(_) => FailureReason::Protocol,
            ProbeError::Host(_) => FailureReason::Host,
        };
        let seconds = self.deadlines.boot.as_secs();
        let message = match (error, console.marks().ready) {
            (ProbeError::Deadline { .. }, Some(_)) => {
                format!(
                    "{error}; the deadline is {seconds} s; the agent's mark is on the console: \
                     check the guest's network"
                )
            }
            (ProbeError::Deadline { .. }, None) => format!("{error}; the deadline is {seconds} s"),
            _ => error.to_string(),
        };
        VmFailure::new(reason, event::HTTP_OK, message)
    }

    /// Adds the exit status and the last console lines to a failure, and refines its reason.
    pub(super) fn complete_failure(&self, mut failure: VmFailure, exit: Exit, tail: &str) -> VmFailure {
        if failure.reason == FailureReason::NotApplicable {
            // The VMM's error message is complete.
            return failure;
        }
        if failure.reason == FailureReason::Exited {
            if exit.signal == Some(libc::SIGKILL) && memory::oom_kills() > self.oom_kills {
                failure.reason = FailureReason::Memory;
                failure.message =
                    format!("{}: the host's kernel killed the VMM because it ran out of memory", failure.message);
            }
            if self.is_not_applicable(tail) {
                failure.reason = FailureReason::NotApplicable;
            }
            failure.message = format!("{} ({})", failure.message, describe_exit(exit));
        }
        let last: Vec<&str> = tail.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
        if !last.is_empty() {
            let lines: Vec<&str> = last.into_iter().rev().collect();
            failure.message = format!("{}; console: {}", failure.message, lines.join(" | "));
        }
        failure
    }

    /// Returns whether the engine's description lists `message` as one that means "not applicable on this host".
    pub(super) fn is_not_applicable(&self, message: &str) -> bool {
        self.not_applicable_messages.iter().any(|pattern| message.contains(pattern.as_str()))
    }
}
