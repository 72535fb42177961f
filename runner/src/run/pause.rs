//! Ctrl-Z: pauses a run. The current trial becomes invalid, and no other trial starts until the run is continued.
//!
//! A terminal's SIGTSTP stops the VMMs, but not PID 1 of their PID namespace, which is this one. It
//! therefore handles the signal itself and waits.

use std::sync::{Condvar, Mutex, PoisonError};

use microbench_measure::host::interference;

static STOPPED: Mutex<bool> = Mutex::new(false);
static CHANGED: Condvar = Condvar::new();

/// Pauses the run (on SIGTSTP) or continues it (on SIGCONT).
pub fn set_stopped(stopped: bool) {
    interference::note_pause();
    store(stopped);
}

/// Ends a pause because the run is about to end.
pub fn cancel() {
    store(false);
}

fn store(stopped: bool) {
    *STOPPED.lock().unwrap_or_else(PoisonError::into_inner) = stopped;
    CHANGED.notify_all();
}

/// Blocks while the run is paused.
pub fn wait() {
    let stopped = STOPPED.lock().unwrap_or_else(PoisonError::into_inner);
    drop(CHANGED.wait_while(stopped, |stopped| *stopped));
}
