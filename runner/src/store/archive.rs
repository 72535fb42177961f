//! A run as one file: everything that drawing it again and verifying it takes, with a digest of each.
//!
//! An archive is a tar (ustar), compressed by zstd or gzip as its name says, of one folder: first `SHA256SUMS`, as `sha256sum`
//! reads it, then the files it names, sorted. Owners, modes and times are the same in every archive of a run, so that the same
//! files make the same bytes. Reading one believes nothing: paths that leave the folder, links and devices, files that are
//! larger than any run's, and files that the digests do not name are refused, and nothing is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use microbench_formats::code::Code;
use microbench_formats::digests::Digests;
use microbench_formats::files::emulated_host_log;
use microbench_formats::plan;
use microbench_formats::plan::Plan;
use microbench_formats::shard::Shard;
use microbench_measure::sys::durable;
use microbench_plots::run::Run;
use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};
use tar::{Archive, Builder, EntryType, Header};

use super::directory::{Directory, PLAN, PLAN_BEGUN, SHARD};
use super::merge;
use super::survey::{self, Survey};
use crate::store::journal;

/// The file of digests, the first of an archive.
const SUMS: &str = "SHA256SUMS";
/// Files of a run that an archive has, where they are there.
const FILES: [&str; 11] = [
    PLAN_BEGUN,
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
/// Files without which a folder is no run that could be exported.
const NEEDED: [&str; 3] = [PLAN, "manifest.toml", journal::FILE];
/// Bytes of one file at most. The longest journals are a thousandth of it.
const FILE_LIMIT: u64 = 512 << 20;
/// Bytes of an archive at most, unpacked.
const TOTAL_LIMIT: u64 = 8 << 30;
/// Time of every file, seconds since 1970: of an exported run there is nothing to be learnt by it.
const TIME: u64 = 946_684_800;
/// Level of zstd: where more costs much and saves little.
const ZSTD_LEVEL: i32 = 9;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Packing {
    Zstd,
    Gzip,
}

impl Packing {
    /// As the name of `path` says; `None` when it is no archive's.
    fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let ends = |ends: [&str; 2]| ends.iter().any(|end| name.ends_with(end));
        match () {
            () if ends([".tar.zst", ".tzst"]) => Some(Self::Zstd),
            () if ends([".tar.gz", ".tgz"]) => Some(Self::Gzip),
            () => None,
        }
    }
}

/// Whether `path` is named as an archive is.
#[must_use]
pub fn is_archive(path: &Path) -> bool {
    Packing::of(path).is_some()
}

/// An archive that was made, or checked.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The run's name: that of the folder in it.
    pub name: String,
    /// The files with their bytes and digests, in order; `SHA256SUMS` is not among them.
    pub files: Vec<(String, u64, String)>,
}

/// What an archive that was checked holds.
#[derive(Clone, Debug)]
pub struct Checked {
    /// Its files.
    pub packed: Packed,
    /// The plan in it.
    pub plan: Plan,
    /// What its journal says of the plan.
    pub survey: Survey,
}

/// Packs `run` into `out`, which appears whole or not at all; `consoles` says whether with the guests' consoles.
///
/// # Errors
/// When `out` exists or is not named as an archive, when the run is being executed, when a file cannot be read, is no plain file or
/// changes meanwhile.
pub fn export(run: &Directory, out: &Path, consoles: bool) -> anyhow::Result<Packed> {
    let packing = Packing::of(out).with_context(|| {
        Code::BadValue.says(format!("{} is named as no archive: end it in .tar.zst or .tar.gz", out.display()))
    })?;
    ensure!(!out.exists(), Code::FileExists.says(format!("{} exists already: give another --out", out.display())));
    for needed in NEEDED {
        ensure!(run.path().join(needed).is_file(), "{} has no {needed}: nothing to export", run.path().display());
    }
    let held = File::open(run.path().join(journal::FILE)).context("cannot open the journal")?;
    let Ok(_held) = Flock::lock(held, FlockArg::LockSharedNonblock) else {
        bail!(Code::RunInUse.says(format!("{} is being executed: export it when it has ended", run.path().display())));
    };
    // What is damaged or does not belong together is not passed on.
    Run::open(run.path())?.journal()?;
    let name = run.name();
    let mut files = Vec::new();
    for inside in members(run.path(), consoles)? {
        let (sha256, bytes) = digest(&run.path().join(&inside))?;
        files.push((inside, bytes, sha256));
    }
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let context = || format!("cannot write {}", out.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(context)?;
    {
        let writer = BufWriter::new(file.as_file_mut());
        match packing {
            Packing::Zstd => {
                let mut encoder = zstd::Encoder::new(writer, ZSTD_LEVEL).with_context(context)?;
                write(&mut encoder, run.path(), &name, &files)?;
                encoder.finish().and_then(|mut writer| writer.flush()).with_context(context)?;
            }
            Packing::Gzip => {
                let mut encoder = GzEncoder::new(writer, Compression::default());
                write(&mut encoder, run.path(), &name, &files)?;
                encoder.finish().and_then(|mut writer| writer.flush()).with_context(context)?;
            }
        }
    }
    let mode: std::fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(file.path(), mode).with_context(context)?;
    // The run may be removed once it is exported.
    file.as_file().sync_all().with_context(context)?;
    file.persist_noclobber(out).with_context(context)?;
    durable::sync_folder(folder)?;
    Ok(Packed { name, files })
}

/// Names of the files that an archive of the run in `folder` has, sorted.
fn members(folder: &Path, consoles: bool) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> =
        FILES.iter().filter(|name| folder.join(name).exists()).map(|&name| name.to_owned()).collect();
    let inside = |folder: &Path| -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
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
        ensure!(data.is_file(), "{} is no plain file, and no run has such", path.display());
        ensure!(
            data.len() <= FILE_LIMIT,
            "{} has {} bytes, more than the {FILE_LIMIT} of an archive",
            path.display(),
            data.len()
        );
    }
    Ok(names)
}

