//! Root file systems: builds an ext4 image from rootfs/NAME/rootfs.toml and its overlay, without root and without a
//! mount.
//!
//! `mke2fs -d` copies a folder into the image. Builds are reproducible: UUID, hash seed and time are fixed, and a
//! debugfs script sets owners and times of all files.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_agent::{INDEX_BLOCK_BYTES, INDEX_BLOCKS, INDEX_FILE, INDEX_SEED, fill_pseudo_random};
use microbench_formats::code::Code;
use microbench_formats::input::{self, Root};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cache::{self, Cache, Inputs, Note};
use super::project::Descriptions;
use super::source;
use super::{Artifact, Kind};
use crate::artifacts::tool::Tool;
use crate::terminal::progress::Step;
use crate::trust;

/// Version of the build procedure, part of the cache key. Increment it when the procedure changes.
const RECIPE: &str = "1";
/// File name of the image in its cache entry.
const IMAGE: &str = "rootfs.ext4";
/// UUID and directory hash seed of every image.
const UUID: &str = "6d696372-6f62-656e-6368-000000000001";

/// Description of a root file system: `rootfs/NAME/rootfs.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rootfs {
    /// Description in one sentence.
    pub description: String,
    /// Path of init in the guest.
    pub init: String,
    /// Size of the image, MiB.
    pub size_mib: u32,
    /// Path of the agent in the guest.
    pub agent: String,
    /// Debian packages to unpack. Their scripts are not run.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Paths to remove from the unpacked packages; `*` matches any sequence of characters in a name.
    #[serde(default)]
    pub remove: Vec<String>,
    /// Folders to create.
    #[serde(default)]
    pub directories: Vec<String>,
    /// Programs that busybox provides: links in /bin.
    #[serde(default)]
    pub applets: Vec<String>,
    /// Symbolic links to create: path in the guest, and target.
    #[serde(default)]
    pub symlinks: BTreeMap<String, String>,
}

/// Reads the description of the root file system `name` in `rootfs`.
///
/// # Errors
/// [`Code::BadDescription`] if it is invalid, or if it cannot be read.
pub fn describe(rootfs: &Descriptions, name: &str) -> anyhow::Result<Rootfs> {
    rootfs.describe(name)
}

/// Provides the image of the root file system `name`, which contains `agent`: from the cache, or built.
///
/// # Errors
/// If the description is invalid; [`Code::NoRootfs`] if the build fails.
pub fn provide(rootfs: &Descriptions, name: &str, agent: &Path, cache: &Cache) -> anyhow::Result<Artifact> {
    let description = describe(rootfs, name)?;
    let overlay = overlay(rootfs, name, cache)?;
    let inputs = inputs(&description, &overlay, agent)?;
    let (entry, note) = cache.entry(&entry_name(name), &inputs, |work| {
        build(name, &description, &overlay, agent, cache, work)
            .with_context(|| Code::NoRootfs.with_message(format!("cannot build the root file system {name}")))
    })?;
    Artifact::from_entry(Kind::Rootfs, name, &note, &entry, IMAGE)
}

/// Whether the image that [`provide`] would return is in `cache`.
///
/// # Errors
/// If the description is invalid.
pub fn is_cached(rootfs: &Descriptions, name: &str, agent: &Path, cache: &Cache) -> anyhow::Result<bool> {
    Ok(cache.has(&title(rootfs, name, agent, cache)?))
}

/// The title of the image's entry in the cache.
///
/// # Errors
/// If the description is invalid.
pub fn title(rootfs: &Descriptions, name: &str, agent: &Path, cache: &Cache) -> anyhow::Result<String> {
    let inputs = inputs(&describe(rootfs, name)?, &overlay(rootfs, name, cache)?, agent)?;
    Ok(inputs.title(&entry_name(name)))
}

/// The titles of the entries of the Debian packages that the image is built from.
///
/// # Errors
/// If the description is invalid.
pub fn package_titles(rootfs: &Descriptions, name: &str) -> anyhow::Result<Vec<String>> {
    let title = |package: &String| package_inputs(package).title(&package_entry_name(package));
    Ok(describe(rootfs, name)?.packages.iter().map(title).collect())
}

pub(super) fn entry_name(name: &str) -> String {
    format!("rootfs/{name}")
}

fn overlay(rootfs: &Descriptions, name: &str, cache: &Cache) -> anyhow::Result<PathBuf> {
    let overlay = rootfs.path(name, "overlay", cache)?;
    trust::check_tree("the file of the overlay", &overlay)?;
    Ok(overlay)
}

/// Everything that the content of an image depends on.
fn inputs(description: &Rootfs, overlay: &Path, agent: &Path) -> anyhow::Result<Inputs> {
    Inputs::default()
        .add_text("recipe", RECIPE)
        .add_text("description", &toml::to_string(description)?)
        .add_text("agent", &cache::sha256_file(agent).with_context(|| format!("cannot read {}", agent.display()))?.0)
        .add_folder(overlay)
}

