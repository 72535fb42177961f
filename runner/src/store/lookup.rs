//! Run lookup: a command names a run by its path, by the start of its name in the project's `runs/`, as `latest`, or as
//! `latest:STUDY`.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use microbench_formats::code::Code;
use microbench_formats::input;
use microbench_formats::journal::records;
use microbench_formats::record::Record;
use microbench_measure::artifacts::project::Project;
use serde::Deserialize;
use tracing::debug;

use super::directory::{PLAN, is_run};
use crate::store::journal;

/// The name for the run that began last.
pub const LATEST: &str = "latest";
/// Largest number of run names in an error message.
const MAX_LISTED: usize = 8;

/// A run in the project's `runs/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRun {
    /// The run's folder.
    pub path: PathBuf,
    /// Name of the folder.
    pub name: String,
    /// Name of the study; empty when the plan cannot be read.
    pub study: String,
    /// Start of the first session; before a first session, the time at which the run was created.
    pub start: Timestamp,
}

/// Why run lookup failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// The names of several runs start with the given text.
    #[error("`{given}` is ambiguous: {} runs start with it: {}", names.len(), listed(names))]
    Ambiguous {
        /// The text on the command line.
        given: String,
        /// The matching runs, newest first.
        names: Vec<String>,
    },
    /// No run's name starts with the given text.
    #[error("run `{given}` not found, neither here nor in {}; the nearest: {}", runs.display(), listed(nearest))]
    Unknown {
        /// The text on the command line.
        given: String,
        /// The project's `runs/`.
        runs: PathBuf,
        /// The most similar names, nearest first.
        nearest: Vec<String>,
    },
    /// The project has no runs.
    #[error("run `{given}` not found: {} contains no runs; `microbench run STUDY` creates one", runs.display())]
    None {
        /// The text on the command line.
        given: String,
        /// The project's `runs/`.
        runs: PathBuf,
    },
    /// `latest:STUDY` of a study without a run.
    #[error("{} contains no run of the study `{study}`; it contains runs of {}", runs.display(), studies.join(", "))]
    NoneOf {
        /// The study on the command line.
        study: String,
        /// The project's `runs/`.
        runs: PathBuf,
        /// The studies that have runs.
        studies: Vec<String>,
    },
}

impl LookupError {
    /// The error's code.
    #[must_use]
    pub fn code(&self) -> Code {
        Code::NoRun
    }
}

/// At most [`MAX_LISTED`] names, and the number of the others.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(MAX_LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The folder of the run that `given` names. An existing run folder has precedence over a name.
///
/// # Errors
/// [`LookupError`]. Also when the working directory cannot be read.
pub fn find(given: &Path) -> anyhow::Result<PathBuf> {
    let text = given.to_string_lossy();
    // A path is returned as it is, so that the caller reports what is wrong with the path itself.
    if is_run(given) || text.contains('/') || given == Path::new(".") || given == Path::new("..") {
        return Ok(given.to_path_buf());
    }
    let folder = runs_folder()?;
    match choose(&text, &list_runs(&folder), &folder) {
        // Not the name of a run, but an existing file or folder: the caller reports why it is not a run.
        Err(LookupError::Unknown { .. } | LookupError::None { .. }) if given.exists() => Ok(given.to_path_buf()),
        found => {
            let found = found?;
            debug!("`{text}` refers to the run {}", found.display());
            Ok(found)
        }
    }
}

/// The folder of the project's runs, which need not exist.
///
/// # Errors
/// When the working directory cannot be read.
pub fn runs_folder() -> anyhow::Result<PathBuf> {
    Ok(Project::find(None, Path::new("."))?.root().join("runs"))
}

/// All runs in `folder`, oldest first.
#[must_use]
pub fn list_runs(folder: &Path) -> Vec<KnownRun> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut runs: Vec<KnownRun> = paths.filter(|path| is_run(path)).filter_map(|path| known(&path)).collect();
    runs.sort_by(|a, b| (a.start, &a.name).cmp(&(b.start, &b.name)));
    runs
}

/// The run in `path`; `None` for a hidden folder, such as one of a run that is being created.
fn known(path: &Path) -> Option<KnownRun> {
    /// The part of a plan that names its study.
    #[derive(Deserialize)]
    struct Study {
        study: String,
    }
    let name = path.file_name()?.to_str().filter(|name| !name.starts_with('.'))?.to_owned();
    let study = input::read_in(path, PLAN).ok().and_then(|bytes| serde_json::from_slice::<Study>(&bytes).ok());
    let start = start_time(path);
    Some(KnownRun { path: path.to_path_buf(), name, study: study.map_or_else(String::new, |plan| plan.study), start })
}

