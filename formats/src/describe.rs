//! Errors and foreign text as one line.

/// An error and its causes in one line; a cause that its effect names already is not said twice.
#[must_use]
pub fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
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
