//! Everything that the program prints: results to standard output, messages to standard error.
//!
//! A result that cannot be written is an error, because its reader must learn that it is not whole. A message that
//! cannot be written is dropped: no place is left to say so, and a run does not end because its log does. The lints
//! `print_stdout` and `print_stderr` hold the rest of the program to this module: `println!` panics where
//! [`outln!`](crate::outln) returns an error.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use microbench_formats::code::{Code, Coded};

use crate::sys;

/// Prints to standard output. The value is a `Result`, see [`output::print`](print).
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::terminal::output::print(::std::format_args!($($text)*)) };
}

/// Prints a line to standard output. The value is a `Result`, see [`output::print`](print).
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => { $crate::terminal::output::print(::std::format_args!("{}\n", ::std::format_args!($($text)*))) };
}

/// Prints to standard error; does nothing where that fails.
#[macro_export]
macro_rules! err {
    ($($text:tt)*) => { $crate::terminal::output::message(::std::format_args!($($text)*)) };
}

/// Prints a line to standard error; does nothing where that fails.
#[macro_export]
macro_rules! errln {
    ($($text:tt)*) => { $crate::terminal::output::message(::std::format_args!("{}\n", ::std::format_args!($($text)*))) };
}

/// Whether SIGPIPE ends the process when its standard output has no reader.
static ENDS_WITH_READER: AtomicBool = AtomicBool::new(false);

/// From now on SIGPIPE ends this process when its standard output has no reader, as in `microbench plan STUDY | head`.
/// For commands that leave nothing half-made. Standard error is not concerned: the exit code still counts when nobody
/// reads the messages.
pub fn end_with_reader() {
    ENDS_WITH_READER.store(true, Ordering::Relaxed);
}

/// Writes `text` to standard output.
///
/// # Errors
/// [`Code::NoOutput`] when standard output cannot be written to.
pub fn print(text: Arguments<'_>) -> Result<(), Coded> {
    write_by(|out| out.write_fmt(text))
}

/// Writes to standard output what `write` writes to its argument, which has a buffer.
///
/// # Errors
/// [`Code::NoOutput`] when standard output cannot be written to, or `write` fails.
pub fn write_by(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Coded> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    check(write(&mut out).and_then(|()| out.flush()))
}

/// The outcome of writing to standard output.
///
/// # Errors
/// [`Code::NoOutput`] when that failed.
pub fn check(written: io::Result<()>) -> Result<(), Coded> {
    written.map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe && ENDS_WITH_READER.load(Ordering::Relaxed) {
            sys::end_by_sigpipe();
        }
        Code::NoOutput.says(format!("cannot write to standard output: {error}"))
    })
}

/// Writes `text` to standard error in one piece, so that lines of several processes do not mix.
pub fn message(text: Arguments<'_>) {
    drop(io::stderr().write_all(std::fmt::format(text).as_bytes()));
}
