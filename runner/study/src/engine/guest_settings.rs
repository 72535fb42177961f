//! Guest settings: the table of all settings, and the typed settings of one cell.

use std::time::Duration;

use microbench_formats::axis::Level;
use microbench_formats::cell::{Cell, DEFAULT_HOST_CPU, HOST_CPU};
use microbench_formats::code::{Code, CodedError};
use serde::{Deserialize, Serialize};

use super::host_cpu;

/// Defines an enum of a setting's values with their names in manifests and plans.
macro_rules! choices {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $id:ident = $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$inner])* #[serde(rename = $word)] $id,)* }

        impl $name {
            /// The names of all values.
            pub const CHOICES: &[&str] = &[$($word),*];

            /// The name in manifests and plans.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$id => $word,)* }
            }

            /// The value of a name; `None` for an unknown name.
            #[must_use]
            pub fn from_name(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$id),)*
                    _ => None,
                }
            }
        }
    };
}

choices! {
    /// The root disk of a VM: the setting `disk`.
    DiskKind {
        /// One read-only image for all VMs.
        Shared = "shared",
        /// A writable copy for each VM.
        Clone = "clone",
    }
}

choices! {
    /// The probe of the first response: the setting `probe`.
    Probe {
        /// Connects when the ready datagram arrives, and waits for the response.
        Exact = "exact",
        /// Polls every 10 ms with a timeout of 100 ms, as the 2019 paper states.
        Paper = "paper",
        /// Polls without a pause, with a timeout of 100 ms, as the tool of the 2019 paper.
        Busy = "busy",
    }
}

choices! {
    /// How a guest ends its machine: the setting `reboot`.
    Reboot {
        /// As the engine's description says.
        Engine = "engine",
        /// By the keyboard controller.
        Keyboard = "k",
        /// By a triple fault.
        TripleFault = "t",
        /// By the reset register of ACPI.
        Acpi = "a",
        /// By the reset register of PCI.
        Pci = "p",
        /// By powering the machine off.
        PowerOff = "power-off",
    }
}

choices! {
    /// How the runner ends a VM after the request to stop: the setting `stop_at`.
    StopAt {
        /// The VMM exits by itself within the stop deadline.
        Exit = "exit",
        /// The runner kills the VMM when the guest has sent [`RESET_PULSES`] reset pulses, unless the VMM exits
        /// before.
        ResetPulses = "reset-pulses",
    }
}

/// Reset pulses that Linux sends to the keyboard controller before it tries another way to restart
/// (`native_machine_emergency_restart` in arch/x86/kernel/reboot.c).
pub const RESET_PULSES: usize = 10;

choices! {
    /// The host's page cache when VMs are released: the setting `page_cache`.
    PageCache {
        /// Unchanged.
        Warm = "warm",
        /// VMM program, guest kernel and disk are dropped from it.
        Cold = "cold",
    }
}

/// A setting that every engine's guests have.
#[derive(Clone, Copy, Debug)]
pub struct GuestSetting {
    /// Key in `[guest]` and in variants, and name of the axis.
    pub name: &'static str,
    /// Permitted values.
    pub kind: Kind,
    /// Default value; `None` for a required setting.
    pub default: Option<DefaultLevel>,
    /// One or two sentences.
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
    /// One of these names.
    Choice(&'static [&'static str]),
    /// One line of at most this many bytes; see [`is_plain`].
    Line(usize),
    /// `true` or `false`.
    Bool,
}

