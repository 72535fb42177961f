//! What an engine's templates may name.

use std::collections::BTreeMap;

use microbench_formats::record::Values;
use schemars::JsonSchema;
use serde::Serialize;

use crate::engine::addresses::Addresses;

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

impl Context {
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

/// The guest kernel's command line: what the engine's machine needs, then what every guest gets, then the study's own words.
/// Every engine's guests get the same but for the first part.
#[must_use]
pub fn boot_args(engine: &str, guest: &GuestArgs<'_>) -> String {
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
pub struct GuestArgs<'a> {
    /// Path of init in the root file system.
    pub init: &'a str,
    /// The root file system is mounted read-only.
    pub read_only: bool,
    /// The VM's addresses; `None` for a guest without a network.
    pub addresses: Option<&'a Addresses>,
    /// The VM's nonce.
    pub nonce: &'a str,
    /// Words of the study (`boot_args`); `None` for none.
    pub extra: Option<&'a str>,
}
