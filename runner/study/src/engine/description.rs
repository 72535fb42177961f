//! The TOML description of an engine.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use microbench_formats::axis::Level;
use microbench_formats::code::Code;
use microbench_formats::level_map::LevelMap;
use microbench_formats::record::NOT_APPLICABLE;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use crate::optional_text;

/// The descriptions that the program carries, with their files.
const BUILT_IN: [(&str, &str); 10] = [
    ("runner/study/engines/cloud-hypervisor.toml", include_str!("../../engines/cloud-hypervisor.toml")),
    ("runner/study/engines/crosvm.toml", include_str!("../../engines/crosvm.toml")),
    ("runner/study/engines/crun.toml", include_str!("../../engines/crun.toml")),
    ("runner/study/engines/firecracker.toml", include_str!("../../engines/firecracker.toml")),
    ("runner/study/engines/kvmtool.toml", include_str!("../../engines/kvmtool.toml")),
    ("runner/study/engines/process.toml", include_str!("../../engines/process.toml")),
    ("runner/study/engines/qemu-microvm.toml", include_str!("../../engines/qemu-microvm.toml")),
    ("runner/study/engines/qemu-pc.toml", include_str!("../../engines/qemu-pc.toml")),
    ("runner/study/engines/qemu-q35.toml", include_str!("../../engines/qemu-q35.toml")),
    ("runner/study/engines/runc.toml", include_str!("../../engines/runc.toml")),
];

/// One engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// What a variant's `engine` names.
    pub name: String,
    /// For tables.
    pub title: String,
    /// What `{{program}}` stands for: a program that runner/measure/programs/ describes, one on PATH, or a path.
    pub program: String,
    /// True when it runs KVM guests: then a host without working KVM needs the emulated one.
    pub needs_kvm: bool,
    /// What runs the guest's agent.
    #[serde(default)]
    pub guest: GuestKind,
    /// Settings of its own that variants and axes may give.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// How it is started.
    pub command: Command,
    /// The program that puts it into a root folder of its own, where a setting asks for that.
    #[serde(default)]
    pub jail: Option<Jail>,
    /// What its machine needs of the guest's kernel command line; only a guest with a kernel of its own has one.
    #[serde(default)]
    pub kernel: Kernel,
    /// Files to write into the VM's folder before the start.
    #[serde(default)]
    pub files: Vec<File>,
    /// Calls to make once it runs; without, the guest boots as the process starts.
    pub api: Option<Api>,
    /// How its VMs are restored from a snapshot, where a setting asks for that.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// How its version is read.
    pub version: Version,
    /// How it says that a host cannot run a configuration.
    #[serde(default)]
    pub not_applicable: NotApplicable,
    /// Combinations of settings that it does not have: their cells are not applicable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refuses: Vec<Refusal>,
    /// A short name for keys of variants, else its own name. `microbench new` takes it.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub short: Option<String>,
    /// The file that describes it, for messages; `None` when it was not read from one.
    #[serde(skip)]
    pub file: Option<String>,
}

impl Engine {
    /// Its settings of kind `file`, each with the value by which `settings` name a file; `None` where they name none.
    pub fn files_named_by(&self, settings: &LevelMap) -> impl Iterator<Item = (&String, Option<String>)> {
        let files = self.settings.iter().filter(|(_, setting)| setting.kind == SettingKind::File);
        files.map(|(name, _)| (name, settings.get(name).map(ToString::to_string).filter(|value| !value.is_empty())))
    }
}

/// What runs a guest's agent, and so what the runner lends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GuestKind {
    /// A kernel of the guest's own, under a VMM: it is lent a tap and a disk image. The VMM is a user of its own.
    #[default]
    Vm,
    /// A container: its runtime is started as root in a network namespace with the guest's addresses (`eth0`), beside the mounted root
    /// file system, and drops privileges itself. It must end with the code of the container's first process.
    Container,
    /// A plain process: started as a user of its own, in such a namespace, beside such a file system, with this machine's root.
    Process,
}

impl GuestKind {
    /// True when the guest has no kernel but the host's.
    #[must_use]
    pub fn shares_kernel(self) -> bool {
        self != Self::Vm
    }

