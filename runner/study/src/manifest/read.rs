//! Typed access to TOML's spanned tree. It collects all errors, where serde stops at the first.
//!
//! This layer checks types and unknown keys, not the meaning of values.

use std::ops::Range;

use microbench_formats::axis::Level;
use microbench_formats::code::Code;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostics, ManifestError};
use super::keys::{Key, integer_limits};
use super::nearest::{nearest, quote, suggest};
use super::renamed;

/// A value and its byte range in the manifest.
#[derive(Clone, Debug, Default)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// The keys that list tables, each written as `[[key]]`, with the noun for one table.
const TABLE_LISTS: [(&str, &str); 2] = [("claims", "claim"), ("values", "value")];

/// A key with its unchecked value.
#[derive(Clone, Copy)]
pub(super) struct Entry<'a> {
    key: &'a Spanned<std::borrow::Cow<'a, str>>,
    value: &'a Spanned<DeValue<'a>>,
}

/// The entries of a table that have not been taken yet, in the order of the manifest.
pub(super) struct Table<'a> {
    /// Name of the table in messages, for instance `[study]`.
    pub(super) place: String,
    pub(super) span: Range<usize>,
    entries: Vec<Entry<'a>>,
    /// Keys that [`Table::take`] was called with.
    taken: Vec<String>,
}

impl<'a> Table<'a> {
    pub(super) fn new(place: impl Into<String>, span: Range<usize>, table: &'a DeTable<'a>) -> Self {
        let mut entries: Vec<_> = table.iter().map(|(key, value)| Entry { key, value }).collect();
        entries.sort_by_key(|entry| entry.key.span().start);
        Self { place: place.into(), span, entries, taken: Vec::new() }
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Entry<'a>> {
        self.taken.push(key.into());
        let at = self.entries.iter().position(|entry| entry.key() == key)?;
        Some(self.entries.remove(at))
    }

    /// Takes the entries that match.
    pub(super) fn take_where(&mut self, matches: impl FnMut(&Entry<'a>) -> bool) -> Vec<Entry<'a>> {
        let (taken, left) = std::mem::take(&mut self.entries).into_iter().partition(matches);
        self.entries = left;
        taken
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.iter().any(|entry| entry.key() == key)
    }

    /// The remaining entries, in the order of the manifest, of a table that may have other keys than `keys`.
    pub(super) fn rest(self, keys: &[Key]) -> Vec<Entry<'a>> {
        self.assert_asked(keys);
        self.entries
    }

    /// Asserts that the reader takes exactly the documented keys.
    fn assert_asked(&self, keys: &[Key]) {
        debug_assert!(
            keys.iter().all(|key| self.taken.iter().any(|taken| taken == key.name))
                && self.taken.iter().all(|taken| keys.iter().any(|key| key.name == taken)),
            "{}: the reader took {:?}, the keys are {:?}",
            self.place,
            self.taken,
            keys.iter().map(|key| key.name).collect::<Vec<_>>()
        );
    }

    /// Reports every remaining key as unknown. `keys` are the valid keys of the table.
    pub(super) fn deny_rest(self, keys: &[Key], errors: &mut Diagnostics) {
        self.assert_asked(keys);
        for entry in &self.entries {
            if let Some(renamed) = renamed::in_table(entry.key(), keys) {
                errors.push_renamed(renamed, &entry.name(), &self.place);
                continue;
            }
            errors.push_with(|| {
                let message = format!("unknown key {} in {}", quote(entry.key()), self.place);
                let kind = format!("keys of {}", self.place);
                ManifestError::new(Code::UnknownKey, entry.key_span(), message).help(suggest(
                    entry.key(),
                    &kind,
                    keys.iter().map(|key| key.name),
                ))
            });
        }
    }

    /// True if the table has a typo or the old name of `key`, which is reported elsewhere with the valid name.
    pub(super) fn has_typo_of(&self, key: &str) -> bool {
        let old = |entry: &Entry<'_>| renamed::all().any(|renamed| renamed.old == entry.key() && renamed.new == key);
        self.entries.iter().any(|entry| nearest(entry.key(), [key]).is_some() || old(entry))
    }

    /// Reports the key if it is missing. Call it before the key is taken.
    pub(super) fn require(&self, key: &str, help: &str, errors: &mut Diagnostics) {
        if !self.has(key) && !self.has_typo_of(key) {
            errors.push(
                ManifestError::new(Code::Missing, self.span.clone(), format!("{} has no `{key}`", self.place))
                    .help(help),
            );
        }
    }

    /// The string of one line of `key`, if present.
    pub(super) fn string(&mut self, key: &str, errors: &mut Diagnostics) -> Option<At<String>> {
        self.take(key)?.string(errors)
    }

    /// The integer of `key`, if present, within the limits of its entry in `keys`.
    pub(super) fn integer(&mut self, key: &str, keys: &[Key], errors: &mut Diagnostics) -> Option<At<i64>> {
        self.take(key)?.integer(integer_limits(keys, key), errors)
    }
}

impl<'a> Entry<'a> {
    pub(super) fn key(&self) -> &'a str {
        self.key.get_ref()
    }

