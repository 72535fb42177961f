//! A run directory as it is read: its plan and journal, which every reader checks against one another before it shows anything.

use std::io::{BufRead as _, ErrorKind};
use std::path::{Path, PathBuf};

use microbench_formats::digests::{Changed, Digests, ENGINES, LOCK, PLAN};
use microbench_formats::journal::FILE;
use microbench_formats::plan;
use microbench_formats::plan::Plan;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::file::at;
use crate::journal::{self, Journal, Session};

/// A run whose plan, engines and lock are those that its sessions began with.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// The plan.
    pub plan: Plan,
    /// The sessions, the first one first; at least one.
    pub sessions: Vec<Session>,
    /// The journal's file.
    bytes: Vec<u8>,
}

impl Run {
    /// Opens the run in `folder`. Every line of the journal is checked, and taken apart by [`Self::journal`] alone.
    ///
    /// # Errors
    /// When a file cannot be read, is damaged, is of another format, or is not the one that a session began with; when the run has no
    /// session.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let (plan, _) = plan_of(folder)?;
        let path = folder.join(FILE);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            bytes => bytes.map_err(at(&path))?,
        };
        tracing::debug!("read {}: {} bytes", path.display(), bytes.len());
        let sessions = journal::sessions(&bytes).map_err(|source| Error::Journal { path, cause: source })?;
        if sessions.is_empty() {
            return Err(Error::NotBegun { run: folder.to_path_buf() });
        }
        verify(folder, sessions.iter().map(|session| &session.digests))?;
        Ok(Self { folder: folder.to_path_buf(), plan, sessions, bytes })
    }

    /// The trials that count, and what else the journal says.
    ///
    /// # Errors
    /// When a record is damaged.
    pub fn journal(&self) -> Result<Journal, Error> {
        let damaged = |source| Error::Journal { path: self.folder.join(FILE), cause: source };
        journal::parse(&self.bytes).map_err(damaged)
    }

    /// Whether VMMs were isolated from the host in every session.
    #[must_use]
    pub fn is_isolated(&self) -> bool {
        self.sessions.iter().all(|session| session.unisolated.is_none())
    }
}

/// Whether the plan of the run in `folder` is that of its first session, of which the rest of the journal is not read.
///
/// # Errors
/// As [`Run::open`].
pub fn check(folder: &Path) -> Result<(), Error> {
    plan_of(folder)?;
    let path = folder.join(FILE);
    let mut first = Vec::new();
    match std::fs::File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        file => {
            std::io::BufReader::new(file.map_err(at(&path))?).read_until(b'\n', &mut first).map_err(at(&path))?;
        }
    }
    let sessions = journal::sessions(&first).map_err(|cause| Error::Journal { path, cause })?;
    if sessions.is_empty() {
        return Err(Error::NotBegun { run: folder.to_path_buf() });
    }
    verify(folder, sessions.iter().map(|session| &session.digests))
}

/// The plan of the run in `folder`, and the SHA-256 of its file, hex.
///
/// # Errors
/// When the file cannot be read, is damaged or of another format.
pub fn plan_of(folder: &Path) -> Result<(Plan, String), Error> {
    let path = folder.join(PLAN);
    let bytes = std::fs::read(&path).map_err(at(&path))?;
    let plan = plan::read(&bytes).map_err(|source| Error::Plan { path, cause: source })?;
    Ok((plan, hex::encode(Sha256::digest(&bytes))))
}

/// Whether the files of the run in `folder` are those that each session began with.
///
/// # Errors
/// [`Error::Changed`] for the first that is not; when one cannot be read.
pub fn verify<'a>(folder: &Path, sessions: impl IntoIterator<Item = &'a Digests>) -> Result<(), Error> {
    let changed = |source| Error::Changed { run: folder.to_path_buf(), cause: source };
    Digests::verify(sessions, |file| digest(&folder.join(file)).map_err(Failed::Error)).map_err(|error| match error {
        Failed::Error(error) => error,
        Failed::Changed(source) => changed(source),
    })
}

/// The digests of the files of the run in `folder` as they are now, for a session that begins.
///
/// # Errors
/// When a file cannot be read.
pub fn digests(folder: &Path) -> Result<Digests, Error> {
    let of = |name: &str| digest(&folder.join(name));
    Ok(Digests { plan: of(PLAN)?.unwrap_or_default(), engines: of(ENGINES)?, lock: of(LOCK)? })
}

/// The SHA-256 of a file of a run, hex; `None` where it is missing.
///
/// # Errors
/// When it cannot be read.
fn digest(path: &Path) -> Result<Option<String>, Error> {
    match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => Ok(Some(hex::encode(Sha256::digest(bytes.map_err(at(path))?)))),
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