    /// Why a guest of this kind lacks what a guest's own kernel would tell; `None` for one that has it.
    #[must_use]
    pub fn no_kernel(self) -> Option<String> {
        let name = match self {
            Self::Vm => return None,
            Self::Container => "container",
            Self::Process => "process",
        };
        Some(format!("{NOT_APPLICABLE}a {name} has no kernel of its own"))
    }

    /// True for a guest setting that means something to a guest of this kind.
    #[must_use]
    pub fn heeds(self, setting: &str) -> bool {
        const WITHOUT_KERNEL: [&str; 9] = [
            "rootfs",
            "disk",
            "neighbour",
            "probe",
            "page_cache",
            "hold_s",
            "boot_deadline_s",
            "workload_deadline_s",
            "stop_deadline_s",
        ];
        !self.shares_kernel() || WITHOUT_KERNEL.contains(&setting)
    }
}

/// A setting of an engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// Value where a manifest gives none; its type is the setting's.
    #[schemars(schema_with = "level")]
    pub default: Level,
    /// Allowed values; empty for any of the type.
    #[serde(default)]
    #[schemars(schema_with = "levels")]
    pub choices: Vec<Level>,
    /// What the value stands for.
    #[serde(default)]
    pub kind: SettingKind,
    /// One sentence.
    pub doc: String,
    /// The line of its default in the description's file, from 1; 0 when it was not read from one.
    #[serde(skip)]
    pub line: u32,
}

/// What the value of a setting stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// Itself.
    #[default]
    Value,
    /// A file: its path, relative to the manifest; empty for none. Templates find its path under the setting's name and its
    /// text under that name and `_text`.
    File,
}

/// A combination of settings that an engine does not have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Template over the settings: refused when it renders to something.
    pub when: String,
    /// Why, as a clause that a message ends with.
    pub reason: String,
}

/// Templates of the argument vector, program first; a word that renders to nothing is left out. The console is the process's
/// standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// One template an argument.
    pub argv: Vec<String>,
}

/// How another program starts the VMM in a root folder of its own. Inside, the kernel is `/kernel`, the disk `/disk`, and the API
/// socket and the files are in `/` by their names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jail {
    /// Template of a condition: no jail when it renders to nothing.
    pub when: String,
    /// The program: a file beside the engine's.
    pub program: String,
    /// Templates of the argument vector, instead of the engine's own; a word that renders to nothing is left out.
    pub argv: Vec<String>,
    /// Template of the folder, as seen from outside.
    pub root: String,
}

/// The guest kernel's side of the machine. All but `needs` are templates over the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Words that precede the common ones: probes to skip, devices to leave out.
    pub boot_args: String,
    /// How the guest ends this machine where a study does not say otherwise: the kernel's `reboot=` word, or `power-off`; without,
    /// the kernel's default.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub reboot: Option<String>,
    /// Template of the option that its kernel must be configured with, as `CONFIG_VIRTIO_PCI`; renders to nothing for none.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
    /// Words with a serial console.
    #[serde(default)]
    pub console: String,
    /// Words without one.
    #[serde(default)]
    pub no_console: String,
}

/// A file to write before the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Name in the VM's folder, or in the root folder of a VMM that is jailed.
    pub name: String,
    /// Template of the content.
    pub content: String,
    /// Template of a condition: the file is left out when it renders to nothing.
    #[serde(default)]
    pub when: Option<String>,
}

/// Calls over a unix socket, in order, on one connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Template of a condition: no calls are made when it renders to nothing; the guest then boots as the process starts.
    #[serde(default)]
    pub when: Option<String>,
    /// Template of the socket's path.
    pub socket: String,
    /// The calls.
    pub calls: Vec<ApiCall>,
}

/// One HTTP call; any answer but 2xx is a failure whose body is the VMM's message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiCall {
    /// `PUT`, `PATCH` ...
    pub method: String,
    /// Path of the resource.
    pub path: String,
    /// Template of a JSON body.
    pub body: String,
    /// Template of a condition: the call is left out when it renders to nothing.
    #[serde(default)]
    pub when: Option<String>,
    /// True for the call that starts the guest: `boot.requested` is taken before it.
    #[serde(default)]
    pub boots: bool,
}

