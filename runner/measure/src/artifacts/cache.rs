//! The user's cache folder. An entry is a folder that is created atomically, by one process at a time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_formats::input;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::{debug, info};

use crate::sys::durable;
use crate::trust;

/// The user's cache.
///
/// ```
/// use std::path::Path;
///
/// use microbench_measure::artifacts::cache::Cache;
///
/// let cache = Cache::new(Path::new("/var/cache/microbench"));
/// assert_eq!(cache.root(), Path::new("/var/cache/microbench"));
/// ```
#[derive(Clone, Debug)]
pub struct Cache {
    root: PathBuf,
}

/// Metadata of a cache entry, stored in its folder as `note.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Version, as given by the source.
    pub version: String,
    /// Source of the content (see [`Artifact::origin`](super::Artifact::origin)).
    pub origin: String,
    /// SHA-256 in hex of each file of the entry when it was built, by path in its folder; stored as `SHA256SUMS`, in the
    /// format of sha256sum(1), which earlier versions ignore. Their entries get it at the next use.
    #[serde(skip)]
    files: BTreeMap<String, String>,
}

impl Note {
    /// A note without files, which [`Cache::entry`] adds.
    #[must_use]
    pub fn new(version: impl Into<String>, origin: impl Into<String>) -> Self {
        Self { version: version.into(), origin: origin.into(), files: BTreeMap::new() }
    }

    /// Checks that `file` of the entry in `folder` has the content that it had when it was built.
    ///
    /// # Errors
    /// [`Code::CacheDamaged`] if the content differs, or if the file is empty, missing or unknown.
    pub fn check(&self, folder: &Path, file: &str) -> anyhow::Result<()> {
        self.hash_checked(folder, file).map(drop)
    }

    /// The SHA-256 (in hex) and the size (in bytes) of `file`: see [`Self::check`].
    pub(super) fn hash_checked(&self, folder: &Path, file: &str) -> anyhow::Result<(String, u64)> {
        let path = folder.join(file);
        let problem = match (self.files.get(file), sha256_file(&path)) {
            (_, Err(error)) => format!("cannot be read ({error})"),
            (None, _) => "is not one of the files of its entry".to_owned(),
            (Some(expected), Ok((digest, bytes))) if *expected == digest => return Ok((digest, bytes)),
            (Some(expected), Ok((digest, _))) => format!("has the SHA-256 {digest}, but was built with {expected}"),
        };
        bail!(Code::CacheDamaged.with_message(format!(
            "{} of the cache is damaged: it {problem}; delete the folder {}, so that it is rebuilt",
            path.display(),
            folder.display()
        )))
    }

    /// Checks every file of the entry in `folder`: see [`Self::check`].
    ///
    /// # Errors
    /// That of the first damaged file.
    pub fn check_all(&self, folder: &Path) -> anyhow::Result<()> {
        self.check_all_but("", folder)
    }

    /// Checks every file of the entry in `folder` except `file`: see [`Self::check`].
    pub(super) fn check_all_but(&self, file: &str, folder: &Path) -> anyhow::Result<()> {
        self.files.keys().filter(|other| *other != file).try_for_each(|other| self.check(folder, other))
    }
}

/// The folders in `folder`, in order of names.
fn folders(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    Ok(found)
}

/// The digests that `SHA256SUMS` of an entry states, by path; `None` without this file.
fn read_digests(folder: &Path) -> Option<BTreeMap<String, String>> {
    let text = input::read_text(&folder.join(DIGESTS)).ok()?;
    Some(
        text.lines()
            .filter_map(|line| line.split_once("  "))
            .map(|(sha256, file)| (file.into(), sha256.into()))
            .collect(),
    )
}

fn write_digests(folder: &Path, files: &BTreeMap<String, String>) -> io::Result<()> {
    let text: String = files.iter().map(|(file, sha256)| format!("{sha256}  {file}\n")).collect();
    fs::write(folder.join(DIGESTS), text)
}

/// The digests of all files below `folder` except its note.
fn digests(folder: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for path in walk(folder)?.into_iter().filter(|path| path.symlink_metadata().is_ok_and(|data| data.is_file())) {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
        if name != NOTE && name != DIGESTS {
            let (digest, _) = sha256_file(&path).with_context(|| format!("cannot read {}", path.display()))?;
            found.insert(name, digest);
        }
    }
    Ok(found)
}

const NOTE: &str = "note.toml";
const DIGESTS: &str = "SHA256SUMS";
/// Hex digits of the digest in an entry's name.
const DIGITS: usize = 16;
/// End of the name of an unfinished entry.
pub(super) const BUILDING: &str = ".building";
/// Folders of the cache that contain entries.
const KINDS: [&str; 4] = ["kernels", "packages", "programs", "rootfs"];

