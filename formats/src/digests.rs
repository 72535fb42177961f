//! Integrity check of the files of a run against the digests that its sessions state.

use std::collections::BTreeMap;

use crate::code::Code;
use crate::record::Record;

/// File name of the plan in a run folder.
pub const PLAN: &str = "plan.json";
/// File name of the engine descriptions.
pub const ENGINES: &str = "engines.json";
/// File name of the list of artefacts.
pub const LOCK: &str = "lock.toml";

/// The SHA-256 of the files that a session uses, each as 64 hex digits.
///
/// ```
/// use microbench_formats::digests::{Changed, Digests};
///
/// let session = Digests { plan: "aa".into(), engines: None, lock: None };
/// let changed: Changed = Digests::verify([&session], |_file| Ok(Some("bb".to_owned()))).unwrap_err();
/// assert_eq!(changed.file, "plan.json");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Digest of [`PLAN`].
    pub plan: String,
    /// Digest of [`ENGINES`]; `None` in format 5.
    pub engines: Option<String>,
    /// Digest of [`LOCK`]; `None` in format 5, and if the session executes nothing (an imported run).
    pub lock: Option<String>,
}

/// A file of a run differs from the file that a session started with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} {} after the run started: its SHA-256 was {stated}", .actual.as_ref().map_or_else(|| "was removed".to_owned(), |actual| format!("was changed (to {actual})")))]
pub struct Changed {
    pub file: &'static str,
    /// The digest that the session states.
    pub stated: String,
    /// The digest of the file; `None` if the file is missing.
    pub actual: Option<String>,
}

impl Changed {
    #[must_use]
    pub fn code(&self) -> Code {
        if self.file == PLAN { Code::PlanEdited } else { Code::RunFileEdited }
    }
}

impl Digests {
    /// The digests in a `RunStart`; `None` for any other record.
    #[must_use]
    pub fn from_record(record: &Record) -> Option<Self> {
        let Record::RunStart { plan_sha256, engines_sha256, lock_sha256, .. } = record else { return None };
        Some(Self { plan: plan_sha256.clone(), engines: engines_sha256.clone(), lock: lock_sha256.clone() })
    }

    /// The files with a digest, each with its digest.
    fn files(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let files = [(PLAN, Some(&self.plan)), (ENGINES, self.engines.as_ref()), (LOCK, self.lock.as_ref())];
        files.into_iter().filter_map(|(name, sha256)| Some((name, sha256?)))
    }

    /// Compares the files of a run with the digests that `sessions` state.
    ///
    /// `digest` returns the SHA-256 of a file by its name, or `None` if the file is missing. It is called once for each
    /// file. All readers of runs use this function, so that they agree on which files belong together.
    ///
    /// # Errors
    /// [`Changed`] for the first file that differs, and errors of `digest`.
    pub fn verify<'a, E: From<Changed>>(
        sessions: impl IntoIterator<Item = &'a Self>,
        mut digest: impl FnMut(&'static str) -> Result<Option<String>, E>,
    ) -> Result<(), E> {
        let mut found: BTreeMap<&'static str, Option<String>> = BTreeMap::new();
        for (file, stated) in sessions.into_iter().flat_map(Self::files) {
            if !found.contains_key(file) {
                found.insert(file, digest(file)?);
            }
            let actual = found.get(file).cloned().flatten();
            if actual.as_ref() != Some(stated) {
                return Err(Changed { file, stated: stated.clone(), actual }.into());
            }
        }
        Ok(())
    }
}
