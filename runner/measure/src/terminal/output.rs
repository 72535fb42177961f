//! All output of the program: results to standard output, messages to standard error.
//!
//! A result that cannot be written is an error, so that a reader does not use an incomplete result. A message that
//! cannot be written is dropped, so that a run does not fail because of its messages. The lints `print_stdout` and
//! `print_stderr` make the rest of the program use this module: `println!` panics where [`outln!`](crate::outln)
//! returns an error.

use std::fmt::Arguments;
use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use microbench_formats::code::{Code, CodedError};

use crate::sys;

/// Prints to standard output. Evaluates to a `Result` (see [`output::print`](print)).
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::terminal::output::print(::std::format_args!($($text)*)) };
}

/// Prints a line to standard output. Evaluates to a `Result` (see [`output::print`](print)).
///
/// ```
/// use microbench_measure::outln;
///
/// # fn main() -> anyhow::Result<()> {
/// outln!("{} trials", 3)?;
/// # Ok(())
/// # }
/// ```
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => { $crate::terminal::output::print(::std::format_args!("{}\n", ::std::format_args!($($text)*))) };
}

/// Prints to standard error; ignores errors.
#[macro_export]
macro_rules! err {
    ($($text:tt)*) => { $crate::terminal::output::print_message(::std::format_args!($($text)*)) };
}

/// Prints a line to standard error; ignores errors.
#[macro_export]
macro_rules! errln {
    ($($text:tt)*) => { $crate::terminal::output::print_message(::std::format_args!("{}\n", ::std::format_args!($($text)*))) };
}

/// Whether the process ends by SIGPIPE if standard output has no reader.
static EXIT_ON_SIGPIPE: AtomicBool = AtomicBool::new(false);

/// Makes this process end by SIGPIPE if standard output has no reader, as in `microbench plan STUDY | head`. For
/// read-only commands. Standard error is not affected, so that the exit code is correct even if messages are not read.
pub fn exit_on_sigpipe() {
    EXIT_ON_SIGPIPE.store(true, Ordering::Relaxed);
}

/// Writes `text` to standard output.
///
/// # Errors
/// [`Code::NoOutput`] if standard output cannot be written to.
pub fn print(text: Arguments<'_>) -> Result<(), CodedError> {
    write_with(|out| out.write_fmt(text))
}

/// Calls `write` with a buffered writer to standard output.
///
/// # Errors
/// [`Code::NoOutput`] if standard output cannot be written to, or `write` fails.
pub fn write_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CodedError> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    check_written(write(&mut out).and_then(|()| out.flush()))
}

/// Converts the result of a write to standard output. Ends the process by SIGPIPE if the pipe has no reader and
/// [`exit_on_sigpipe`] was called.
///
/// # Errors
/// [`Code::NoOutput`] if the write failed.
pub fn check_written(written: io::Result<()>) -> Result<(), CodedError> {
    written.map_err(|error| {
        if error.kind() == ErrorKind::BrokenPipe && EXIT_ON_SIGPIPE.load(Ordering::Relaxed) {
            sys::end_by_sigpipe();
        }
        Code::NoOutput.with_message(format!("cannot write to standard output: {error}"))
    })
}

/// Writes `text` to standard error in a single write, so that lines of several processes do not mix. Ignores errors.
pub fn print_message(text: Arguments<'_>) {
    drop(io::stderr().write_all(std::fmt::format(text).as_bytes()));
}