/// Whether `text` is a digest of [`Inputs`].
pub(super) fn is_digest(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The locks that this process holds, by the folder of the entry: see [`Cache::keep`].
fn kept() -> MutexGuard<'static, BTreeMap<PathBuf, Flock<File>>> {
    static KEPT: Mutex<BTreeMap<PathBuf, Flock<File>>> = Mutex::new(BTreeMap::new());
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cache {
    /// The cache in `MICROBENCH_CACHE`, else in the folder `microbench` of `XDG_CACHE_HOME`, else in
    /// `~/.cache/microbench`.
    ///
    /// # Errors
    /// If none of `MICROBENCH_CACHE`, `XDG_CACHE_HOME` and `HOME` is set.
    pub fn for_user() -> anyhow::Result<Self> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = set("MICROBENCH_CACHE")
            .or_else(|| Some(set("XDG_CACHE_HOME")?.join("microbench")))
            .or_else(|| Some(set("HOME")?.join(".cache/microbench")))
            .context("no cache folder: set MICROBENCH_CACHE, XDG_CACHE_HOME or HOME")?;
        // Who can write to the cache decides which programs and kernels are executed.
        trust::check("the cache", &root)?;
        // Absolute, because tools that write to it run in another working directory.
        Ok(Self { root: std::path::absolute(root).context("no working directory")? })
    }

    /// The cache in the folder `root`, which must be an absolute path.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Checks the content of every entry, and returns the number of entries and the error of each damaged one. An entry of
    /// an earlier version, without digests, counts but is not checked.
    ///
    /// # Errors
    /// If a folder of the cache cannot be read.
    pub fn verify(&self) -> anyhow::Result<(usize, Vec<anyhow::Error>)> {
        let (mut entries, mut damaged) = (0, Vec::new());
        // The folder of an unfinished build has no note yet.
        for title in self.titles()?.iter().filter(|title| !title.ends_with(BUILDING)) {
            let folder = &self.root.join(title);
            entries += 1;
            let checked = input::read_text(&folder.join(NOTE))
                .map_err(anyhow::Error::from)
                .and_then(|text| Ok(toml::from_str::<Note>(&text)?))
                .with_context(|| format!("the note of {} is damaged", folder.display()))
                .and_then(|note| Note { files: read_digests(folder).unwrap_or_default(), ..note }.check_all(folder));
            damaged.extend(checked.err());
        }
        Ok((entries, damaged))
    }

    /// Whether the cache has the entry with this [title](Inputs::title).
    #[must_use]
    pub fn has(&self, title: &str) -> bool {
        self.root.join(title).is_dir()
    }

    /// The folder and note of entry `name`, whose content depends only on `inputs`. If it does not exist, `build` fills
    /// a new folder. Waits while another process builds the entry.
    ///
    /// # Errors
    /// If the cache cannot be written, or that of `build`. No entry is created then. [`Code::CacheDamaged`] if an
    /// existing entry has no valid note.
    pub fn entry(
        &self,
        name: &str,
        inputs: &Inputs,
        build: impl FnOnce(&Path) -> anyhow::Result<Note>,
    ) -> anyhow::Result<(PathBuf, Note)> {
        let title = inputs.title(name);
        let folder = self.root.join(&title);
        let read_note = || -> anyhow::Result<Note> {
            let path = folder.join(NOTE);
            let text = input::read_text(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut note: Note = toml::from_str(&text).with_context(|| {
                Code::CacheDamaged
                    .with_message(format!("{} is damaged; delete its folder, so that it is rebuilt", path.display()))
            })?;
            note.files = match read_digests(&folder) {
                Some(files) => files,
                None => {
                    let files = digests(&folder)?;
                    // A cache may be read only; it is then read at each use.
                    drop(write_digests(&folder, &files));
                    files
                }
            };
            Ok(note)
        };
        if folder.is_dir() {
            self.keep(&title);
            // `--gc` of another process may have removed it before this process kept it.
            if folder.is_dir() {
                debug!("{title} is cached");
                return Ok((folder.clone(), read_note()?));
            }
        }
        let started_at = Instant::now();
        let parent = folder.parent().unwrap_or(&self.root);
        durable::create_folders(parent)?;
        // A lock of this process would exclude the process itself.
        kept().remove(&folder);
        let lock_path = self.lock_path(&title);
        let lock = input::append_in(&self.root, format!("{title}.lock"));
        let lock = lock.with_context(|| format!("cannot create {}", lock_path.display()))?;
        let lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .with_context(|| format!("cannot lock {}", lock_path.display()))?;
        if folder.is_dir() {
            // Another process built the entry while this one waited for the lock.
            drop(lock);
            self.keep(&title);
            return Ok((folder.clone(), read_note()?));
        }
        // Only the owner of the lock uses this name, so that the files of a killed build can be removed.
        let work = self.root.join(format!("{title}{BUILDING}"));
        let clear = || if work.exists() { fs::remove_dir_all(&work) } else { Ok(()) };
        clear()
            .and_then(|()| fs::create_dir(&work))
            .with_context(|| format!("cannot create an empty folder {}", work.display()))?;
        let work = Unfinished(work);
        let built = build(&work.0)?;
        let note = Note { files: digests(&work.0)?, ..built };
        fs::write(work.0.join(NOTE), toml::to_string(&note)?).context("cannot write the note of the cache entry")?;
        write_digests(&work.0, &note.files).context("cannot write the digests of the cache entry")?;
        // The digests are those of the files in memory: after a power failure, an entry must not contain others.
        durable::sync_tree(&work.0)?;
        durable::rename(&work.0, &folder)?;
        info!("built {title} in {:.1} s from {}", started_at.elapsed().as_secs_f64(), note.origin);
        drop(lock);
        self.keep(&title);
        Ok((folder, note))
    }

    /// The path of the lock of the entry `title`. Its file stays when the entry is removed: another process may wait for it.
    pub(super) fn lock_path(&self, title: &str) -> PathBuf {
        self.root.join(format!("{title}.lock"))
    }

    /// Records that the entry `title` is used now, as the modification time of its lock, and holds the lock until this
    /// process ends, so that [`unneeded`](super::unneeded) does not remove the entry. In a cache that this user cannot
    /// write, the use is not recorded.
    fn keep(&self, title: &str) {
        let mut kept = kept();
        let folder = self.root.join(title);
        if kept.contains_key(&folder) {
            return;
        }
        let name = format!("{title}.lock");
        let lock = input::append_in(&self.root, &name).or_else(|_| input::open_in(&self.root, &name));
        let Ok(lock) = lock else { return };
        drop(lock.set_modified(SystemTime::now()));
        if let Ok(lock) = Flock::lock(lock, FlockArg::LockShared) {
            kept.insert(folder, lock);
        }
    }

    /// The names (`NAME-DIGEST`, or `KIND/NAME-DIGEST`) of all folders of entries, also of unfinished ones, which end with
    /// `.building`.
    ///
    /// # Errors
    /// If a folder of the cache cannot be read.
    pub(super) fn titles(&self) -> anyhow::Result<Vec<String>> {
        let of = |folder: &Path| -> anyhow::Result<Vec<PathBuf>> {
            if folder.exists() { folders(folder) } else { Ok(Vec::new()) }
        };
        let mut all = of(&self.root)?;
        for kind in KINDS {
            // A kind that is a link leads out of the cache.
            if input::is_folder(&self.root.join(kind)) {
                all.extend(of(&self.root.join(kind))?);
            }
        }
        let is_entry = |folder: &PathBuf| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy();
            let (name, is_unfinished) = name.strip_suffix(BUILDING).map_or((&*name, false), |name| (name, true));
            let digest = name.rsplit_once('-').map_or("", |(_, digest)| digest);
            is_digest(digest) && (is_unfinished || input::is_file(&folder.join(NOTE)))
        };
        let title = |folder: PathBuf| Some(folder.strip_prefix(&self.root).ok()?.to_str()?.to_owned());
        Ok(all.into_iter().filter(is_entry).filter_map(title).collect())
    }
}

