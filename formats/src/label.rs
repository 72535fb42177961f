//! The label of a run, for example the version of the program under test.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::terminal::is_unprintable;

/// Largest number of characters of a label.
pub const MAX_LABEL: usize = 64;

/// A text that `run --label` gives to a run: 1 to [`MAX_LABEL`] characters without control characters, and without
/// space at its ends.
///
/// ```
/// use microbench_formats::label::Label;
///
/// let label: Label = "firecracker 1.13.0".parse().unwrap();
/// assert_eq!(label.as_str(), "firecracker 1.13.0");
/// assert!("".parse::<Label>().is_err() && "a\nb".parse::<Label>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Label(String);

impl Label {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl std::str::FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Label {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let length = text.chars().count();
        if length == 0 {
            return Err("a label must not be empty".to_owned());
        }
        if length > MAX_LABEL {
            return Err(format!("a label has at most {MAX_LABEL} characters, this one has {length}"));
        }
        if text.chars().any(is_unprintable) {
            return Err("a label must not contain control characters".to_owned());
        }
        if text.trim() != text {
            return Err("a label must not begin or end with a space".to_owned());
        }
        Ok(Self(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_is_bounded_and_printable() {
        let error = |text: &str| text.parse::<Label>().unwrap_err();
        assert_eq!(error(&"x".repeat(65)), "a label has at most 64 characters, this one has 65");
        for text in ["a\u{1b}[2J", "a\tb", "a\u{202e}b", "a\u{2028}b"] {
            assert_eq!(error(text), "a label must not contain control characters", "{text:?}");
        }
        assert_eq!(error(" a"), "a label must not begin or end with a space");
        let longest = "\u{e9}".repeat(64);
        assert_eq!(longest.parse::<Label>().unwrap().as_str(), longest);
    }

    #[test]
    fn invalid_label_in_a_file_is_an_error() {
        assert!(serde_json::from_str::<Label>("\"a\\u001bb\"").is_err());
        assert_eq!(serde_json::to_string(&"v1".parse::<Label>().unwrap()).unwrap(), "\"v1\"");
    }
}