/// Start of the first session of the run in `path`; before a first session, the time at which the run was created.
#[must_use]
pub fn start_time(path: &Path) -> Timestamp {
    let made = || std::fs::metadata(path.join(PLAN)).and_then(|data| data.modified()).ok();
    first_session(path).or_else(|| Timestamp::try_from(made()?).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn first_session(path: &Path) -> Option<Timestamp> {
    use std::io::{BufRead as _, Read as _};
    let mut line = String::new();
    let file = input::open_in(path, journal::FILE).ok()?.take(input::TEXT);
    std::io::BufReader::new(file).read_line(&mut line).ok()?;
    match records(line.as_bytes()).next()? {
        Ok(Record::RunStart { started, .. }) => started.parse().ok(),
        _ => None,
    }
}

/// The path of the one run in `runs` that `given` names. `folder` is their folder, for error messages.
///
/// # Errors
/// [`LookupError`] when no run or more than one run matches.
pub fn choose(given: &str, runs: &[KnownRun], folder: &Path) -> Result<PathBuf, LookupError> {
    let newest = |runs: &mut dyn Iterator<Item = &KnownRun>| {
        runs.max_by(|a, b| (a.start, &a.name).cmp(&(b.start, &b.name))).cloned()
    };
    let folder = || folder.to_path_buf();
    if runs.is_empty() {
        return Err(LookupError::None { given: given.to_owned(), runs: folder() });
    }
    if let Some(exact) = runs.iter().find(|run| run.name == given) {
        return Ok(exact.path.clone());
    }
    if given == LATEST {
        return newest(&mut runs.iter())
            .map(|run| run.path)
            .ok_or_else(|| LookupError::None { given: given.to_owned(), runs: folder() });
    }
    if let Some(study) = given.strip_prefix(LATEST).and_then(|rest| rest.strip_prefix(':')) {
        let of_study = newest(&mut runs.iter().filter(|run| run.study == study));
        return of_study.map(|run| run.path).ok_or_else(|| {
            let mut studies: Vec<String> = runs.iter().map(|run| run.study.clone()).collect();
            studies.sort();
            studies.dedup();
            LookupError::NoneOf { study: study.to_owned(), runs: folder(), studies }
        });
    }
    let mut matching: Vec<&KnownRun> =
        runs.iter().filter(|run| !given.is_empty() && run.name.starts_with(given)).collect();
    matching.sort_by_key(|run| Reverse(run.start));
    match matching.as_slice() {
        [one] => Ok(one.path.clone()),
        [] => Err(LookupError::Unknown { given: given.to_owned(), runs: folder(), nearest: nearest(given, runs) }),
        several => Err(LookupError::Ambiguous {
            given: given.to_owned(),
            names: several.iter().map(|run| run.name.clone()).collect(),
        }),
    }
}

/// The three names that are most similar to `given`, or whose start is; the newest first among equally similar ones.
fn nearest(given: &str, runs: &[KnownRun]) -> Vec<String> {
    const MOST: usize = 3;
    // The comparison takes quadratic time. File names have at most 255 bytes.
    let given: String = given.chars().take(255).collect();
    let distance = |run: &KnownRun| {
        let beginning: String = run.name.chars().take(given.chars().count()).collect();
        strsim::damerau_levenshtein(&given, &beginning).min(strsim::damerau_levenshtein(&given, &run.name))
    };
    let mut order: Vec<&KnownRun> = runs.iter().collect();
    order.sort_by_key(|run| (distance(run), Reverse(run.start)));
    order.into_iter().take(MOST).map(|run| run.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> Vec<KnownRun> {
        // The time in a name is that of the creation; the order is that of the first sessions.
        [
            ("quick-20260101T000000Z", "quick", 5),
            ("quick-20260102T000000Z", "quick", 3),
            ("paper-2019-20260101T000000Z", "paper-2019", 4),
        ]
        .map(|(name, study, second)| KnownRun {
            path: Path::new("/p/runs").join(name),
            name: name.to_owned(),
            study: study.to_owned(),
            start: Timestamp::new(second, 0).unwrap(),
        })
        .to_vec()
    }

    fn name(given: &str) -> Result<String, String> {
        let found = choose(given, &runs(), Path::new("/p/runs"));
        found.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_run_is_found_by_its_name_the_start_of_its_name_or_latest() {
        for (given, found) in [
            ("quick-20260101T000000Z", "quick-20260101T000000Z"),
            ("quick-20260102", "quick-20260102T000000Z"),
            ("p", "paper-2019-20260101T000000Z"),
            ("latest", "quick-20260101T000000Z"),
            ("latest:quick", "quick-20260101T000000Z"),
            ("latest:paper-2019", "paper-2019-20260101T000000Z"),
        ] {
            assert_eq!(name(given).as_deref(), Ok(found), "{given}");
        }
    }

    #[test]
    fn an_unknown_or_ambiguous_name_lists_the_candidates() {
        insta::assert_snapshot!(
            ["quick-2026", "qiuck-20260102", "latest:qick", ""].map(|given| name(given).unwrap_err()).join("\n"),
            @r"
        `quick-2026` is ambiguous: 2 runs start with it: quick-20260101T000000Z, quick-20260102T000000Z
        run `qiuck-20260102` not found, neither here nor in /p/runs; the nearest: quick-20260102T000000Z, quick-20260101T000000Z, paper-2019-20260101T000000Z
        /p/runs contains no run of the study `qick`; it contains runs of paper-2019, quick
        run `` not found, neither here nor in /p/runs; the nearest: quick-20260101T000000Z, paper-2019-20260101T000000Z, quick-20260102T000000Z
        "
        );
        let none = choose("latest", &[], Path::new("/p/runs")).unwrap_err().to_string();
        assert_eq!(none, "run `latest` not found: /p/runs contains no runs; `microbench run STUDY` creates one");
    }
}
