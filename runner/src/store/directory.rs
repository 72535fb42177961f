//! The folder of a run: `manifest.toml`, `plan.json`, `engines.json`, `lock.toml`, `journal.ndjson` and `console/`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use microbench_formats::code::Code;
use microbench_formats::digests::Digests;
pub use microbench_formats::digests::{ENGINES, PLAN};
use microbench_formats::input::{self, Refused};
use microbench_formats::journal;
use microbench_formats::label::Label;
use microbench_formats::plan::Plan;
use microbench_formats::plan::Unreadable;
use microbench_formats::shard::Shard;
use microbench_measure::artifacts::lock::{self, Lock};
use microbench_measure::sys;
use microbench_measure::sys::durable::{self, damaged_file_error};
use microbench_measure::sys::remove::remove_tree;
use microbench_measure::trust;
use microbench_plots::run;
use microbench_study::engine::description::Engine;
use microbench_study::plan;
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Copy of the plan from the creation of the run, to show which lines were edited later.
pub(super) const PLAN_AT_START: &str = ".plan.json";
/// The part of the plan that the run executes. A run of the whole plan has no such file.
pub const SHARD: &str = "shard.json";
/// The label of the run, as a JSON string. A run without a label has no such file.
pub const LABEL: &str = "label.json";

/// Prefix of the name of a run's folder during its creation and removal.
pub(super) const HALF_MADE: &str = ".microbench-half-made-";

/// Largest number of lines of a plan's difference in an error message.
const DIFF_LINES: usize = 40;

/// The folder of one run.
#[derive(Clone, Debug)]
pub struct Directory {
    path: PathBuf,
}

/// The engines at the creation of the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Engines {
    /// Descriptions of the engines that the plan's cells name.
    pub engines: Vec<Engine>,
}

/// The input of a new run.
#[derive(Clone, Copy, Debug)]
pub struct NewRun<'a> {
    pub plan: &'a Plan,
    /// Text of the manifest.
    pub manifest: &'a str,
    /// The engines of the plan's cells.
    pub engines: &'a Engines,
    /// The artefacts; `None` for a run that is imported.
    pub lock: Option<&'a Lock>,
    /// The part of the plan to execute; `None` for the whole plan.
    pub shard: Option<Shard>,
    /// The label of the run.
    pub label: Option<&'a Label>,
}

impl Directory {
    /// Creates the folder of a new run of the whole plan or of a shard: `given`, or by default `runs/<study>-<time>`
    /// below `root`. The folder appears complete or not at all, and is on disk on return.
    ///
    /// # Errors
    /// When the folder exists or cannot be written.
    pub fn create(root: &Path, given: Option<&Path>, new_run: NewRun<'_>) -> anyhow::Result<Self> {
        let NewRun { plan, manifest, engines, lock, shard, label } = new_run;
        let part = shard.map_or_else(String::new, |shard| format!("-{}of{}", shard.index, shard.of));
        if given.is_none() {
            trust::check("the folder", &root.join("runs"))?;
        }
        let default = || root.join("runs").join(format!("{}-{}{part}", plan.study, time_stamp()));
        Self::create_with(&given.map_or_else(default, Path::to_path_buf), |half| {
            half.write("manifest.toml", manifest.as_bytes())?;
            let mut text = Vec::new();
            plan::write_json(plan, &mut text).context("cannot write the plan as JSON")?;
            half.write(PLAN, &text)?;
            half.write(PLAN_AT_START, &text)?;
            half.write(ENGINES, &serde_json::to_vec_pretty(engines)?)?;
            if let Some(lock) = lock {
                half.write(lock::FILE, lock.to_toml()?.as_bytes())?;
            }
            if let Some(shard) = shard {
                half.write(SHARD, &serde_json::to_vec(&shard)?)?;
            }
            if let Some(label) = label {
                half.write(LABEL, &serde_json::to_vec(label)?)?;
            }
            fs::create_dir(half.console()).context("cannot create console/")
        })
    }