/// A default value for constant tables.
#[derive(Clone, Copy, Debug)]
pub enum DefaultLevel {
    /// An integer.
    Int(i64),
    /// A string.
    Text(&'static str),
    /// A boolean.
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

/// All guest settings.
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
        kind: Kind::Choice(DiskKind::CHOICES),
        default: Some(DefaultLevel::Text("shared")),
        doc: "`shared`: one read-only disk for all VMs; `clone`: a writable copy for each VM.",
    },
    GuestSetting {
        name: "boot_args",
        kind: Kind::Line(1024),
        default: Some(DefaultLevel::Text("")),
        doc: "Parameters at the end of the kernel's command line.",
    },
    GuestSetting {
        name: "neighbour",
        kind: Kind::Bool,
        default: Some(DefaultLevel::Bool(true)),
        doc: "Add a permanent neighbour entry for the VM on the host, so that no ARP exchange is timed.",
    },
    GuestSetting {
        name: "probe",
        kind: Kind::Choice(Probe::CHOICES),
        default: Some(DefaultLevel::Text("exact")),
        doc: "Probe of the web service's start. `exact`: connect on the agent's ready datagram; `paper`: poll every \
         10 ms, as the 2019 \
              paper states; `busy`: poll without a pause.",
    },
    GuestSetting {
        name: "reboot",
        kind: Kind::Choice(Reboot::CHOICES),
        default: Some(DefaultLevel::Text("engine")),
        doc: "How the guest ends its machine: `engine` for the method in the engine's description, `k` for the \
         keyboard controller, `t` \
              for a triple fault, `a` or `p` for the reset register of ACPI or PCI, or `power-off`.",
    },
    GuestSetting {
        name: "stop_at",
        kind: Kind::Choice(StopAt::CHOICES),
        default: Some(DefaultLevel::Text("exit")),
        doc: "How a VM ends after the stop request. `exit`: the VMM exits by itself; `reset-pulses`: the runner kills \
         the VMM at the guest's tenth reset pulse (traced on the host), for a guest that does not end with \
         `reboot = \"k\"`.",
    },
    GuestSetting {
        name: "console",
        kind: Kind::Bool,
        default: Some(DefaultLevel::Bool(true)),
        doc: "Give the guest a serial console. Without a console, the agent's marks on it are missing.",
    },
    GuestSetting {
        name: "hold_s",
        kind: Kind::Int(0, 86_400),
        default: Some(DefaultLevel::Int(0)),
        doc: "Time in s for which all VMs of a trial keep running after the last first response; then each VM must \
         respond again. 0: each \
              VM stops without waiting for others.",
    },
    GuestSetting {
        name: "network",
        kind: Kind::Bool,
        default: Some(DefaultLevel::Bool(true)),
        doc: "Give the guest a network. Without a network, the guest is observed on its console, and ends its \
         machine when its agent is \
              ready.",
    },
    GuestSetting {
        name: "page_cache",
        kind: Kind::Choice(PageCache::CHOICES),
        default: Some(DefaultLevel::Text("warm")),
        doc: "The host's page cache when VMs are released. `warm`: unchanged; `cold`: VMM program, guest kernel and \
         disk are dropped.",
    },
    GuestSetting {
        name: "trace",
        kind: Kind::Bool,
        default: Some(DefaultLevel::Bool(false)),
        doc: "Trace the boot on the host by KVM's tracepoints: the first entry into the guest, and the guest's marks \
         on an I/O port if its \
              kernel writes them.",
    },
    GuestSetting {
        name: HOST_CPU,
        kind: Kind::Choice(host_cpu::NAMES),
        default: Some(DefaultLevel::Text(DEFAULT_HOST_CPU)),
        doc: "CPU of the emulated host, on which Firecracker's static CPU templates depend. On other kinds of host the \
              setting is not applied.",
    },
    GuestSetting {
        name: "boot_deadline_s",
        kind: Kind::Int(1, 86_400),
        default: Some(DefaultLevel::Int(60)),
        doc: "Timeout in s from spawn to the first response, on the executing host's clock.",
    },
    GuestSetting {
        name: "workload_deadline_s",
        kind: Kind::Int(1, 86_400),
        default: Some(DefaultLevel::Int(300)),
        doc: "Timeout in s of one workload request, on the executing host's clock.",
    },
    GuestSetting {
        name: "stop_deadline_s",
        kind: Kind::Int(1, 86_400),
        default: Some(DefaultLevel::Int(60)),
        doc: "Timeout in s from the stop request to the exit of the VMM, or to the end that `stop_at` states, on the \
         executing host's clock.",
    },
];

