//! Properties of standard output and standard error: terminal, width, colours.

use std::io::IsTerminal;
use std::sync::OnceLock;

use console::Style;
use microbench_formats::terminal::{OutputWidth, folded, wrapped_lines};

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless an environment variable overrides it.
    #[default]
    Auto,
    Always,
    Never,
}

impl Colour {
    /// The value of the option `--color`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, for results.
    Out,
    /// Standard error, for progress and errors.
    Err,
}

static COLOUR: OnceLock<Colour> = OnceLock::new();

/// Sets the value of the option `--color`. Later calls have no effect.
pub fn set_colour(colour: Colour) {
    let _ = COLOUR.set(colour);
}

/// The value of the option `--color`.
#[must_use]
pub fn colour() -> Colour {
    COLOUR.get().copied().unwrap_or_default()
}

impl Stream {
    /// Whether the stream is a terminal with cursor control (`TERM` is not `dumb`).
    #[must_use]
    pub fn is_terminal(self) -> bool {
        self.is_tty() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    fn is_tty(self) -> bool {
        match self {
            Self::Out => std::io::stdout().is_terminal(),
            Self::Err => std::io::stderr().is_terminal(),
        }
    }

    /// Whether to use colours on the stream.
    #[must_use]
    pub fn is_coloured(self) -> bool {
        use_colours(
            colour(),
            |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
            self.is_terminal(),
        )
    }

    /// Columns that output must fit: those of the terminal, else of the variable `COLUMNS`, else 80 on a terminal. `None`
    /// if output may have any width, as in a pipe without `COLUMNS`. All output uses this function.
    #[must_use]
    pub fn columns(self) -> Option<usize> {
        // `console` reports no size if the number of rows is unknown.
        let size = || {
            let size = match self {
                Self::Out => rustix::termios::tcgetwinsize(std::io::stdout()),
                Self::Err => rustix::termios::tcgetwinsize(std::io::stderr()),
            };
            size.map_or(0, |size| usize::from(size.ws_col))
        };
        choose_columns(self.is_tty().then(size), std::env::var("COLUMNS").ok().as_deref())
    }

    /// The width for tables and text on the stream, from [`Self::columns`].
    #[must_use]
    pub fn output_width(self) -> OutputWidth {
        self.columns().map_or(OutputWidth::ANY, OutputWidth::from_columns)
    }

    /// Wraps each line of `text` to [`Self::columns`]; continuation lines are indented by `indent` columns more than
    /// the line. Returns `text` unchanged if output may have any width.
    #[must_use]
    pub fn wrap(self, text: &str, indent: usize) -> String {
        self.columns().map_or_else(|| text.to_owned(), |columns| folded(&wrapped_lines(columns, text, indent), columns))
    }

    /// Folds the plain `text` to [`Self::columns`]; returns it unchanged if output may have any width.
    #[must_use]
    pub fn fold(self, text: &str) -> String {
        self.columns().map_or_else(|| text.to_owned(), |columns| folded(text, columns))
    }

    /// Applies `style` to `text` if the stream uses colours.
    #[must_use]
    pub fn paint(self, style: &Style, text: &str) -> String {
        if self.is_coloured() { style.clone().force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    }
}

/// Columns of a terminal of unknown width.
const DEFAULT_COLUMNS: usize = 80;

/// Largest number of columns that the variable `COLUMNS` can request.
const MAX_COLUMNS: usize = 10_000;

/// The columns for output. `terminal` has the columns of the terminal, 0 if they are unknown, or `None` without a
/// terminal; `variable` is the value of `COLUMNS`.
fn choose_columns(terminal: Option<usize>, variable: Option<&str>) -> Option<usize> {
    let known = terminal.filter(|columns| *columns > 0);
    let given =
        || variable?.trim().parse().ok().filter(|columns| *columns > 0).map(|columns: usize| columns.min(MAX_COLUMNS));
    known.or_else(given).or(terminal.map(|_| DEFAULT_COLUMNS))
}

/// Whether to use colours. The option `--color` has precedence, then `NO_COLOR`, `CLICOLOR_FORCE` and `CLICOLOR`
/// (no-color.org, bixense.com/clicolors), then whether the stream is a terminal.
fn use_colours(colour: Colour, variable: impl Fn(&str) -> Option<String>, terminal: bool) -> bool {
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let on = |name: &str| variable(name).is_some_and(|value| !value.is_empty() && value != "0");
    match colour {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto if set("NO_COLOR") => false,
        Colour::Auto if on("CLICOLOR_FORCE") => true,
        Colour::Auto => terminal && variable("CLICOLOR").is_none_or(|value| value != "0"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn width_is_that_of_the_terminal_else_of_columns_else_80_on_a_terminal() {
        for (terminal, variable, expected) in [
            (Some(120), Some("60"), Some(120)),
            (Some(0), Some("60"), Some(60)),
            (Some(0), None, Some(80)),
            (Some(0), Some("wide"), Some(80)),
            (None, Some("60"), Some(60)),
            (None, Some("0"), None),
            (None, None, None),
        ] {
            assert_eq!(choose_columns(terminal, variable), expected, "{terminal:?} {variable:?}");
        }
    }

    #[test]
    fn option_precedes_variables_which_precede_the_terminal() {
        let of = |colour, variables: &[(&str, &str)], terminal| {
            let variable =
                |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
            use_colours(colour, variable, terminal)
        };
        for (colour, variables, terminal, expected) in [
            (Colour::Auto, &[][..], true, true),
            (Colour::Auto, &[], false, false),
            (Colour::Auto, &[("NO_COLOR", "1")], true, false),
            (Colour::Auto, &[("NO_COLOR", "")], true, true),
            (Colour::Auto, &[("CLICOLOR", "0")], true, false),
            (Colour::Auto, &[("CLICOLOR_FORCE", "1")], false, true),
            (Colour::Auto, &[("CLICOLOR_FORCE", "0")], false, false),
            (Colour::Auto, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, false),
            (Colour::Always, &[("NO_COLOR", "1")], false, true),
            (Colour::Never, &[("CLICOLOR_FORCE", "1")], true, false),
        ] {
            assert_eq!(of(colour, variables, terminal), expected, "{colour:?} {variables:?} {terminal}");
        }
    }
}