    /// Creates the folder `path` with the files that `fill` writes. It appears complete or not at all. On return its
    /// name is on disk, as are the files that `fill` wrote by [`Self::write`].
    ///
    /// # Errors
    /// When the folder exists or cannot be written, and the errors of `fill`.
    pub fn create_with(path: &Path, fill: impl FnOnce(&Self) -> anyhow::Result<()>) -> anyhow::Result<Self> {
        if path.exists() {
            bail!(Code::RunExists.with_message(format!(
                "{} exists: pass another --out, or resume the run with --resume",
                path.display()
            )));
        }
        let path = std::path::absolute(path)?;
        let parent = path.parent().unwrap_or(Path::new("/"));
        durable::create_folders(parent)?;
        remove_leftovers(parent);
        let work = tempfile::Builder::new()
            .prefix(HALF_MADE)
            .tempdir_in(parent)
            .with_context(|| format!("cannot create a folder in {}", parent.display()))?;
        // Locked until the folder is complete: see `remove_leftovers`.
        let lock = fs::File::open(work.path()).with_context(|| format!("cannot open {}", work.path().display()))?;
        let _lock = Flock::lock(lock, FlockArg::LockSharedNonblock)
            .map_err(|(_, error)| error)
            .context("cannot lock the new folder")?;
        let half = Self { path: work.path().to_path_buf() };
        fill(&half)?;
        half.sync_names()?;
        durable::rename(&work.keep(), &path)?;
        Ok(Self { path })
    }

    /// Flushes the directory entries of the run and of its folders to disk.
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

    /// Opens the run that `given` names: a path, or a name for [run lookup](super::lookup).
    ///
    /// # Errors
    /// When no run or more than one run has the name, or the folder contains no plan.
    ///
    /// # Examples
    /// ```no_run
    /// use std::path::Path;
    ///
    /// use microbench::store::directory::Directory;
    /// use microbench::store::status::read_status;
    ///
    /// let run = Directory::open(Path::new("latest:quick"))?;
    /// let (plan, status) = read_status(&run)?;
    /// println!("{}: {} of {} trials have ended", plan.study, status.ended(), status.planned);
    /// # Ok::<(), anyhow::Error>(())
    /// ```
    pub fn open(given: &Path) -> anyhow::Result<Self> {
        let given = super::lookup::find(given)?;
        let path = fs::canonicalize(&given)
            .with_context(|| Code::NoRun.with_message(format!("run {} not found", given.display())))?;
        if !is_run(&path) {
            bail!(Code::NotARun.with_message(format!("{} is not a run folder: it has no {PLAN}", path.display())));
        }
        Ok(Self { path })
    }

    /// Checks that only trusted users decide what the run executes, and where results are written.
    ///
    /// # Errors
    /// [`Code::Foreign`], or [`Code::NotRegular`] if a folder of the run is a link.
    pub fn check_trusted(&self) -> anyhow::Result<()> {
        trust::check("the run", &self.path)?;
        for name in ["manifest.toml", PLAN, PLAN_AT_START, ENGINES, lock::FILE, SHARD, journal::FILE] {
            trust::check("the file", &self.path.join(name))?;
        }
        let console = self.console();
        if console.is_symlink() {
            let message = format!("cannot write to {}: {}", console.display(), Refused::Link);
            return Err(Code::NotRegular.with_message(message).into());
        }
        Ok(())
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the console logs.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.path.join("console")
    }

    /// The name of the run, which is the name of the folder.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The part of the plan that the run executes; `None` for the whole plan.
    ///
    /// # Errors
    /// When [`SHARD`] is damaged.
    pub fn shard(&self) -> anyhow::Result<Option<Shard>> {
        shard_of(&self.path)
    }

    /// The label that the run was created with; `None` without one.
    ///
    /// # Errors
    /// When [`LABEL`] is damaged.
    pub fn label(&self) -> anyhow::Result<Option<Label>> {
        if !self.path.join(LABEL).exists() {
            return Ok(None);
        }
        self.read(LABEL).map(Some)
    }

    /// The plan, and the SHA-256 of its file in hexadecimal digits.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or has another format version.
    pub fn plan(&self) -> anyhow::Result<(Plan, String)> {
        let path = self.path.join(PLAN);
        let bytes = input::read_in(&self.path, PLAN).with_context(|| format!("cannot read {}", path.display()))?;
        let plan = microbench_formats::plan::read(&bytes).map_err(|error| match error {
            Unreadable::Format(_) => {
                error.code().with_message(format!("cannot read the plan {}: {error}", path.display()))
            }
            Unreadable::Damaged(error) => damaged_file_error(&path, &bytes, error.is_eof(), &error),
        })?;
        Ok((plan, hex::encode(Sha256::digest(&bytes))))
    }

    /// Checks that plan, engines and lock have the digests that each session recorded at its start.
    ///
    /// # Errors
    /// When a file was changed. For the plan, the message shows the lines that differ.
    pub fn verify(&self, sessions: &[Digests]) -> anyhow::Result<()> {
        let error = match run::verify(&self.path, sessions) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        if let microbench_plots::Error::Changed { cause, .. } = &error {
            match cause.file {
                PLAN => return Err(Code::PlanEdited.with_message(self.plan_changed()).into()),
                // An empty or cut-off file is reported as such instead.
                ENGINES if cause.actual.is_some() => drop(self.engines()?),
                lock::FILE => drop(Lock::read(&self.path)?),
                _ => {}
            }
        }
        Err(error.into())
    }

