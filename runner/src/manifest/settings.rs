//! What a VM can be set to: the guest's settings, which every engine has, and the engine's own.

use std::collections::BTreeMap;

use microbench_plots::record::Level;
use toml::Spanned;
use toml::de::DeValue;

use super::diagnostic::Code;
use super::walk::{self, Problems};
use crate::engine::description::{Engine, Setting};

/// What manifests may name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Engines by name.
    pub engines: BTreeMap<String, Engine>,
    /// Names of kernels.
    pub kernels: Vec<String>,
    /// Names of root file systems.
    pub rootfs: Vec<String>,
}

/// What values a guest setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    /// A kernel of the catalogue.
    Kernel,
    /// A root file system of the catalogue.
    Rootfs,
    /// An integer within bounds.
    Int(i64, i64),
    /// One of these words.
    Words(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// Words for the kernel's command line.
    BootArgs,
}

/// Default of a guest setting, as data.
#[derive(Clone, Copy, Debug)]
enum Default {
    Int(i64),
    Text(&'static str),
    Bool(bool),
}

/// The guest's settings: name, values, default, meaning. The one table of them.
const GUEST: [(&str, Values, Default, &str); 11] = [
    ("kernel", Values::Kernel, Default::Text("microvm-6.1"), "guest kernel: a folder of kernels/"),
    ("rootfs", Values::Rootfs, Default::Text("minimal"), "root file system: a folder of rootfs/"),
    ("vcpus", Values::Int(1, 32), Default::Int(1), "virtual CPUs"),
    ("memory_mib", Values::Int(32, 1 << 20), Default::Int(512), "memory, MiB"),
    ("disk", Values::Words(&["shared", "clone"]), Default::Text("shared"), "one read-only image, or a copy a VM"),
    ("boot_args", Values::BootArgs, Default::Text(""), "words appended to the kernel's command line"),
    ("neighbour", Values::Bool, Default::Bool(true), "enter the guest's MAC address, so that no ARP request is made"),
    ("probe", Values::Words(&["exact", "paper"]), Default::Text("exact"), "how the first answer is waited for"),
    ("boot_deadline_s", Values::Int(1, 86_400), Default::Int(60), "spawn to first answer, s of the host's clock"),
    ("work_deadline_s", Values::Int(1, 86_400), Default::Int(300), "one request to work, s of the host's clock"),
    ("stop_deadline_s", Values::Int(1, 86_400), Default::Int(60), "request to stop to exit, s of the host's clock"),
];

/// Names and meanings of the guest's settings.
pub fn guest_settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    GUEST.iter().map(|(name, _, _, doc)| (*name, *doc))
}

/// Every setting of `engine` at its default.
pub(super) fn defaults(engine: &Engine) -> BTreeMap<String, Level> {
    let guest = GUEST.iter().map(|(name, _, default, _)| {
        let level = match default {
            Default::Int(value) => Level::Int(*value),
            Default::Text(value) => Level::Text((*value).into()),
            Default::Bool(value) => Level::Bool(*value),
        };
        ((*name).to_owned(), level)
    });
    guest.chain(engine.settings.iter().map(|(name, setting)| (name.clone(), setting.default.clone()))).collect()
}

/// True for a setting that every engine has.
pub(super) fn is_guest_setting(name: &str) -> bool {
    GUEST.iter().any(|(guest, ..)| *guest == name)
}

/// The value of setting `key`, which is the guest's or one of `engines`'; `None` after a problem.
pub(super) fn check(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    engines: &[&Engine],
    catalog: &Catalog,
    problems: &mut Problems,
) -> Option<Level> {
    if let Some((_, values, ..)) = GUEST.iter().find(|(name, ..)| *name == key) {
        return check_guest(key, *values, value, catalog, problems);
    }
    let mut settings = engines.iter().filter_map(|engine| engine.settings.get(key));
    check_engine(key, settings.next()?, value, problems)
}

fn check_guest(
    key: &str,
    values: Values,
    value: &Spanned<DeValue<'_>>,
    catalog: &Catalog,
    problems: &mut Problems,
) -> Option<Level> {
    let mut named = |what: &str, names: &[&str]| {
        let name = walk::text(key, value, problems)?;
        if names.contains(&name) {
            return Some(Level::Text(name.into()));
        }
        problems.unknown(what, name, value.span(), names.iter().copied());
        None
    };
    match values {
        Values::Kernel => named("kernel", &catalog.kernels.iter().map(String::as_str).collect::<Vec<_>>()),
        Values::Rootfs => named("root file system", &catalog.rootfs.iter().map(String::as_str).collect::<Vec<_>>()),
        Values::Words(words) => named(&format!("`{key}`"), words),
        Values::Int(low, high) => walk::integer(key, value, low..=high, problems).map(Level::Int),
        Values::Bool => walk::boolean(key, value, problems).map(Level::Bool),
        Values::BootArgs => {
            let words = walk::text(key, value, problems)?;
            let printable = words.chars().all(|c| c.is_ascii_graphic() || c == ' ');
            if !printable || words.contains(['{', '}', '"', '\\']) || words.len() > 1024 {
                let message = "`boot_args` takes at most 1024 printable ASCII characters without {, }, \" and \\";
                problems.add(Code::OutOfRange, value.span(), message, "", None);
                return None;
            }
            Some(Level::Text(words.into()))
        }
    }
}

fn check_engine(key: &str, setting: &Setting, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Level> {
    let level = walk::level(key, value, problems)?;
    if std::mem::discriminant(&level) != std::mem::discriminant(&setting.default) {
        let message = format!("`{key}` takes a value like its default, `{}`", setting.default);
        problems.add(Code::WrongType, value.span(), message, "another type", None);
        return None;
    }
    if !setting.choices.is_empty() && !setting.choices.contains(&level) {
        let choices: Vec<String> = setting.choices.iter().map(ToString::to_string).collect();
        problems.unknown(&format!("`{key}`"), &level.to_string(), value.span(), choices.iter().map(String::as_str));
        return None;
    }
    if let Level::Text(text) = &level {
        // The value is put into argument vectors and JSON bodies.
        if text.chars().any(|c| c.is_control() || matches!(c, '"' | '\\' | '{' | '}')) || text.len() > 1024 {
            let message =
                format!("`{key}` takes at most 1024 characters without control characters, {{, }}, \" and \\");
            problems.add(Code::OutOfRange, value.span(), message, "", None);
            return None;
        }
    }
    Some(level)
}
