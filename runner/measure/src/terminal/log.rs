//! Log events (`tracing`), written to standard error and to a run's `run.log`.
//!
//! Nothing is written in a timed window, from [`open_timed_window`] to the drop of its guard: events are counted
//! ([`dropped_events`]) and neither formatted nor written. Code in timed windows should emit no events; a test checks
//! this.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use microbench_formats::code::{Code, CodedError};
use microbench_formats::input;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::Registry;

use super::progress;

/// File name of the log in a run's folder.
pub const FILE: &str = "run.log";
/// Environment variable with the log levels of standard error.
pub const VARIABLE: &str = "MICROBENCH_LOG";
/// Prefix of the targets of this program's events: the names of its crates. Events of libraries are never written.
const OWN: &str = "microbench";
/// Most bytes of a run's log.
const FILE_LIMIT: u64 = 8 << 20;
/// Last line of a log that has reached the limit.
const FULL: &str = "the log is full; later messages are not written\n";
/// Most bytes that are buffered until the run's folder exists.
const BUFFER_LIMIT: usize = 256 << 10;

/// Log levels of standard error: a default level, and levels for single targets.
///
/// ```
/// use microbench_measure::terminal::log::Levels;
///
/// assert!("warn,microbench_measure=debug".parse::<Levels>().is_ok());
/// assert!("loud".parse::<Levels>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    all: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

impl Levels {
    /// The levels for a number of `-v` options; `None` for 0.
    fn from_verbosity(verbosity: u8) -> Option<Self> {
        let all = match verbosity {
            0 => return None,
            1 => LevelFilter::INFO,
            _ => LevelFilter::DEBUG,
        };
        Some(Self { all, targets: Vec::new() })
    }

    fn most_verbose(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| *level).chain([self.all]).max().unwrap_or(LevelFilter::OFF)
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self { all: LevelFilter::WARN, targets: Vec::new() }
    }
}

impl FromStr for Levels {
    type Err = CodedError;

    /// Parses levels separated by commas, each as LEVEL or TARGET=LEVEL: `info`, `warn,microbench_measure=debug`.
    fn from_str(text: &str) -> Result<Self, CodedError> {
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim) {
            let (target, level) = part.split_once('=').map_or(("", part), |(target, level)| (target, level));
            let bad_value = || {
                Code::BadValue.with_message(format!(
                    "{VARIABLE}: `{part}` is not a level (off, error, warn, info, debug, trace) or TARGET=LEVEL with a target \
                     such as microbench_measure"
                ))
            };
            let level = match level {
                "off" => LevelFilter::OFF,
                "error" => LevelFilter::ERROR,
                "warn" => LevelFilter::WARN,
                "info" => LevelFilter::INFO,
                "debug" => LevelFilter::DEBUG,
                "trace" => LevelFilter::TRACE,
                _ => return Err(bad_value()),
            };
            match target {
                "" if part.contains('=') => return Err(bad_value()),
                "" => levels.all = level,
                target if target.starts_with(OWN) => levels.targets.push((target.to_owned(), level)),
                _ => return Err(bad_value()),
            }
        }
        Ok(levels)
    }
}

static VERBOSITY: AtomicU8 = AtomicU8::new(0);

/// Number of `-v` options.
#[must_use]
pub fn verbosity() -> u8 {
    VERBOSITY.load(Ordering::Relaxed)
}

/// The value of [`VARIABLE`]; `None` if it is not set or empty.
#[must_use]
pub fn variable() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())
}

/// Starts logging. Later calls have no effect.
///
/// The levels of standard error are those of `verbosity`, the number of `-v` options; if that is 0, of the variable
/// [`VARIABLE`]; else `warn`. If `has_run_log`, events up to the level `debug` are also kept for the run's log: in a
/// buffer until [`write_to_run`].
///
/// # Errors
/// [`Code::BadValue`] if the variable cannot be parsed.
pub fn start(verbosity: u8, has_run_log: bool) -> Result<(), CodedError> {
    VERBOSITY.store(verbosity, Ordering::Relaxed);
    let levels = match (Levels::from_verbosity(verbosity), variable()) {
        (Some(levels), _) => levels,
        (None, Some(text)) => text.parse()?,
        (None, None) => Levels::default(),
    };
    start_with(&levels, has_run_log);
    Ok(())
}

