//! The TOML description of an engine.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail};
use microbench_formats::axis::Level;
use microbench_formats::code::Code;
use microbench_formats::describe::one_line;
use microbench_formats::input;
use microbench_formats::level_map::LevelMap;
use microbench_formats::record::NOT_APPLICABLE;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use toml::de::DeTable;

use crate::optional_text;

/// The built-in descriptions with their paths in the repository.
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

/// The description of an engine.
///
/// ```
/// use microbench_study::engine::description::load;
///
/// let engines = load(&[])?;
/// assert_eq!(engines["qemu-microvm"].program, "qemu");
/// assert!(engines["firecracker"].snapshot.is_some());
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Engine {
    /// Name, as in a variant's `engine`.
    pub name: String,
    /// Name in tables.
    pub title: String,
    /// The program `{{program}}`: one that runner/measure/programs/ describes, one on PATH, or an absolute path.
    pub program: String,
    /// True for KVM guests, which need an emulated host if KVM does not work on this host.
    pub needs_kvm: bool,
    /// Kind of its guests.
    #[serde(default)]
    pub guest: GuestKind,
    /// Settings of the engine, for variants and axes.
    #[serde(default)]
    pub settings: BTreeMap<String, Setting>,
    /// Command that starts it.
    pub command: Command,
    /// Jailer: a program that starts it in its own root folder, if a setting enables it.
    #[serde(default)]
    pub jail: Option<Jail>,
    /// Parameters of the guest kernel's command line. Only for guests with their own kernel.
    #[serde(default)]
    pub kernel: Kernel,
    /// Files that are written into the VM's folder before the start.
    #[serde(default)]
    pub files: Vec<File>,
    /// API calls after the start. Without them, the guest boots when the process starts.
    pub api: Option<Api>,
    /// Restoring VMs from a snapshot, if a setting enables it.
    #[serde(default)]
    pub snapshot: Option<Snapshot>,
    /// Command that prints its version.
    pub version: Version,
    /// Messages by which it reports that a host cannot run a configuration.
    #[serde(default)]
    pub not_applicable: NotApplicable,
    /// Unsupported combinations of settings: their cells are not applicable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refuses: Vec<Refusal>,
    /// Short name for keys of variants in `microbench new`; without it, the name.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub short: Option<String>,
    /// Path of the description, for messages; `None` for one that was not read from a file.
    #[serde(skip)]
    pub file: Option<String>,
}

impl Engine {
    /// The settings of kind `file`, each with its value in `settings`; `None` for an empty value.
    pub fn files_named_by(&self, settings: &LevelMap) -> impl Iterator<Item = (&String, Option<String>)> {
        let files = self.settings.iter().filter(|(_, setting)| setting.kind == SettingKind::File);
        files.map(|(name, _)| (name, settings.get(name).map(ToString::to_string).filter(|value| !value.is_empty())))
    }
}

/// Kind of a guest, which decides the host resources that the runner allocates for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum GuestKind {
    /// A VM with its own kernel, a tap and a disk image. The VMM runs as its own user.
    #[default]
    Vm,
    /// A container. Its runtime starts as root in a network namespace with the guest's addresses (`eth0`) and the
    /// mounted root file system, and drops privileges itself. It must exit with the exit code of the container's init.
    Container,
    /// A process that runs as its own user, in such a namespace, with such a file system, and with the host's root
    /// folder.
    Process,
}

impl GuestKind {
    /// True for guests that run on the host's kernel.
    #[must_use]
    pub fn shares_kernel(self) -> bool {
        self != Self::Vm
    }

    /// The reason why readings of a guest kernel are not applicable; `None` for guests with their own kernel.
    #[must_use]
    pub fn no_kernel(self) -> Option<String> {
        let name = match self {
            Self::Vm => return None,
            Self::Container => "container",
            Self::Process => "process",
        };
        Some(format!("{NOT_APPLICABLE}a {name} has no kernel of its own"))
    }

