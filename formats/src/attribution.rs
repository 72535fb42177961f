//! Authors, licence and DOI of a study and its data.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Prefix of an ORCID iD as a URL, the form that ORCID prescribes.
const ORCID: &str = "https://orcid.org/";

/// Licence identifiers of SPDX documents that name no licence.
pub const NO_LICENSE: [&str; 2] = ["NOASSERTION", "NONE"];

/// Authors, licence and DOI of a study; all are optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attribution {
    /// In the order of the manifest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<Author>,
    /// SPDX license expression of the study and its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// DOI of the data, `10.NNNN/...` without a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doi: Option<String>,
}

impl Attribution {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self == &Self::default()
    }

    /// Authors, licence and DOI in one line: `Ada Lovelace; licence CC-BY-4.0; DOI 10.5281/zenodo.1`. Empty if
    /// [`Self::is_empty`].
    #[must_use]
    pub fn line(&self) -> String {
        self.line_with(Author::display_name)
    }

    /// Like [`Self::line`], with a mark at each author that is not a person.
    #[must_use]
    pub fn marked_line(&self) -> String {
        let mark = |author: &Author| if author.person().is_none() { " (organisation)" } else { "" };
        self.line_with(|author| author.display_name() + mark(author))
    }

    fn line_with(&self, name: impl Fn(&Author) -> String) -> String {
        let names = self.authors.iter().map(name).collect::<Vec<_>>().join(", ");
        let parts = [
            Some(names).filter(|names| !names.is_empty()),
            self.license.as_ref().map(|license| format!("licence {license}")),
            self.doi.as_ref().map(|doi| format!("DOI {doi}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
    }
}

/// An author of a study.
///
/// ```
/// use microbench_formats::attribution::Author;
///
/// let author: Author = "Lovelace, Ada <ada@example.org> (https://orcid.org/0000-0002-1825-0097)".parse().unwrap();
/// assert_eq!(author.display_name(), "Ada Lovelace");
/// assert_eq!(author.person(), Some(("Lovelace", "Ada")));
/// assert_eq!(author.email.as_deref(), Some("ada@example.org"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// `Family, Given` for a person, as in DataCite; without a comma an organisation, or a person with a single name.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// ORCID iD as a URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orcid: Option<String>,
}

impl Author {
    /// Family name and given names; `None` if the name has no comma.
    #[must_use]
    pub fn person(&self) -> Option<(&str, &str)> {
        let (family, given) = self.name.split_once(',')?;
        Some((family.trim(), given.trim()))
    }

    /// Whether `other` is the same author: by the ORCID iD if both have one, otherwise by the name.
    ///
    /// ```
    /// use microbench_formats::attribution::Author;
    ///
    /// let author = |text: &str| text.parse::<Author>().unwrap();
    /// assert!(author("Lovelace,Ada").is_same_person(&author("Lovelace, Ada <ada@example.org>")));
    /// assert!(!author("Lovelace, Ada").is_same_person(&author("Ada")));
    /// ```
    #[must_use]
    pub fn is_same_person(&self, other: &Self) -> bool {
        match (&self.orcid, &other.orcid) {
            (Some(own), Some(other)) => own == other,
            _ => self.display_name().to_lowercase() == other.display_name().to_lowercase(),
        }
    }

    /// The name in the order of a byline, `Given Family`.
    #[must_use]
    pub fn display_name(&self) -> String {
        self.person().map_or_else(|| self.name.clone(), |(family, given)| format!("{given} {family}"))
    }
}

/// Why a text is not an author.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAuthor(&'static str);

impl fmt::Display for BadAuthor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::str::FromStr for Author {
    type Err = BadAuthor;

    /// Parses `Family, Given <mail> (ORCID)`; mail and ORCID are optional.
    fn from_str(text: &str) -> Result<Self, BadAuthor> {
        let (rest, orcid) = cut_end(text.trim(), '(', ')');
        let (name, email) = cut_end(rest, '<', '>');
        if let Some(orcid) = orcid
            && !is_orcid(orcid)
        {
            return Err(BadAuthor("the text in parentheses is not an ORCID iD"));
        }
        if let Some(email) = email
            && !is_email(email)
        {
            return Err(BadAuthor("the text in angle brackets is not an e-mail address"));
        }
        let name = normalised(name);
        let author = Self { name: name.clone(), email: email.map(Into::into), orcid: orcid.map(Into::into) };
        if name.is_empty() {
            return Err(BadAuthor("the name is missing"));
        }
        if author.person().is_some_and(|(family, given)| family.is_empty() || given.is_empty() || given.contains(',')) {
            return Err(BadAuthor("the name is not of the form `Family, Given`"));
        }
        if name.chars().any(|c| "<>()[]{}".contains(c) || is_invisible(c)) {
            return Err(BadAuthor("the name contains a bracket or an invisible character"));
        }
        Ok(author)
    }
}

/// The name with one space after the comma, and one for each white space.
fn normalised(name: &str) -> String {
    let words = |text: &str| text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    match name.split_once(',') {
        Some((family, given)) => format!("{}, {}", words(family), words(given)),
        None => words(name),
    }
}

/// Cuts a text in these brackets from the end.
fn cut_end(text: &str, open: char, close: char) -> (&str, Option<&str>) {
    match text.strip_suffix(close).and_then(|text| text.rsplit_once(open)) {
        Some((before, inside)) => (before.trim_end(), Some(inside)),
        None => (text, None),
    }
}

/// Whether `c` is a control character, a line or paragraph separator, or a character without an appearance of its own:
/// of the general category Cf (format) or with the property Default_Ignorable_Code_Point of Unicode 16.
fn is_invisible(c: char) -> bool {
    c.is_control() || {
        let after = INVISIBLE.partition_point(|(first, _)| *first <= c);
        after.checked_sub(1).is_some_and(|at| c <= INVISIBLE[at].1)
    }
}

/// Ranges of invisible characters, first and last, in ascending order.
const INVISIBLE: [(char, char); 25] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{2028}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether `text` is an e-mail address as CITATION.cff defines it: `NAME@HOST.TOP`, without white space.
fn is_email(text: &str) -> bool {
    let is_plain = |c: char| !c.is_whitespace() && !is_invisible(c) && !"<>()\"".contains(c);
    let Some((name, host)) = text.rsplit_once('@') else { return false };
    let top = host.rsplit_once('.').is_some_and(|(host, top)| !host.is_empty() && top.chars().count() >= 2);
    !name.is_empty() && top && text.chars().all(is_plain)
}

/// Whether `text` is the URL of an ORCID iD with a valid check digit (ISO 7064, MOD 11-2).
///
/// ```
/// use microbench_formats::attribution::is_orcid;
///
/// assert!(is_orcid("https://orcid.org/0000-0002-1825-0097"));
/// assert!(!is_orcid("https://orcid.org/0000-0002-1825-0098"));
/// ```
#[must_use]
pub fn is_orcid(text: &str) -> bool {
    let Some(id) = text.strip_prefix(ORCID) else { return false };
    let bytes = id.as_bytes();
    if bytes.len() != 19 || [4, 9, 14].iter().any(|at| bytes[*at] != b'-') {
        return false;
    }
    let digits: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != b'-').collect();
    let Some((check, digits)) = digits.split_last().filter(|(_, digits)| digits.len() == 15) else { return false };
    if !digits.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let total = digits.iter().fold(0_u32, |total, digit| (total + u32::from(digit - b'0')) * 2 % 11);
    let expected = match (12 - total) % 11 {
        10 => b'X',
        digit => b'0' + u8::try_from(digit).unwrap_or(0),
    };
    *check == expected
}

