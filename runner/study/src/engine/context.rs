//! The names and values that the templates of an engine can use.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::level_map::LevelMap;
use schemars::JsonSchema;
use serde::Serialize;

use super::addresses::Addresses;
use super::description::Engine;
use super::guest_settings::{DiskKind, GuestSettings};
use super::machine;

/// File name, in the folder of a VM, of its copy of the root disk.
pub const DISK_COPY: &str = "disk.img";
/// Name, in the folder of a VM, of the mount point of its root file system. Only guests without their own kernel have
/// one.
pub const MOUNT: &str = "root";

/// User and group ID of VM 0; those of the other VMs follow.
///
/// No distribution and no container manager assigns IDs from here on: systemd-nspawn's end at 0x6fffffff. 0x7fffffff is
/// the last ID that every kernel interface accepts.
pub const FIRST_USER: u32 = 0x7000_0000;

/// The template context of one VM.
///
/// Templates can also use every effective setting of the cell by its name (`vcpus`, `memory_mib`, settings of the
/// engine).
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Context {
    /// Path of the engine's program.
    pub program: String,
    /// File name of the engine's program.
    pub program_name: String,
    /// Path of the jailer program; empty for an engine without a jailer.
    pub jail_program: Option<String>,
    /// ID of the user and group that the VMM runs as.
    pub user: u32,
    /// Name of the VM, unique in the run: letters, digits and dashes.
    pub id: String,
    /// The VM's private folder: sockets and configuration files.
    pub folder: String,
    /// Path of the guest kernel, an uncompressed ELF image; empty for a guest without its own kernel.
    pub kernel: Option<String>,
    /// The complete command line of the guest kernel; empty for a guest without its own kernel.
    pub boot_args: Option<String>,
    /// Path of the root disk, a raw image.
    pub disk: String,
    /// True if the root disk is read-only.
    pub disk_read_only: bool,
    /// Mount point of the root file system for a guest without its own kernel; empty for other guests.
    pub root: Option<String>,
    /// Path of the agent in the root file system.
    pub agent: String,
    /// Nonce that the agent's responses must contain. The agent gets it by `--nonce` in a guest without its own kernel,
    /// and by `boot_args` in other guests.
    pub nonce: String,
    /// The guest's network; `None` for a guest without one.
    #[serde(flatten)]
    pub network: Option<Network>,
    /// All effective settings. A field above with the same name has precedence.
    #[serde(skip)]
    pub settings: LevelMap,
    /// Files that settings name, by setting. Templates get the path by the setting's name, and the content by that name
    /// with the suffix `_text`. Both are empty for a setting without a file.
    #[serde(skip)]
    pub files: BTreeMap<String, Option<SettingFile>>,
}

/// The network of a guest, for templates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Network {
    /// Name of the tap interface, or of the host's end of the veth pair. This name and the three below exist only for a
    /// guest with a network.
    pub tap: String,
    /// The guest's MAC address.
    pub mac: String,
    /// The guest's IPv4 address.
    pub guest_ip: String,
    /// The host's IPv4 address.
    pub host_ip: String,
}

/// A file that a setting names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFile {
    pub path: String,
    pub text: String,
}

/// The values of a VM's context that a run assigns; the rest follows from cell and engine. `plan --explain` shows
/// placeholders in angle brackets instead.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// Path of the engine's program.
    pub program: String,
    /// File name of the engine's program.
    pub program_name: String,
    /// Path of the jailer program; `None` for an engine without a jailer.
    pub jail_program: Option<String>,
    /// ID of the user and group that the VMM runs as.
    pub user: u32,
    /// Name of the VM, unique in the run.
    pub id: String,
    /// The VM's private folder.
    pub folder: String,
    /// Path of the guest kernel; ignored for a guest that shares the host's kernel.
    pub kernel: Option<String>,
    /// Path of the image of the root file system.
    pub image: String,
    /// Path of init in the root file system.
    pub init: String,
    /// Path of the agent in the root file system.
    pub agent: String,
    /// Nonce of the VM's agent.
    pub nonce: String,
    /// Name of the host's interface to the VM; ignored for a guest without a network.
    pub tap: Option<String>,
    pub addresses: Addresses,
    /// Files that settings name, as in [`Context::files`].
    pub files: BTreeMap<String, Option<SettingFile>>,
}