/// Starts logging with the given levels of standard error (see [`start`]).
pub fn start_with(levels: &Levels, has_run_log: bool) {
    // Fails if logging was started before, as documented.
    let _ = tracing::subscriber::set_global_default(subscriber(levels, has_run_log, || StderrWriter));
}

/// A subscriber that writes to `stderr` and, if `has_run_log`, to the run's log.
fn subscriber<W: Write + 'static>(
    levels: &Levels,
    has_run_log: bool,
    stderr: impl Fn() -> W + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let run_log = if has_run_log { LevelFilter::DEBUG } else { LevelFilter::OFF };
    let targets = Targets::new().with_default(levels.all).with_targets(levels.targets.iter().cloned());
    let messages = fmt::layer().with_ansi(false).log_internal_errors(false).without_time().with_writer(stderr);
    let log = fmt::layer().with_ansi(false).log_internal_errors(false).with_writer(|| RunLogWriter);
    Registry::default()
        .with(messages.with_filter(targets))
        .with(log.with_filter(run_log))
        .with(TimedWindowFilter { most: levels.most_verbose().max(run_log) })
}

/// Number of open timed windows.
static WINDOWS: AtomicU32 = AtomicU32::new(0);
/// Number of events that were dropped in timed windows.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Guard of a timed window, which closes it on drop.
#[derive(Debug)]
pub struct TimedWindow(());

/// Opens a timed window, in which no event is formatted or written. Windows may overlap.
#[must_use]
pub fn open_timed_window() -> TimedWindow {
    WINDOWS.fetch_add(1, Ordering::SeqCst);
    TimedWindow(())
}

impl Drop for TimedWindow {
    fn drop(&mut self) {
        WINDOWS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Number of events that this process emitted in timed windows, which were not written.
#[must_use]
pub fn dropped_events() -> u64 {
    DROPPED.load(Ordering::SeqCst)
}

/// Discards all events of libraries, and all events in timed windows.
struct TimedWindowFilter {
    /// Most verbose level of the layers behind this filter.
    most: LevelFilter,
}

impl<S: Subscriber> Layer<S> for TimedWindowFilter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // `sometimes`, so that `enabled` is called for each event: windows open and close.
        if metadata.target().starts_with(OWN) { Interest::sometimes() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        if !metadata.target().starts_with(OWN) {
            return false;
        }
        let open = WINDOWS.load(Ordering::SeqCst) == 0;
        if !open {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
        open
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.most)
    }
}

/// Writes an event to standard error, above the live line if there is one.
struct StderrWriter;

impl Write for StderrWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        progress::print_line(String::from_utf8_lossy(line).trim_end());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Destination of the run's log.
#[derive(Debug)]
enum Sink {
    /// A buffer: the run's folder does not exist yet.
    Buffer(Vec<u8>),
    /// A file, with the number of bytes that it may still grow by.
    File(File, u64),
    /// None: the file is full or cannot be written.
    Closed,
}

static SINK: Mutex<Sink> = Mutex::new(Sink::Buffer(Vec::new()));

impl Sink {
    /// Writes an event in a single write. Errors are ignored, so that a run does not fail because of its log.
    fn write(&mut self, line: &[u8]) {
        let length = line.len() as u64;
        match self {
            Self::Buffer(buffer) if buffer.len() + line.len() <= BUFFER_LIMIT => buffer.extend_from_slice(line),
            Self::File(file, room) if *room >= length + FULL.len() as u64 => {
                *room -= length;
                drop(file.write_all(line));
            }
            Self::File(file, _) => {
                drop(file.write_all(FULL.as_bytes()));
                *self = Self::Closed;
            }
            Self::Buffer(_) | Self::Closed => {}
        }
    }

