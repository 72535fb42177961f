//! A library to preload: the wall clock jumps an hour ahead at each read. Other clocks are not changed.

use std::sync::atomic::{AtomicI64, Ordering};

static JUMPS: AtomicI64 = AtomicI64::new(0);

/// `clock_gettime(3)`.
///
/// # Safety
/// As for the C function: `time` points to a `timespec`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> libc::c_int {
    // SAFETY: the caller guarantees that `time` is valid.
    let result = unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) };
    if result == 0 && (clock == libc::CLOCK_REALTIME || clock == libc::CLOCK_REALTIME_COARSE) {
        // SAFETY: the kernel has written to `time`, so it is valid.
        unsafe { (*time).tv_sec += 3600 * JUMPS.fetch_add(1, Ordering::Relaxed) };
    }
    if result == 0 { 0 } else { -1 }
}