fn build(
    name: &str,
    description: &Rootfs,
    overlay: &Path,
    agent: &Path,
    cache: &Cache,
    work: &Path,
) -> anyhow::Result<Note> {
    let step = Step::begin(format!("root file system {name}"));
    let scratch = tempfile::tempdir_in(work)?;
    let stage = scratch.path().join("stage");
    fs::create_dir(&stage)?;
    let mut versions = Vec::new();
    for package in &description.packages {
        let (file, version) = package_file(package, cache, &step)?;
        Tool::new("dpkg-deb").arg("-x").arg(&file).arg(&stage).run(Some(&step))?;
        versions.push(format!("{package} {version}"));
    }
    for pattern in &description.remove {
        remove_matching(&stage, pattern)?;
    }
    // Links of packages and of the overlay are resolved inside of the stage: an absolute link would lead to the host.
    let root = Root::open(&stage).context("cannot open the staging folder")?;
    for directory in &description.directories {
        let path = path_in_stage(Path::new(""), directory)?;
        root.create_folders(&path).with_context(|| format!("cannot create {directory}"))?;
    }
    if input::is_folder(overlay) {
        copy_overlay(overlay, &root)?;
    }
    let applets = description.applets.iter().map(|applet| (format!("/bin/{applet}"), "busybox".to_owned()));
    for (path, target) in applets.chain(description.symlinks.clone()) {
        let link = path_in_stage(Path::new(""), &path)?;
        root.link(&link, Path::new(&target)).with_context(|| format!("cannot link {path} to {target}"))?;
    }
    install(agent, &root, &path_in_stage(Path::new(""), &description.agent)?, 0o755)?;
    let mut index = vec![0; INDEX_BLOCKS * INDEX_BLOCK_BYTES];
    fill_pseudo_random(&mut index, INDEX_SEED);
    let index_path = path_in_stage(Path::new(""), INDEX_FILE)?;
    root.write(&index_path, &mut index.as_slice(), 0o644).with_context(|| format!("cannot write {INDEX_FILE}"))?;
    make_image(&stage, description.size_mib, &work.join(IMAGE), &step)?;
    let origin =
        if versions.is_empty() { "the guest agent only".to_owned() } else { format!("Debian {}", versions.join(", ")) };
    step.done(&format!("{} MiB from {origin}", description.size_mib));
    let (digest, _) = cache::sha256_file(&work.join(IMAGE))?;
    Ok(Note::new(&digest[..12], origin))
}

fn package_entry_name(package: &str) -> String {
    format!("packages/{package}")
}

fn package_inputs(package: &str) -> Inputs {
    Inputs::default().add_text("package", package)
}

/// The path of a Debian package and its version, from the cache or the archive.
fn package_file(package: &str, cache: &Cache, step: &Step) -> anyhow::Result<(PathBuf, String)> {
    let (entry, note) = cache.entry(&package_entry_name(package), &package_inputs(package), |work| {
        let (file, version) = source::fetch_debian_package(package, None, work, step)?;
        fs::rename(&file, work.join("package.deb"))?;
        let origin = format!("Debian {package} {version}");
        Ok(Note::new(version, origin))
    })?;
    note.check(&entry, "package.deb")?;
    Ok((entry.join("package.deb"), note.version))
}

/// The path of the guest path `path` in the staging folder.
///
/// # Errors
/// If `path` is empty or leaves the staging folder (`..`).
fn path_in_stage(stage: &Path, path: &str) -> anyhow::Result<PathBuf> {
    let relative = Path::new(path.trim_start_matches('/'));
    let is_inside = relative.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if !is_inside || relative.as_os_str().is_empty() {
        bail!("`{path}` is not a valid path in a root file system");
    }
    Ok(stage.join(relative))
}

/// Removes the files and folders in the staging folder that match `pattern`.
fn remove_matching(stage: &Path, pattern: &str) -> anyhow::Result<()> {
    let mut found = vec![stage.to_path_buf()];
    for part in path_in_stage(Path::new(""), pattern)?.components() {
        let part = part.as_os_str().to_string_lossy().into_owned();
        let mut next = Vec::new();
        for folder in found.iter().filter(|folder| folder.is_dir() && !folder.is_symlink()) {
            for entry in fs::read_dir(folder)? {
                let entry = entry?;
                if matches(&part, &entry.file_name().to_string_lossy()) {
                    next.push(entry.path());
                }
            }
        }
        found = next;
    }
    for path in found {
        if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
            .with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Whether `name` matches `pattern`, in which `*` matches any sequence of characters.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((head, rest)) => name
            .strip_prefix(head)
            .is_some_and(|tail| (0..=tail.len()).any(|at| tail.is_char_boundary(at) && matches(rest, &tail[at..]))),
    }
}

