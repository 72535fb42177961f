//! What an engine's templates may name.

use std::collections::BTreeMap;

use microbench_formats::record::{Cell, Values};
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
    pub jail_program: String,
    /// Number of the user and group that the VMM runs as.
    pub user: u32,
    /// Name of the VM, unique in the run: letters, digits and dashes.
    pub id: String,
    /// The VM's private folder: sockets and configuration files.
    pub folder: String,
    /// Path of the guest kernel: an uncompressed ELF image; empty for a guest without one of its own.
    pub kernel: String,
    /// The guest kernel's command line, whole; empty for a guest without a kernel of its own.
    pub boot_args: String,
    /// Path of the root disk: a raw image.
    pub disk: String,
    /// True when the guest must not write to it.
    pub disk_read_only: bool,
    /// Path of the folder where the root disk's file system is mounted, for a guest without a kernel of its own; empty for others.
    pub root: String,
    /// Path of the agent in the root file system.
    pub agent: String,
    /// What the agent's answers must carry: a guest without a kernel of its own is told by the agent's `--nonce`, the others by
    /// `boot_args`.
    pub nonce: String,
    /// Name of the tap interface, or of the host's end of the veth pair. Templates have this and the three below only where the guest has a
    /// network.
    pub tap: String,
    /// The guest's MAC address.
    pub mac: String,
    /// The guest's IPv4 address.
    pub guest_ip: String,
    /// The host's IPv4 address on the tap.
    pub host_ip: String,
    /// Every effective setting; a field above of the same name wins.
    #[serde(skip)]
    pub settings: Values,
    /// The files that settings name, by setting: the path, under the setting's name, and the text, under that name and `_text`.
    #[serde(skip)]
    pub files: BTreeMap<String, (String, String)>,
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
    pub files: BTreeMap<String, (String, String)>,
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
            jail_program: assigned.jail_program.unwrap_or_default(),
            user: assigned.user,
            id: assigned.id,
            kernel: assigned.kernel.filter(|_| own_kernel).unwrap_or_default(),
            boot_args: if own_kernel { words } else { String::new() },
            disk: if own_disk { format!("{folder}/{DISK_COPY}") } else { assigned.image },
            disk_read_only: !own_disk,
            root: if own_kernel { String::new() } else { format!("{folder}/{MOUNT}") },
            agent: assigned.agent,
            tap: assigned.tap.filter(|_| networked).unwrap_or_default(),
            mac: addresses.mac_text(),
            guest_ip: addresses.guest.to_string(),
            host_ip: addresses.host.to_string(),
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
        for (name, (path, text)) in &self.files {
            object.insert(name.clone(), path.as_str().into());
            object.insert(format!("{name}_text"), text.as_str().into());
        }
        if let Ok(serde_json::Value::Object(own)) = serde_json::to_value(self) {
            object.extend(own);
        }
        if self.tap.is_empty() {
            // A description that knows no guest without a network is an error then, not a guest with half of one.
            for name in ["tap", "mac", "guest_ip", "host_ip"] {
                object.remove(name);
            }
        }
        serde_json::Value::Object(object)
    }
}

/// Path and text of each file that a setting of the engine names; both empty where it names none. `read` is given the setting and the
/// value that names the file.
///
/// # Errors
/// Those of `read`.
pub fn setting_files(
    engine: &Engine,
    settings: &Values,
    read: impl Fn(&str, &str) -> anyhow::Result<(String, String)>,
) -> anyhow::Result<BTreeMap<String, (String, String)>> {
    let file = |name: &String, value: Option<String>| match value {
        Some(value) => read(name, &value),
        None => Ok((String::new(), String::new())),
    };
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
