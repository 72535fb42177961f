//! Removal of runs: which runs a rule selects, and the removal itself.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use jiff::Timestamp;
use microbench_formats::code::Code;
use microbench_formats::input;
use microbench_formats::shard::Shard;
use microbench_measure::sys::remove::remove_tree;
use nix::fcntl::{Flock, FlockArg};
use serde::Serialize;

use super::directory::{HALF_MADE, PLAN, is_run};
use super::status::{Entry, State};
use crate::store::journal;

/// Age below which a run without a session is kept, because its first session may be about to begin. Seconds.
const ABOUT_TO_BEGIN_S: i64 = 3600;
/// Why a run is kept that a process executes.
const IN_USE: &str = "a process executes the run";

/// Which runs are removed. With both conditions set, a run must satisfy both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Number of complete runs that are kept for each study and kind of host, the newest ones. An interrupted run is
    /// kept until as many complete runs are newer.
    pub keep: Option<usize>,
    /// Age in days from which a run is removed.
    pub older_than: Option<u32>,
}

/// The decision to remove or keep a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// Name of the run.
    pub name: String,
    /// Path of the run's folder.
    pub path: String,
    /// Size of the run, bytes.
    pub bytes: u64,
    /// Whether the run is removed.
    #[serde(rename = "goes")]
    pub is_removed: bool,
    /// The reason.
    pub why: String,
}

/// Applies `rule` to `runs`, which are sorted oldest first. Runs that the rule does not select are left out.
#[must_use]
pub fn decide(runs: &[Entry], rule: Rule, now: Timestamp) -> Vec<Decision> {
    // For each study, kind of host and shard: complete runs that are newer than the current one. A shard does not
    // supersede a run of the whole plan.
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
                (State::Complete, after) if after >= keep => whys.push(newer_runs(after)),
                (State::Interrupted, after) if after >= keep.max(1) => {
                    whys.push(format!("interrupted, and {}", newer_runs(after)));
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
            State::Unreadable => Some("unreadable; remove it by name"),
            State::Running => Some(IN_USE),
            State::Interrupted if run.sessions.is_empty() && age < ABOUT_TO_BEGIN_S => {
                Some("its first session may be about to begin")
            }
            State::Interrupted | State::Complete => None,
        };
        decisions.push(decision(run, stays.map_or_else(|| Ok(whys.join(", ")), |why| Err(why.to_owned()))));
    }
    decisions.reverse();
    decisions
}

fn newer_runs(count: usize) -> String {
    match count {
        1 => "1 newer complete run of the study".to_owned(),
        count => format!("{count} newer complete runs of the study"),
    }
}

/// The decision for a run that the user named: it is removed unless a process executes it.
#[must_use]
pub fn decide_named(run: &Entry) -> Decision {
    match run.state {
        State::Running => decision(run, Err(IN_USE.to_owned())),
        _ => decision(run, Ok("named on the command line".to_owned())),
    }
}

fn decision(run: &Entry, why: Result<String, String>) -> Decision {
    let is_removed = why.is_ok();
    let (name, path) = (run.name.clone(), run.path.clone());
    Decision { name, path, bytes: run.bytes, is_removed, why: why.unwrap_or_else(|why| why) }
}

/// Removes the run in `folder`. The folder is renamed first, so that no command reads a half-removed run. If this
/// process is killed after that, the creation of the next run removes the rest.
///
/// # Errors
/// When `folder` is not a run folder, a process executes the run, or a file cannot be removed.
pub fn remove(folder: &Path) -> anyhow::Result<()> {
    let data = std::fs::symlink_metadata(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let is_complete = [PLAN, "manifest.toml", "engines.json"].iter().all(|name| folder.join(name).is_file());
    ensure!(
        data.is_dir() && is_run(folder) && is_complete,
        "{} is not a run folder and was not removed",
        folder.display()
    );
    let journal = folder.join(journal::FILE);
    let _held = match input::open_in(folder, journal::FILE) {
        Ok(file) => match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(held) => Some(held),
            Err(_) => {
                bail!(
                    Code::RunInUse.with_message(format!("{} is being executed and was not removed", folder.display()))
                )
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", journal.display())),
    };
    let name = folder.file_name().with_context(|| format!("{} has no name", folder.display()))?;
    let aside = folder.with_file_name(format!("{HALF_MADE}{}", name.to_string_lossy()));
    std::fs::rename(folder, &aside).with_context(|| format!("cannot remove {}", folder.display()))?;
    remove_tree(&aside).with_context(|| format!("cannot remove {}", aside.display()))
}

#[cfg(test)]
mod tests {
    use microbench_formats::host::HostKind;

    use super::*;
    use crate::store::status::{Kind, Session};

    const DAY: i64 = 86_400;

    fn run(name: &str, study: &str, day: i64, state: State) -> Entry {
        let begun = Timestamp::new(day * DAY, 0).unwrap().to_string();
        let session = Session {
            build: None,
            started: begun.clone(),
            host: HostKind::Kvm,
            hosts: 1,
            version: "0".into(),
            trials: 1,
            shard: None,
            machine: String::new(),
            unisolated: None,
            repetition: None,
            label: None,
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

    fn removed(runs: &[Entry], rule: Rule) -> Vec<String> {
        let decisions = decide(runs, rule, Timestamp::new(100 * DAY, 0).unwrap());
        decisions.into_iter().filter(|decision| decision.is_removed).map(|decision| decision.name).collect()
    }

    #[test]
    fn keep_retains_the_newest_complete_runs_and_newer_interrupted_ones() {
        let runs = [
            run("a", "one", 1, State::Complete),
            run("b", "one", 2, State::Interrupted),
            run("c", "two", 3, State::Complete),
            run("d", "one", 4, State::Complete),
            run("e", "one", 5, State::Interrupted),
            run("f", "one", 6, State::Unreadable),
        ];
        let keep = |keep| Rule { keep: Some(keep), older_than: None };
        assert_eq!(removed(&runs, keep(1)), ["a", "b"]);
        assert!(removed(&runs, keep(2)).is_empty());
        assert_eq!(removed(&runs, keep(0)), ["a", "b", "c", "d"]);
        assert_eq!(removed(&runs, Rule { keep: Some(0), older_than: Some(98) }), ["a", "b"]);
        assert_eq!(removed(&runs, Rule { keep: None, older_than: Some(96) }), ["a", "b", "c", "d"]);
    }

    #[test]
    fn running_and_fresh_runs_are_kept() {
        let mut fresh = run("fresh", "one", 100, State::Interrupted);
        fresh.sessions.clear();
        let runs = [run("held", "one", 1, State::Running), fresh];
        let decisions =
            decide(&runs, Rule { keep: None, older_than: Some(0) }, Timestamp::new(100 * DAY + 60, 0).unwrap());
        assert_eq!(decisions.iter().map(|decision| decision.is_removed).collect::<Vec<_>>(), [false, false]);
        assert!(!decide_named(&runs[0]).is_removed && decide_named(&runs[1]).is_removed);
    }

    #[test]
    fn a_folder_that_is_not_a_run_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(PLAN), "{}").unwrap();
        let error = remove(folder.path()).unwrap_err().to_string();
        assert!(error.contains("is not a run folder"), "{error}");
        assert!(folder.path().join(PLAN).is_file());
    }
}
