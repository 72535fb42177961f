//! The catalogue of engines, kernels and root file systems, and the check of a setting's value.

use std::collections::BTreeMap;
use std::path::Path;

use microbench_formats::axis::Level;
use microbench_formats::code::Code;
use microbench_formats::input;

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{list_valid, quote, suggest};
use super::read::{At, format_level, level_type_name, number_help};
use crate::engine::guest_settings::is_plain;
pub use crate::engine::guest_settings::{DefaultLevel, GUEST, GuestSetting, Kind, guest};

/// The engines, kernels and root file systems that a manifest may use. The caller fills it in.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Engines by name.
    pub engines: BTreeMap<String, EngineSpec>,
    /// Names of the guest kernels.
    pub kernels: Vec<String>,
    /// Names of the root file systems.
    pub rootfs: Vec<String>,
}

/// The settings of one engine.
#[derive(Clone, Debug, Default)]
pub struct EngineSpec {
    /// Settings by name. A setting cannot be set if it has the name of a guest setting, or of a key of a variant or of
    /// the matrix (`label`, `engine`, `variant`, `trials` ...).
    pub settings: BTreeMap<String, SettingSpec>,
    /// True if its guests share the host's kernel.
    pub shares_kernel: bool,
}

/// One setting of an engine.
#[derive(Clone, Debug)]
pub struct SettingSpec {
    /// The default value, which also defines the type of the setting.
    pub default: Level,
    /// Permitted values; empty for any value of the type.
    pub choices: Vec<Level>,
    /// The value is a path relative to the manifest's folder, or empty.
    pub file: bool,
    /// One sentence.
    pub doc: String,
}

/// Names of the guest settings.
pub(super) fn guest_names<'a>() -> impl Iterator<Item = &'a str> + Clone {
    GUEST.iter().map(|setting| setting.name)
}

impl GuestSetting {
    /// The value if the setting permits it; reports an error otherwise.
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
            (Kind::Choice(names), Level::Text(text)) if !names.contains(&text.as_str()) => error(
                Code::NotAChoice,
                format!("{} is not a value of `{name}`", quote(text)),
            )
            .help(suggest(text, &format!("values of `{name}`"), names.iter().copied())),
            (Kind::Line(most), Level::Text(text)) if text.len() > most => {
                error(Code::OutOfRange, format!("`{name}` must not be longer than {most} bytes"))
            }
            (Kind::Line(_), Level::Text(text)) if !is_plain(text) => error(Code::OutOfRange, plain_text_required(name)),
            (Kind::Kernel | Kind::Rootfs | Kind::Choice(_) | Kind::Line(_), Level::Text(_))
            | (Kind::Int(..), Level::Int(_))
            | (Kind::Bool, Level::Bool(_)) => return Some(level.value.clone()),
            (Kind::Int(..), _) => {
                errors.push(not_a_number(name, "an integer", level, self.doc));
                return None;
            }
            (Kind::Bool, _) => wrong_type(name, "a boolean", level),
            (Kind::Kernel | Kind::Rootfs | Kind::Choice(_) | Kind::Line(_), _) => wrong_type(name, "a string", level),
        };
        errors.push(wrong.help(self.doc));
        None
    }
}

impl SettingSpec {
    /// The value if the setting permits it; reports an error otherwise. An integer becomes a float where the setting is
    /// a float.
    pub(super) fn check(
        &self,
        name: &str,
        level: &At<Level>,
        folder: &Path,
        errors: &mut Diagnostics,
    ) -> Option<Level> {
        let value = match (&self.default, &level.value) {
            #[expect(clippy::cast_precision_loss, reason = "integers of 2^53 and more need not be exact")]
            (Level::Float(_), Level::Int(value)) => Level::Float(*value as f64),
            (default, value) if std::mem::discriminant(default) == std::mem::discriminant(value) => value.clone(),
            (default @ (Level::Int(_) | Level::Float(_)), _) => {
                errors.push(not_a_number(name, level_type_name(default), level, &self.doc));
                return None;
            }
            (default, _) => {
                errors.push(wrong_type(name, level_type_name(default), level).help(self.doc.as_str()));
                return None;
            }
        };
        if let Level::Text(text) = &value
            && !is_plain(text)
        {
            errors.push(
                ManifestError::new(Code::OutOfRange, level.span.clone(), plain_text_required(name))
                    .help(self.doc.as_str()),
            );
            return None;
        }
        if let Level::Text(path) = &value
            && self.file
            && !path.is_empty()
            && let Err(error) = check_readable(&folder.join(path))
        {
            let message = format!("cannot read the file {} of {}: {error}", quote(path), quote(name));
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
        let names: Vec<String> = self.choices.iter().map(ToString::to_string).collect();
        let choices = format!("values of {}", quote(name));
        let valid = names.iter().map(String::as_str);
        let help = match &value {
            Level::Text(text) => suggest(text, &choices, valid),
            Level::Bool(_) | Level::Int(_) | Level::Float(_) => list_valid(&choices, valid),
        };
        let message = format!("{} is not a value of {}", format_level(&level.value), quote(name));
        let error = ManifestError::new(Code::NotAChoice, level.span.clone(), message);
        // A suggestion does not list the others.
        let all = (!help.contains(&choices)).then(|| list_valid(&choices, names.iter().map(String::as_str)));
        let error = all.into_iter().fold(error.help(help), ManifestError::help);
        errors.push(error.help(self.doc.as_str()));
        None
    }
}

/// The error that a setting is not a number, with help for a number written as a string; else with `doc`.
fn not_a_number(name: &str, expected: &str, level: &At<Level>, doc: &str) -> ManifestError {
    let help = match &level.value {
        Level::Text(text) => number_help(name, text),
        Level::Bool(_) | Level::Int(_) | Level::Float(_) => None,
    };
    wrong_type(name, expected, level).help(help.unwrap_or_else(|| doc.to_owned()))
}

fn check_readable(path: &Path) -> std::io::Result<()> {
    input::open(path).map(drop)
}

fn plain_text_required(name: &str) -> String {
    format!("{} must be printable ASCII characters without \", \\, {{ and }}", quote(name))
}

fn wrong_type(name: &str, expected: &str, level: &At<Level>) -> ManifestError {
    let kind = level_type_name(&level.value);
    ManifestError::new(Code::WrongType, level.span.clone(), format!("{} must be {expected}, not {kind}", quote(name)))
        .label(format!("expected {expected}"))
}
