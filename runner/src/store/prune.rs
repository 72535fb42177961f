//! Which runs may go, by a rule that somebody gave, and their end.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use microbench_formats::code::Code;
use microbench_formats::shard::Shard;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;

use super::directory::{HALF_MADE, PLAN, is_run};
use super::survey::{Entry, State};
use crate::store::journal;

/// A run that was made so short a time ago, and has no journal yet, may be about to begin. Seconds.
const ABOUT_TO_BEGIN_S: i64 = 3600;

/// Which runs go. With both, those that both name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Complete runs of each study and kind of host that stay, the newest; an interrupted run stays while it is newer than these.
    pub keep: Option<usize>,
    /// Age of a run in days from which on it goes.
    pub older_than: Option<u32>,
}

/// A run that may go, and why, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// The run.
    pub name: String,
    /// Its folder.
    pub path: String,
    /// Bytes that this frees.
    pub bytes: u64,
    /// Whether it goes.
    pub goes: bool,
    /// Why, or why not.
    pub why: String,
}

/// What `rule` says of `runs`, given oldest first; those of which it says nothing are left out.
#[must_use]
pub fn decide(runs: &[Entry], rule: Rule, now: Timestamp) -> Vec<Decision> {
    // Of each study, kind of host and shard: complete runs that are newer than the one that is looked at. A shard is no run of its study.
    let mut newer: BTreeMap<(&str, String, Option<Shard>), usize> = BTreeMap::new();
    let mut decisions = Vec::new();
    for run in runs.iter().rev() {
        let group = (run.study.as_str(), run.host.map(|host| host.to_string()).unwrap_or_default(), run.shard);
        let complete_after = newer.get(&group).copied().unwrap_or(0);
        if run.state == State::Complete {
            *newer.entry(group).or_default() += 1;
        }
        let age = run.begun.parse::<Timestamp>().map_or(0, |begun| now.as_second() - begun.as_second());
        let mut whys = Vec::new();
        if let Some(keep) = rule.keep {
            match (run.state, complete_after) {
                (State::Complete, after) if after >= keep => {
                    whys.push(format!("{after} newer complete runs of its study"))
                }
                (State::Interrupted, after) if after >= keep.max(1) => {
                    whys.push(format!("interrupted, and {after} newer complete runs of its study"));
                }
                _ => continue,
            }
        }
        if let Some(days) = rule.older_than {
            if age < i64::from(days) * 86_400 {
                continue;
            }
            whys.push(format!("begun {} days ago", age / 86_400));
        }
        let stays = match run.state {
            State::Unreadable => Some("it cannot be read; its name removes it"),
            State::Running => Some("a process executes it"),
            State::Interrupted if run.sessions.is_empty() && age < ABOUT_TO_BEGIN_S => Some("it may be about to begin"),
            State::Interrupted | State::Complete => None,
        };
        decisions.push(decision(run, stays.map_or_else(|| Ok(whys.join(", ")), |why| Err(why.to_owned()))));
    }
    decisions.reverse();
    decisions
}

/// What becomes of a run that was named.
#[must_use]
pub fn named(run: &Entry) -> Decision {
    match run.state {
        State::Running => decision(run, Err("a process executes it".to_owned())),
        _ => decision(run, Ok("named".to_owned())),
    }
}

fn decision(run: &Entry, why: Result<String, String>) -> Decision {
    let goes = why.is_ok();
    let (name, path) = (run.name.clone(), run.path.clone());
    Decision { name, path, bytes: run.bytes, goes, why: why.unwrap_or_else(|why| why) }
}