fn digest(path: &Path) -> anyhow::Result<(String, u64)> {
    microbench_measure::artifacts::cache::sha256_file(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The text of `SHA256SUMS`.
fn sums(files: &[(String, u64, String)]) -> String {
    files.iter().map(|(name, _, sha256)| format!("{sha256}  {name}\n")).collect()
}

/// Writes the tar of the run in `folder`.
fn write(to: &mut impl Write, folder: &Path, name: &str, files: &[(String, u64, String)]) -> anyhow::Result<()> {
    let mut tar = Builder::new(to);
    let mut add = |inside: &str, bytes: u64, kind: EntryType, data: &mut dyn Read| -> anyhow::Result<()> {
        let mut header = Header::new_ustar();
        let path = format!("{name}/{inside}");
        header.set_path(&path).with_context(|| format!("{path} is too long for an archive: rename the run"))?;
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
        let path = folder.join(inside);
        let file = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let mut data = Digesting { from: file.take(*bytes), so_far: Sha256::new() };
        add(inside, *bytes, EntryType::Regular, &mut data)?;
        ensure!(hex::encode(data.so_far.finalize()) == *sha256, "{} changed while it was packed", path.display());
    }
    tar.finish().context("cannot end the archive")
}

/// What is read passes through a digest.
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

/// Reads the archive at `path` through, and compares every file with its digest. Nothing is unpacked.
///
/// # Errors
/// What is wrong with it, with the name of the file.
pub fn check(path: &Path) -> anyhow::Result<Checked> {
    let context = || format!("cannot read {}", path.display());
    let file = BufReader::new(File::open(path).with_context(context)?);
    let checked = match Packing::of(path) {
        Some(Packing::Zstd) => read(zstd::Decoder::new(file).with_context(context)?),
        Some(Packing::Gzip) => read(MultiGzDecoder::new(file)),
        None => {
            let problem = format!("{} is named as no archive: its name ends in .tar.zst or .tar.gz", path.display());
            bail!(Code::BadArchive.says(problem))
        }
    };
    checked.with_context(|| Code::BadArchive.says(format!("{} is no archive of a run, or was changed", path.display())))
}

fn read(from: impl Read) -> anyhow::Result<Checked> {
    let mut archive = Archive::new(from.take(TOTAL_LIMIT));
    let mut name: Option<String> = None;
    let mut sums: Option<BTreeMap<String, String>> = None;
    let (mut files, mut kept, mut seen) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    // Raw, so that a long name or another extension is an entry of its own kind, and refused as such.
    for entry in archive.entries().context("it is no tar")?.raw(true) {
        let mut entry = entry.context("it is no tar, or ends too soon")?;
        let path = entry.path().context("a name in it is no text")?.into_owned();
        let (top, inside) = inside(&path)?;
        ensure!(name.get_or_insert(top.clone()) == &top, "`{}` is outside of the run's folder", path.display());
        match entry.header().entry_type() {
            EntryType::Directory => continue,
            EntryType::Regular => {}
            kind => bail!("`{}` is neither file nor folder but {kind:?}", path.display()),
        }
        let bytes = entry.size();
        ensure!(
            bytes <= FILE_LIMIT,
            "`{inside}` has {bytes} bytes, more than the {FILE_LIMIT} that a file of a run may have"
        );
        ensure!(seen.insert(inside.clone()), "`{inside}` is in it twice");
        let mut data = Digesting { from: entry.by_ref().take(bytes), so_far: Sha256::new() };
        let mut content = Vec::new();
        if [SUMS, PLAN, SHARD, journal::FILE].contains(&inside.as_str()) {
            data.read_to_end(&mut content).context("it ends too soon")?;
        } else {
            std::io::copy(&mut data, &mut std::io::sink()).context("it ends too soon")?;
        }
        let found = hex::encode(data.so_far.finalize());
        if inside == SUMS {
            ensure!(sums.is_none() && files.is_empty(), "{SUMS} is not its first file");
            sums = Some(parse(&content)?);
            continue;
        }
        let stated = sums.as_mut().with_context(|| format!("{SUMS} is not its first file"))?.remove(&inside);
        let stated = stated.with_context(|| format!("`{inside}` is not in {SUMS}"))?;
        ensure!(stated == found, "`{inside}` is not what was exported: SHA-256 {stated} was stated, it has {found}");
        if !content.is_empty() {
            kept.insert(inside.clone(), content);
        }
        files.push((inside, bytes, found));
    }
    let sums = sums.with_context(|| format!("it has no {SUMS}"))?;
    if let Some(missing) = sums.keys().next() {
        bail!("`{missing}` is missing");
    }
    let shard: Option<Shard> = kept.get(SHARD).map(|bytes| serde_json::from_slice(bytes)).transpose()?;
    let kept = |name: &str| kept.get(name).with_context(|| format!("it has no {name}"));
    let plan_bytes = kept(PLAN)?;
    let plan = plan::read(plan_bytes).map_err(|error| error.code().says(format!("{PLAN}: {error}")))?;
    let survey = survey::survey(&plan, shard, kept(journal::FILE)?)
        .map_err(|damage| journal::damaged(Path::new(journal::FILE), &damage))?;
    Digests::verify(&survey.digests, |file| {
        Ok::<_, anyhow::Error>(files.iter().find(|(name, ..)| name == file).map(|(_, _, sha256)| sha256.clone()))
    })?;
    Ok(Checked { packed: Packed { name: name.unwrap_or_default(), files }, plan, survey })
}

/// The folder and what is in it, of a path in an archive.
fn inside(path: &Path) -> anyhow::Result<(String, String)> {
    let refuse = || format!("`{}` is no path that a run has", path.display());
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

/// Digests by name.
fn parse(text: &[u8]) -> anyhow::Result<BTreeMap<String, String>> {
    let text = std::str::from_utf8(text).with_context(|| format!("{SUMS} is no text"))?;
    let mut sums = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let pair = line.split_once("  ").filter(|(sha256, _)| sha256.len() == 64);
        let (sha256, name) = pair.with_context(|| format!("{SUMS}:{number} is no digest and name"))?;
        ensure!(sums.insert(name.to_owned(), sha256.to_owned()).is_none(), "{SUMS}:{number} names `{name}` again");
    }
    Ok(sums)
}

/// Where an archive of the run named `name` goes when nobody says.
#[must_use]
pub fn default_out(name: &str) -> PathBuf {
    PathBuf::from(format!("{name}.tar.zst"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar of these entries: path, kind, stated size, content.
    fn packed(entries: &[(&str, EntryType, u64, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (path, kind, size, content) in entries {
            let mut header = Header::new_ustar();
            // Past the checks of `set_path`, which would refuse what is tried here.
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

    fn refused(entries: &[(&str, EntryType, u64, &[u8])]) -> String {
        format!("{:#}", read(packed(entries).as_slice()).unwrap_err())
    }

    #[test]
    fn what_no_run_has_is_refused_before_it_is_read() {
        use EntryType::{Char, Link, Regular, Symlink, XHeader};
        let sums = format!("{}  plan.json\n", hex::encode(Sha256::digest(b"{}")));
        let first = ("run/SHA256SUMS", Regular, sums.len() as u64, sums.as_bytes());
        for (entry, why) in [
            (("run/../../etc/passwd", Regular, 2, &b"{}"[..]), "no path that a run has"),
            (("/etc/passwd", Regular, 2, b"{}"), "no path that a run has"),
            (("run/a\nb", Regular, 2, b"{}"), "no path that a run has"),
            (("other/plan.json", Regular, 2, b"{}"), "outside of the run's folder"),
            (("run/plan.json", Symlink, 0, b""), "neither file nor folder but Symlink"),
            (("run/plan.json", Link, 0, b""), "neither file nor folder but Link"),
            (("run/plan.json", Char, 0, b""), "neither file nor folder but Char"),
            (("run/plan.json", XHeader, 2, b"{}"), "neither file nor folder but XHeader"),
            (("run/plan.json", Regular, 5 << 30, b""), "more than the 536870912"),
            (("run/plan.json", Regular, 2, b"[]"), "is not what was exported"),
            (("run/more.json", Regular, 2, b"{}"), "is not in SHA256SUMS"),
        ] {
            let said = refused(&[first, entry]);
            assert!(said.contains(why), "{entry:?}: {said}");
        }
        assert!(refused(&[("run/plan.json", Regular, 2, b"{}")]).contains("SHA256SUMS is not its first file"));
        assert!(refused(&[first]).contains("`plan.json` is missing"));
        let twice = [first, ("run/plan.json", Regular, 2, b"{}"), ("run/plan.json", Regular, 2, b"{}")];
        assert!(refused(&twice).contains("is in it twice"));
        assert!(refused(&[]).contains("it has no SHA256SUMS"));
    }
}
