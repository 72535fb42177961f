//! A run's folder: `manifest.toml`, `plan.json`, `engines.json`, `lock.toml`, `journal.ndjson`, `console/`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_formats::digests::Digests;
pub use microbench_formats::digests::{ENGINES, PLAN};
use microbench_formats::plan::Plan;
use microbench_formats::plan::Unreadable;
use microbench_formats::shard::Shard;
use microbench_measure::artifacts::lock::{self, Lock};
use microbench_measure::sys::durable::{self, damaged_file_error};
use microbench_plots::run;
use microbench_study::engine::description::Engine;
use microbench_study::plan;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The plan as the run began, to say what was edited.
pub(super) const PLAN_BEGUN: &str = ".plan.json";
/// Which part of the plan the run executes; not there when it is all of it.
pub const SHARD: &str = "shard.json";

/// How the name of a run's folder begins while it is being made.
pub(super) const HALF_MADE: &str = ".microbench-half-made-";

/// Most lines of a difference between two plans that are shown.
const DIFF_LINES: usize = 40;

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

/// The engines as they were when the run began.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engines {
    /// Descriptions of the engines that the plan's cells name.
    pub engines: Vec<Engine>,
}

/// What a run begins with.
#[derive(Clone, Copy, Debug)]
pub struct Begun<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Text of the study's manifest.
    pub manifest: &'a str,
    /// The engines of the plan's cells.
    pub engines: &'a Engines,
    /// The artefacts; `None` where nothing is executed.
    pub lock: Option<&'a Lock>,
    /// The part of the plan to execute; `None` for all of it.
    pub shard: Option<Shard>,
}

impl Directory {
    /// Makes the folder of a new run of all of the plan, or of a shard: `given`, or `runs/<study>-<time>` below `root`. It appears whole or
    /// not at all, and is on disk on return.
    ///
    /// # Errors
    /// When it exists already or cannot be written.
    pub fn create(root: &Path, given: Option<&Path>, begun: Begun<'_>) -> anyhow::Result<Self> {
        let Begun { plan, manifest, engines, lock, shard } = begun;
        let part = shard.map_or_else(String::new, |shard| format!("-{}of{}", shard.index, shard.of));
        let default = || root.join("runs").join(format!("{}-{}{part}", plan.study, stamp()));
        Self::make(&given.map_or_else(default, Path::to_path_buf), |half| {
            half.write("manifest.toml", manifest.as_bytes())?;
            let mut text = Vec::new();
            plan::write_json(plan, &mut text).context("cannot write the plan as JSON")?;
            half.write(PLAN, &text)?;
            half.write(PLAN_BEGUN, &text)?;
            half.write(ENGINES, &serde_json::to_vec_pretty(engines)?)?;
            if let Some(lock) = lock {
                half.write(lock::FILE, lock.to_toml()?.as_bytes())?;
            }
            if let Some(shard) = shard {
                half.write(SHARD, &serde_json::to_vec(&shard)?)?;
            }
            fs::create_dir(half.console()).context("cannot create console/")
        })
    }

    /// Makes the folder `path` with what `fill` puts into it. It appears whole or not at all. On return its name is on
    /// disk, and what `fill` wrote by [`Self::write`].
    ///
    /// # Errors
    /// When it exists already or cannot be written, and those of `fill`.
    pub fn make(path: &Path, fill: impl FnOnce(&Self) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        if path.exists() {
            bail!(
                Code::RunExists.says(format!(
                    "{} exists already: give another --out, or go on with it by --resume",
                    path.display()
                ))
            );
        }
        let path = std::path::absolute(path)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        durable::create_folders(parent)?;
        sweep(parent);
        let work = tempfile::Builder::new()
            .prefix(HALF_MADE)
            .tempdir_in(parent)
            .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
        // Held while it is half-made: see `sweep`.
        let lock = fs::File::open(work.path()).with_context(|| format!("cannot open {}", work.path().display()))?;
        let _lock =
            Flock::lock(lock, FlockArg::LockSharedNonblock).map_err(|(_, error)| error).context("cannot lock it")?;
        let half = Self { path: work.path().to_path_buf() };
        fill(&half)?;
        half.sync_names()?;
        durable::rename(&work.keep(), &path)?;
        Ok(Self { path })
    }

    /// Waits until the names of the run's files and of its folders' files are on disk.
    fn sync_names(&self) -> anyhow::Result<()> {
        let context = || format!("cannot read {}", self.path.display());
        for entry in fs::read_dir(&self.path).with_context(context)? {
            let path = entry.with_context(context)?.path();
            if path.is_dir() {
                durable::sync_folder(&path)?;
            }
        }
        durable::sync_folder(&self.path)
    }

    /// Opens the run that `given` names: a path, or a name as [`name`](super::name) understands it.
    ///
    /// # Errors
    /// When there is none, or the name is that of several; when the path holds no plan.
    pub fn open(given: &Path) -> anyhow::Result<Self> {
        let given = super::name::find(given)?;
        let path = fs::canonicalize(&given)
            .with_context(|| Code::NoRun.says(format!("there is no run {}", given.display())))?;
        if !is_run(&path) {
            bail!(Code::NotARun.says(format!("{} is no run directory: it has no {PLAN}", path.display())));
        }
        Ok(Self { path })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the console logs.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.path.join("console")
    }

