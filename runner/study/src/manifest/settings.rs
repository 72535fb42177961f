//! What a guest can be set to: the settings common to all engines, and the catalogue that a manifest is checked against.

use std::collections::BTreeMap;
use std::path::Path;

use microbench_formats::code::Code;
use microbench_formats::record::Level;

use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{list, quote, suggest};
use super::read::{At, kind_of_level, written};

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

/// A setting that every engine's guests have.
#[derive(Clone, Copy, Debug)]
pub struct GuestSetting {
    /// Key in `[guest]`, in a variant, or name of an axis.
    pub name: &'static str,
    /// Permitted values.
    pub kind: Kind,
    /// Value where the manifest is silent; `None` for a setting that must be given.
    pub default: Option<DefaultLevel>,
    /// What it does, one sentence.
    pub doc: &'static str,
}

/// Permitted values of a guest setting.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Name of a kernel of the catalogue.
    Kernel,
    /// Name of a root file system of the catalogue.
    Rootfs,
    /// An integer between the two, both included.
    Int(i64, i64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// One line of at most this many bytes; see [`is_plain`].
    Line(usize),
    /// `true` or `false`.
    Bool,
}

/// A default that a constant table can hold.
#[derive(Clone, Copy, Debug)]
pub enum DefaultLevel {
    /// An integer.
    Int(i64),
    /// A string.
    Text(&'static str),
    /// A truth value.
    Bool(bool),
}

impl From<DefaultLevel> for Level {
    fn from(default: DefaultLevel) -> Self {
        match default {
            DefaultLevel::Int(value) => Self::Int(value),
            DefaultLevel::Text(value) => Self::Text(value.into()),
            DefaultLevel::Bool(value) => Self::Bool(value),
        }
    }
}

/// Every guest setting.
pub const GUEST: &[GuestSetting] = &[
    GuestSetting { name: "kernel", kind: Kind::Kernel, default: None, doc: "Guest kernel: a folder of kernels/." },
    GuestSetting { name: "rootfs", kind: Kind::Rootfs, default: None, doc: "Root file system: a folder of rootfs/." },
    GuestSetting {
        name: "vcpus",
        kind: Kind::Int(1, 32),
        default: Some(DefaultLevel::Int(1)),
        doc: "Virtual CPUs of one VM.",
    },
    GuestSetting {
        name: "memory_mib",
        kind: Kind::Int(32, 65536),
        default: Some(DefaultLevel::Int(512)),
        doc: "Memory of one VM in MiB.",
    },
    GuestSetting {
        name: "disk",
        kind: Kind::Word(&["shared", "clone"]),
        default: Some(DefaultLevel::Text("shared")),
        doc: "`shared`: one read-only disk for all VMs; `clone`: a copy of its own for each.",
    },
    GuestSetting {
        name: "boot_args",
        kind: Kind::Line(1024),
        default: Some(DefaultLevel::Text("")),
        doc: "Words added to the kernel's command line.",
    },
    GuestSetting {
        name: "neighbour",
        kind: Kind::Bool,
        default: Some(DefaultLevel::Bool(true)),
        doc: "Give the host a permanent neighbour entry for the VM, so that no ARP exchange is timed.",
    },
    GuestSetting {
        name: "probe",
        kind: Kind::Word(&["exact", "paper", "busy"]),
        default: Some(DefaultLevel::Text("exact")),
        doc: "How the start of the web service is observed: `exact`, `paper` for the poll that the 2019 study states, or `busy` \
              for one without a pause.",
    },
    GuestSetting {
        name: "reboot",
        kind: Kind::Word(&["engine", "k", "t", "a", "p", "power-off"]),
        default: Some(DefaultLevel::Text("engine")),
        doc: "How the guest ends its machine: `engine` for what the engine's machine has; by the keyboard controller (`k`), a triple \
              fault (`t`), the reset register of ACPI (`a`) or of PCI (`p`); or by powering it off.",
    },
    GuestSetting {
        name: "console",
        kind: Kind::Bool,
        default: Some(DefaultLevel::Bool(true)),
        doc: "Give the guest a serial console; without one the agent's marks on it are missing.",
    },
    GuestSetting {
        name: "steady_s",
        kind: Kind::Int(0, 86_400),
        default: Some(DefaultLevel::Int(0)),
        doc: "Hold every VM of a trial until the last one has answered, and so many s from then on; then each must answer again. 0: \
              no VM waits for another.",
    },
    GuestSetting {
        name: "network",
        kind: Kind::Bool,
        default: Some(DefaultLevel::Bool(true)),
        doc: "Give the guest a network; without one it is seen on its console alone, and ends its machine as soon as its agent is \
              ready.",
    },
    GuestSetting {
        name: "page_cache",
        kind: Kind::Word(&["warm", "cold"]),
        default: Some(DefaultLevel::Text("warm")),
        doc: "The host's page cache when VMs are released: as it is, or without the VMM's program, the guest's kernel and its disk.",
    },
    GuestSetting {
        name: "trace",
        kind: Kind::Bool,
        default: Some(DefaultLevel::Bool(false)),
        doc: "Trace the VM's boot on the host by KVM's tracepoints: its first entry into the guest and, with a kernel that makes them, the \
              guest's marks on an I/O port.",
    },
    GuestSetting {
        name: "boot_deadline_s",
        kind: Kind::Int(1, 86_400),
        default: Some(DefaultLevel::Int(60)),
        doc: "Longest time from spawn to the first answer, in s of the executing host's clock.",
    },
    GuestSetting {
        name: "work_deadline_s",
        kind: Kind::Int(1, 86_400),
        default: Some(DefaultLevel::Int(300)),
        doc: "Longest time of one request for work, in s of the executing host's clock.",
    },
    GuestSetting {
        name: "stop_deadline_s",
        kind: Kind::Int(1, 86_400),
        default: Some(DefaultLevel::Int(60)),
        doc: "Longest time from the request to stop to the VMM's end, in s of the executing host's clock.",
    },
];

/// The guest setting of this name.
#[must_use]
pub fn guest(name: &str) -> Option<&'static GuestSetting> {
    GUEST.iter().find(|setting| setting.name == name)
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

/// Texts end up in argument vectors, on the kernel's command line and within JSON strings, and must mean the same in each.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '{' | '}'))
}

fn not_plain(name: &str) -> String {
    format!("{} takes printable ASCII characters without \", \\, {{ and }}", quote(name))
}

fn wrong_type(name: &str, wanted: &str, level: &At<Level>) -> ManifestError {
    let kind = kind_of_level(&level.value);
    ManifestError::new(Code::WrongType, level.span.clone(), format!("{} is {wanted}, but this is {kind}", quote(name)))
        .label(format!("{wanted} is wanted"))
}