    /// True if the guest setting has an effect on guests of this kind.
    #[must_use]
    pub fn applies(self, setting: &str) -> bool {
        const WITHOUT_KERNEL: [&str; 10] = [
            "rootfs",
            "disk",
            "neighbour",
            "probe",
            "page_cache",
            "hold_s",
            "host_cpu",
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
    /// Default value, which also defines the type.
    #[schemars(schema_with = "level")]
    pub default: Level,
    /// Permitted values; empty for any value of the type.
    #[serde(default)]
    #[schemars(schema_with = "levels")]
    pub choices: Vec<Level>,
    /// Meaning of the value.
    #[serde(default)]
    pub kind: SettingKind,
    /// One sentence.
    pub doc: String,
    /// Line of the default in the description, from 1; 0 for one that was not read from a file.
    #[serde(skip)]
    pub line: u32,
}

/// Meaning of a setting's value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SettingKind {
    /// The value itself.
    #[default]
    Value,
    /// Path of a file relative to the manifest, or empty. Templates get the path by the setting's name, and the content
    /// by that name with the suffix `_text`.
    File,
}

/// A combination of settings that an engine does not support.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// Template over the settings: the combination is refused if the result is not empty.
    pub when: String,
    /// The reason, as the last clause of a message.
    pub reason: String,
}

/// Templates of the argument vector, beginning with the program. Empty arguments are left out. The guest's console must
/// be the process's standard output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// One template for each argument.
    pub argv: Vec<String>,
}

/// A jailer: a program that starts the VMM in its own root folder. In that folder, the kernel is `/kernel`, the disk is
/// `/disk`, and the API socket and the files are in `/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Jail {
    /// Template of a condition: the jailer is used if the result is not empty.
    pub when: String,
    /// The jailer program: a file next to the engine's program.
    pub program: String,
    /// Templates of the argument vector, instead of the engine's. Empty arguments are left out.
    pub argv: Vec<String>,
    /// Template of the path of the root folder on the host.
    pub root: String,
}

/// Parameters and requirements of the guest kernel: templates over the settings.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// Kernel parameters before the common ones, for instance to skip probes of missing devices.
    pub boot_args: String,
    /// How the guest ends its machine if the setting `reboot` is `engine`: the value of the kernel parameter `reboot=`,
    /// or `power-off`. Without it: the kernel's default.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub reboot: Option<String>,
    /// Values of the setting `reboot` with which a guest does not end by itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub endless: Vec<String>,
    /// Option that the kernel must be configured with, for instance `CONFIG_VIRTIO_PCI`; may be empty.
    #[serde(default, deserialize_with = "optional_text::deserialize", skip_serializing_if = "Option::is_none")]
    pub needs: Option<String>,
    /// Kernel parameters with a serial console.
    #[serde(default)]
    pub console: String,
    /// Kernel parameters without a serial console.
    #[serde(default)]
    pub no_console: String,
}

/// A file that is written before the start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Name in the VM's folder, or in the root folder of a jailed VMM.
    pub name: String,
    /// Template of the content.
    pub content: String,
    /// Template of a condition: the file is written if the result is not empty.
    #[serde(default)]
    pub when: Option<String>,
}

/// HTTP calls over a Unix socket, in order, on one connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Template of a condition: if the result is empty, no calls are made and the guest boots when the process starts.
    #[serde(default)]
    pub when: Option<String>,
    /// Template of the socket's path.
    pub socket: String,
    /// The calls.
    pub calls: Vec<ApiCall>,
}

/// One HTTP call. A response other than 2xx is a failure, and its body is the VMM's message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiCall {
    /// For instance `PUT` or `PATCH`.
    pub method: String,
    /// Path of the resource.
    pub path: String,
    /// Template of the JSON body.
    pub body: String,
    /// Template of a condition: the call is made if the result is not empty.
    #[serde(default)]
    pub when: Option<String>,
    /// True for the call that starts the guest. The event `boot.requested` is recorded before it.
    #[serde(default)]
    pub boots: bool,
}

