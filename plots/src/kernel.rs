//! The guest kernels of a run: `CONFIG_HZ` of each, and the engines whose guests have none.
//!
//! `lock.toml` is read first, because the digests of the sessions cover it; `host.json` states the same of kernels that
//! it does not have. `engines.json` has the kind of each engine's guests.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use microbench_formats::cell::Cell;
use microbench_formats::digests::{ENGINES, LOCK};
use microbench_formats::host::HostKind;
use microbench_formats::input;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Error as _};

use crate::Error;
use crate::file::io_error_at;
use crate::host::host_files;

/// `CONFIG_HZ` of the kernel of the emulated host, which is built from `kernels/emulated-host-6.1/config`.
pub(crate) const EMULATED_HOST_HZ: u32 = 1000;

/// The guest kernels of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuestKernels {
    /// `CONFIG_HZ` by the name of the kernel. Kernels whose configuration is not recorded are left out.
    pub hz: BTreeMap<String, u32>,
    /// Engines whose guests share the kernel of the host.
    pub shared: BTreeSet<String>,
}

impl GuestKernels {
    /// Reads the guest kernels of the run directory `run`.
    ///
    /// # Errors
    /// If `lock.toml`, `engines.json`, `host.json` or a file in `hosts/` cannot be read or is damaged.
    pub fn read(run: &Path) -> Result<Self, Error> {
        let mut hz = BTreeMap::new();
        for host in host_files(run)? {
            hz.extend(read_json::<Artifacts>(&host)?.unwrap_or_default().hz());
        }
        let lock = run.join(LOCK);
        if let Some(text) = read(&lock)? {
            let text = String::from_utf8_lossy(&text);
            let artifacts: Artifacts = toml::from_str(&text).map_err(|error| damaged(&lock, error.message()))?;
            hz.extend(artifacts.hz());
        }
        let Engines { engines } = read_json(&run.join(ENGINES))?.unwrap_or_default();
        let shared = engines.into_iter().filter(|engine| !matches!(engine.guest.as_str(), "" | "vm"));
        Ok(Self { hz, shared: shared.map(|engine| engine.name).collect() })
    }

    /// The guest kernel of `cell`.
    #[must_use]
    pub fn of(&self, cell: &Cell) -> GuestKernel {
        if self.shared.contains(&*cell.engine) {
            return GuestKernel::Shared;
        }
        let name = cell.settings.get("kernel").map(ToString::to_string).unwrap_or_default();
        self.hz.get(&name).map_or(GuestKernel::Unknown, |hz| GuestKernel::Own { name, hz: *hz })
    }
}

/// The kernel of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuestKernel {
    /// It has a kernel with this name and this `CONFIG_HZ`.
    Own { name: String, hz: u32 },
    /// It has a kernel, and its `CONFIG_HZ` is not recorded.
    Unknown,
    /// It shares the kernel of the host.
    Shared,
}

impl GuestKernel {
    /// What a tick of `hz` that durations show cannot be, as a clause; `None` if it may be a tick of the guest kernel.
    pub(crate) fn why_not_tick_of_guest(&self, hz: u32, host: Option<HostKind>) -> Option<String> {
        match self {
            Self::Own { name, hz: own } if *own != hz => {
                let whose = match host {
                    Some(HostKind::Emulated) if hz == EMULATED_HOST_HZ => {
                        ", which the kernel of the emulated host has".to_owned()
                    }
                    _ => String::new(),
                };
                Some(format!("CONFIG_HZ={hz}{whose}; the guest kernel {name} has {own}"))
            }
            Self::Own { .. } | Self::Unknown => None,
            Self::Shared => Some(format!("CONFIG_HZ={hz}; the guest shares the kernel of its host")),
        }
    }
}

/// The artefacts of `lock.toml` and `host.json`.
#[derive(Default, Deserialize)]
struct Artifacts {
    #[serde(default)]
    artifacts: Vec<Artifact>,
}

impl Artifacts {
    fn hz(self) -> impl Iterator<Item = (String, u32)> {
        self.artifacts.into_iter().filter_map(|artifact| Some((artifact.name, artifact.config_hz?)))
    }
}

#[derive(Deserialize)]
struct Artifact {
    name: String,
    #[serde(default, deserialize_with = "config_hz")]
    config_hz: Option<u32>,
}

