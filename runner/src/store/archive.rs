//! Archives of runs: one file with everything that is needed to verify a run and to draw its figures again.
//!
//! An archive is a tar (ustar) of one folder, compressed with zstd or gzip, depending on its file name. The first file
//! is `SHA256SUMS`, in the format of `sha256sum`; the files that it lists follow, sorted. Owners, modes and times are
//! constant, so that the same files give the same bytes.
//!
//! [`check`] treats an archive as untrusted: it rejects paths outside of the folder, links, devices, oversized files
//! and files that `SHA256SUMS` does not list. It writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use microbench_formats::code::Code;
use microbench_formats::digests::Digests;
use microbench_formats::files::emulated_host_log;
use microbench_formats::input;
use microbench_formats::plan;
use microbench_formats::plan::Plan;
use microbench_formats::shard::Shard;
use microbench_measure::artifacts::cache::sha256;
use microbench_measure::sys::durable;
use microbench_plots::run::Run;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};

use super::citation;
use super::directory::{Directory, PLAN, PLAN_AT_START, SHARD};
use super::merge;
use super::status::RunStatus;
use crate::store::journal;

/// The file of digests, which is the first file of an archive.
const SUMS: &str = "SHA256SUMS";
/// Files that an archive contains if the run has them.
const FILES: [&str; 11] = [
    PLAN_AT_START,
    "engines.json",
    "host.json",
    journal::FILE,
    microbench_measure::artifacts::lock::FILE,
    "manifest.toml",
    merge::FILE,
    PLAN,
    "samples.csv",
    "samples.parquet",
    SHARD,
];
/// Files that a run must have to be exported.
const REQUIRED: [&str; 3] = [PLAN, "manifest.toml", journal::FILE];
/// Largest size of one file, bytes. The longest journals have about a thousandth of that.
const FILE_LIMIT: u64 = 512 << 20;
/// Largest size of an unpacked archive, bytes.
const TOTAL_LIMIT: u64 = 8 << 30;
/// Modification time of every file in an archive, seconds since 1970: 2000-01-01.
const TIME: u64 = 946_684_800;
/// Compression level of zstd. Higher levels take much longer and save little.
const ZSTD_LEVEL: i32 = 9;

/// Compression of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Zstd,
    Gzip,
}

impl Format {
    /// The compression by the suffix of `path`; `None` for other suffixes.
    fn from_path(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let ends = |ends: [&str; 2]| ends.iter().any(|end| name.ends_with(end));
        match () {
            () if ends([".tar.zst", ".tzst"]) => Some(Self::Zstd),
            () if ends([".tar.gz", ".tgz"]) => Some(Self::Gzip),
            () => None,
        }
    }
}

/// Whether the suffix of `path` is that of an archive.
#[must_use]
pub fn is_archive(path: &Path) -> bool {
    Format::from_path(path).is_some()
}

/// The content of an archive.
#[derive(Clone, Debug)]
pub struct Packed {
    /// Name of the run, which is the name of the archive's folder.
    pub name: String,
    /// Name, size in bytes and SHA-256 of each file, in order, without `SHA256SUMS`.
    pub files: Vec<(String, u64, String)>,
}

/// An archive that passed [`check`].
#[derive(Clone, Debug)]
pub struct Checked {
    pub packed: Packed,
    pub plan: Plan,
    pub status: RunStatus,
}