/// A folder of an unfinished build; removed on drop, unless it has been renamed.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Everything that the content of a cache entry depends on. Its digest is part of the entry's name.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    hash: Sha256,
}

impl Inputs {
    /// Adds a text with a label.
    #[must_use]
    pub fn add_text(self, label: &str, text: &str) -> Self {
        self.add_bytes(label, text.as_bytes())
    }

    /// Adds bytes with a label.
    #[must_use]
    pub fn add_bytes(mut self, label: &str, bytes: &[u8]) -> Self {
        for part in [label.as_bytes(), bytes] {
            self.hash.update((part.len() as u64).to_le_bytes());
            self.hash.update(part);
        }
        self
    }

    /// Adds all files below `folder` with name, executable bits and content, and links with their target, in order of
    /// names. A missing folder adds nothing.
    ///
    /// # Errors
    /// If a file or folder cannot be read.
    pub fn add_folder(mut self, folder: &Path) -> anyhow::Result<Self> {
        if !folder.exists() {
            return Ok(self);
        }
        for path in walk(folder)? {
            let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().into_owned();
            let data = fs::symlink_metadata(&path)?;
            let mode = format!("{:o}", std::os::unix::fs::MetadataExt::mode(&data) & 0o100_111);
            self = self.add_text(&name, &mode);
            self = match data.file_type() {
                kind if kind.is_file() => self.add_text("content", &sha256_file(&path)?.0),
                kind if kind.is_symlink() => self.add_bytes("target", fs::read_link(&path)?.as_os_str().as_bytes()),
                _ => self.add_text("content", ""),
            };
        }
        Ok(self)
    }

