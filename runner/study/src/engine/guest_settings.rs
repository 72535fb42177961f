//! The settings that every engine's guests have: which there are, and those of one cell as typed values.

use std::time::Duration;

use microbench_formats::axis::Level;
use microbench_formats::cell::Cell;
use microbench_formats::code::{Code, Coded};
use serde::{Deserialize, Serialize};

/// Words of a setting, each a variant of an enum: one list for manifests, plans and whoever acts on them.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $id:ident = $word:literal,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub enum $name { $($(#[$inner])* #[serde(rename = $word)] $id,)* }

        impl $name {
            /// The words as manifests and plans have them.
            pub const WORDS: &[&str] = &[$($word),*];

            /// The word of this value.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$id => $word,)* }
            }

            /// The value of a word; `None` for an unknown word.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$id),)*
                    _ => None,
                }
            }
        }
    };
}

words! {
    /// The root disk of a VM: the setting `disk`.
    DiskKind {
        /// One read-only disk for all VMs.
        Shared = "shared",
        /// A copy for each VM.
        Clone = "clone",
    }
}

words! {
    /// How the first response is observed: the setting `probe`.
    Probe {
        /// At the agent's announcement, each attempt waited for.
        Exact = "exact",
        /// Every 10 ms with a 100 ms timeout, as the 2019 paper states.
        Paper = "paper",
        /// One attempt at a time with a 100 ms timeout and no pause, as the 2019 paper's tool did.
        Busy = "busy",
    }
}

