//! What an engine's templates may name.

use std::collections::BTreeMap;

use microbench_formats::cell::Cell;
use microbench_formats::level_map::LevelMap;
use schemars::JsonSchema;
use serde::Serialize;

use super::addresses::Addresses;
use super::description::Engine;
use super::guest_settings::{DiskKind, GuestSettings};
use super::machine;

/// Name of a VM's copy of the root disk in its folder.
pub const DISK_COPY: &str = "disk.img";
/// Name of the folder in a VM's folder where the file system of its disk is mounted, for a guest without a kernel of its own.
pub const MOUNT: &str = "root";

/// User and group of VM 0; the others follow. No distribution and no container manager assigns numbers from here on:
/// systemd-nspawn's end at 0x6fffffff, and 0x7fffffff is the last that every kernel interface takes.
pub const FIRST_USER: u32 = 0x7000_0000;

/// The template context of one VM. Beside these fields, every effective setting of the cell is there under its own name
/// (`vcpus`, `memory_mib`, the engine's own).
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Context {
    /// Path of the engine's program.
    pub program: String,
    /// File name of the engine's program.
    pub program_name: String,
    /// Path of the program that jails it; empty where the engine has none.
    pub jail_program: Option<String>,
    /// Number of the user and group that the VMM runs as.
    pub user: u32,
    /// Name of the VM, unique in the run: letters, digits and dashes.
    pub id: String,
    /// The VM's private folder: sockets and configuration files.
    pub folder: String,
    /// Path of the guest kernel: an uncompressed ELF image; empty for a guest without one of its own.
    pub kernel: Option<String>,
    /// The guest kernel's command line, whole; empty for a guest without a kernel of its own.
    pub boot_args: Option<String>,
    /// Path of the root disk: a raw image.
    pub disk: String,
    /// True when the guest must not write to it.
    pub disk_read_only: bool,
    /// Path of the folder where the root disk's file system is mounted, for a guest without a kernel of its own; empty for others.
    pub root: Option<String>,
    /// Path of the agent in the root file system.
    pub agent: String,
    /// What the agent's answers must carry: a guest without a kernel of its own is told by the agent's `--nonce`, the others by
    /// `boot_args`.
    pub nonce: String,
    /// The guest's network; `None` for a guest without one.
    #[serde(flatten)]
    pub network: Option<Network>,
    /// Every effective setting; a field above of the same name wins.
    #[serde(skip)]
    pub settings: LevelMap,
    /// The files that settings name, by setting: the path, under the setting's name, and the text, under that name and `_text`. Both are
    /// empty for a setting that names none.
    #[serde(skip)]
    pub files: BTreeMap<String, Option<SettingFile>>,
}

/// A guest's network, as templates see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Network {
    /// Name of the tap interface, or of the host's end of the veth pair. Templates have this and the three below only where the guest has a
    /// network.
    pub tap: String,
    /// The guest's MAC address.
    pub mac: String,
    /// The guest's IPv4 address.
    pub guest_ip: String,
    /// The host's IPv4 address on the tap.
    pub host_ip: String,
}

/// A file that a setting names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFile {
    /// Its path.
    pub path: String,
    /// Its content.
    pub text: String,
}

/// What a run decides about one VM; the cell and the engine decide the rest of its context. `plan --explain` has words in angle
/// brackets in place of a run's values.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// Path of the engine's program.
    pub program: String,
    /// File name of the engine's program.
    pub program_name: String,
    /// Path of the program that jails it; `None` where the engine has none.
    pub jail_program: Option<String>,
    /// Number of the user and group that the VMM runs as.
    pub user: u32,
    /// Name of the VM.
    pub id: String,
    /// The VM's private folder.
    pub folder: String,
    /// Path of the guest kernel; not used for a guest that shares the host's.
    pub kernel: Option<String>,
    /// Path of the image of the root file system.
    pub image: String,
    /// Path of init in the root file system.
    pub init: String,
    /// Path of the agent in the root file system.
    pub agent: String,
    /// The VM's nonce.
    pub nonce: String,
    /// Name of the host's interface to the VM; not used for a guest without a network.
    pub tap: Option<String>,
    /// The VM's addresses.
    pub addresses: Addresses,
    /// The files that settings name, as [`Context::files`].
    pub files: BTreeMap<String, Option<SettingFile>>,
}

