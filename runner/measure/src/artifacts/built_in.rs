//! Built-in files: kernels/, rootfs/ and the studies of experiments/ at the time of the build.
//!
//! Files of a project have precedence over built-in files of the same name (see [`project`](super::project)).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::cache::{Cache, Inputs, Note};

/// A built-in file.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Path in the source tree, for example `kernels/microvm-6.1/config`.
    pub path: &'static str,
    pub executable: bool,
    pub bytes: &'static [u8],
}

// Defines `FILES`, sorted by path, and `AGENT`: the static guest agent of a release build, empty in other builds.
include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// Names of the entries of the cache.
const DESCRIPTIONS: &str = "built-in";
const AGENT_ENTRY: &str = "agent";

/// The text of the built-in file `path`; `None` if there is no such file.
#[must_use]
pub fn find_text(path: &str) -> Option<&'static str> {
    let file = FILES.iter().find(|file| file.path == path)?;
    std::str::from_utf8(file.bytes).ok()
}

/// Names of the built-in folders in `kind` (`kernels` or `rootfs`) that contain `file`, sorted.
#[must_use]
pub fn folder_names(kind: &str, file: &str) -> Vec<&'static str> {
    let name = |path: &'static str| path.strip_prefix(kind)?.strip_prefix('/')?.strip_suffix(file)?.strip_suffix('/');
    FILES.iter().filter_map(|built_in| name(built_in.path)).filter(|name| !name.contains('/')).collect()
}

/// Names of the built-in studies, sorted.
#[must_use]
pub fn study_names() -> Vec<&'static str> {
    let name = |path: &'static str| path.strip_prefix("experiments/")?.strip_suffix(".toml");
    FILES.iter().filter_map(|file| name(file.path)).filter(|name| !name.contains('/')).collect()
}

/// The files that a built-in study may name, such as `reference/paper-2019.toml`: path below experiments/, and text.
pub fn study_files() -> impl Iterator<Item = (&'static str, &'static str)> {
    let named = |file: &File| {
        let path = file.path.strip_prefix("experiments/").filter(|path| path.contains('/'))?;
        Some((path, std::str::from_utf8(file.bytes).ok()?))
    };
    FILES.iter().filter_map(named)
}

/// The cache folder with the built-in kernels/ and rootfs/, which are unpacked on first use. Its name depends on their
/// content, which is checked once per process.
///
/// # Errors
/// If the cache cannot be written.
pub fn unpack_descriptions(cache: &Cache) -> anyhow::Result<PathBuf> {
    let (folder, note) = cache.entry(DESCRIPTIONS, &descriptions_inputs(), |work| {
        description_files().try_for_each(|file| write(&work.join(file.path), file.bytes, file.executable))?;
        Ok(note())
    })?;
    // Every lookup of a description calls this function.
    static CHECKED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut checked = CHECKED.lock().unwrap_or_else(PoisonError::into_inner);
    if !checked.contains(&folder) {
        note.check_all(&folder)?;
        checked.insert(folder.clone());
    }
    Ok(folder)
}

/// The title of the entry of [`unpack_descriptions`].
pub(super) fn descriptions_title() -> String {
    descriptions_inputs().title(DESCRIPTIONS)
}

fn description_files() -> impl Iterator<Item = &'static File> {
    FILES.iter().filter(|file| !file.path.starts_with("experiments/"))
}

fn descriptions_inputs() -> Inputs {
    description_files().fold(Inputs::default(), |inputs, file| {
        let mode = if file.executable { "executable" } else { "plain" };
        inputs.add_text(file.path, mode).add_text("content", &hex::encode(Sha256::digest(file.bytes)))
    })
}

/// The title of the entry of [`unpack_agent`].
pub(super) fn agent_title() -> String {
    agent_inputs().title(AGENT_ENTRY)
}

fn agent_inputs() -> Inputs {
    Inputs::default().add_text("content", &hex::encode(Sha256::digest(AGENT)))
}

/// SHA-256 of the built-in guest agent, hex; `None` if this build has no agent.
#[must_use]
pub fn agent_sha256() -> Option<String> {
    (!AGENT.is_empty()).then(|| hex::encode(Sha256::digest(AGENT)))
}

/// The path of the built-in guest agent in the cache, which is unpacked on first use; `None` if this build has no
/// agent.
///
/// # Errors
/// If the cache cannot be written.
pub fn unpack_agent(cache: &Cache) -> anyhow::Result<Option<PathBuf>> {
    if AGENT.is_empty() {
        return Ok(None);
    }
    const NAME: &str = "microbench-agent";
    let (folder, note) = cache.entry(AGENT_ENTRY, &agent_inputs(), |work| {
        write(&work.join(NAME), AGENT, true)?;
        Ok(note())
    })?;
    note.check(&folder, NAME)?;
    Ok(Some(folder.join(NAME)))
}

fn note() -> Note {
    Note::new(env!("CARGO_PKG_VERSION"), "built into microbench")
}

/// Writes a file with a mode that does not depend on the umask. The cache key of a root file system includes the modes
/// of its overlay.
fn write(path: &Path, bytes: &[u8], executable: bool) -> anyhow::Result<()> {
    let context = || format!("cannot write {}", path.display());
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).with_context(context)?;
    fs::write(path, bytes).with_context(context)?;
    let mode = if executable { 0o755 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).with_context(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_root_file_systems_and_studies_are_built_in() {
        assert!(folder_names("kernels", "kernel.toml").contains(&"microvm-6.1"));
        assert!(folder_names("rootfs", "rootfs.toml").contains(&"openrc"));
        assert!(study_names().contains(&"paper-2019") && !study_names().iter().any(|name| name.contains('/')));
        assert!(study_files().any(|(path, _)| path == "reference/paper-2019.toml"));
        assert!(find_text("kernels/microvm-6.1/config").is_some_and(|text| text.contains("CONFIG_")));
    }

    #[test]
    fn unpacked_files_are_those_of_the_source_tree() {
        let root = tempfile::tempdir().unwrap();
        let folder = unpack_descriptions(&Cache::new(root.path())).unwrap();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("built_in");
        for kind in ["kernels", "rootfs"] {
            let digest = |folder: &Path| Inputs::default().add_folder(&folder.join(kind)).unwrap().digest();
            assert_eq!(digest(&folder), digest(&tree), "{kind}");
        }
    }
}
