//! Ctrl-Z: the trial that it falls into is invalid, and no other begins until the run goes on.
//!
//! The first process of a PID namespace cannot be stopped by a signal from within, while its VMMs can. So it is told, and waits.

use std::sync::{Condvar, Mutex, PoisonError};

use microbench_measure::host::interference;

static STOPPED: Mutex<bool> = Mutex::new(false);
static CHANGED: Condvar = Condvar::new();

/// A signal asked to stop (SIGTSTP), or to go on (SIGCONT).
pub fn set(stopped: bool) {
    interference::note_pause();
    store(stopped);
}

/// The run is to end: nobody waits any more.
pub fn over() {
    store(false);
}

fn store(stopped: bool) {
    *STOPPED.lock().unwrap_or_else(PoisonError::into_inner) = stopped;
    CHANGED.notify_all();
}

/// Returns when nothing asks to stop.
pub fn wait() {
    let stopped = STOPPED.lock().unwrap_or_else(PoisonError::into_inner);
    drop(CHANGED.wait_while(stopped, |stopped| *stopped));
}
