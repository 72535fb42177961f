//! The host of a run, as `host.json` states it. A run that was merged of shards has a file for each host in `hosts/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;
use crate::file::io_error_at;
use microbench_formats::input;

/// The identity of a host. Runs of hosts with different identities are not compared by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// The fingerprint; different fingerprints of several hosts are sorted and joined by `+`.
    pub fingerprint: String,
    /// The facts that the fingerprint is computed from, by name; empty for several hosts.
    pub facts: BTreeMap<String, String>,
}

/// Reads the host of the run directory `run`; `None` if no host is recorded, as in an imported run.
///
/// # Errors
/// If `host.json` or a file in `hosts/` cannot be read or is damaged.
pub fn read_host(run: &Path) -> Result<Option<Host>, Error> {
    match files(run)? {
        Files::None => Ok(None),
        Files::Own(path) => read_host_file(&path).map(Some),
        Files::OfShards(paths) => {
            let hosts = paths.iter().map(|path| Ok(read_host_file(path)?.fingerprint));
            let mut all = hosts.collect::<Result<Vec<_>, Error>>()?;
            all.sort();
            all.dedup();
            Ok((!all.is_empty()).then(|| Host { fingerprint: all.join("+"), facts: BTreeMap::new() }))
        }
    }
}

/// The files of the run directory `run` that state its hosts: `host.json`, or those in `hosts/`.
///
/// # Errors
/// If `hosts/` cannot be read.
pub(crate) fn host_files(run: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(match files(run)? {
        Files::None => Vec::new(),
        Files::Own(path) => vec![path],
        Files::OfShards(paths) => paths,
    })
}

/// The files that state the hosts of a run.
enum Files {
    None,
    Own(PathBuf),
    OfShards(Vec<PathBuf>),
}

fn files(run: &Path) -> Result<Files, Error> {
    let own = run.join("host.json");
    if own.exists() {
        return Ok(Files::Own(own));
    }
    let folder = run.join("hosts");
    if !input::is_folder(&folder) {
        return Ok(Files::None);
    }
    let entries = std::fs::read_dir(&folder).map_err(io_error_at(&folder))?;
    let paths = entries.map(|entry| Ok(entry.map_err(io_error_at(&folder))?.path()));
    paths.collect::<Result<_, Error>>().map(Files::OfShards)
}

/// The part of `host.json` that a comparison needs.
#[derive(Deserialize)]
struct HostFile {
    fingerprint: String,
    #[serde(rename = "matters")]
    facts: BTreeMap<String, String>,
}

fn read_host_file(path: &Path) -> Result<Host, Error> {
    let damaged = |error: serde_json::Error| Error::RunFile { path: path.to_path_buf(), cause: error.to_string() };
    let file: HostFile =
        serde_json::from_slice(&input::read_no_link(path).map_err(io_error_at(path))?).map_err(damaged)?;
    Ok(Host { fingerprint: file.fingerprint, facts: file.facts })
}
