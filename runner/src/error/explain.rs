//! Explanations of error codes, from `errors.toml`: the meaning, the usual cause and the fix.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Context;
use microbench_formats::code::Code;
use microbench_formats::exit;
use microbench_formats::terminal::wrapped_to;
use microbench_study::manifest::nearest;
use serde::{Deserialize, Serialize};

const TEXTS: &str = include_str!("../../errors.toml");

/// The explanation of one code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The code, for example `MB0102`.
    pub code: &'static str,
    /// The cause in one sentence.
    pub title: &'static str,
    /// The meaning of the error.
    pub means: String,
    /// The usual cause.
    pub why: String,
    /// The fix.
    pub next: String,
    /// A helpful command, or correct lines of a manifest.
    pub example: String,
    /// Exit code of the program.
    pub exit: u8,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Texts {
    means: String,
    why: String,
    next: String,
    example: String,
}

/// The explanations of all codes, sorted by code.
///
/// # Errors
/// When `errors.toml` is wrong, which a test rules out.
///
/// # Examples
/// ```
/// use microbench::error::explain;
///
/// let entries = explain::entries()?;
/// let entry = explain::find(&entries, "102")?;
/// assert_eq!(entry.code, "MB0102");
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn entries() -> anyhow::Result<Vec<Entry>> {
    let mut texts: BTreeMap<String, Texts> = toml::from_str(TEXTS).context("errors.toml is wrong")?;
    (Code::ALL.iter())
        .map(|code| {
            let Texts { means, why, next, example } =
                texts.remove(code.as_str()).with_context(|| format!("{} is missing in errors.toml", code.as_str()))?;
            Ok(Entry { code: code.as_str(), title: code.doc(), means, why, next, example, exit: code.exit() })
        })
        .collect()
}

/// The explanation of `code`, which may be lower case, and without `MB` and leading zeros.
///
/// # Errors
/// [`Code::UnknownName`] if there is no such code.
pub fn find<'a>(entries: &'a [Entry], code: &str) -> anyhow::Result<&'a Entry> {
    let digits = code.trim().trim_start_matches(['m', 'M', 'b', 'B']);
    let wanted = format!("MB{digits:0>4}");
    let found = entries.iter().find(|entry| entry.code == wanted);
    found.with_context(|| {
        Code::UnknownName.with_message(format!(
            "there is no error code {}; `microbench explain` lists all codes",
            nearest::quote(code)
        ))
    })
}

/// The list of all error codes and exit codes as text of at most `width` columns.
#[must_use]
pub fn list(entries: &[Entry], width: usize) -> String {
    let mut text = String::new();
    for entry in entries {
        let _ = writeln!(text, "{}", wrapped_to(width, &format!("{}  {}", entry.code, entry.title), 8));
    }
    text.push_str("\nexit codes:\n");
    text.push_str(&exit_codes(width));
    text
}

/// The exit codes as text of at most `width` columns.
#[must_use]
pub fn exit_codes(width: usize) -> String {
    let lines = exit::CODES.iter().map(|(code, is)| wrapped_to(width, &format!("{code:13}  {is}"), 15) + "\n");
    lines.collect()
}

impl Entry {
    /// The entry as text of at most `width` columns; lines of the example are not wrapped.
    #[must_use]
    pub fn render(&self, width: usize) -> String {
        let mut text = wrapped_to(width, &format!("{}: {}", self.code, self.title), 8) + "\n\n";
        for (head, sentence) in [("means", &self.means), ("why", &self.why), ("next", &self.next)] {
            let _ = writeln!(text, "{}", wrapped_to(width, &format!("{head:7}  {sentence}"), 9));
        }
        let example: Vec<&str> = self.example.trim_end().lines().collect();
        let _ = writeln!(text, "example  {}", example.join("\n         "));
        let _ = writeln!(text, "exit     {}", self.exit);
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use microbench_formats::terminal::WIDTH;

    use super::*;

    #[test]
    fn every_code_has_an_explanation_and_no_other_code_has() {
        let entries = entries().unwrap();
        let codes: BTreeSet<&str> = entries.iter().map(|entry| entry.code).collect();
        assert_eq!(codes.len(), entries.len());
        let texts: BTreeMap<String, Texts> = toml::from_str(TEXTS).unwrap();
        assert_eq!(codes, texts.keys().map(String::as_str).collect());
        for entry in &entries {
            assert!(entry.title.ends_with('.'), "{}", entry.code);
            for sentence in [&entry.means, &entry.why, &entry.next] {
                let ends = sentence.ends_with('.') && !sentence.contains('\n');
                assert!(ends && sentence.len() > 12, "{}: {sentence}", entry.code);
            }
            assert!(!entry.example.is_empty(), "{}", entry.code);
        }
    }

    #[test]
    fn a_code_is_found_without_prefix_and_in_lower_case() {
        let entries = entries().unwrap();
        for code in ["MB0102", "mb0102", "0102", "102"] {
            assert_eq!(find(&entries, code).unwrap().code, "MB0102");
        }
        let error = find(&entries, "MB9999").unwrap_err().to_string();
        assert_eq!(error, "there is no error code `MB9999`; `microbench explain` lists all codes");
        assert!(find(&entries, "x").is_err());
    }

    #[test]
    fn explanations_fit_the_width() {
        let entries = entries().unwrap();
        for width in [60, 80, WIDTH] {
            let too_wide = |line: &&str| line.chars().count() > width;
            let listed = list(&entries, width);
            assert_eq!(listed.lines().find(too_wide), None);
            for entry in &entries {
                let shown = entry.render(width);
                let prose = shown.split("\nexample  ").next().unwrap();
                assert_eq!(prose.lines().find(too_wide), None);
            }
        }
    }
}
