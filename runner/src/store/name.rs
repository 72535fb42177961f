//! How a command names a run: by its path, by the beginning of its name in the project's `runs/`, as `latest`, or as
//! `latest:STUDY`.

use std::cmp::Reverse;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use microbench_formats::code::Code;
use microbench_formats::journal::records;
use microbench_formats::record::Record;
use microbench_measure::artifacts::project::Project;
use serde::Deserialize;
use tracing::debug;

use super::directory::{PLAN, is_run};
use crate::store::journal;

/// The run that was begun last.
const LATEST: &str = "latest";
/// Names that a message lists at most.
const LISTED: usize = 8;

/// A run in the project's `runs/`, as far as finding it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its folder.
    pub path: PathBuf,
    /// Its folder's name.
    pub name: String,
    /// Its study; empty when its plan cannot be read.
    pub study: String,
    /// When its first session began; without one, when it was made.
    pub begun: Timestamp,
}

/// Why a name is no run's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// More than one begins so.
    #[error("`{given}` is the beginning of {} runs: {}", names.len(), listed(names))]
    Ambiguous {
        /// What was given.
        given: String,
        /// The candidates, the newest first.
        names: Vec<String>,
    },
    /// None begins so.
    #[error("there is no run `{given}`, neither here nor in {}; the nearest: {}", runs.display(), listed(nearest))]
    Unknown {
        /// What was given.
        given: String,
        /// The project's `runs/`.
        runs: PathBuf,
        /// Names that are most like it, the nearest first.
        nearest: Vec<String>,
    },
    /// There are none at all.
    #[error("there is no run `{given}`: {} holds none; `microbench run STUDY` makes one", runs.display())]
    None {
        /// What was given.
        given: String,
        /// The project's `runs/`.
        runs: PathBuf,
    },
    /// `latest:STUDY` of a study that has no run.
    #[error("no run in {} is of the study `{study}`; there are runs of {}", runs.display(), studies.join(", "))]
    NoneOf {
        /// The study that was asked for.
        study: String,
        /// The project's `runs/`.
        runs: PathBuf,
        /// The studies that have runs.
        studies: Vec<String>,
    },
}

impl NameError {
    /// The error's code.
    #[must_use]
    pub fn code(&self) -> Code {
        Code::NoRun
    }
}

/// The names of a message, and how many there are beyond.
fn listed(names: &[String]) -> String {
    let shown = names.iter().take(LISTED).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The folder of the run that `given` names: see the module. A folder that is a run comes before a name.
///
/// # Errors
/// [`NameError`], or that there is no project to look in.
pub fn find(given: &Path) -> anyhow::Result<PathBuf> {
    let text = given.to_string_lossy();
    // What looks like a path is one, and what is wrong with it is said of it.
    if is_run(given) || text.contains('/') || given == Path::new(".") || given == Path::new("..") {
        return Ok(given.to_path_buf());
    }
    let folder = runs_folder()?;
    match choose(&text, &all(&folder), &folder) {
        // No run's name, but there is something of this name here: that is what was meant.
        Err(NameError::Unknown { .. } | NameError::None { .. }) if given.exists() => Ok(given.to_path_buf()),
        found => {
            let found = found?;
            debug!("`{text}` is the run {}", found.display());
            Ok(found)
        }
    }
}

/// The folder of the project's runs; it need not exist.
///
/// # Errors
/// When there is no project here.
pub fn runs_folder() -> anyhow::Result<PathBuf> {
    Ok(Project::find(None, Path::new("."))?.root().join("runs"))
}

/// Every run in `folder`, the oldest first.
#[must_use]
pub fn all(folder: &Path) -> Vec<Known> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut runs: Vec<Known> = paths.filter(|path| is_run(path)).filter_map(|path| known(&path)).collect();
    runs.sort_by(|a, b| (a.begun, &a.name).cmp(&(b.begun, &b.name)));
    runs
}

/// The run in `path`; `None` for a name that no run has: hidden, as those are that are being made.
fn known(path: &Path) -> Option<Known> {
    /// The plan, as far as finding it takes.
    #[derive(Deserialize)]
    struct Study {
        study: String,
    }
    let name = path.file_name()?.to_str().filter(|name| !name.starts_with('.'))?.to_owned();
    let study = std::fs::read(path.join(PLAN)).ok().and_then(|bytes| serde_json::from_slice::<Study>(&bytes).ok());
    let begun = begun(path);
    Some(Known { path: path.to_path_buf(), name, study: study.map_or_else(String::new, |plan| plan.study), begun })
}

