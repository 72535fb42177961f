//! Where words go: whether there is a terminal, how wide it is, whether it gets colours.

use std::io::IsTerminal;
use std::sync::OnceLock;

use console::{Style, Term};
use microbench_formats::terminal::{Room, folded};

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless a variable says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Colour {
    /// As the command line has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// Where words go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output: results.
    Out,
    /// Standard error: progress and errors.
    Err,
}

/// What the command line says.
static CHOICE: OnceLock<Colour> = OnceLock::new();

/// Takes what the command line says. The first time counts.
pub fn choose(colour: Colour) {
    // It is set once, at the start.
    let _ = CHOICE.set(colour);
}

/// What the command line said.
#[must_use]
pub fn choice() -> Colour {
    CHOICE.get().copied().unwrap_or_default()
}

impl Stream {
    /// Whether it is a terminal that understands more than lines.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        let terminal = match self {
            Self::Out => std::io::stdout().is_terminal(),
            Self::Err => std::io::stderr().is_terminal(),
        };
        terminal && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }

    /// Whether it gets colours.
    #[must_use]
    pub fn is_coloured(self) -> bool {
        coloured(
            choice(),
            |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()),
            self.is_terminal(),
        )
    }

    /// Columns of the terminal; `None` where there is none, or it does not say.
    #[must_use]
    pub fn columns(self) -> Option<usize> {
        let term = match self {
            Self::Out => Term::stdout(),
            Self::Err => Term::stderr(),
        };
        let (_, columns) = if self.is_terminal() { term.size_checked()? } else { return None };
        Some(usize::from(columns)).filter(|columns| *columns > 0)
    }

    /// The room for text.
    #[must_use]
    pub fn room(self) -> Room {
        self.columns().map_or(Room::ANY, Room::of)
    }

    /// `text`, plain, with no line wider than the terminal, if there is one.
    #[must_use]
    pub fn fold(self, text: &str) -> String {
        self.columns().map_or_else(|| text.to_owned(), |columns| folded(text, columns))
    }

    /// `text` in `style`, if it gets colours.
    #[must_use]
    pub fn paint(self, style: &Style, text: &str) -> String {
        if self.is_coloured() { style.clone().force_styling(true).apply_to(text).to_string() } else { text.to_owned() }
    }
}

/// Whether to colour: the command line, then `NO_COLOR`, `CLICOLOR_FORCE`, `CLICOLOR` (no-color.org, bixense.com/clicolors), then
/// whether there is a terminal.
fn coloured(choice: Colour, variable: impl Fn(&str) -> Option<String>, terminal: bool) -> bool {
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let on = |name: &str| variable(name).is_some_and(|value| !value.is_empty() && value != "0");
    match choice {
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
    fn the_command_line_comes_before_variables_and_these_before_the_terminal() {
        let of = |choice, variables: &[(&str, &str)], terminal| {
            let variable =
                |name: &str| variables.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned());
            coloured(choice, variable, terminal)
        };
        for (choice, variables, terminal, coloured) in [
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
            assert_eq!(of(choice, variables, terminal), coloured, "{choice:?} {variables:?} {terminal}");
        }
    }
}
