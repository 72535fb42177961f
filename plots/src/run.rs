//! Opening a run directory: the plan and the journal, checked against each other before anything is shown.

use std::io::{BufRead as _, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use microbench_formats::digests::{Changed, Digests, ENGINES, LOCK, PLAN};
use microbench_formats::input;
use microbench_formats::journal::FILE;
use microbench_formats::plan;
use microbench_formats::plan::Plan;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::file::io_error_at;
use crate::journal::{self, Journal, Session};

/// A run directory whose plan, engines and lock file match the digests of its sessions.
///
/// ```no_run
/// use std::path::Path;
///
/// use microbench_plots::run::Run;
///
/// let run = Run::open(Path::new("runs/first"))?;
/// let journal = run.journal()?;
/// println!("{} of {} trials", journal.executions.len(), run.plan.trials.len());
/// # Ok::<(), microbench_plots::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Run {
    /// The run directory.
    pub folder: PathBuf,
    pub plan: Plan,
    /// At least one session, in order.
    pub sessions: Vec<Session>,
    /// Contents of the journal file.
    bytes: Vec<u8>,
}

impl Run {
    /// Opens the run directory `folder`. The checksum of every journal line is verified; only [`Self::journal`]
    /// decodes the records.
    ///
    /// # Errors
    /// If a file cannot be read, is damaged, has another format, or was changed after a session started; if the run
    /// has no session.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let (plan, _) = read_plan(folder)?;
        let path = folder.join(FILE);
        let bytes = match input::read_no_link(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            bytes => bytes.map_err(io_error_at(&path))?,
        };
        tracing::debug!("read {}: {} bytes", path.display(), bytes.len());
        let sessions = journal::sessions(&bytes).map_err(|source| Error::Journal { path, cause: source })?;
        if sessions.is_empty() {
            return Err(Error::NotStarted { run: folder.to_path_buf() });
        }
        verify(folder, sessions.iter().map(|session| &session.digests))?;
        Ok(Self { folder: folder.to_path_buf(), plan, sessions, bytes })
    }

    /// Decodes the journal.
    ///
    /// # Errors
    /// If a record is damaged or contradicts the plan.
    pub fn journal(&self) -> Result<Journal, Error> {
        let damaged = |source| Error::Journal { path: self.folder.join(FILE), cause: source };
        journal::parse_with_plan(&self.bytes, &self.plan).map_err(damaged)
    }

    /// Whether VMMs were isolated from the host in every session.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.sessions.iter().all(|session| session.unisolated.is_none())
    }
}

/// Verifies the files of the run directory `folder` against its first session; the rest of the journal is not read.
///
/// # Errors
/// Like [`Run::open`].
pub fn verify_first_session(folder: &Path) -> Result<(), Error> {
    first_session(folder).map(drop)
}

/// The first session of the run directory `folder`, with which its files are verified; the rest of the journal is not
/// read.
///
/// # Errors
/// Like [`Run::open`].
pub fn first_session(folder: &Path) -> Result<Session, Error> {
    read_plan(folder)?;
    let path = folder.join(FILE);
    let mut first = Vec::new();
    match input::open_no_link(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        file => {
            // A line without an end must not fill the memory.
            std::io::BufReader::new(file.map_err(io_error_at(&path))?.take(input::TEXT))
                .read_until(b'\n', &mut first)
                .map_err(io_error_at(&path))?;
        }
    }
    let mut sessions = journal::sessions(&first).map_err(|cause| Error::Journal { path, cause })?;
    let Some(session) = sessions.pop() else { return Err(Error::NotStarted { run: folder.to_path_buf() }) };
    verify(folder, [&session.digests])?;
    Ok(session)
}

/// Reads the plan of the run directory `folder`; also returns the SHA-256 of the file in hex.
///
/// # Errors
/// If the file cannot be read, is damaged or has another format.
pub fn read_plan(folder: &Path) -> Result<(Plan, String), Error> {
    let path = folder.join(PLAN);
    let bytes = input::read_no_link(&path).map_err(io_error_at(&path))?;
    let plan = plan::read(&bytes).map_err(|source| Error::Plan { path, cause: source })?;
    Ok((plan, hex::encode(Sha256::digest(&bytes))))
}

/// Verifies that the files of the run directory `folder` match the digests of each session.
///
/// # Errors
/// [`Error::Changed`] for the first file that does not match; [`Error::File`] if a file cannot be read.
pub fn verify<'a>(folder: &Path, sessions: impl IntoIterator<Item = &'a Digests>) -> Result<(), Error> {
    let changed = |source| Error::Changed { run: folder.to_path_buf(), cause: source };
    Digests::verify(sessions, |file| digest(&folder.join(file)).map_err(Failed::Error)).map_err(|error| match error {
        Failed::Error(error) => error,
        Failed::Changed(source) => changed(source),
    })
}

/// The digests of the files of the run directory `folder`, for the start of a session.
///
/// # Errors
/// If a file cannot be read.
pub fn digests(folder: &Path) -> Result<Digests, Error> {
    let digest_of = |name: &str| digest(&folder.join(name));
    Ok(Digests { plan: digest_of(PLAN)?.unwrap_or_default(), engines: digest_of(ENGINES)?, lock: digest_of(LOCK)? })
}

/// The SHA-256 of a file in hex; `None` if the file does not exist.
fn digest(path: &Path) -> Result<Option<String>, Error> {
    match input::read_no_link(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => Ok(Some(hex::encode(Sha256::digest(bytes.map_err(io_error_at(path))?)))),
    }
}

enum Failed {
    Error(Error),
    Changed(Changed),
}

impl From<Changed> for Failed {
    fn from(changed: Changed) -> Self {
        Self::Changed(changed)
    }
}