    pub(super) fn key_span(&self) -> Range<usize> {
        self.key.span()
    }

    pub(super) fn name(&self) -> At<String> {
        At { value: self.key().into(), span: self.key_span() }
    }

    pub(super) fn item(&self) -> Item<'a> {
        Item { name: self.key(), value: self.value }
    }

    pub(super) fn string(&self, errors: &mut Diagnostics) -> Option<At<String>> {
        self.item().string(errors)
    }

    pub(super) fn integer(&self, range: (i64, i64), errors: &mut Diagnostics) -> Option<At<i64>> {
        self.item().integer(range, errors)
    }

    pub(super) fn table(&self, place: impl Into<String>, errors: &mut Diagnostics) -> Option<Table<'a>> {
        self.item().table(place, errors)
    }

    /// The elements of a list.
    pub(super) fn list(&self, errors: &mut Diagnostics) -> Option<At<Vec<Item<'a>>>> {
        let item = self.item();
        let Some(array) = item.value.get_ref().as_array() else {
            let text = item.wrong_type("a list");
            let one = TABLE_LISTS.iter().find(|(key, _)| *key == item.name);
            let help = match (item.is_table(), one) {
                (true, Some((key, one))) => format!("write `[[{key}]]` with two brackets: each {one} is one table"),
                (true, None) => "put the table in brackets, as in `[{ ... }]`".to_owned(),
                (false, _) => "put the value in brackets, as in `[value]`".to_owned(),
            };
            errors.push(text.help(help));
            return None;
        };
        let value = array.iter().map(|value| Item { name: item.name, value }).collect();
        Some(At { value, span: item.value.span() })
    }
}

/// A value with a name for messages: the value of a key, or an element of its list.
#[derive(Clone, Copy)]
pub(super) struct Item<'a> {
    name: &'a str,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Item<'a> {
    pub(super) fn span(&self) -> Range<usize> {
        self.value.span()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.get_ref().is_table()
    }

    pub(super) fn is_integer(&self) -> bool {
        self.value.get_ref().is_integer()
    }

    pub(super) fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    /// The error that this value is not of the type `expected`.
    pub(super) fn wrong_type(&self, expected: &str) -> ManifestError {
        let kind = type_name(self.value.get_ref());
        ManifestError::new(Code::WrongType, self.span(), format!("{} must be {expected}, not {kind}", quote(self.name)))
            .label(format!("expected {expected}"))
    }

    /// Like [`wrong_type`](Self::wrong_type) where a number is expected, with help for a number written as a string.
    fn not_a_number(&self, expected: &str) -> ManifestError {
        let error = self.wrong_type(expected);
        match self.value.get_ref().as_str().and_then(|text| number_help(self.name, text)) {
            Some(help) => error.help(help),
            None => error,
        }
    }

    pub(super) fn table(&self, place: impl Into<String>, errors: &mut Diagnostics) -> Option<Table<'a>> {
        match self.value.get_ref() {
            DeValue::Table(table) => Some(Table::new(place, self.span(), table)),
            _ => {
                errors.push(self.wrong_type("a table"));
                None
            }
        }
    }

    pub(super) fn string(&self, errors: &mut Diagnostics) -> Option<At<String>> {
        let Some(text) = self.value.get_ref().as_str() else {
            errors.push(self.wrong_type("a string"));
            return None;
        };
        self.line(text, errors).map(|value| At { value, span: self.span() })
    }

    pub(super) fn integer(&self, (least, most): (i64, i64), errors: &mut Diagnostics) -> Option<At<i64>> {
        let DeValue::Integer(number) = self.value.get_ref() else {
            errors.push(self.not_a_number("an integer"));
            return None;
        };
        let value = i64::from_str_radix(number.as_str(), number.radix()).ok();
        match value.filter(|value| (least..=most).contains(value)) {
            Some(value) => Some(At { value, span: self.span() }),
            None => {
                errors.push(ManifestError::new(
                    Code::OutOfRange,
                    self.span(),
                    format!("{} must be between {least} and {most}", quote(self.name)),
                ));
                None
            }
        }
    }

    /// A string, number or boolean: the level of an axis or the value of a setting.
    pub(super) fn level(&self, errors: &mut Diagnostics) -> Option<At<Level>> {
        let span = self.span();
        let value = match self.value.get_ref() {
            DeValue::Boolean(value) => Level::Bool(*value),
            DeValue::Integer(_) => Level::Int(self.integer((i64::MIN, i64::MAX), errors)?.value),
            DeValue::String(text) => Level::Text(self.line(text, errors)?),
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(value) if value.is_finite() => Level::Float(value),
                _ => {
                    let message = format!("{} must be a finite number", quote(self.name));
                    errors.push(ManifestError::new(Code::OutOfRange, span, message));
                    return None;
                }
            },
            DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                errors.push(self.wrong_type("a string, number or boolean"));
                return None;
            }
        };
        Some(At { value, span })
    }

    /// A finite number.
    pub(super) fn number(&self, errors: &mut Diagnostics) -> Option<At<f64>> {
        let level = match self.value.get_ref() {
            DeValue::Integer(_) | DeValue::Float(_) => self.level(errors)?,
            _ => {
                errors.push(self.not_a_number("a number"));
                return None;
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "integers of 2^53 and more need not be exact")]
        let value = match level.value {
            Level::Int(value) => value as f64,
            Level::Float(value) => value,
            Level::Bool(_) | Level::Text(_) => return None,
        };
        Some(At { value, span: level.span })
    }

    pub(super) fn boolean(&self, errors: &mut Diagnostics) -> Option<At<bool>> {
        let DeValue::Boolean(value) = self.value.get_ref() else {
            errors.push(self.wrong_type("a boolean"));
            return None;
        };
        Some(At { value: *value, span: self.span() })
    }

    fn line(&self, text: &str, errors: &mut Diagnostics) -> Option<String> {
        if !text.chars().any(char::is_control) {
            return Some(text.into());
        }
        let message = format!("{} must be one line without control characters", quote(self.name));
        errors.push(ManifestError::new(Code::ControlCharacter, self.span(), message));
        None
    }
}