/// The guest setting of this name.
///
/// ```
/// use microbench_study::manifest::guest;
///
/// assert!(guest("memory_mib").is_some());
/// assert!(guest("no_such_setting").is_none());
/// ```
#[must_use]
pub fn guest(name: &str) -> Option<&'static GuestSetting> {
    GUEST.iter().find(|setting| setting.name == name)
}

/// True for a text that means the same in an argument vector, on a kernel command line and in a JSON string.
pub(crate) fn is_plain(text: &str) -> bool {
    text.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '{' | '}'))
}

/// The guest settings of one cell.
///
/// ```
/// use microbench_formats::cell::Cell;
/// use microbench_study::engine::guest_settings::{DiskKind, GuestSettings};
///
/// let cell: Cell = serde_json::from_str(
///     r#"{
///         "id": "fc/1", "levels": {}, "variant": "fc", "label": "fc", "engine": "firecracker", "concurrency": 1, "trials": 1,
///         "settings": { "kernel": "microvm-6.1", "rootfs": "minimal", "disk": "clone" }
///     }"#,
/// )?;
/// let guest = GuestSettings::from_cell(&cell)?;
/// assert_eq!((guest.disk, guest.memory_mib), (DiskKind::Clone, 512));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GuestSettings {
    /// A folder of kernels/.
    pub kernel: String,
    /// A folder of rootfs/.
    pub rootfs: String,
    pub vcpus: u64,
    pub memory_mib: u64,
    pub disk: DiskKind,
    /// Parameters for the end of the kernel's command line.
    pub boot_args: Option<String>,
    /// The host has a permanent neighbour entry for the VM.
    pub neighbour: bool,
    /// Probe of the first response.
    pub probe: Probe,
    /// How the guest ends its machine.
    pub reboot: Reboot,
    /// How the runner ends the VM after the request to stop.
    pub stop_at: StopAt,
    /// The guest has a serial console.
    pub console: bool,
    /// `hold_s`: time for which all VMs of a trial keep running after the last first response; `None` for 0.
    pub steady: Option<Duration>,
    /// The guest has a network.
    pub network: bool,
    /// The host's page cache when VMs are released.
    pub page_cache: PageCache,
    /// The boot is traced on the host.
    pub trace: bool,
    /// CPU of the emulated host; without effect on other kinds of host.
    pub host_cpu: String,
    /// Timeout from spawn to the first response.
    pub boot_deadline: Duration,
    /// Timeout of one workload request.
    pub work_deadline: Duration,
    /// Timeout from the stop request to the end of the VM.
    pub stop_deadline: Duration,
    /// `huge_pages` of the engine; false for an engine without this setting.
    pub huge_pages: bool,
}

impl GuestSettings {
    /// Parses the settings of `cell`. A missing setting has its default.
    ///
    /// # Errors
    /// A value that its setting does not permit, or a missing setting that has no default.
    pub fn from_cell(cell: &Cell) -> Result<Self, CodedError> {
        let read = Reader { cell };
        Ok(Self {
            kernel: read.text("kernel")?,
            rootfs: read.text("rootfs")?,
            vcpus: read.number("vcpus")?,
            memory_mib: read.number("memory_mib")?,
            disk: read.choice("disk", DiskKind::from_name)?,
            boot_args: Some(read.text("boot_args")?).filter(|parameters| !parameters.is_empty()),
            neighbour: read.boolean("neighbour")?,
            probe: read.choice("probe", Probe::from_name)?,
            reboot: read.choice("reboot", Reboot::from_name)?,
            stop_at: read.choice("stop_at", StopAt::from_name)?,
            console: read.boolean("console")?,
            steady: Some(read.seconds("hold_s")?).filter(|time| !time.is_zero()),
            network: read.boolean("network")?,
            page_cache: read.choice("page_cache", PageCache::from_name)?,
            trace: read.boolean("trace")?,
            host_cpu: read.text(HOST_CPU)?,
            boot_deadline: read.seconds("boot_deadline_s")?,
            work_deadline: read.seconds("workload_deadline_s")?,
            stop_deadline: read.seconds("stop_deadline_s")?,
            huge_pages: match cell.settings.get("huge_pages") {
                None => false,
                Some(Level::Bool(value)) => *value,
                Some(other) => return Err(read.refused(Code::WrongType, "huge_pages", other, "`true` or `false`")),
            },
        })
    }
}