fn copy_overlay(overlay: &Path, root: &Root) -> anyhow::Result<()> {
    for path in cache::walk(overlay)? {
        let target = path.strip_prefix(overlay).unwrap_or(&path);
        let context = || format!("cannot create {}", target.display());
        let data = path.symlink_metadata().with_context(context)?;
        if data.is_dir() {
            root.create_folders(target).with_context(context)?;
        } else if data.is_symlink() {
            root.link(target, &fs::read_link(&path).with_context(context)?).with_context(context)?;
        } else {
            let mode = if data.permissions().mode() & 0o111 == 0 { 0o644 } else { 0o755 };
            install(&path, root, target, mode)?;
        }
    }
    Ok(())
}

/// Copies a file, replaces an existing one, and sets its mode.
fn install(from: &Path, root: &Root, to: &Path, mode: u32) -> anyhow::Result<()> {
    let copied = input::open(from).and_then(|mut file| root.write(to, &mut file, mode));
    copied.with_context(|| format!("cannot copy {} to {} of the image", from.display(), to.display()))
}

fn make_image(stage: &Path, size_mib: u32, image: &Path, step: &Step) -> anyhow::Result<()> {
    step.detail("mke2fs");
    Tool::new("mke2fs")
        .env("E2FSPROGS_FAKE_TIME", "1")
        .args(["-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-m", "0", "-U", UUID])
        .args(["-O", "^has_journal,^metadata_csum,^orphan_file,^resize_inode,^metadata_csum_seed"])
        .args(["-E", &format!("hash_seed={UUID},root_owner=0:0,lazy_itable_init=0,nodiscard"), "-d"])
        .arg(stage)
        .arg(image)
        .arg(format!("{size_mib}M"))
        .run(Some(step))
        .with_context(|| {
            format!(
                "cannot create an image of {size_mib} MiB: the files do not fit (increase size_mib), or mke2fs is \
                 too old"
            )
        })?;
    step.detail("debugfs");
    let mut script = String::new();
    let mut paths = vec![PathBuf::from("/"), PathBuf::from("/lost+found")];
    paths.extend(cache::walk(stage)?.iter().map(|path| Path::new("/").join(path.strip_prefix(stage).unwrap_or(path))));
    for path in paths {
        let name = path.to_string_lossy();
        if name.contains(['"', '\n']) {
            bail!("the file name {name:?} is not supported in an image: it contains a quote or a newline");
        }
        for (field, value) in
            [("uid", "0"), ("gid", "0"), ("atime", "@1"), ("ctime", "@1"), ("mtime", "@1"), ("crtime", "@1")]
        {
            writeln!(script, "sif \"{name}\" {field} {value}")?;
        }
        for field in ["atime_extra", "ctime_extra", "mtime_extra", "crtime_extra"] {
            writeln!(script, "sif \"{name}\" {field} 0")?;
        }
    }
    let script_path = image.with_extension("debugfs");
    fs::write(&script_path, script)?;
    Tool::new("debugfs")
        .env("E2FSPROGS_FAKE_TIME", "1")
        .args(["-w", "-f"])
        .arg(&script_path)
        .arg(image)
        .run(None)
        .context("cannot set owners and times of the image with debugfs")?;
    fs::remove_file(&script_path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use microbench_testing::{program, require};

    use super::*;

    #[test]
    fn star_matches_any_sequence_within_a_name() {
        assert!(matches("*.so", "lib.so") && matches("a*c*", "abcd") && matches("x", "x"));
        assert!(!matches("*.so", "lib.so.1") && !matches("a", "ab"));
    }

    #[test]
    fn path_that_leaves_the_staging_folder_is_refused() {
        assert!(path_in_stage(Path::new("/stage"), "../etc/passwd").is_err());
        assert!(path_in_stage(Path::new("/stage"), "/usr/../../x").is_err());
        assert_eq!(path_in_stage(Path::new("/stage"), "/sbin/init").unwrap(), Path::new("/stage/sbin/init"));
    }

    #[test]
    fn image_build_is_reproducible() {
        require!(program("mke2fs", "e2fsprogs"), program("debugfs", "e2fsprogs"));
        let folder = tempfile::tempdir().unwrap();
        let stage = folder.path().join("stage");
        fs::create_dir_all(stage.join("sbin")).unwrap();
        symlink("init", stage.join("sbin/agent")).unwrap();
        let digests: Vec<String> = (0..2)
            .map(|n| {
                // Written again each time, so that its times differ.
                fs::write(stage.join("sbin/init"), "program").unwrap();
                let image = folder.path().join(format!("image{n}"));
                make_image(&stage, 4, &image, &Step::begin("test")).unwrap();
                cache::sha256_file(&image).unwrap().0
            })
            .collect();
        assert_eq!(digests[0], digests[1]);
    }
}