/// How a VM is restored in place of booted. Before the first trial, and outside every timed window, a VM is booted as usual; when it has
/// answered, `take` has its VMM write its state to `files`, and it is ended. Every VM that is measured is a fresh VMM that is
/// told `load` in place of the calls of `[api]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Template of a condition, which may name settings alone: VMs boot when it renders to nothing.
    pub when: String,
    /// Names of the files that `take` writes and `load` reads: in the VM's folder, or in the root folder of a VMM that is jailed.
    pub files: Vec<String>,
    /// Calls to the VMM of the guest that has answered.
    pub take: Vec<ApiCall>,
    /// Calls to the fresh VMM; `boots` marks the one after which the guest runs.
    pub load: Vec<ApiCall>,
}

/// How the version is read: the rest of the line after `prefix`, up to a space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Templates of the argument vector; only `{{program}}` is known.
    pub argv: Vec<String>,
    /// Text before the version in the output.
    pub prefix: String,
}

/// Messages by which the VMM says that this host cannot run a configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotApplicable {
    /// Any of these in the VMM's message makes the failure `not-applicable`.
    pub messages: Vec<String>,
}

/// The schema of a [`Level`], whose crate knows no schemas.
fn level(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer", "number", "boolean"] })
}

fn levels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": ["string", "integer", "number", "boolean"] } })
}

/// The built-in engines and those in `folders` (`*.toml`), by name; a later one of the same name is an error.
///
/// # Errors
/// A description that does not parse, with its file; two of one name.
pub fn load(folders: &[&Path]) -> anyhow::Result<BTreeMap<String, Engine>> {
    let mut engines = BTreeMap::new();
    let mut add = |text: &str, origin: &str| -> anyhow::Result<()> {
        let mut engine: Engine = toml::from_str(text)
            .with_context(|| Code::BadDescription.says(format!("the engine description {origin} is wrong")))?;
        engine.file = Some(origin.to_owned());
        note_lines(&mut engine, text);
        let name = engine.name.clone();
        if engines.insert(name.clone(), engine).is_some() {
            bail!(Code::BadDescription.says(format!(
                "the engine description {origin} names its engine `{name}`, which another one has already"
            )));
        }
        Ok(())
    };
    for (file, text) in BUILT_IN {
        add(text, &format!("{file} (built in)"))?;
    }
    for folder in folders {
        let Ok(entries) = std::fs::read_dir(folder) else { continue };
        let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "toml")) {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            add(&text, &file.display().to_string())?;
        }
    }
    Ok(engines)
}

/// The table under this key.
fn inner<'a>(table: &'a DeTable<'a>, key: &str) -> Option<&'a DeTable<'a>> {
    table.iter().find(|(name, _)| name.get_ref() == key).and_then(|(_, value)| value.get_ref().as_table())
}

/// Notes the line of each setting's default in the description's text.
fn note_lines(engine: &mut Engine, text: &str) {
    let Ok(root) = DeTable::parse(text) else { return };
    let Some(settings) = inner(root.get_ref(), "settings") else { return };
    for (name, setting) in &mut engine.settings {
        let Some(own) = inner(settings, name) else { continue };
        let Some((key, _)) = own.iter().find(|(key, _)| key.get_ref() == "default") else { continue };
        let newlines = text[..key.span().start].matches('\n').count();
        setting.line = u32::try_from(newlines).unwrap_or(u32::MAX).saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_descriptions_parse() {
        let engines = load(&[]).unwrap();
        let names = [
            "cloud-hypervisor",
            "crosvm",
            "crun",
            "firecracker",
            "kvmtool",
            "process",
            "qemu-microvm",
            "qemu-pc",
            "qemu-q35",
            "runc",
        ];
        assert_eq!(engines.keys().collect::<Vec<_>>(), names);
    }

    #[test]
    fn a_guest_without_a_kernel_heeds_no_setting_of_one_and_says_why_it_lacks_what_one_would_tell() {
        for guest in [GuestKind::Container, GuestKind::Process] {
            assert!(guest.heeds("rootfs") && !guest.heeds("kernel") && !guest.heeds("vcpus"));
            assert!(guest.no_kernel().is_some_and(|reason| reason.ends_with("has no kernel of its own")));
        }
        assert!(GuestKind::Vm.heeds("kernel") && GuestKind::Vm.no_kernel().is_none());
    }
}