/// Reads a `CONFIG_HZ`. Linux offers 100 to 1000, and other values are patches of the kernel.
fn config_hz<'a, D: serde::Deserializer<'a>>(from: D) -> Result<Option<u32>, D::Error> {
    match Option::<u32>::deserialize(from)? {
        Some(hz) if !(1..=10_000).contains(&hz) => {
            Err(D::Error::custom(format!("`config_hz` is {hz}, which is not in 1 to 10000")))
        }
        hz => Ok(hz),
    }
}

#[derive(Default, Deserialize)]
struct Engines {
    engines: Vec<Engine>,
}

#[derive(Deserialize)]
struct Engine {
    name: String,
    /// Empty and `vm` for guests with a kernel of their own.
    #[serde(default)]
    guest: String,
}

fn damaged(path: &Path, cause: impl ToString) -> Error {
    Error::RunFile { path: path.to_path_buf(), cause: cause.to_string() }
}

/// The content of a file; `None` if it does not exist.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    match input::read_no_link(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        bytes => bytes.map(Some).map_err(io_error_at(path)),
    }
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let parse = |bytes: Vec<u8>| serde_json::from_slice(&bytes).map_err(|error| damaged(path, error));
    read(path)?.map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn kernels(files: &[(&str, &str)]) -> Result<GuestKernels, String> {
        let run = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(run.path().join(name), text).unwrap();
        }
        GuestKernels::read(run.path()).map_err(|error| error.to_string())
    }

    #[test]
    fn frequency_of_the_lock_file_is_preferred_to_that_of_host_json() {
        let host =
            r#"{"artifacts": [{"name": "a", "config_hz": 100}, {"name": "b", "config_hz": 1000}, {"name": "c"}]}"#;
        let lock = "[[artifacts]]\nname = \"a\"\nconfig_hz = 250\n[[artifacts]]\nname = \"r\"\n";
        let found = kernels(&[("host.json", host), ("lock.toml", lock)]).unwrap();
        assert_eq!(found.hz, BTreeMap::from([("a".to_owned(), 250), ("b".to_owned(), 1000)]));
        assert_eq!(kernels(&[]).unwrap(), GuestKernels::default());
    }

    #[test]
    fn engines_of_containers_and_processes_share_the_kernel() {
        let engines = r#"{"engines": [{"name": "crun", "guest": "container"}, {"name": "fc"},
            {"name": "native", "guest": "process"}, {"name": "q", "guest": "vm"}]}"#;
        let found = kernels(&[("engines.json", engines)]).unwrap();
        assert_eq!(found.shared, BTreeSet::from(["crun".to_owned(), "native".to_owned()]));
    }

    #[test]
    fn damaged_files_and_impossible_frequencies_are_errors_that_name_the_file() {
        for (name, text, expected) in [
            ("host.json", r#"{"artifacts": [{"name": "a", "config_hz": 0}]}"#, "`config_hz` is 0"),
            ("lock.toml", "[[artifacts]]\nname = \"a\"\nconfig_hz = 10001\n", "`config_hz` is 10001"),
            ("host.json", "{\"artifacts\": [", "EOF"),
            ("host.json", r#"{"artifacts": [{"name": "a", "config_hz": -1}]}"#, "-1"),
            ("lock.toml", "artifacts = 3\n", "invalid type"),
            ("engines.json", "3", "invalid type"),
        ] {
            let error = kernels(&[(name, text)]).unwrap_err();
            assert!(error.contains(&format!("{name} is damaged: ")) && error.contains(expected), "{error}");
        }
    }

    #[test]
    fn frequency_of_the_emulated_host_is_that_of_its_kernel_configuration() {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/emulated-host-6.1/config");
        let option = format!("CONFIG_HZ_{EMULATED_HOST_HZ}=y");
        assert!(fs::read_to_string(config).unwrap().lines().any(|line| line == option));
    }

    #[test]
    fn a_tick_of_another_frequency_is_not_that_of_the_guest() {
        let own = GuestKernel::Own { name: "microvm-6.1".into(), hz: 250 };
        assert_eq!(own.why_not_tick_of_guest(250, None), None);
        assert_eq!(GuestKernel::Unknown.why_not_tick_of_guest(1000, None), None);
        assert_eq!(
            own.why_not_tick_of_guest(1000, Some(HostKind::Emulated)).unwrap(),
            "CONFIG_HZ=1000, which the kernel of the emulated host has; the guest kernel microvm-6.1 has 250"
        );
        assert_eq!(
            own.why_not_tick_of_guest(100, Some(HostKind::Kvm)).unwrap(),
            "CONFIG_HZ=100; the guest kernel microvm-6.1 has 250"
        );
        assert!(GuestKernel::Shared.why_not_tick_of_guest(250, None).is_some());
    }
}
