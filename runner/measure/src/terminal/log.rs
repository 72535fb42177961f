//! What the program does between two results: events of `tracing`, to standard error and to a run's `run.log`.
//!
//! Nothing is written while a trial is timed: between [`timed`] and the drop of what it returns, no event is formatted; those that would be
//! are counted ([`dropped`]). Code that runs there emits none, which a test holds.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use microbench_formats::code::{Code, Coded};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::Registry;

use super::progress;

/// Name of the log in a run's folder.
pub const FILE: &str = "run.log";
/// The variable that says what is written to standard error.
pub const VARIABLE: &str = "MICROBENCH_LOG";
/// How the targets of all events of this program begin: the names of its crates. Those of libraries are never written.
const OWN: &str = "microbench";
/// Most bytes of a run's log.
const FILE_LIMIT: u64 = 8 << 20;
/// What the log ends with when that is reached.
const FULL: &str = "the log is full; later messages are left out\n";
/// Most bytes that are held until there is a run to which they belong.
const HELD_LIMIT: usize = 256 << 10;

/// What is written to standard error: a level, and others for targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    all: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

impl Levels {
    /// Of so many `-v`; `None` without one.
    fn of(verbose: u8) -> Option<Self> {
        let all = match verbose {
            0 => return None,
            1 => LevelFilter::INFO,
            _ => LevelFilter::DEBUG,
        };
        Some(Self { all, targets: Vec::new() })
    }

    fn most(&self) -> LevelFilter {
        self.targets.iter().map(|(_, level)| *level).chain([self.all]).max().unwrap_or(LevelFilter::OFF)
    }
}

impl Default for Levels {
    fn default() -> Self {
        Self { all: LevelFilter::WARN, targets: Vec::new() }
    }
}

impl FromStr for Levels {
    type Err = Coded;

    /// Levels with commas between them, each alone or as TARGET=LEVEL: `info`, `warn,microbench_measure=debug`.
    fn from_str(text: &str) -> Result<Self, Coded> {
        let mut levels = Self::default();
        for part in text.split(',').map(str::trim) {
            let (target, level) = part.split_once('=').map_or(("", part), |(target, level)| (target, level));
            let wrong = || {
                Code::BadValue.says(format!(
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
                _ => return Err(wrong()),
            };
            match target {
                "" if part.contains('=') => return Err(wrong()),
                "" => levels.all = level,
                target if target.starts_with(OWN) => levels.targets.push((target.to_owned(), level)),
                _ => return Err(wrong()),
            }
        }
        Ok(levels)
    }
}

/// What `-v` and the variable say of standard error.
static VERBOSE: AtomicU8 = AtomicU8::new(0);

/// How often `-v` was given.
#[must_use]
pub fn verbose() -> u8 {
    VERBOSE.load(Ordering::Relaxed)
}

/// The variable's text, if it is set.
#[must_use]
pub fn variable() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|text| !text.is_empty())
}

/// Begins to log: to standard error what `-v`, given so often, or else the variable says, warnings where neither says anything; for a
/// run's log, if the command `keeps` one, all down to the level debug, which is held until [`keep_in`]. The first time counts.
///
/// # Errors
/// [`Code::BadValue`] for a variable that cannot be understood.
pub fn start(verbose: u8, keeps: bool) -> Result<(), Coded> {
    VERBOSE.store(verbose, Ordering::Relaxed);
    let levels = match (Levels::of(verbose), variable()) {
        (Some(levels), _) => levels,
        (None, Some(text)) => text.parse()?,
        (None, None) => Levels::default(),
    };
    start_with(&levels, keeps);
    Ok(())
}

/// Begins to log as [`start`] does.
pub fn start_with(levels: &Levels, keeps: bool) {
    // A second one is not needed.
    let _ = tracing::subscriber::set_global_default(subscriber(levels, keeps, || Message));
}

/// The subscriber that writes to `stderr` and, where one is kept, to the run's log.
fn subscriber<W: Write + 'static>(
    levels: &Levels,
    keeps: bool,
    stderr: impl Fn() -> W + Send + Sync + 'static,
) -> impl Subscriber + Send + Sync {
    let kept = if keeps { LevelFilter::DEBUG } else { LevelFilter::OFF };
    let targets = Targets::new().with_default(levels.all).with_targets(levels.targets.iter().cloned());
    let messages = fmt::layer().with_ansi(false).log_internal_errors(false).without_time().with_writer(stderr);
    let log = fmt::layer().with_ansi(false).log_internal_errors(false).with_writer(|| Kept);
    Registry::default()
        .with(messages.with_filter(targets))
        .with(log.with_filter(kept))
        .with(Gate { most: levels.most().max(kept) })
}

/// Timed windows that are open.
static WINDOWS: AtomicU32 = AtomicU32::new(0);
/// Events that were not written because they were emitted in one.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// A timed window: until this is dropped, no event is formatted or written.
#[derive(Debug)]
pub struct Timed(());