    /// The run's name: its folder's.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The part of the plan that the run executes; `None` for all of it.
    ///
    /// # Errors
    /// When its file is there and cannot be understood.
    pub fn shard(&self) -> anyhow::Result<Option<Shard>> {
        shard_of(&self.path)
    }

    /// The plan and the SHA-256 of its file.
    ///
    /// # Errors
    /// When it cannot be read or is of another format.
    pub fn plan(&self) -> anyhow::Result<(Plan, String)> {
        let path = self.path.join(PLAN);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let plan = microbench_formats::plan::read(&bytes).map_err(|error| match error {
            Unreadable::Format(_) => error.code().says(format!("cannot read the plan {}: {error}", path.display())),
            Unreadable::Damaged(error) => damaged_file_error(&path, &bytes, error.is_eof(), &error),
        })?;
        Ok((plan, hex::encode(Sha256::digest(&bytes))))
    }

    /// Whether plan, engines and lock are those that each session began with.
    ///
    /// # Errors
    /// When one is not; of the plan the message shows the lines that differ.
    pub fn verify(&self, sessions: &[Digests]) -> anyhow::Result<()> {
        let error = match run::verify(&self.path, sessions) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if let microbench_plots::Error::Changed { cause, .. } = &error {
            match cause.file {
                PLAN => return Err(Code::PlanEdited.says(self.plan_changed()).into()),
                // A file that is empty or cut off is called that.
                ENGINES if cause.actual.is_some() => drop(self.engines()?),
                lock::FILE => drop(Lock::read(&self.path)?),
                _ => {}
            }
        }
        Err(error.into())
    }

    /// What to say when `plan.json` is not the plan that the run was begun with: the lines that differ.
    #[must_use]
    pub fn plan_changed(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.path.join(name)).unwrap_or_default();
        let (begun, now) = (read(PLAN_BEGUN), read(PLAN));
        let mut text = format!(
            "{} was edited after the run began; a run has one plan: put it back, or start a new run",
            self.path.join(PLAN).display()
        );
        let diff = similar::TextDiff::from_lines(&begun, &now);
        let lines = diff.unified_diff().context_radius(1).header("as it began", "as it is").to_string();
        for line in lines.lines().take(DIFF_LINES) {
            text.push_str("\n  ");
            text.push_str(line);
        }
        let more = lines.lines().count().saturating_sub(DIFF_LINES);
        if more > 0 {
            text.push_str(&format!("\n  ... and {more} lines more"));
        }
        text
    }

    /// Lets nobody else into the folder until what is returned is dropped.
    ///
    /// # Errors
    /// When its mode cannot be changed.
    pub fn close_to_others(&self) -> anyhow::Result<Closed> {
        let context = || format!("cannot change the mode of {}", self.path.display());
        let before = fs::metadata(&self.path).with_context(context)?.permissions();
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700)).with_context(context)?;
        // A session that was killed left it closed.
        let open = if before.mode() & 0o077 == 0 { fs::Permissions::from_mode(0o755) } else { before };
        Ok(Closed { path: self.path.clone(), open })
    }

    /// The engines as they were when the run began.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn engines(&self) -> anyhow::Result<Engines> {
        self.read(ENGINES)
    }

    /// Reads a JSON file of the run.
    ///
    /// # Errors
    /// When it cannot be read or does not parse.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let path = self.path.join(name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        json(&path, &bytes)
    }

    /// Writes a file of the run: whole or not at all, and on disk on return.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        durable::write(&self.path.join(name), bytes)
    }
}

/// The content of a run's JSON file.
fn json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(bytes).map_err(|error| damaged_file_error(path, bytes, error.is_eof(), &error).into())
}

/// The part of its plan that the run in the folder `run` executes; `None` for all of it.
///
/// # Errors
/// When its file is there and cannot be understood.
pub fn shard_of(run: &Path) -> anyhow::Result<Option<Shard>> {
    let path = run.join(SHARD);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let shard: Shard = json(&path, &bytes)?;
    // As the command line has it, so that no shard is of none.
    let shard: Shard =
        shard.to_string().parse().map_err(|error: String| damaged_file_error(&path, &bytes, false, &error))?;
    if shard.of > plan::MAX_SHARDS {
        return Err(damaged_file_error(
            &path,
            &bytes,
            false,
            &format!("a plan has {} shards at most", plan::MAX_SHARDS),
        )
        .into());
    }
    Ok(Some(shard))
}

/// Now, as it stands in the names of folders.
#[must_use]
pub fn stamp() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Whether `path` is the folder of a run.
#[must_use]
pub fn is_run(path: &Path) -> bool {
    path.join(PLAN).is_file()
}

/// Removes folders of runs that a killed process left half-made in `parent`: those that nobody holds.
fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(HALF_MADE));
        let Some(folder) = fs::File::open(&path).ok().filter(|_| named && path.is_dir()) else { continue };
        if let Ok(_held) = Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            drop(fs::remove_dir_all(&path));
        }
    }
}

/// A run's folder while it runs; opened again when dropped.
#[derive(Debug)]
pub struct Closed {
    path: PathBuf,
    open: fs::Permissions,
}

impl Drop for Closed {
    fn drop(&mut self) {
        drop(fs::set_permissions(&self.path, self.open.clone()));
    }
}