    pub(super) fn digest(&self) -> String {
        hex::encode(self.hash.clone().finalize())[..DIGITS].to_owned()
    }

    /// The title of the entry `name` with these inputs: its path in the cache.
    #[must_use]
    pub fn title(&self, name: &str) -> String {
        format!("{name}-{}", self.digest())
    }
}

/// All paths below `folder`, without `folder` itself, parents first, in order of names.
///
/// # Errors
/// If a folder cannot be read.
pub fn walk(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    entries.sort();
    for path in entries {
        let is_folder = path.symlink_metadata()?.is_dir();
        found.push(path.clone());
        if is_folder {
            found.extend(walk(&path)?);
        }
    }
    Ok(found)
}

/// SHA-256 (in hex) and size (in bytes) of a file.
///
/// # Errors
/// If the file cannot be read, or is not a regular file.
pub fn sha256_file(path: &Path) -> io::Result<(String, u64)> {
    sha256(input::open(path)?)
}

/// SHA-256 (in hex) and size (in bytes) of what `file` has left.
///
/// # Errors
/// If it cannot be read.
pub fn sha256(mut file: impl Read) -> io::Result<(String, u64)> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((hex::encode(hash.finalize()), bytes));
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Checks that the SHA-256 of a file is `expected` (in hex).
///
/// # Errors
/// [`Code::WrongDigest`] with both digests, or if the file cannot be read.
pub fn verify(path: &Path, expected: &str) -> anyhow::Result<()> {
    let (actual, _) = sha256_file(path).with_context(|| format!("cannot read {}", path.display()))?;
    if actual != expected {
        bail!(
            Code::WrongDigest
                .with_message(format!("the SHA-256 of {} is {actual}, expected {expected}", path.display()))
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_is_built_once_and_a_failed_build_leaves_none() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::new(root.path());
        let inputs = Inputs::default().add_text("a", "1");
        assert!(cache.entry("x", &inputs, |_| bail!("no")).is_err());
        let note = Note::new("1", "here");
        let build = |folder: &Path| {
            fs::write(folder.join("file"), "content")?;
            Ok(note.clone())
        };
        let (folder, _) = cache.entry("x", &inputs, build).unwrap();
        assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "content");
        let (again, recorded) = cache.entry("x", &inputs, |_| bail!("built twice")).unwrap();
        assert_eq!((again, &recorded.version, &recorded.origin), (folder.clone(), &note.version, &note.origin));
        recorded.check_all(&folder).unwrap();
        fs::write(folder.join("file"), "Content").unwrap();
        let damaged = recorded.check(&folder, "file").unwrap_err().to_string();
        assert!(damaged.contains("is damaged: it has the SHA-256"), "{damaged}");
        assert!(recorded.check(&folder, "other").is_err());
    }

    #[test]
    fn entry_of_an_earlier_version_gets_the_digests_of_its_files() {
        let root = tempfile::tempdir().unwrap();
        let (cache, inputs) = (Cache::new(root.path()), Inputs::default());
        let folder = root.path().join(format!("x-{}", inputs.digest()));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join(NOTE), "version = \"1\"\norigin = \"here\"\n").unwrap();
        fs::write(folder.join("file"), "content").unwrap();
        cache.entry("x", &inputs, |_| bail!("built twice")).unwrap();
        fs::write(folder.join("file"), "").unwrap();
        let (_, note) = cache.entry("x", &inputs, |_| bail!("built twice")).unwrap();
        assert!(note.check_all(&folder).is_err());
    }

    #[test]
    fn inputs_differ_if_the_boundary_between_label_and_text_moves() {
        let digest = |a: &str, b: &str| Inputs::default().add_text(a, b).digest();
        assert_ne!(digest("ab", "c"), digest("a", "bc"));
    }
}