/// Packs `run` into the new file `out`, which appears complete or not at all. With `consoles`, the archive contains
/// console logs.
///
/// # Errors
/// When `out` exists or has another suffix, or a process executes the run. When a file of the run cannot be read, is
/// not a regular file, or changes during the export.
pub fn export(run: &Directory, out: &Path, consoles: bool) -> anyhow::Result<Packed> {
    let format = Format::from_path(out).with_context(|| {
        Code::BadValue.with_message(format!(
            "{} is not the name of an archive: use the suffix .tar.zst or .tar.gz",
            out.display()
        ))
    })?;
    ensure!(!out.exists(), Code::FileExists.with_message(format!("{} exists: pass another --out", out.display())));
    for required in REQUIRED {
        ensure!(
            input::is_file(&run.path().join(required)),
            "cannot export {}: {required} is missing",
            run.path().display()
        );
    }
    let held = input::open_in(run.path(), journal::FILE).context("cannot open the journal")?;
    let Ok(_held) = Flock::lock(held, FlockArg::LockSharedNonblock) else {
        bail!(
            Code::RunInUse
                .with_message(format!("{} is being executed: wait until the run has ended", run.path().display()))
        );
    };
    // A damaged or inconsistent run is not exported.
    Run::open(run.path())?.journal()?;
    let (plan, status) = super::status::read_status(run)?;
    let name = run.name();
    let mut files = Vec::new();
    for inside in members(run.path(), consoles)? {
        let (sha256, bytes) = digest(run.path(), &inside)?;
        files.push((inside, bytes, sha256));
    }
    let citation = citation::render(&plan, &status.sessions);
    if let Some(text) = &citation {
        files.push((citation::FILE.to_owned(), text.len() as u64, hex::encode(Sha256::digest(text))));
        files.sort();
    }
    let citation = citation.unwrap_or_default();
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let context = || format!("cannot write {}", out.display());
    // The umask limits the mode.
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let mut file = tempfile::Builder::new().permissions(mode).tempfile_in(folder).with_context(context)?;
    {
        let writer = BufWriter::new(file.as_file_mut());
        match format {
            Format::Zstd => {
                let mut encoder = zstd::Encoder::new(writer, ZSTD_LEVEL).with_context(context)?;
                write_tar(&mut encoder, run.path(), &name, &files, &citation)?;
                encoder.finish().and_then(|mut writer| writer.flush()).with_context(context)?;
            }
            Format::Gzip => {
                let mut encoder = GzEncoder::new(writer, Compression::default());
                write_tar(&mut encoder, run.path(), &name, &files, &citation)?;
                encoder.finish().and_then(|mut writer| writer.flush()).with_context(context)?;
            }
        }
    }
    // Users may remove the run after the export, so the archive is flushed to disk.
    file.as_file().sync_all().with_context(context)?;
    file.persist_noclobber(out).with_context(context)?;
    durable::sync_folder(folder)?;
    Ok(Packed { name, files })
}

/// Names of the files for an archive of the run in `folder`, sorted.
fn members(folder: &Path, consoles: bool) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> =
        FILES.iter().filter(|name| folder.join(name).symlink_metadata().is_ok()).map(|&name| name.to_owned()).collect();
    let inside = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().filter(|_| input::is_folder(folder));
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    };
    names.extend(inside(&folder.join(merge::HOSTS)).into_iter().map(|name| format!("{}/{name}", merge::HOSTS)));
    if consoles {
        names.extend(inside(folder).into_iter().filter(|name| emulated_host_log(name).is_some()));
        names.extend(inside(&folder.join("console")).into_iter().map(|name| format!("console/{name}")));
    }
    names.sort();
    for name in &names {
        let path = folder.join(name);
        let data = std::fs::symlink_metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        ensure!(data.is_file(), "{} is not a regular file", path.display());
        ensure!(
            data.len() <= FILE_LIMIT,
            "{} has {} bytes; the limit for a file of an archive is {FILE_LIMIT}",
            path.display(),
            data.len()
        );
    }
    Ok(names)
}

fn digest(run: &Path, inside: &str) -> anyhow::Result<(String, u64)> {
    let context = || format!("cannot read {}", run.join(inside).display());
    sha256(input::open_in(run, inside).with_context(context)?).with_context(context)
}

/// The text of `SHA256SUMS`.
fn sums(files: &[(String, u64, String)]) -> String {
    files.iter().map(|(name, _, sha256)| format!("{sha256}  {name}\n")).collect()
}

/// Writes the tar of the run in `folder`. The text of `CITATION.cff` is `citation`; the other files are in `folder`.
fn write_tar(
    to: &mut impl Write,
    folder: &Path,
    name: &str,
    files: &[(String, u64, String)],
    citation: &str,
) -> anyhow::Result<()> {
    let mut tar = Builder::new(to);
    let mut add = |inside: &str, bytes: u64, kind: EntryType, data: &mut dyn Read| -> anyhow::Result<()> {
        let mut header = Header::new_ustar();
        let path = format!("{name}/{inside}");
        header
            .set_path(&path)
            .with_context(|| format!("{path} is too long for an archive: use a shorter name for the run"))?;
        header.set_entry_type(kind);
        header.set_size(bytes);
        header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
        header.set_mtime(TIME);
        header.set_uid(0);
        header.set_gid(0);
        header.set_cksum();
        tar.append(&header, data).with_context(|| format!("cannot pack {path}"))
    };
    add("", 0, EntryType::Directory, &mut std::io::empty())?;
    let text = sums(files);
    add(SUMS, text.len() as u64, EntryType::Regular, &mut text.as_bytes())?;
    for below in ["console/", "hosts/"] {
        if files.iter().any(|(inside, _, _)| inside.starts_with(below)) {
            add(below, 0, EntryType::Directory, &mut std::io::empty())?;
        }
    }
    for (inside, bytes, sha256) in files {
        if inside == citation::FILE {
            add(inside, *bytes, EntryType::Regular, &mut citation.as_bytes())?;
            continue;
        }
        let path = folder.join(inside);
        let file = input::open_in(folder, inside).with_context(|| format!("cannot open {}", path.display()))?;
        let mut data = Digesting { from: file.take(*bytes), so_far: Sha256::new() };
        add(inside, *bytes, EntryType::Regular, &mut data)?;
        ensure!(hex::encode(data.so_far.finalize()) == *sha256, "{} changed while it was packed", path.display());
    }
    tar.finish().context("cannot finish the archive")
}