/// When the first session of the run in `path` began; without one, when it was made.
#[must_use]
pub fn begun(path: &Path) -> Timestamp {
    let made = || std::fs::metadata(path.join(PLAN)).and_then(|data| data.modified()).ok();
    first_session(path).or_else(|| Timestamp::try_from(made()?).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn first_session(path: &Path) -> Option<Timestamp> {
    use std::io::BufRead as _;
    let mut line = String::new();
    std::io::BufReader::new(std::fs::File::open(path.join(journal::FILE)).ok()?).read_line(&mut line).ok()?;
    match records(line.as_bytes()).next()? {
        Ok(Record::RunStart { started, .. }) => started.parse().ok(),
        _ => None,
    }
}

/// The one of `runs`, which lie in `folder`, that `given` names.
///
/// # Errors
/// When it names none, or more than one.
pub fn choose(given: &str, runs: &[Known], folder: &Path) -> Result<PathBuf, NameError> {
    let newest = |runs: &mut dyn Iterator<Item = &Known>| {
        runs.max_by(|a, b| (a.begun, &a.name).cmp(&(b.begun, &b.name))).cloned()
    };
    let folder = || folder.to_path_buf();
    if runs.is_empty() {
        return Err(NameError::None { given: given.to_owned(), runs: folder() });
    }
    if let Some(exact) = runs.iter().find(|run| run.name == given) {
        return Ok(exact.path.clone());
    }
    if given == LATEST {
        return newest(&mut runs.iter())
            .map(|run| run.path)
            .ok_or_else(|| NameError::None { given: given.to_owned(), runs: folder() });
    }
    if let Some(study) = given.strip_prefix(LATEST).and_then(|rest| rest.strip_prefix(':')) {
        let of_study = newest(&mut runs.iter().filter(|run| run.study == study));
        return of_study.map(|run| run.path).ok_or_else(|| {
            let mut studies: Vec<String> = runs.iter().map(|run| run.study.clone()).collect();
            studies.sort();
            studies.dedup();
            NameError::NoneOf { study: study.to_owned(), runs: folder(), studies }
        });
    }
    let mut matching: Vec<&Known> =
        runs.iter().filter(|run| !given.is_empty() && run.name.starts_with(given)).collect();
    matching.sort_by_key(|run| Reverse(run.begun));
    match matching.as_slice() {
        [one] => Ok(one.path.clone()),
        [] => Err(NameError::Unknown { given: given.to_owned(), runs: folder(), nearest: nearest(given, runs) }),
        several => Err(NameError::Ambiguous {
            given: given.to_owned(),
            names: several.iter().map(|run| run.name.clone()).collect(),
        }),
    }
}

/// The names whose beginnings are most like `given`, the newest first among those that are alike.
fn nearest(given: &str, runs: &[Known]) -> Vec<String> {
    const MOST: usize = 3;
    // The comparison is quadratic, and no name is longer.
    let given: String = given.chars().take(255).collect();
    let distance = |run: &Known| {
        let beginning: String = run.name.chars().take(given.chars().count()).collect();
        strsim::damerau_levenshtein(&given, &beginning).min(strsim::damerau_levenshtein(&given, &run.name))
    };
    let mut order: Vec<&Known> = runs.iter().collect();
    order.sort_by_key(|run| (distance(run), Reverse(run.begun)));
    order.into_iter().take(MOST).map(|run| run.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs() -> Vec<Known> {
        // A name says when a run was made, but what counts is when it began.
        [
            ("quick-20260101T000000Z", "quick", 5),
            ("quick-20260102T000000Z", "quick", 3),
            ("paper-2019-20260101T000000Z", "paper-2019", 4),
        ]
        .map(|(name, study, second)| Known {
            path: Path::new("/p/runs").join(name),
            name: name.to_owned(),
            study: study.to_owned(),
            begun: Timestamp::new(second, 0).unwrap(),
        })
        .to_vec()
    }

    fn name(given: &str) -> Result<String, String> {
        let found = choose(given, &runs(), Path::new("/p/runs"));
        found.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_run_is_found_by_its_name_its_beginning_or_as_the_latest() {
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
    fn what_names_none_or_several_is_told_what_there_is() {
        insta::assert_snapshot!(
            ["quick-2026", "qiuck-20260102", "latest:qick", ""].map(|given| name(given).unwrap_err()).join("\n"),
            @r"
        `quick-2026` is the beginning of 2 runs: quick-20260101T000000Z, quick-20260102T000000Z
        there is no run `qiuck-20260102`, neither here nor in /p/runs; the nearest: quick-20260102T000000Z, quick-20260101T000000Z, paper-2019-20260101T000000Z
        no run in /p/runs is of the study `qick`; there are runs of paper-2019, quick
        there is no run ``, neither here nor in /p/runs; the nearest: quick-20260101T000000Z, paper-2019-20260101T000000Z, quick-20260102T000000Z
        "
        );
        let none = choose("latest", &[], Path::new("/p/runs")).unwrap_err().to_string();
        assert_eq!(none, "there is no run `latest`: /p/runs holds none; `microbench run STUDY` makes one");
    }
}