words! {
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

words! {
    /// The host's page cache when VMs are released: the setting `page_cache`.
    PageCache {
        /// As it is.
        Warm = "warm",
        /// Without the VMM's program, the guest's kernel and its disk.
        Cold = "cold",
    }
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
        kind: Kind::Word(DiskKind::WORDS),
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
        kind: Kind::Word(Probe::WORDS),
        default: Some(DefaultLevel::Text("exact")),
        doc: "How the start of the web service is observed: `exact`, `paper` for the poll that the 2019 study states, or `busy` \
              for one without a pause.",
    },
    GuestSetting {
        name: "reboot",
        kind: Kind::Word(Reboot::WORDS),
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
        name: "hold_s",
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
        kind: Kind::Word(PageCache::WORDS),
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
        name: "workload_deadline_s",
        kind: Kind::Int(1, 86_400),
        default: Some(DefaultLevel::Int(300)),
        doc: "Longest time of one request for a workload, in s of the executing host's clock.",
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

/// Texts end up in argument vectors, on the kernel's command line and within JSON strings, and must mean the same in each.
pub(crate) fn is_plain(text: &str) -> bool {
    text.chars().all(|c| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\' | '{' | '}'))
}

/// The guest settings of one cell, parsed and checked.
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
/// let guest = GuestSettings::of(&cell)?;
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
    /// Virtual CPUs.
    pub vcpus: u64,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// The root disk.
    pub disk: DiskKind,
    /// Words for the end of the kernel's command line; `None` for none.
    pub boot_args: Option<String>,
    /// The host has a permanent neighbour entry for the VM.
    pub neighbour: bool,
    /// How the first response is observed.
    pub probe: Probe,
    /// How the guest ends its machine.
    pub reboot: Reboot,
    /// The guest has a serial console.
    pub console: bool,
    /// Time for which the VMs of a trial are held once each has answered; `None` not to hold them.
    pub steady: Option<Duration>,
    /// The guest has a network.
    pub network: bool,
    /// The host's page cache at the release.
    pub page_cache: PageCache,
    /// The boot is traced on the host.
    pub trace: bool,
    /// Longest time from spawn to the first response.
    pub boot_deadline: Duration,
    /// Longest time of one request for a workload.
    pub work_deadline: Duration,
    /// Longest time from the request to stop to the VMM's exit.
    pub stop_deadline: Duration,
    /// The guest's memory is in huge pages: the setting of this name of an engine that has it, else false.
    pub huge_pages: bool,
}

impl GuestSettings {
    /// Parses the settings of `cell`. A setting that the cell does not have has its default.
    ///
    /// # Errors
    /// A value that its setting does not permit, with the cell, the setting and the permitted values; a setting without a default
    /// that the cell does not have.
    pub fn of(cell: &Cell) -> Result<Self, Coded> {
        let read = Reader { cell };
        Ok(Self {
            kernel: read.text("kernel")?,
            rootfs: read.text("rootfs")?,
            vcpus: read.number("vcpus")?,
            memory_mib: read.number("memory_mib")?,
            disk: read.word("disk", DiskKind::of_word)?,
            boot_args: Some(read.text("boot_args")?).filter(|words| !words.is_empty()),
            neighbour: read.truth("neighbour")?,
            probe: read.word("probe", Probe::of_word)?,
            reboot: read.word("reboot", Reboot::of_word)?,
            console: read.truth("console")?,
            steady: Some(read.seconds("hold_s")?).filter(|time| !time.is_zero()),
            network: read.truth("network")?,
            page_cache: read.word("page_cache", PageCache::of_word)?,
            trace: read.truth("trace")?,
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

/// Settings that have another name in plans of format 5: the name now, and then.
const OLD_NAMES: [(&str, &str); 2] = [("hold_s", "steady_s"), ("workload_deadline_s", "work_deadline_s")];

/// Reads the settings of a cell by the table [`GUEST`].
struct Reader<'a> {
    cell: &'a Cell,
}

impl Reader<'_> {
    /// The value of the setting, which its kind permits.
    fn level(&self, name: &str) -> Result<Level, Coded> {
        let missing = || Code::Missing.says(format!("the cell `{}` of the plan has no setting `{name}`", self.cell.id));
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

    fn refused(&self, code: Code, name: &str, level: &Level, permitted: &str) -> Coded {
        let value = match level {
            Level::Text(text) => format!("{text:?}"),
            other => other.to_string(),
        };
        code.says(format!(
            "the plan's cell `{}` has `{name}` = {value}, which is not permitted: `{name}` is {permitted}; make the plan anew from its \
             manifest",
            self.cell.id
        ))
    }

    fn text(&self, name: &str) -> Result<String, Coded> {
        self.level(name).map(|level| level.to_string())
    }

    fn word<T>(&self, name: &str, of_word: impl Fn(&str) -> Option<T>) -> Result<T, Coded> {
        let level = self.level(name)?;
        of_word(&level.to_string()).ok_or_else(|| self.refused(Code::NotAChoice, name, &level, "one of its words"))
    }

    fn truth(&self, name: &str) -> Result<bool, Coded> {
        self.level(name).map(|level| level == Level::Bool(true))
    }

    fn number(&self, name: &str) -> Result<u64, Coded> {
        match self.level(name)? {
            Level::Int(value) => Ok(value.unsigned_abs()),
            other => Err(self.refused(Code::WrongType, name, &other, "an integer")),
        }
    }

    fn seconds(&self, name: &str) -> Result<Duration, Coded> {
        self.number(name).map(Duration::from_secs)
    }
}

impl Kind {
    /// Why a value is not permitted: the cause, and what is. `None` for a permitted value; names of kernels and root file systems are
    /// checked where they are looked up.
    fn refusal(self, level: &Level) -> Option<(Code, String)> {
        match (self, level) {
            (Self::Kernel | Self::Rootfs, Level::Text(_)) | (Self::Bool, Level::Bool(_)) => None,
            (Self::Int(least, most), Level::Int(value)) if (least..=most).contains(value) => None,
            (Self::Word(words), Level::Text(text)) if words.contains(&text.as_str()) => None,
            (Self::Line(most), Level::Text(text)) if text.len() <= most && is_plain(text) => None,
            (Self::Kernel | Self::Rootfs, _) => Some((Code::WrongType, "a name".into())),
            (Self::Bool, _) => Some((Code::WrongType, "`true` or `false`".into())),
            (Self::Int(least, most), other) => {
                let code = if matches!(other, Level::Int(_)) { Code::OutOfRange } else { Code::WrongType };
                Some((code, format!("an integer from {least} to {most}")))
            }
            (Self::Word(words), _) => {
                let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
                Some((Code::NotAChoice, format!("one of {}", words.join(", "))))
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
    fn every_word_of_every_setting_is_parsed() {
        for setting in GUEST {
            let Kind::Word(words) = setting.kind else { continue };
            for word in words {
                GuestSettings::of(&cell(&[(setting.name, text(word))])).unwrap();
            }
        }
        let given = [("page_cache", text("cold")), ("reboot", text("power-off")), ("hold_s", Level::Int(3))];
        let guest = GuestSettings::of(&cell(&given)).unwrap();
        assert_eq!((guest.page_cache, guest.reboot), (PageCache::Cold, Reboot::PowerOff));
        assert_eq!(guest.steady, Some(Duration::from_secs(3)));
    }

    #[test]
    fn a_missing_setting_has_the_default_of_a_manifest() {
        let all: Vec<(&str, Level)> =
            GUEST.iter().filter_map(|setting| Some((setting.name, setting.default?.into()))).collect();
        assert_eq!(GuestSettings::of(&cell(&all)).unwrap(), GuestSettings::of(&cell(&[])).unwrap());
    }

    #[test]
    fn an_unknown_value_is_refused_with_the_setting_and_what_is_permitted() {
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
            let error = GuestSettings::of(&cell(&[(name, level)])).unwrap_err();
            let said = error.to_string();
            assert_eq!(error.code, code, "{said}");
            assert!(said.contains(&format!("`a/1` has `{name}` = ")) && said.contains(permitted), "{said}");
        }
        let mut without = cell(&[]);
        without.settings = microbench_formats::level_map::LevelMap::default();
        let error = GuestSettings::of(&without).unwrap_err();
        assert_eq!((error.code, error.to_string().contains("no setting `kernel`")), (Code::Missing, true));
    }
}