/// Restoring VMs from a snapshot instead of booting them.
///
/// Before the first trial, outside every timed window, one VM boots as usual. After its first response, the calls of
/// `take` write its state to `files`, and the VM is ended. Each measured VM is a new VMM that gets the calls of `load`
/// instead of those of `[api]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Template of a condition over settings only: VMs are restored if the result is not empty.
    pub when: String,
    /// Names of the files that `take` writes and `load` reads, in the VM's folder or in the root folder of a jailed
    /// VMM.
    pub files: Vec<String>,
    /// Calls that write the snapshot, after the guest's first response.
    pub take: Vec<ApiCall>,
    /// Calls that load the snapshot into a new VMM; `boots` marks the call that resumes the guest.
    pub load: Vec<ApiCall>,
}

/// Command that prints the version: the text after `prefix` up to a space or the end of the line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Templates of the argument vector, which can use `{{program}}` only.
    pub argv: Vec<String>,
    /// Text before the version.
    pub prefix: String,
}

/// Messages by which the VMM reports that this host cannot run a configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotApplicable {
    /// A failure whose message contains one of these texts is `not-applicable`.
    pub messages: Vec<String>,
}

/// The JSON Schema of a [`Level`], which does not implement `JsonSchema`.
fn level(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "integer", "number", "boolean"] })
}

fn levels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "items": { "type": ["string", "integer", "number", "boolean"] } })
}

/// Loads the built-in engines and those of `folders` (`*.toml`), by name. A folder that cannot be read is skipped.
///
/// # Errors
/// A description that cannot be read or parsed, that has the name of another engine, or whose program is a relative
/// path.
pub fn load(folders: &[&Path]) -> anyhow::Result<BTreeMap<String, Engine>> {
    let mut engines = BTreeMap::new();
    let mut add = |text: &str, origin: &str| -> anyhow::Result<()> {
        let mut engine: Engine = toml::from_str(text).with_context(|| {
            Code::BadDescription.with_message(format!("cannot parse the engine description {origin}"))
        })?;
        if engine.program.contains('/') && Path::new(&engine.program).is_relative() {
            bail!(Code::BadDescription.with_message(format!(
                "the engine description {origin} has the relative path `{}` as `program`, which would depend on the \
                 working directory: write an absolute path, or the name of a program on PATH",
                one_line(&engine.program, 200)
            )));
        }
        engine.file = Some(origin.to_owned());
        set_lines(&mut engine, text);
        let name = engine.name.clone();
        if engines.insert(name.clone(), engine).is_some() {
            bail!(Code::BadDescription.with_message(format!(
                "the engine description {origin} has the name `{name}` of another engine: change its `name`"
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
            let text = input::read_text(file).with_context(|| format!("cannot read {}", file.display()))?;
            add(&text, &file.display().to_string())?;
        }
    }
    Ok(engines)
}

/// The table of `key`; `None` for a missing key or another type.
fn inner<'a>(table: &'a DeTable<'a>, key: &str) -> Option<&'a DeTable<'a>> {
    table.iter().find(|(name, _)| name.get_ref() == key).and_then(|(_, value)| value.get_ref().as_table())
}

/// Sets [`Setting::line`] of each setting.
fn set_lines(engine: &mut Engine, text: &str) {
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
    fn kernel_settings_do_not_apply_to_guests_without_a_kernel() {
        for guest in [GuestKind::Container, GuestKind::Process] {
            assert!(guest.applies("rootfs") && !guest.applies("kernel") && !guest.applies("vcpus"));
            assert!(guest.no_kernel().is_some_and(|reason| reason.ends_with("has no kernel of its own")));
        }
        assert!(GuestKind::Vm.applies("kernel") && GuestKind::Vm.no_kernel().is_none());
    }
}
