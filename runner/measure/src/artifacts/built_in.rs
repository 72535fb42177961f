//! The files that the program carries: kernels/, rootfs/ and the studies of experiments/, as they were when it was built.
//!
//! A project's own files of the same name win over them (see [`project`](super::project)).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::cache::{Cache, Inputs, Note};

/// One built-in file.
#[derive(Clone, Copy, Debug)]
pub struct File {
    /// Path from the root of the source tree, for example `kernels/microvm-6.1/config`.
    pub path: &'static str,
    /// True when the file is executable.
    pub executable: bool,
    /// Content.
    pub bytes: &'static [u8],
}

// `FILES`, sorted by path, and `AGENT`: the static guest agent of a release build, empty in other builds.
include!(concat!(env!("OUT_DIR"), "/built_in.rs"));

/// The text of the built-in file `path`; `None` when there is no such file.
#[must_use]
pub fn text(path: &str) -> Option<&'static str> {
    let file = FILES.iter().find(|file| file.path == path)?;
    std::str::from_utf8(file.bytes).ok()
}

/// Names of the built-in folders of `kind` (`kernels` or `rootfs`) that hold `file`, sorted.
#[must_use]
pub fn names(kind: &str, file: &str) -> Vec<&'static str> {
    let name = |path: &'static str| path.strip_prefix(kind)?.strip_prefix('/')?.strip_suffix(file)?.strip_suffix('/');
    FILES.iter().filter_map(|built_in| name(built_in.path)).filter(|name| !name.contains('/')).collect()
}

/// Names of the shipped studies, sorted.
#[must_use]
pub fn studies() -> Vec<&'static str> {
    let name = |path: &'static str| path.strip_prefix("experiments/")?.strip_suffix(".toml");
    FILES.iter().filter_map(|file| name(file.path)).filter(|name| !name.contains('/')).collect()
}

/// The files of experiments/ that a shipped study may name, such as `reference/paper-2019.toml`: path below experiments/ and text.
pub fn study_files() -> impl Iterator<Item = (&'static str, &'static str)> {
    let named = |file: &File| {
        let path = file.path.strip_prefix("experiments/").filter(|path| path.contains('/'))?;
        Some((path, std::str::from_utf8(file.bytes).ok()?))
    };
    FILES.iter().filter_map(named)
}

/// The folder of the cache that holds the built-in kernels/ and rootfs/, unpacked on first use. Its name depends on their content.
///
/// # Errors
/// When the cache cannot be written.
pub fn unpacked(cache: &Cache) -> anyhow::Result<PathBuf> {
    let files = || FILES.iter().filter(|file| !file.path.starts_with("experiments/"));
    let inputs = files().fold(Inputs::default(), |inputs, file| {
        let mode = if file.executable { "executable" } else { "plain" };
        inputs.text(file.path, mode).text("content", &hex::encode(Sha256::digest(file.bytes)))
    });
    let (folder, _) = cache.entry("built-in", &inputs, |work| {
        files().try_for_each(|file| write(&work.join(file.path), file.bytes, file.executable))?;
        Ok(note())
    })?;
    Ok(folder)
}

/// The built-in guest agent in the cache, unpacked on first use; `None` when this build carries no agent.
///
/// # Errors
/// When the cache cannot be written.
pub fn agent(cache: &Cache) -> anyhow::Result<Option<PathBuf>> {
    if AGENT.is_empty() {
        return Ok(None);
    }
    const NAME: &str = "microbench-agent";
    let inputs = Inputs::default().text("content", &hex::encode(Sha256::digest(AGENT)));
    let (folder, _) = cache.entry("agent", &inputs, |work| {
        write(&work.join(NAME), AGENT, true)?;
        Ok(note())
    })?;
    Ok(Some(folder.join(NAME)))
}

fn note() -> Note {
    Note { version: env!("CARGO_PKG_VERSION").into(), origin: "built into microbench".into() }
}

/// Writes a file with a mode that does not depend on the umask: a root file system's cache key holds the modes of its overlay.
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
        assert!(names("kernels", "kernel.toml").contains(&"microvm-6.1"));
        assert!(names("rootfs", "rootfs.toml").contains(&"openrc"));
        assert!(studies().contains(&"paper-2019") && !studies().iter().any(|name| name.contains('/')));
        assert!(study_files().any(|(path, _)| path == "reference/paper-2019.toml"));
        assert!(text("kernels/microvm-6.1/config").is_some_and(|text| text.contains("CONFIG_")));
    }

    #[test]
    fn unpacked_files_are_those_of_the_source_tree() {
        let root = tempfile::tempdir().unwrap();
        let folder = unpacked(&Cache::at(root.path())).unwrap();
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("built_in");
        for kind in ["kernels", "rootfs"] {
            let digest = |folder: &Path| Inputs::default().folder(&folder.join(kind)).unwrap().digest();
            assert_eq!(digest(&folder), digest(&tree), "{kind}");
        }
    }
}
