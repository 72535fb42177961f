//! The catalogue that a manifest is checked against, and the check of a setting's value.

use std::collections::BTreeMap;
use std::path::Path;

use microbench_formats::axis::Level;
use microbench_formats::code::Code;

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{list, quote, suggest};
use super::read::{At, kind_of_level, written};
use crate::engine::guest_settings::is_plain;
pub use crate::engine::guest_settings::{DefaultLevel, GUEST, GuestSetting, Kind, guest};

/// What there is to compare: plain data, filled in by the caller.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Engines by name.
    pub engines: BTreeMap<String, EngineSpec>,
    /// Names of the guest kernels.
    pub kernels: Vec<String>,
    /// Names of the root file systems.
    pub rootfs: Vec<String>,
}

/// What a manifest may set on one engine.
#[derive(Clone, Debug, Default)]
pub struct EngineSpec {
    /// The engine's own settings by name. A name that is also a guest setting, or a key of a variant or of the matrix
    /// (`label`, `engine`, `variant`, `trials` ...), can never be set.
    pub settings: BTreeMap<String, SettingSpec>,
}

/// One setting of an engine.
#[derive(Clone, Debug)]
pub struct SettingSpec {
    /// Value where the manifest is silent; its type is the setting's type.
    pub default: Level,
    /// Permitted values; empty permits any of the default's type.
    pub choices: Vec<Level>,
    /// The value is the path of a file, relative to the manifest's folder; empty for none.
    pub file: bool,
    /// What it does, one sentence.
    pub doc: String,
}

/// Names of the guest settings.
pub(super) fn guest_names<'a>() -> impl Iterator<Item = &'a str> + Clone {
    GUEST.iter().map(|setting| setting.name)
}

impl GuestSetting {
    /// The value if the setting permits it, else an error is reported.
    pub(super) fn check(&self, level: &At<Level>, catalog: &Catalog, errors: &mut Diagnostics) -> Option<Level> {
        let error = |code, message: String| ManifestError::new(code, level.span.clone(), message);
        let name = self.name;
        let unknown = |code, kind: &str, text: &str, valid: &[String]| {
            error(code, format!("there is no {kind} {}", quote(text))).help(suggest(
                text,
                &format!("{kind}s"),
                valid.iter().map(String::as_str),
            ))
        };
        let wrong = match (self.kind, &level.value) {
            (Kind::Kernel, Level::Text(text)) if !catalog.kernels.contains(text) => {
                unknown(Code::UnknownKernel, "kernel", text, &catalog.kernels)
            }
            (Kind::Rootfs, Level::Text(text)) if !catalog.rootfs.contains(text) => {
                unknown(Code::UnknownRootfs, "root file system", text, &catalog.rootfs)
            }
            (Kind::Int(least, most), Level::Int(value)) if !(least..=most).contains(value) => {
                error(Code::OutOfRange, format!("`{name}` must be between {least} and {most}"))
            }
            (Kind::Word(words), Level::Text(text)) if !words.contains(&text.as_str()) => error(
                Code::NotAChoice,
                format!("{} is not a value of `{name}`", quote(text)),
            )
            .help(suggest(text, &format!("values of `{name}`"), words.iter().copied())),
            (Kind::Line(most), Level::Text(text)) if text.len() > most => {
                error(Code::OutOfRange, format!("`{name}` must not be longer than {most} bytes"))
            }
            (Kind::Line(_), Level::Text(text)) if !is_plain(text) => error(Code::OutOfRange, not_plain(name)),
            (Kind::Kernel | Kind::Rootfs | Kind::Word(_) | Kind::Line(_), Level::Text(_))
            | (Kind::Int(..), Level::Int(_))
            | (Kind::Bool, Level::Bool(_)) => return Some(level.value.clone()),
            (Kind::Int(..), _) => wrong_type(name, "an integer", level),
            (Kind::Bool, _) => wrong_type(name, "a truth value", level),
            (Kind::Kernel | Kind::Rootfs | Kind::Word(_) | Kind::Line(_), _) => wrong_type(name, "a string", level),
        };
        errors.push(wrong.help(self.doc));
        None
    }
}

impl SettingSpec {
    /// The value if the setting permits it, else an error is reported. An integer where a float is wanted becomes one.
    pub(super) fn check(
        &self,
        name: &str,
        level: &At<Level>,
        folder: &Path,
        errors: &mut Diagnostics,
    ) -> Option<Level> {
        let value = match (&self.default, &level.value) {
            #[expect(clippy::cast_precision_loss, reason = "a setting of 2^53 is not meant exactly")]
            (Level::Float(_), Level::Int(value)) => Level::Float(*value as f64),
            (wanted, value) if std::mem::discriminant(wanted) == std::mem::discriminant(value) => value.clone(),
            (wanted, _) => {
                errors.push(wrong_type(name, kind_of_level(wanted), level).help(self.doc.as_str()));
                return None;
            }
        };
        if let Level::Text(text) = &value
            && !is_plain(text)
        {
            errors.push(
                ManifestError::new(Code::OutOfRange, level.span.clone(), not_plain(name)).help(self.doc.as_str()),
            );
            return None;
        }
        if let Level::Text(path) = &value
            && self.file
            && !path.is_empty()
            && let Err(error) = readable(&folder.join(path))
        {
            let message = format!("the file {} of {} cannot be read: {error}", quote(path), quote(name));
            errors.push(
                ManifestError::new(Code::FileUnreadable, level.span.clone(), message)
                    .help("the path is relative to the manifest's folder")
                    .help(self.doc.as_str()),
            );
            return None;
        }
        if self.choices.is_empty() || self.choices.contains(&value) {
            return Some(value);
        }
        let words: Vec<String> = self.choices.iter().map(ToString::to_string).collect();
        let choices = format!("values of {}", quote(name));
        let valid = words.iter().map(String::as_str);
        let help = match &value {
            Level::Text(text) => suggest(text, &choices, valid),
            Level::Bool(_) | Level::Int(_) | Level::Float(_) => list(&choices, valid),
        };
        let message = format!("{} is not a value of {}", written(&level.value), quote(name));
        let error = ManifestError::new(Code::NotAChoice, level.span.clone(), message);
        errors.push(error.help(help).help(self.doc.as_str()));
        None
    }
}

fn readable(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return Err(std::io::ErrorKind::IsADirectory.into());
    }
    std::fs::File::open(path).map(drop)
}

fn not_plain(name: &str) -> String {
    format!("{} takes printable ASCII characters without \", \\, {{ and }}", quote(name))
}

fn wrong_type(name: &str, wanted: &str, level: &At<Level>) -> ManifestError {
    let kind = kind_of_level(&level.value);
    ManifestError::new(Code::WrongType, level.span.clone(), format!("{} is {wanted}, but this is {kind}", quote(name)))
        .label(format!("{wanted} is wanted"))
}