/// Reader that computes the SHA-256 of everything that is read through it.
struct Digesting<R> {
    from: R,
    so_far: Sha256,
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, to: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(to)?;
        self.so_far.update(&to[..read]);
        Ok(read)
    }
}

/// Reads the archive at `path` and compares every file with its digest. Nothing is unpacked.
///
/// # Errors
/// [`Code::BadArchive`] with the name of the first file that is wrong.
pub fn check(path: &Path) -> anyhow::Result<Checked> {
    let context = || format!("cannot read {}", path.display());
    let file = BufReader::new(input::open(path).with_context(context)?);
    let checked = match Format::from_path(path) {
        Some(Format::Zstd) => read(zstd::Decoder::new(file).with_context(context)?),
        Some(Format::Gzip) => read(MultiGzDecoder::new(file)),
        None => {
            let problem =
                format!("{} is not the name of an archive: the suffix must be .tar.zst or .tar.gz", path.display());
            bail!(Code::BadArchive.with_message(problem))
        }
    };
    checked.with_context(|| {
        Code::BadArchive.with_message(format!("{} is not an archive of a run, or was changed", path.display()))
    })
}

fn read(from: impl Read) -> anyhow::Result<Checked> {
    let mut archive = Archive::new(from.take(TOTAL_LIMIT));
    let mut name: Option<String> = None;
    let mut sums: Option<BTreeMap<String, String>> = None;
    let (mut files, mut kept, mut seen) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    // Raw entries, so that tar extensions such as long names are separate entries, which are rejected by their type.
    for entry in archive.entries().context("not a tar file")?.raw(true) {
        let mut entry = entry.context("not a tar file, or truncated")?;
        let path = entry.path().context("a file name is not valid UTF-8")?.into_owned();
        let (top, inside) = split_path(&path)?;
        ensure!(name.get_or_insert(top.clone()) == &top, "`{}` is outside of the folder of the run", path.display());
        match entry.header().entry_type() {
            EntryType::Directory => continue,
            EntryType::Regular => {}
            kind => bail!("`{}` is not a file or folder but of type {kind:?}", path.display()),
        }
        let bytes = entry.size();
        ensure!(bytes <= FILE_LIMIT, "`{inside}` has {bytes} bytes; the limit for a file of a run is {FILE_LIMIT}");
        ensure!(seen.insert(inside.clone()), "`{inside}` is present twice");
        let mut data = Digesting { from: entry.by_ref().take(bytes), so_far: Sha256::new() };
        let mut content = Vec::new();
        if [SUMS, PLAN, SHARD, journal::FILE].contains(&inside.as_str()) {
            data.read_to_end(&mut content).context("the archive is truncated")?;
        } else {
            std::io::copy(&mut data, &mut std::io::sink()).context("the archive is truncated")?;
        }
        let found = hex::encode(data.so_far.finalize());
        if inside == SUMS {
            ensure!(sums.is_none() && files.is_empty(), "{SUMS} is not the first file");
            sums = Some(parse_sums(&content)?);
            continue;
        }
        let stated = sums.as_mut().with_context(|| format!("{SUMS} is not the first file"))?.remove(&inside);
        let stated = stated.with_context(|| format!("`{inside}` is not listed in {SUMS}"))?;
        ensure!(stated == found, "`{inside}` was changed: its SHA-256 is {found}, and {SUMS} lists {stated}");
        if !content.is_empty() {
            kept.insert(inside.clone(), content);
        }
        files.push((inside, bytes, found));
    }
    let sums = sums.with_context(|| format!("{SUMS} is missing"))?;
    if let Some(missing) = sums.keys().next() {
        bail!("`{missing}` is missing");
    }
    let shard: Option<Shard> = kept.get(SHARD).map(|bytes| serde_json::from_slice(bytes)).transpose()?;
    let kept = |name: &str| kept.get(name).with_context(|| format!("{name} is missing"));
    let plan_bytes = kept(PLAN)?;
    let plan = plan::read(plan_bytes).map_err(|error| error.code().with_message(format!("{PLAN}: {error}")))?;
    let status = RunStatus::from_journal(&plan, shard, kept(journal::FILE)?)
        .map_err(|damage| journal::damage_error(Path::new(journal::FILE), &damage))?;
    Digests::verify(&status.digests, |file| {
        Ok::<_, anyhow::Error>(files.iter().find(|(name, ..)| name == file).map(|(_, _, sha256)| sha256.clone()))
    })?;
    Ok(Checked { packed: Packed { name: name.unwrap_or_default(), files }, plan, status })
}

