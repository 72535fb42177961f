//! What a person sees while something takes time: a live line on a terminal, plain lines where there is none.
//!
//! Everything goes to standard error; standard output belongs to results.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

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
        Self::with_bar(ProgressBar::no_length(), text.into(), "{spinner} {prefix} [{elapsed}] {wide_msg:.dim}")
    }

    /// Begins a step of `length` units; bytes when `bytes`.
    #[must_use]
    pub fn counted(text: impl Into<String>, length: u64, bytes: bool) -> Self {
        let template = if bytes {
            "{prefix} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec}, {eta} left {wide_msg:.dim}"
        } else {
            "{prefix} [{bar:24}] {pos}/{len}, {left} left {wide_msg:.dim}"
        };
        Self::with_bar(ProgressBar::new(length), text.into(), template)
    }

    fn with_bar(bar: ProgressBar, text: String, template: &str) -> Self {
        let live = std::io::stderr().is_terminal();
        if live {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            let left = |state: &ProgressState, line: &mut dyn std::fmt::Write| {
                // A line that cannot be written is a line that is not seen.
                let _ = write!(line, "{}", left(state.elapsed(), state.pos(), state.len().unwrap_or(0)));
            };
            bar.set_style(style.progress_chars("=> ").with_key("left", left));
            bar.set_prefix(text.clone());
            bar.enable_steady_tick(Duration::from_millis(200));
        } else {
            bar.set_draw_target(ProgressDrawTarget::hidden());
            eprintln!("{text} ...");
        }
        Self { bar, text, begun: Instant::now(), live }
    }

    /// Shows what the step is at; only on a terminal.
    pub fn detail(&self, text: &str) {
        if self.live {
            self.bar.set_message(text.chars().take(200).collect::<String>());
        }
    }

    /// Moves a counted step to `position`.
    pub fn position(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// A line that stays, above the live one.
    pub fn line(&self, text: &str) {
        if self.live {
            self.bar.suspend(|| eprintln!("{text}"));
        } else {
            eprintln!("{text}");
        }
    }

    /// `units` of a counted step are done; without a terminal, a plain line says which and how long the rest takes.
    pub fn advance(&self, units: u64, text: &str) {
        self.bar.inc(units);
        if self.live {
            self.bar.set_message(text.to_owned());
        } else {
            let (done, all) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let left = left(self.bar.elapsed(), done, all);
            eprintln!("{} {done}/{all}: {text} ({left} left)", self.text);
        }
    }

    /// Ends the step with a line that stays.
    pub fn done(self, result: &str) {
        self.bar.finish_and_clear();
        let took = self.begun.elapsed();
        if took >= Duration::from_secs(1) {
            eprintln!("{}: {result} ({:#})", self.text, HumanDuration(took));
        } else {
            eprintln!("{}: {result}", self.text);
        }
    }
}

/// Time that the rest takes at the mean speed so far, as a person says it. The bar's own estimate follows the last steps, and
/// trials of 1 and of 20 VMs in random order throw it about.
fn left(elapsed: Duration, done: u64, all: u64) -> String {
    if done == 0 {
        return "unknown time".to_owned();
    }
    format!("about {:#}", HumanDuration(elapsed.mul_f64(all.saturating_sub(done) as f64 / done as f64)))
}
