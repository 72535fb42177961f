//! Progress of long operations on standard error: a live line on a terminal, plain lines elsewhere.
//!
//! A live line is never wider than the terminal.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use microbench_formats::describe::one_line;
use microbench_formats::terminal::{WIDTH, printable, truncated, wrapped_to};

use crate::errln;
use crate::terminal::screen::Stream;

/// The current live line. Other lines are printed above it.
static LIVE: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Redraw interval of a live line.
const TICK: Duration = Duration::from_millis(200);

/// Prints a line to standard error, above the live line if there is one.
pub fn print_line(text: &str) {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match live {
        Some(bar) => bar.suspend(|| errln!("{text}")),
        None => errln!("{text}"),
    }
}

fn set_live(bar: Option<ProgressBar>) {
    *LIVE.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Columns for prose on standard error: [`Stream::columns`], else 100.
#[must_use]
pub fn columns() -> usize {
    Stream::Err.columns().unwrap_or(WIDTH)
}

/// A long operation with a live line, finished by [`Step::done`]. On drop without that, the line stays as it is.
///
/// ```no_run
/// use microbench_measure::terminal::progress::Step;
///
/// let step = Step::begin("kernel microvm-6.1");
/// step.detail("unpacking");
/// step.done("from the cache");
/// ```
#[derive(Debug)]
pub struct Step {
    bar: ProgressBar,
    text: String,
    started_at: Instant,
    live: bool,
}

impl Step {
    /// Begins a step of unknown duration, with a spinner.
    #[must_use]
    pub fn begin(text: impl Into<String>) -> Self {
        let step = Self::new(text.into(), ProgressStyle::with_template("{spinner} [{elapsed}] {wide_msg}").ok());
        if step.live {
            step.bar.set_message(one_line(&step.text, 200));
        } else {
            errln!("{} ...", step.text);
        }
        step
    }

    /// Begins a step with a custom live line: `line` renders it for a number of columns.
    #[must_use]
    pub fn live(text: impl Into<String>, line: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        let line = Arc::new(line);
        let drawn = move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
            // Some terminals start a new line when the last column is written.
            let columns = columns().saturating_sub(1);
            // `to` is a string buffer: the write cannot fail.
            let _ = write!(to, "{}", printable(&truncated(&line(columns), columns), Stream::Err.is_coloured()));
        };
        let style = ProgressStyle::with_template("{line}").ok().map(|style| style.with_key("line", drawn));
        Self::new(text.into(), style)
    }

    fn new(text: String, style: Option<ProgressStyle>) -> Self {
        let live = Stream::Err.is_terminal();
        let bar = ProgressBar::no_length();
        if live {
            bar.set_style(style.unwrap_or_else(ProgressStyle::default_bar));
            bar.enable_steady_tick(TICK);
            set_live(Some(bar.clone()));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self { bar, text, started_at: Instant::now(), live }
    }

    /// Whether the step has a live line: standard error is a terminal.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Shows the current activity next to the spinner; does nothing without a terminal.
    pub fn detail(&self, text: &str) {
        if self.live {
            self.bar.set_message(format!("{}: {}", one_line(&self.text, 200), one_line(text, 200)));
        }
    }

    /// Ends the step and prints a line with the result, and with the duration if it is at least one second.
    pub fn done(self, result: &str) {
        self.clear();
        let duration = self.started_at.elapsed();
        tracing::debug!("{}: {result}, after {:.1} s", self.text, duration.as_secs_f64());
        let duration = if duration >= Duration::from_secs(1) {
            format!(" ({:#})", HumanDuration(duration))
        } else {
            String::new()
        };
        let line = format!("{}: {result}{duration}", self.text);
        errln!("{}", Stream::Err.fold(&wrapped_to(columns(), &line, 2)));
    }

    /// Removes the live line without printing anything.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
        set_live(None);
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if self.live && !self.bar.is_finished() {
            self.bar.abandon();
            set_live(None);
        }
    }
}

/// Formats an estimate of the remaining time; `None` before a trial has ended, when there is no estimate.
#[must_use]
pub fn format_remaining(left: Option<Duration>) -> String {
    left.map_or_else(|| "unknown time".to_owned(), |left| format!("about {:#}", HumanDuration(left)))
}

/// Renders a progress bar of `columns` columns, filled to `share` (0 to 1).
#[must_use]
pub fn render_bar(share: f64, columns: usize) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and `columns`")]
    let full = ((share.clamp(0.0, 1.0) * columns as f64) as usize).min(columns);
    let head = usize::from(full < columns);
    let mut bar = "=".repeat(full);
    let _ = write!(bar, "{}{}", ">".repeat(head), " ".repeat(columns - full - head));
    bar
}