/// Opens a timed window.
#[must_use]
pub fn timed() -> Timed {
    WINDOWS.fetch_add(1, Ordering::SeqCst);
    Timed(())
}

impl Drop for Timed {
    fn drop(&mut self) {
        WINDOWS.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Events of this process that were emitted in a timed window, and not written.
#[must_use]
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::SeqCst)
}

/// Lets no event through in timed windows, and none of a library ever.
struct Gate {
    /// The most that anything behind it takes.
    most: LevelFilter,
}

impl<S: Subscriber> Layer<S> for Gate {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // Asked anew each time, because a window opens and closes.
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

/// Standard error, above the live line if there is one. An event is written in one piece.
struct Message;

impl Write for Message {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        progress::say(String::from_utf8_lossy(line).trim_end());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the run's log is.
#[derive(Debug)]
enum Sink {
    /// There is no run yet.
    Held(Vec<u8>),
    /// In this file, which takes so many bytes more.
    File(File, u64),
    /// Nowhere any more.
    Over,
}

static SINK: Mutex<Sink> = Mutex::new(Sink::Held(Vec::new()));

impl Sink {
    /// Writes an event in one piece. What cannot be written is left out: a run does not end because its log does.
    fn write(&mut self, line: &[u8]) {
        let length = line.len() as u64;
        match self {
            Self::Held(held) if held.len() + line.len() <= HELD_LIMIT => held.extend_from_slice(line),
            Self::File(file, room) if *room >= length + FULL.len() as u64 => {
                *room -= length;
                drop(file.write_all(line));
            }
            Self::File(file, _) => {
                drop(file.write_all(FULL.as_bytes()));
                *self = Self::Over;
            }
            Self::Held(_) | Self::Over => {}
        }
    }

    /// A sink for the log of the run in `folder`, after what other sessions wrote.
    fn of(folder: &Path, limit: u64) -> io::Result<Self> {
        let options = &mut OpenOptions::new();
        let file =
            options.create(true).append(true).mode(0o644).custom_flags(libc::O_NOFOLLOW).open(folder.join(FILE))?;
        let room = limit.saturating_sub(file.metadata()?.len());
        Ok(if room < FULL.len() as u64 { Self::Over } else { Self::File(file, room) })
    }
}

/// Keeps the log in the run's `folder` from here on, with what is held; after what earlier sessions wrote. A log that cannot be written
/// is left out, with a warning.
pub fn keep_in(folder: &Path) {
    let opened = Sink::of(folder, FILE_LIMIT);
    let error = opened.as_ref().err().map(ToString::to_string);
    {
        let mut sink = SINK.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *sink, opened.unwrap_or(Sink::Over));
        if let Sink::Held(held) = before {
            held.split_inclusive(|byte| *byte == b'\n').for_each(|line| sink.write(line));
        }
    }
    if let Some(error) = error {
        tracing::warn!("cannot write {}: {error}", folder.join(FILE).display());
    }
}

/// The run's log, as the writer of one event.
struct Kept;

impl Write for Kept {
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
    fn levels_are_read_and_anything_else_is_refused_with_what_there_is() {
        let levels: Levels = "warn,microbench_measure=debug".parse().unwrap();
        assert_eq!((levels.all, levels.most()), (LevelFilter::WARN, LevelFilter::DEBUG));
        assert_eq!("off".parse::<Levels>().unwrap().most(), LevelFilter::OFF);
        for wrong in ["", "inof", "hyper=trace", "=debug", "microbench=", "info,"] {
            let error = wrong.parse::<Levels>().unwrap_err().to_string();
            assert!(error.contains("MICROBENCH_LOG") && error.contains("off, error, warn"), "{wrong}: {error}");
        }
    }

    /// A writer whose text can be read.
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

    /// Fails the test when it is formatted.
    struct Unformatted;

    impl std::fmt::Display for Unformatted {
        fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            panic!("an event was formatted in a timed window")
        }
    }

    #[test]
    fn events_of_a_timed_window_are_counted_and_not_formatted_and_those_of_libraries_never_written() {
        let written = Shared::default();
        let stderr = written.clone();
        let levels = Levels { all: LevelFilter::TRACE, targets: Vec::new() };
        tracing::subscriber::with_default(subscriber(&levels, false, move || stderr.clone()), || {
            tracing::info!(n = 1, "before");
            tracing::error!(target: "hyper_util", "a library's");
            let window = timed();
            let before = dropped();
            tracing::error!("{Unformatted}");
            tracing::trace!(unformatted = %Unformatted, "in it");
            assert_eq!(dropped() - before, 2);
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
    fn a_run_s_log_is_appended_to_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let limit = 100 + FULL.len() as u64;
        let write = |text: &str| {
            let mut sink = Sink::of(folder.path(), limit).unwrap();
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
