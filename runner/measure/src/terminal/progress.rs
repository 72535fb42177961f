//! What a person sees while something takes time: a live line on a terminal, plain lines where there is none.
//!
//! Everything goes to standard error; standard output belongs to results. A live line is never wider than the terminal.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use microbench_formats::terminal::{WIDTH, cut, wrapped_to};

use crate::errln;
use crate::terminal::screen::Stream;

/// The live line that there is, so that whoever has something to say says it above.
static LIVE: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// How often a live line is drawn.
const TICK: Duration = Duration::from_millis(200);

/// A line that stays, above the live one if there is one.
pub fn say(text: &str) {
    let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match live {
        Some(bar) => bar.suspend(|| errln!("{text}")),
        None => errln!("{text}"),
    }
}

fn set_live(bar: Option<ProgressBar>) {
    *LIVE.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Columns of standard error.
#[must_use]
pub fn columns() -> usize {
    Stream::Err.columns().unwrap_or(WIDTH)
}

/// One thing that takes time. Finished by [`Step::done`]; dropped unfinished, it leaves its line as it stands.
#[derive(Debug)]
pub struct Step {
    bar: ProgressBar,
    text: String,
    begun: Instant,
    live: bool,
}

impl Step {
    /// Begins a step of unknown length: a spinner.
    #[must_use]
    pub fn begin(text: impl Into<String>) -> Self {
        let step = Self::new(text.into(), ProgressStyle::with_template("{spinner} [{elapsed}] {wide_msg}").ok());
        if step.live {
            step.bar.set_message(step.text.clone());
        } else {
            errln!("{} ...", step.text);
        }
        step
    }

    /// Begins a step that says itself how it goes: `line` makes the live line, for so many columns.
    #[must_use]
    pub fn live(text: impl Into<String>, line: impl Fn(usize) -> String + Send + Sync + 'static) -> Self {
        let line = Arc::new(line);
        let drawn = move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
            // A last column that is written to makes some terminals begin another line.
            let columns = columns().saturating_sub(1);
            // A line that cannot be written is a line that is not seen.
            let _ = write!(to, "{}", cut(&line(columns), columns));
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
        Self { bar, text, begun: Instant::now(), live }
    }

    /// Whether there is a live line.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// Shows what a spinner is at; only on a terminal.
    pub fn detail(&self, text: &str) {
        if self.live {
            self.bar.set_message(format!("{}: {}", self.text, text.chars().take(200).collect::<String>()));
        }
    }

    /// Ends the step with a line that stays.
    pub fn done(self, result: &str) {
        self.clear();
        let took = self.begun.elapsed();
        tracing::debug!("{}: {result}, after {:.1} s", self.text, took.as_secs_f64());
        let took = if took >= Duration::from_secs(1) { format!(" ({:#})", HumanDuration(took)) } else { String::new() };
        let line = format!("{}: {result}{took}", self.text);
        errln!("{}", Stream::Err.fold(&wrapped_to(columns(), &line, 2)));
    }

    /// Takes the live line away, without a word.
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

/// A time as a person says it, of which nothing is known at first.
#[must_use]
pub fn about(left: Option<Duration>) -> String {
    left.map_or_else(|| "unknown time".to_owned(), |left| format!("about {:#}", HumanDuration(left)))
}

/// A bar of `columns` that is full to `share`.
#[must_use]
pub fn bar(share: f64, columns: usize) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of some columns")]
    let full = ((share.clamp(0.0, 1.0) * columns as f64) as usize).min(columns);
    let head = usize::from(full < columns);
    let mut bar = "=".repeat(full);
    let _ = write!(bar, "{}{}", ">".repeat(head), " ".repeat(columns - full - head));
    bar
}