/// Removes the run in `folder`. From its first step on nobody takes it for a run, and what a kill leaves of it is swept away when the
/// next run is made.
///
/// # Errors
/// When it is no run directory, when somebody executes it, when it cannot be removed.
pub fn remove(folder: &Path) -> anyhow::Result<()> {
    let data = std::fs::symlink_metadata(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let whole = [PLAN, "manifest.toml", "engines.json"].iter().all(|name| folder.join(name).is_file());
    ensure!(data.is_dir() && is_run(folder) && whole, "{} is no run directory: it is left as it is", folder.display());
    let journal = folder.join(journal::FILE);
    let _held = match File::open(&journal) {
        Ok(file) => match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Some(held),
            Err(_) => {
                bail!(Code::RunInUse.says(format!("{} is being executed: it is left as it is", folder.display())))
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", journal.display())),
    };
    let name = folder.file_name().with_context(|| format!("{} has no name", folder.display()))?;
    let aside = folder.with_file_name(format!("{HALF_MADE}{}", name.to_string_lossy()));
    std::fs::rename(folder, &aside).with_context(|| format!("cannot remove {}", folder.display()))?;
    std::fs::remove_dir_all(&aside).with_context(|| format!("cannot remove {}", aside.display()))
}

#[cfg(test)]
mod tests {
    use microbench_formats::host::HostKind;

    use super::*;
    use crate::store::survey::{Kind, Session};

    const DAY: i64 = 86_400;

    fn run(name: &str, study: &str, day: i64, state: State) -> Entry {
        let begun = Timestamp::new(day * DAY, 0).unwrap().to_string();
        let session = Session {
            started: begun.clone(),
            host: HostKind::Kvm,
            hosts: 1,
            version: "0".into(),
            trials: 1,
            shard: None,
            machine: String::new(),
            unisolated: None,
        };
        Entry {
            name: name.into(),
            path: format!("/runs/{name}"),
            study: study.into(),
            kind: Kind::Measured,
            shard: None,
            merged: Vec::new(),
            host: Some(HostKind::Kvm),
            begun,
            state,
            owner: None,
            reason: None,
            trials_ended: 1,
            trials_planned: 1,
            failed_vms: 0,
            bytes: 10,
            sessions: vec![session],
        }
    }

    fn gone(runs: &[Entry], rule: Rule) -> Vec<String> {
        let decisions = decide(runs, rule, Timestamp::new(100 * DAY, 0).unwrap());
        decisions.into_iter().filter(|decision| decision.goes).map(|decision| decision.name).collect()
    }

    #[test]
    fn the_newest_complete_runs_stay_and_an_interrupted_one_until_it_is_superseded() {
        let runs = [
            run("a", "one", 1, State::Complete),
            run("b", "one", 2, State::Interrupted),
            run("c", "two", 3, State::Complete),
            run("d", "one", 4, State::Complete),
            run("e", "one", 5, State::Interrupted),
            run("f", "one", 6, State::Unreadable),
        ];
        let keep = |keep| Rule { keep: Some(keep), older_than: None };
        assert_eq!(gone(&runs, keep(1)), ["a", "b"]);
        assert!(gone(&runs, keep(2)).is_empty());
        assert_eq!(gone(&runs, keep(0)), ["a", "b", "c", "d"]);
        assert_eq!(gone(&runs, Rule { keep: Some(0), older_than: Some(98) }), ["a", "b"]);
        assert_eq!(gone(&runs, Rule { keep: None, older_than: Some(96) }), ["a", "b", "c", "d"]);
    }

    #[test]
    fn what_runs_and_what_may_be_about_to_begin_stays() {
        let mut fresh = run("fresh", "one", 100, State::Interrupted);
        fresh.sessions.clear();
        let runs = [run("held", "one", 1, State::Running), fresh];
        let decisions =
            decide(&runs, Rule { keep: None, older_than: Some(0) }, Timestamp::new(100 * DAY + 60, 0).unwrap());
        assert_eq!(decisions.iter().map(|one| one.goes).collect::<Vec<_>>(), [false, false]);
        assert!(!named(&runs[0]).goes && named(&runs[1]).goes);
    }

    #[test]
    fn a_folder_that_is_no_run_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(PLAN), "{}").unwrap();
        let error = remove(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is no run directory"), "{error}");
        assert!(folder.path().join(PLAN).is_file());
    }
}
