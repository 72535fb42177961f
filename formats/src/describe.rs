//! Errors and foreign text as one line.

/// An error and its causes in one line, joined by `: `. An error either shows its cause in its own text or returns it as its source,
/// never both.
#[must_use]
pub fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// What a guest or a VMM says, as it may stand in one line of ours: without control characters, which a terminal would obey, and at
/// most `most` characters of it.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    text.chars().take(most).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_control_characters_and_an_end() {
        assert_eq!(one_line("500 \x1b[2J\r\n\u{85}é", 80), "500  [2J   é");
        assert_eq!(one_line("aaaa", 3), "aaa");
    }
}