/// Whether `text` is a DOI without a URL, in the syntax of CITATION.cff: `10.NNNN/SUFFIX`.
///
/// ```
/// use microbench_formats::attribution::is_doi;
///
/// assert!(is_doi("10.5281/zenodo.1234567"));
/// assert!(!is_doi("https://doi.org/10.5281/zenodo.1234567"));
/// ```
#[must_use]
pub fn is_doi(text: &str) -> bool {
    let Some((prefix, suffix)) = text.split_once('/') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let registrant = prefix.strip_prefix("10.").is_some_and(|code| {
        let (code, part) = code.split_once('.').map_or((code, None), |(code, part)| (code, Some(part)));
        is_number(code) && (4..=9).contains(&code.len()) && part.is_none_or(is_number)
    });
    let is_plain = |c: char| c.is_ascii_alphanumeric() || ":/_;-.()[]\\".contains(c);
    registrant && !suffix.is_empty() && suffix.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_have_a_name_and_optionally_mail_and_orcid() {
        let author = |text: &str| text.parse::<Author>();
        let whole = author("Lovelace, Ada <ada@example.org> (https://orcid.org/0000-0002-1694-233X)").unwrap();
        assert_eq!(whole.orcid.as_deref(), Some("https://orcid.org/0000-0002-1694-233X"));
        assert_eq!(author("The team").unwrap().person(), None);
        assert_eq!(author("Ōno, Yōko (https://orcid.org/0000-0002-1825-0097)").unwrap().display_name(), "Yōko Ōno");
        for (text, why) in [
            ("", "name is missing"),
            ("<ada@example.org>", "name is missing"),
            ("Ada <ada>", "not an e-mail address"),
            ("Ada <a b@example.org>", "not an e-mail address"),
            ("Ada (0000-0002-1825-0097)", "not an ORCID iD"),
            ("Ada (https://orcid.org/0000-0002-1825-0098)", "not an ORCID iD"),
            ("Ada (https://orcid.org/é000-0002-1825-009)", "not an ORCID iD"),
            ("Ada <b>Lovelace", "bracket"),
            ("Ada\u{202e}Lovelace", "invisible"),
            ("Lovelace, ", "Family, Given"),
            ("Lovelace, Ada, Babbage", "Family, Given"),
        ] {
            let error = author(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn names_are_normalised_and_have_no_invisible_characters() {
        assert_eq!("Lovelace,Ada".parse::<Author>().unwrap().name, "Lovelace, Ada");
        assert_eq!("van  Rossum ,  Guido".parse::<Author>().unwrap().name, "van Rossum, Guido");
        for c in
            ['\u{61c}', '\u{ad}', '\u{e0041}', '\u{3164}', '\u{200d}', '\u{feff}', '\u{7}', '\u{e01ef}', '\u{fffb}']
        {
            for text in [format!("Ada{c}"), format!("{c}"), format!("Lovelace, {c}")] {
                assert!(text.parse::<Author>().is_err(), "{text:?}");
            }
            assert!(format!("Ada <ada{c}@example.org>").parse::<Author>().is_err(), "{c:?}");
        }
        for name in ["Ōno, Yōko", "Nguyễn, Văn", "李明", "محمد", "O'Neil", "Ünal-Öz, Çağ"] {
            assert!(name.parse::<Author>().is_ok(), "{name}");
        }
        assert!(INVISIBLE.is_sorted() && INVISIBLE.iter().all(|(first, last)| first <= last));
    }

    #[test]
    fn an_author_without_a_comma_is_marked_as_an_organisation() {
        let authors = ["Erika Mustermann <mail@example.org>", "Lovelace, Ada"];
        let authors = authors.iter().map(|text| text.parse().unwrap()).collect();
        let attribution = Attribution { authors, ..Attribution::default() };
        assert_eq!(attribution.marked_line(), "Erika Mustermann (organisation), Ada Lovelace");
        assert_eq!(attribution.line(), "Erika Mustermann, Ada Lovelace");
    }

    #[test]
    fn a_doi_has_a_registrant_and_a_suffix() {
        for good in ["10.5281/zenodo.1", "10.1000/182", "10.1000.10/a(b)[c];d:e_f-g\\h"] {
            assert!(is_doi(good), "{good}");
        }
        for bad in ["", "10.5281", "10.5281/", "10.528/x", "11.5281/x", "10.5281/a b", "doi:10.5281/x", "10.5281/<b>"] {
            assert!(!is_doi(bad), "{bad}");
        }
    }
}