fn type_name(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a floating-point number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// Help for a string where the key needs a number: the number without quotes, or the unit at the end of the key's name.
///
/// `None` if neither is known.
pub(super) fn number_help(key: &str, text: &str) -> Option<String> {
    let text = text.trim();
    if text.parse::<f64>().is_ok_and(f64::is_finite) {
        return Some(format!("write the number without quotes: {text}"));
    }
    let (unit, example) = match key.rsplit_once('_')?.1 {
        "mib" => ("MiB", mebibytes(text).unwrap_or(512)),
        "ms" => ("milliseconds", 100),
        "s" => ("seconds", 60),
        _ => return None,
    };
    Some(format!("write a number of {unit} without quotes, for instance {example}"))
}

/// The MiB of a size with a unit, for instance 1024 for `1G` and `1 GiB`. `None` for other text and sizes below 1 MiB.
fn mebibytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok().filter(|number| *number > 0)?;
    match text[end..].trim().to_lowercase().as_str() {
        "m" | "mb" | "mib" => Some(number),
        "g" | "gb" | "gib" => number.checked_mul(1024),
        _ => None,
    }
}

/// The type of a level, for messages.
pub(super) fn level_type_name(level: &Level) -> &'static str {
    match level {
        Level::Bool(_) => "a boolean",
        Level::Int(_) => "an integer",
        Level::Float(_) => "a floating-point number",
        Level::Text(_) => "a string",
    }
}

/// A level in back-ticks, as a manifest writes it.
pub(super) fn format_level(level: &Level) -> String {
    match level {
        Level::Text(text) => quote(&format!("{text:?}")),
        other => quote(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::number_help;

    #[test]
    fn help_for_a_number_given_as_text_names_the_number_or_the_unit() {
        let help = |key, text| number_help(key, text).unwrap_or_default();
        assert_eq!(help("seed", "2019"), "write the number without quotes: 2019");
        assert_eq!(help("memory_mib", "1G"), "write a number of MiB without quotes, for instance 1024");
        assert_eq!(help("memory_mib", "256 MiB"), "write a number of MiB without quotes, for instance 256");
        assert_eq!(help("memory_mib", "much"), "write a number of MiB without quotes, for instance 512");
        assert_eq!(help("hold_s", "5s"), "write a number of seconds without quotes, for instance 60");
        assert_eq!(number_help("vcpus", "two"), None);
    }
}