impl Context {
    /// The context of a VM of `cell` with the guest settings `guest`.
    ///
    /// # Errors
    /// A template of the engine's `[kernel]` cannot be rendered.
    pub fn new(engine: &Engine, cell: &Cell, guest: &GuestSettings, assigned: Assigned) -> anyhow::Result<Self> {
        let Assigned { folder, nonce, addresses, .. } = assigned;
        let networked = machine::networked(engine, guest);
        let (own_kernel, own_disk) = (!engine.guest.shares_kernel(), guest.disk == DiskKind::Clone);
        let args = CommandLine {
            init: &assigned.init,
            read_only: !own_disk,
            addresses: networked.then_some(&addresses),
            nonce: &nonce,
            extra: guest.boot_args.as_deref(),
        };
        let command_line = command_line(&machine::kernel_parameters(engine, guest, &cell.settings)?, &args);
        Ok(Self {
            program: assigned.program,
            program_name: assigned.program_name,
            jail_program: assigned.jail_program,
            user: assigned.user,
            id: assigned.id,
            kernel: assigned.kernel.filter(|_| own_kernel),
            boot_args: own_kernel.then_some(command_line),
            disk: if own_disk { format!("{folder}/{DISK_COPY}") } else { assigned.image },
            disk_read_only: !own_disk,
            root: (!own_kernel).then(|| format!("{folder}/{MOUNT}")),
            agent: assigned.agent,
            network: assigned.tap.filter(|_| networked).map(|tap| Network {
                tap,
                mac: addresses.mac_text(),
                guest_ip: addresses.guest.to_string(),
                host_ip: addresses.host.to_string(),
            }),
            settings: cell.settings.clone(),
            files: assigned.files,
            folder,
            nonce,
        })
    }

    /// The context as the flat JSON object that templates are rendered with.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        for (name, value) in self.settings.iter() {
            object.insert(name.clone(), serde_json::to_value(value).unwrap_or_default());
        }
        for (name, file) in &self.files {
            let [path, text] = file.as_ref().map_or(["", ""], |file| [&file.path, &file.text]);
            object.insert(name.clone(), path.into());
            object.insert(format!("{name}_text"), text.into());
        }
        // Names of the network are missing for a guest without one: a template that uses them must fail. Other absent
        // values are empty.
        if let Ok(serde_json::Value::Object(own)) = serde_json::to_value(self) {
            let text = |value: serde_json::Value| if value.is_null() { "".into() } else { value };
            object.extend(own.into_iter().map(|(name, value)| (name, text(value))));
        }
        serde_json::Value::Object(object)
    }
}

/// Reads the files that the settings of the engine name, by setting; `None` for a setting without a file.
///
/// `read` gets the name of the setting and its value.
///
/// # Errors
/// The errors of `read`.
pub fn setting_files(
    engine: &Engine,
    settings: &LevelMap,
    read: impl Fn(&str, &str) -> anyhow::Result<SettingFile>,
) -> anyhow::Result<BTreeMap<String, Option<SettingFile>>> {
    let file = |name: &str, value: Option<String>| value.map(|value| read(name, &value)).transpose();
    engine.files_named_by(settings).map(|(name, value)| Ok((name.clone(), file(name, value)?))).collect()
}

/// The guest kernel's command line: the parameters of the engine's machine, those of every guest, then `boot_args` of
/// the study.
fn command_line(engine: &str, guest: &CommandLine<'_>) -> String {
    let network = match guest.addresses {
        Some(Addresses { guest, host, .. }) => format!("ip={guest}::{host}:255.255.255.0::eth0:off"),
        None => format!("{}=off", microbench_agent::NETWORK_PARAMETER),
    };
    let mut line = format!(
        "{engine} quiet panic=-1 random.trust_cpu=on root=/dev/vda {} init={} {network} {}={}",
        if guest.read_only { "ro" } else { "rw" },
        guest.init,
        microbench_agent::NONCE_PARAMETER,
        guest.nonce,
    );
    if let Some(extra) = guest.extra {
        line.push(' ');
        line.push_str(extra);
    }
    line
}

/// The parts of the command line that depend on the VM.
#[derive(Clone, Copy, Debug)]
struct CommandLine<'a> {
    /// Path of init in the root file system.
    init: &'a str,
    /// The root file system is mounted read-only.
    read_only: bool,
    /// The VM's addresses; `None` for a guest without a network.
    addresses: Option<&'a Addresses>,
    nonce: &'a str,
    /// `boot_args` of the study.
    extra: Option<&'a str>,
}
