//! Properties of standard output and standard error: terminal, width, colours.

use std::io::IsTerminal;
use std::sync::OnceLock;

use console::{Style, Term};
use microbench_formats::terminal::{OutputWidth, folded};

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
        let terminal = match self {
            Self::Out => std::io::stdout().is_terminal(),
            Self::Err => std::io::stderr().is_terminal(),
        };
        terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
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

    /// Width of the terminal in columns; `None` if the stream is not a terminal or the width is unknown.
    #[must_use]
    pub fn columns(self) -> Option<usize> {
        let term = match self {
            Self::Out => Term::stdout(),
            Self::Err => Term::stderr(),
        };
        let (_, columns) = if self.is_terminal() { term.size_checked()? } else { return None };
        Some(usize::from(columns)).filter(|columns| *columns > 0)
    }

    /// The width for tables and text on the stream.
    #[must_use]
    pub fn output_width(self) -> OutputWidth {
        self.columns().map_or(OutputWidth::ANY, OutputWidth::from_columns)
    }

    /// Folds the plain `text` to the width of the terminal; returns it unchanged if the stream is not a terminal.
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