impl Context {
    /// The context of a VM of `cell`, whose guest settings are `guest`.
    ///
    /// # Errors
    /// When the templates of the engine's `[kernel]` cannot be rendered.
    pub fn of(engine: &Engine, cell: &Cell, guest: &GuestSettings, assigned: Assigned) -> anyhow::Result<Self> {
        let Assigned { folder, nonce, addresses, .. } = assigned;
        let networked = machine::networked(engine, guest);
        let (own_kernel, own_disk) = (!engine.guest.shares_kernel(), guest.disk == DiskKind::Clone);
        let args = GuestArgs {
            init: &assigned.init,
            read_only: !own_disk,
            addresses: networked.then_some(&addresses),
            nonce: &nonce,
            extra: guest.boot_args.as_deref(),
        };
        let words = boot_args(&machine::words(engine, guest, &cell.settings)?, &args);
        Ok(Self {
            program: assigned.program,
            program_name: assigned.program_name,
            jail_program: assigned.jail_program,
            user: assigned.user,
            id: assigned.id,
            kernel: assigned.kernel.filter(|_| own_kernel),
            boot_args: own_kernel.then_some(words),
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

    /// The context as handlebars takes it: one flat JSON object.
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
        // Without a network its names are missing: a description that knows no guest without one is an error then, not a guest with
        // half of one. What else is absent is empty.
        if let Ok(serde_json::Value::Object(own)) = serde_json::to_value(self) {
            let text = |value: serde_json::Value| if value.is_null() { "".into() } else { value };
            object.extend(own.into_iter().map(|(name, value)| (name, text(value))));
        }
        serde_json::Value::Object(object)
    }
}

/// The file that each setting of the engine names; `None` where it names none. `read` is given the setting and the value that names
/// the file.
///
/// # Errors
/// Those of `read`.
pub fn setting_files(
    engine: &Engine,
    settings: &LevelMap,
    read: impl Fn(&str, &str) -> anyhow::Result<SettingFile>,
) -> anyhow::Result<BTreeMap<String, Option<SettingFile>>> {
    let file = |name: &str, value: Option<String>| value.map(|value| read(name, &value)).transpose();
    engine.files_named_by(settings).map(|(name, value)| Ok((name.clone(), file(name, value)?))).collect()
}

/// The guest kernel's command line: what the engine's machine needs, then what every guest gets, then the study's own words.
/// Every engine's guests get the same but for the first part.
fn boot_args(engine: &str, guest: &GuestArgs<'_>) -> String {
    let network = match guest.addresses {
        Some(Addresses { guest, host, .. }) => format!("ip={guest}::{host}:255.255.255.0::eth0:off"),
        None => format!("{}=off", microbench_agent::NETWORK_PARAMETER),
    };
    let mut words = format!(
        "{engine} quiet panic=-1 random.trust_cpu=on root=/dev/vda {} init={} {network} {}={}",
        if guest.read_only { "ro" } else { "rw" },
        guest.init,
        microbench_agent::NONCE_PARAMETER,
        guest.nonce,
    );
    if let Some(extra) = guest.extra {
        words.push(' ');
        words.push_str(extra);
    }
    words
}

/// What of the command line depends on the VM.
#[derive(Clone, Copy, Debug)]
struct GuestArgs<'a> {
    /// Path of init in the root file system.
    init: &'a str,
    /// The root file system is mounted read-only.
    read_only: bool,
    /// The VM's addresses; `None` for a guest without a network.
    addresses: Option<&'a Addresses>,
    /// The VM's nonce.
    nonce: &'a str,
    /// Words of the study (`boot_args`); `None` for none.
    extra: Option<&'a str>,
}