/// Settings that were renamed after format 5 of plans: the current and the old name.
const OLD_NAMES: [(&str, &str); 2] = [("hold_s", "steady_s"), ("workload_deadline_s", "work_deadline_s")];

/// Reads the settings of a cell by the table [`GUEST`].
struct Reader<'a> {
    cell: &'a Cell,
}

impl Reader<'_> {
    /// The value of the setting, or its default. It is of the setting's kind.
    fn level(&self, name: &str) -> Result<Level, CodedError> {
        let missing =
            || Code::Missing.with_message(format!("the cell `{}` of the plan has no setting `{name}`", self.cell.id));
        let setting = guest(name).ok_or_else(missing)?;
        let old = OLD_NAMES.iter().find(|(now, _)| *now == name).map(|(_, old)| *old);
        let Some(level) = self.cell.settings.get(name).or_else(|| self.cell.settings.get(old?)) else {
            return setting.default.map(Level::from).ok_or_else(missing);
        };
        match setting.kind.refusal(level) {
            None => Ok(level.clone()),
            Some((code, permitted)) => Err(self.refused(code, name, level, &permitted)),
        }
    }

    fn refused(&self, code: Code, name: &str, level: &Level, permitted: &str) -> CodedError {
        let value = match level {
            Level::Text(text) => format!("{text:?}"),
            other => other.to_string(),
        };
        code.with_message(format!(
            "the plan's cell `{}` has `{name}` = {value}, which is not permitted: `{name}` must be {permitted}; \
             create the plan again \
             from its manifest",
            self.cell.id
        ))
    }

    fn text(&self, name: &str) -> Result<String, CodedError> {
        self.level(name).map(|level| level.to_string())
    }

    fn choice<T>(&self, name: &str, from_name: impl Fn(&str) -> Option<T>) -> Result<T, CodedError> {
        let level = self.level(name)?;
        from_name(&level.to_string()).ok_or_else(|| self.refused(Code::NotAChoice, name, &level, "one of its values"))
    }

    fn boolean(&self, name: &str) -> Result<bool, CodedError> {
        self.level(name).map(|level| level == Level::Bool(true))
    }

    fn number(&self, name: &str) -> Result<u64, CodedError> {
        match self.level(name)? {
            Level::Int(value) => Ok(value.unsigned_abs()),
            other => Err(self.refused(Code::WrongType, name, &other, "an integer")),
        }
    }

    fn seconds(&self, name: &str) -> Result<Duration, CodedError> {
        self.number(name).map(Duration::from_secs)
    }
}

