//! Texts for messages: errors and untrusted text as one line, and sentences.

#[cfg(doc)]
use crate::terminal::is_unprintable;
use crate::terminal::printable_char;

/// An error and its causes in one line, joined by `: `.
///
/// An error type must either display its cause or return it as its source, not both; otherwise the cause is repeated.
#[must_use]
pub fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Text of a guest or a VMM, made safe for one line of a message.
///
/// Characters that a terminal would interpret ([`is_unprintable`]) become spaces. The text is truncated to `most`
/// characters.
#[must_use]
pub fn one_line(text: &str, most: usize) -> String {
    text.chars().take(most).map(printable_char).collect()
}

/// The text with an upper-case first letter.
#[must_use]
pub fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_replaces_control_characters_and_truncates() {
        assert_eq!(one_line("500 \x1b[2J\r\n\u{85}é", 80), "500  [2J   é");
        assert_eq!(one_line("a\u{202e}b", 80), "a b");
        assert_eq!(one_line("aaaa", 3), "aaa");
    }
}