    /// Opens the log of the run in `folder` for appending.
    fn open(folder: &Path, limit: u64) -> io::Result<Self> {
        let file = input::append_in(folder, FILE)?;
        let room = limit.saturating_sub(file.metadata()?.len());
        Ok(if room < FULL.len() as u64 { Self::Closed } else { Self::File(file, room) })
    }
}

/// Writes the buffered events, and all later events, to the log in the run's `folder`. It is appended to if an earlier
/// session has written it. If it cannot be written, a warning is logged and there is no log.
pub fn write_to_run(folder: &Path) {
    let opened = Sink::open(folder, FILE_LIMIT);
    let error = opened.as_ref().err().map(ToString::to_string);
    {
        let mut sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *sink, opened.unwrap_or(Sink::Closed));
        if let Sink::Buffer(buffer) = before {
            buffer.split_inclusive(|byte| *byte == b'\n').for_each(|line| sink.write(line));
        }
    }
    if let Some(error) = error {
        tracing::warn!("cannot write {}: {error}", folder.join(FILE).display());
    }
}

/// Writes an event to the run's log.
struct RunLogWriter;

impl Write for RunLogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        SINK.lock().unwrap_or_else(PoisonError::into_inner).write(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn levels_are_parsed_and_the_error_lists_the_valid_levels() {
        let levels: Levels = "warn,microbench_measure=debug".parse().unwrap();
        assert_eq!((levels.all, levels.most_verbose()), (LevelFilter::WARN, LevelFilter::DEBUG));
        assert_eq!("off".parse::<Levels>().unwrap().most_verbose(), LevelFilter::OFF);
        for wrong in ["", "inof", "hyper=trace", "=debug", "microbench=", "info,"] {
            let error = wrong.parse::<Levels>().unwrap_err().to_string();
            assert!(error.contains("MICROBENCH_LOG") && error.contains("off, error, warn"), "{wrong}: {error}");
        }
    }

    /// A writer with readable content.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Panics if it is formatted.
    struct Unformatted;

    impl std::fmt::Display for Unformatted {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("an event was formatted in a timed window")
        }
    }

    #[test]
    fn events_in_timed_windows_and_events_of_libraries_are_not_written() {
        let written = Shared::default();
        let stderr = written.clone();
        let levels = Levels { all: LevelFilter::TRACE, targets: Vec::new() };
        tracing::subscriber::with_default(subscriber(&levels, false, move || stderr.clone()), || {
            tracing::info!(n = 1, "before");
            tracing::error!(target: "hyper_util", "a library's");
            let window = open_timed_window();
            let before = dropped_events();
            tracing::error!("{Unformatted}");
            tracing::trace!(unformatted = %Unformatted, "in it");
            assert_eq!(dropped_events() - before, 2);
            drop(window);
            tracing::trace!("after");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with("microbench_measure::terminal::log::tests: before n=1"), "{text}");
        assert!(lines[1].ends_with("after"), "{text}");
    }

    #[test]
    fn run_log_is_appended_to_and_limited_in_size() {
        let folder = tempfile::tempdir().unwrap();
        let limit = 100 + FULL.len() as u64;
        let write = |text: &str| {
            let mut sink = Sink::open(folder.path(), limit).unwrap();
            sink.write(text.as_bytes());
            sink.write(text.as_bytes());
        };
        let line = format!("{}\n", "x".repeat(39));
        write(&line);
        let read = || std::fs::read_to_string(folder.path().join(FILE)).unwrap();
        assert_eq!(read(), line.repeat(2));
        write(&line);
        assert_eq!(read(), format!("{}{FULL}", line.repeat(2)));
        write(&line);
        assert!(read().len() as u64 <= limit, "{}", read());
    }
}