impl Kind {
    /// Error code and permitted values for a value that is not permitted; `None` for a permitted value. Names of
    /// kernels and root file systems are not looked up here.
    fn refusal(self, level: &Level) -> Option<(Code, String)> {
        match (self, level) {
            (Self::Kernel | Self::Rootfs, Level::Text(_)) | (Self::Bool, Level::Bool(_)) => None,
            (Self::Int(least, most), Level::Int(value)) if (least..=most).contains(value) => None,
            (Self::Choice(names), Level::Text(text)) if names.contains(&text.as_str()) => None,
            (Self::Line(most), Level::Text(text)) if text.len() <= most && is_plain(text) => None,
            (Self::Kernel | Self::Rootfs, _) => Some((Code::WrongType, "a name".into())),
            (Self::Bool, _) => Some((Code::WrongType, "`true` or `false`".into())),
            (Self::Int(least, most), other) => {
                let code = if matches!(other, Level::Int(_)) { Code::OutOfRange } else { Code::WrongType };
                Some((code, format!("an integer from {least} to {most}")))
            }
            (Self::Choice(names), _) => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                Some((Code::NotAChoice, format!("one of {}", names.join(", "))))
            }
            (Self::Line(most), _) => Some((
                Code::OutOfRange,
                format!("a line of at most {most} printable ASCII characters without \", \\, {{ and }}"),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cell with a kernel, a root file system, and these settings.
    fn cell(settings: &[(&str, Level)]) -> Cell {
        let mut cell: Cell = serde_json::from_value(serde_json::json!({
            "id": "a/1", "variant": "a", "label": "a", "engine": "e", "concurrency": 1, "levels": {}, "trials": 1,
            "settings": { "kernel": "k", "rootfs": "r" },
        }))
        .unwrap();
        cell.settings.extend(settings.iter().map(|(name, level)| ((*name).to_owned(), level.clone())));
        cell
    }

    fn text(word: &str) -> Level {
        Level::Text(word.into())
    }

    #[test]
    fn every_choice_of_every_setting_is_parsed() {
        for setting in GUEST {
            let Kind::Choice(names) = setting.kind else { continue };
            for name in names {
                GuestSettings::from_cell(&cell(&[(setting.name, text(name))])).unwrap();
            }
        }
        let given = [("page_cache", text("cold")), ("reboot", text("power-off")), ("hold_s", Level::Int(3))];
        let guest = GuestSettings::from_cell(&cell(&given)).unwrap();
        assert_eq!((guest.page_cache, guest.reboot), (PageCache::Cold, Reboot::PowerOff));
        assert_eq!(guest.steady, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_missing_setting_has_its_default() {
        let all: Vec<(&str, Level)> =
            GUEST.iter().filter_map(|setting| Some((setting.name, setting.default?.into()))).collect();
        assert_eq!(GuestSettings::from_cell(&cell(&all)).unwrap(), GuestSettings::from_cell(&cell(&[])).unwrap());
    }

    #[test]
    fn an_error_names_the_setting_and_its_permitted_values() {
        for (name, level, code, permitted) in [
            ("page_cache", text("frozen"), Code::NotAChoice, "one of `warm`, `cold`"),
            ("page_cache", Level::Bool(true), Code::NotAChoice, "one of `warm`, `cold`"),
            ("disk", text("own"), Code::NotAChoice, "one of `shared`, `clone`"),
            ("probe", text(""), Code::NotAChoice, "one of `exact`, `paper`, `busy`"),
            ("reboot", text("h"), Code::NotAChoice, "one of `engine`, `k`, `t`, `a`, `p`, `power-off`"),
            ("network", text("off"), Code::WrongType, "`true` or `false`"),
            ("trace", Level::Int(1), Code::WrongType, "`true` or `false`"),
            ("huge_pages", text("2M"), Code::WrongType, "`true` or `false`"),
            ("hold_s", Level::Int(-1), Code::OutOfRange, "an integer from 0 to 86400"),
            ("boot_deadline_s", text("60"), Code::WrongType, "an integer from 1 to 86400"),
            ("boot_args", text("a\nb"), Code::OutOfRange, "a line of at most 1024"),
        ] {
            let error = GuestSettings::from_cell(&cell(&[(name, level)])).unwrap_err();
            let message = error.to_string();
            assert_eq!(error.code, code, "{message}");
            assert!(message.contains(&format!("`a/1` has `{name}` = ")) && message.contains(permitted), "{message}");
        }
        let mut without = cell(&[]);
        without.settings = microbench_formats::level_map::LevelMap::default();
        let error = GuestSettings::from_cell(&without).unwrap_err();
        assert_eq!((error.code, error.to_string().contains("no setting `kernel`")), (Code::Missing, true));
    }
}