/// Splits a path in an archive into its first component and the rest.
fn split_path(path: &Path) -> anyhow::Result<(String, String)> {
    let refuse = || format!("`{}` is not a path of a run", path.display());
    let parts: Vec<&str> = path
        .components()
        .map(|part| match part {
            Component::Normal(part) => part.to_str(),
            _ => None,
        })
        .collect::<Option<_>>()
        .with_context(refuse)?;
    let (top, rest) = parts.split_first().with_context(refuse)?;
    ensure!(!path.to_string_lossy().chars().any(char::is_control), refuse());
    Ok(((*top).to_owned(), rest.join("/")))
}

/// Parses `SHA256SUMS`: name to digest.
fn parse_sums(text: &[u8]) -> anyhow::Result<BTreeMap<String, String>> {
    let text = std::str::from_utf8(text).with_context(|| format!("{SUMS} is not UTF-8 text"))?;
    let mut sums = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let pair = line.split_once("  ").filter(|(sha256, _)| sha256.len() == 64);
        let (sha256, name) = pair.with_context(|| format!("{SUMS}:{number} is not a digest and a name"))?;
        ensure!(
            sums.insert(name.to_owned(), sha256.to_owned()).is_none(),
            "{SUMS}:{number} lists `{name}` a second time"
        );
    }
    Ok(sums)
}

/// Default path of the archive of the run `name`.
#[must_use]
pub fn default_out(name: &str) -> PathBuf {
    PathBuf::from(format!("{name}.tar.zst"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar with these entries: path, type, size in the header, content.
    fn packed(entries: &[(&str, EntryType, u64, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (path, kind, size, content) in entries {
            let mut header = Header::new_ustar();
            // Not by `set_path`, which rejects such paths.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_size(*size);
            header.set_mode(0o644);
            header.set_cksum();
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(content);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + 1024, 0);
        bytes
    }

    fn error_of(entries: &[(&str, EntryType, u64, &[u8])]) -> String {
        format!("{:#}", read(packed(entries).as_slice()).unwrap_err())
    }

    #[test]
    fn check_rejects_entries_that_no_run_contains() {
        use EntryType::{Char, Link, Regular, Symlink, XHeader};
        let sums = format!("{}  plan.json\n", hex::encode(Sha256::digest(b"{}")));
        let first = ("run/SHA256SUMS", Regular, sums.len() as u64, sums.as_bytes());
        for (entry, why) in [
            (("run/../../etc/passwd", Regular, 2, &b"{}"[..]), "is not a path of a run"),
            (("/etc/passwd", Regular, 2, b"{}"), "is not a path of a run"),
            (("run/a\nb", Regular, 2, b"{}"), "is not a path of a run"),
            (("other/plan.json", Regular, 2, b"{}"), "outside of the folder of the run"),
            (("run/plan.json", Symlink, 0, b""), "not a file or folder but of type Symlink"),
            (("run/plan.json", Link, 0, b""), "not a file or folder but of type Link"),
            (("run/plan.json", Char, 0, b""), "not a file or folder but of type Char"),
            (("run/plan.json", XHeader, 2, b"{}"), "not a file or folder but of type XHeader"),
            (("run/plan.json", Regular, 5 << 30, b""), "the limit for a file of a run is 536870912"),
            (("run/plan.json", Regular, 2, b"[]"), "was changed"),
            (("run/more.json", Regular, 2, b"{}"), "is not listed in SHA256SUMS"),
        ] {
            let message = error_of(&[first, entry]);
            assert!(message.contains(why), "{entry:?}: {message}");
        }
        assert!(error_of(&[("run/plan.json", Regular, 2, b"{}")]).contains("SHA256SUMS is not the first file"));
        assert!(error_of(&[first]).contains("`plan.json` is missing"));
        let twice = [first, ("run/plan.json", Regular, 2, b"{}"), ("run/plan.json", Regular, 2, b"{}")];
        assert!(error_of(&twice).contains("is present twice"));
        assert!(error_of(&[]).contains("SHA256SUMS is missing"));
    }
}
