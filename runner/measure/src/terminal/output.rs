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
use microbench_formats::terminal::{is_unprintable, printable};

use crate::sys;
use crate::terminal::screen::Stream;

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

/// Writes `text` to standard output, without characters that control a terminal (see [`printable`]).
///
/// # Errors
/// [`Code::NoOutput`] if standard output cannot be written to.
pub fn print(text: Arguments<'_>) -> Result<(), CodedError> {
    let text = std::fmt::format(text);
    write_with(|out| out.write_all(printable(&text, Stream::Out.is_coloured()).as_bytes()))
}

/// Writes `text`, which is JSON, to standard output. Characters that control a terminal, which only strings contain, are
/// written as `\uXXXX`.
///
/// # Errors
/// [`Code::NoOutput`] if standard output cannot be written to.
pub fn print_json(text: &str) -> Result<(), CodedError> {
    write_with(|out| write_json(text, out))
}

fn write_json(text: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| is_unprintable(c) && c != '\n') {
        out.write_all(&rest.as_bytes()[..at])?;
        let character = rest[at..].chars().next().unwrap_or_default();
        // Each unprintable character is in the basic plane.
        write!(out, "\\u{:04x}", u32::from(character))?;
        rest = &rest[at + character.len_utf8()..];
    }
    out.write_all(rest.as_bytes())
}

/// Calls `write` with a buffered writer to standard output. What is written is not changed: it must be free of texts of
/// others.
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

/// Writes `text` to standard error in a single write, so that lines of several processes do not mix, and without
/// characters that control a terminal. Ignores errors.
pub fn print_message(text: Arguments<'_>) {
    let text = std::fmt::format(text);
    drop(io::stderr().write_all(printable(&text, Stream::Err.is_coloured()).as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_escapes_what_controls_a_terminal() {
        let mut out = Vec::new();
        write_json("{\n  \"a\u{202e}\u{9b}b\": \"\u{7f}é\"}", &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "{\n  \"a\\u202e\\u009bb\": \"\\u007fé\"}");
    }
}
