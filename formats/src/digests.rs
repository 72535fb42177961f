//! The digests of a run's files that its sessions state: whether the files are still those that the run began with.

use std::collections::BTreeMap;

use crate::code::Code;
use crate::record::Record;

/// Name of the plan's file in a run directory.
pub const PLAN: &str = "plan.json";
/// Name of the file of the engines' descriptions.
pub const ENGINES: &str = "engines.json";
/// Name of the file of artefacts.
pub const LOCK: &str = "lock.toml";

/// The SHA-256 of each file that a session states, as 64 hex digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// Of [`PLAN`].
    pub plan: String,
    /// Of [`ENGINES`]; `None` in format 5.
    pub engines: Option<String>,
    /// Of [`LOCK`]; `None` in format 5, and where nothing is executed.
    pub lock: Option<String>,
}

/// A file of a run that is not the one that a session began with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} {} since the run began: its SHA-256 was {stated}", .actual.as_ref().map_or_else(|| "was removed".to_owned(), |actual| format!("was changed (to {actual})")))]
pub struct Changed {
    /// The file's name.
    pub file: &'static str,
    /// What the session states.
    pub stated: String,
    /// What the file has; `None` where it is missing.
    pub actual: Option<String>,
}

impl Changed {
    /// The error's code.
    #[must_use]
    pub fn code(&self) -> Code {
        if self.file == PLAN { Code::PlanEdited } else { Code::RunFileEdited }
    }
}

impl Digests {
    /// Those that a session's start states; `None` of another record.
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let Record::RunStart { plan_sha256, engines_sha256, lock_sha256, .. } = record else { return None };
        Some(Self { plan: plan_sha256.clone(), engines: engines_sha256.clone(), lock: lock_sha256.clone() })
    }

    /// Each file with its digest.
    fn files(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let files = [(PLAN, Some(&self.plan)), (ENGINES, self.engines.as_ref()), (LOCK, self.lock.as_ref())];
        files.into_iter().filter_map(|(name, sha256)| Some((name, sha256?)))
    }

    /// Compares the files with what each of `sessions` states. `digest` yields a file's SHA-256 by its name, or `None` where it is
    /// missing; it is asked once for each file. This is the one place that decides whether a run's files belong together.
    ///
    /// # Errors
    /// [`Changed`] for the first file that differs; those of `digest`.
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