    /// The error message for a plan that was edited after the run began, with the lines that differ.
    #[must_use]
    pub fn plan_changed(&self) -> String {
        let read = |name: &str| input::read_in(&self.path, name).and_then(input::text).unwrap_or_default();
        let (at_start, now) = (read(PLAN_AT_START), read(PLAN));
        let mut text = format!(
            "{} was edited after the run began; restore the file, or start a new run",
            self.path.join(PLAN).display()
        );
        let diff = similar::TextDiff::from_lines(&at_start, &now);
        let lines = diff.unified_diff().context_radius(1).header("at the start of the run", "now").to_string();
        for line in lines.lines().take(DIFF_LINES) {
            text.push_str("\n  ");
            text.push_str(line);
        }
        let more = lines.lines().count().saturating_sub(DIFF_LINES);
        if more > 0 {
            text.push_str(&format!("\n  ... and {more} more lines"));
        }
        text
    }

    /// Removes the permissions of other users on the folder until the returned guard is dropped.
    ///
    /// # Errors
    /// When the mode of the folder cannot be changed.
    pub fn close_to_others(&self) -> anyhow::Result<Closed> {
        let context = || format!("cannot change the mode of {}", self.path.display());
        let before = fs::metadata(&self.path).with_context(context)?.permissions();
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700)).with_context(context)?;
        // The folder is still closed after a session that was killed.
        let open = if before.mode() & 0o077 == 0 { fs::Permissions::from_mode(0o755 & !sys::umask()) } else { before };
        Ok(Closed { path: self.path.clone(), open })
    }

    /// The engines at the creation of the run.
    ///
    /// # Errors
    /// When [`ENGINES`] cannot be read or parsed.
    pub fn engines(&self) -> anyhow::Result<Engines> {
        self.read(ENGINES)
    }

    /// Reads a JSON file of the run.
    ///
    /// # Errors
    /// When the file cannot be read or parsed.
    pub fn read<T: DeserializeOwned>(&self, name: &str) -> anyhow::Result<T> {
        let path = self.path.join(name);
        let bytes = input::read_in(&self.path, name).with_context(|| format!("cannot read {}", path.display()))?;
        json(&path, &bytes)
    }

    /// Writes a file of the run atomically. The file is on disk on return.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
        durable::write(&self.path.join(name), bytes)
    }
}

/// Parses a JSON file of a run.
fn json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(bytes).map_err(|error| damaged_file_error(path, bytes, error.is_eof(), &error).into())
}

/// The part of the plan that the run in the folder `run` executes; `None` for the whole plan.
///
/// # Errors
/// When [`SHARD`] is damaged.
pub fn shard_of(run: &Path) -> anyhow::Result<Option<Shard>> {
    let path = run.join(SHARD);
    let bytes = match input::read_in(run, SHARD) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes.with_context(|| format!("cannot read {}", path.display()))?,
    };
    let shard: Shard = json(&path, &bytes)?;
    // Checked by the parser of the command line, which rejects shards such as 3 of 2.
    let shard: Shard =
        shard.to_string().parse().map_err(|error: String| damaged_file_error(&path, &bytes, false, &error))?;
    if shard.of > plan::MAX_SHARDS {
        return Err(damaged_file_error(
            &path,
            &bytes,
            false,
            &format!("a plan has at most {} shards", plan::MAX_SHARDS),
        )
        .into());
    }
    Ok(Some(shard))
}

/// The current time for the name of a folder: `20260101T120000Z`.
#[must_use]
pub fn time_stamp() -> String {
    jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// Whether `path` is a run folder: a folder that contains a plan.
#[must_use]
pub fn is_run(path: &Path) -> bool {
    path.join(PLAN).is_file()
}

/// Removes incomplete folders of runs in `parent` that no process has locked: a killed process left them.
fn remove_leftovers(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let named = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(HALF_MADE));
        let Some(folder) =
            Some(&path).filter(|path| named && input::is_folder(path)).and_then(|path| fs::File::open(path).ok())
        else {
            continue;
        };
        if let Ok(_held) = Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            drop(remove_tree(&path));
        }
    }
}

/// Guard that restores the permissions of a run's folder on drop: see [`Directory::close_to_others`].
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
