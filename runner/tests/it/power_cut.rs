//! Power cuts: files needed to resume are synced before the first trial, and lost files are named in the error.

use microbench_testing::{program, require};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Bench, text, trials, variables};

/// A system call that has returned, with its arguments as `strace -y` prints them.
#[derive(Debug)]
struct Call {
    name: String,
    arguments: String,
}

impl Call {
    /// Whether the call syncs the file or folder `path`.
    fn syncs(&self, path: &str) -> bool {
        ["fsync", "fdatasync"].contains(&self.name.as_str()) && self.arguments.contains(&format!("<{path}>"))
    }

    /// Source and target of a rename.
    fn renames(&self) -> Option<(&str, &str)> {
        let mut paths = self.arguments.split('"').skip(1).step_by(2);
        if self.name.starts_with("rename") { Some((paths.next()?, paths.next()?)) } else { None }
    }
}

/// Parses the output of `strace -f`. The calls are in the order in which they returned.
fn parse_calls(log: &str) -> Vec<Call> {
    let mut open: Vec<(String, String)> = Vec::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let Some((pid, rest)) = line.trim_start().split_once(' ') else { continue };
        let rest = rest.trim_start();
        let whole = if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            open.push((pid.to_owned(), begun.to_owned()));
            continue;
        } else if rest.starts_with("<...") {
            let Some(at) = open.iter().position(|(other, _)| other == pid) else { continue };
            open.remove(at).1 + rest.split_once("resumed>").map_or("", |(_, end)| end)
        } else {
            rest.to_owned()
        };
        if let Some((name, arguments)) = whole.split_once('(') {
            calls.push(Call { name: name.to_owned(), arguments: arguments.to_owned() });
        }
    }
    calls
}

/// `command` under strace, which writes syncs, renames and writes to `log`.
fn under_strace(command: &Command, log: &Path) -> Command {
    let mut outer = Command::new("strace");
    outer.args(["-f", "-y", "-qq", "-s", "100000", "-e", "signal=none", "-e"]);
    outer.arg("trace=fsync,fdatasync,rename,renameat,renameat2,write").arg("-o").arg(log).arg("--");
    outer.arg(command.get_program()).args(command.get_args()).envs(variables(command));
    outer.current_dir(command.get_current_dir().expect("a folder"));
    outer
}

/// Index in `calls` at which the file `name` is durable: its content is synced, it is renamed, and its folder is
/// synced. Panics if one of these is missing.
fn synced_at(calls: &[Call], name: &str) -> usize {
    let end = format!("/{name}");
    let (at, (from, to)) = calls
        .iter()
        .enumerate()
        .find_map(|(at, call)| Some((at, call.renames().filter(|(_, to)| to.ends_with(&end))?)))
        .unwrap_or_else(|| panic!("{name} is not renamed into its place"));
    assert!(calls[..at].iter().any(|call| call.syncs(from)), "{from} is not synced before it becomes {name}");
    let folder = to.rsplit_once('/').unwrap().0;
    let after = calls[at..].iter().position(|call| call.syncs(folder));
    at + after.unwrap_or_else(|| panic!("{folder} is not synced after {name} was renamed"))
}

#[test]
fn files_needed_to_resume_are_synced_before_the_first_trial() {
    require!(trials(), program("strace", "strace"));
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    let log = bench.path("calls");
    let run = bench.command(&["run", "study.toml", "--host", "fake", "--shard", "1/2", "--out", "runs/a"]);
    let output = under_strace(&run, &log).output().expect("strace starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let calls = parse_calls(&fs::read_to_string(&log).unwrap());
    let first = calls.iter().position(|call| call.name == "write" && call.arguments.contains("trial_start"));
    let first = first.expect("a trial's records");
    assert!(calls[first].arguments.contains("/journal.ndjson>"), "{:?}", calls[first]);
    for name in [
        "manifest.toml",
        "plan.json",
        ".plan.json",
        "engines.json",
        "lock.toml",
        "shard.json",
        "host.json",
        "session.json",
    ] {
        assert!(synced_at(&calls, name) < first, "{name} is on disk only after the first trial");
    }
    // The folder of the run in `runs`, and `runs` in its parent.
    let folder = bench.path("runs/a").display().to_string();
    let named = calls.iter().position(|call| call.renames().is_some_and(|(_, to)| to == folder)).unwrap();
    let runs = bench.path("runs").display().to_string();
    assert!(calls[named..first].iter().any(|call| call.syncs(&runs)), "the name of the run is not synced");
    let project = runs.strip_suffix("/runs").unwrap();
    assert!(calls[..first].iter().any(|call| call.syncs(project)), "the name of the folder of runs is not synced");
    // The journal: the process that creates it syncs the folder again.
    assert!(calls[named..first].iter().any(|call| call.syncs(&folder)), "the journal's name is not synced");
    // Entries of the cache, which later runs use.
    for (entry, content) in [("/kernels/tiny-", "vmlinux"), ("/rootfs/tiny-", "rootfs.ext4")] {
        let made = |call: &Call| call.renames().is_some_and(|(_, to)| to.contains(entry) && !to.ends_with(".toml"));
        let at = calls.iter().position(made).unwrap_or_else(|| panic!("no entry {entry}"));
        let (from, to) = calls[at].renames().unwrap();
        for file in [content, "note.toml"] {
            let path = format!("{from}/{file}");
            assert!(calls[..at].iter().any(|call| call.syncs(&path)), "{path} is not synced before its entry is named");
        }
        let parent = to.rsplit_once('/').unwrap().0;
        assert!(calls[at..].iter().any(|call| call.syncs(parent)), "{parent} is not synced");
    }
}

/// A run of a shard, cut after its first trial.
fn interrupted_run() -> Bench {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    let run = bench.run(&["run", "study.toml", "--host", "fake", "--shard", "1/1", "--out", "run"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let journal = bench.path("run/journal.ndjson");
    let whole = fs::read_to_string(&journal).unwrap();
    let end = whole.find("\"trial_end\"").and_then(|at| Some(at + whole[at..].find('\n')? + 1)).unwrap();
    fs::write(&journal, &whole[..end]).unwrap();
    bench
}

#[test]
fn resume_names_an_empty_or_truncated_file() {
    require!(trials());
    let bench = interrupted_run();
    bench.file("run/merged.json", "{\"shards\": []}\n");
    for name in ["plan.json", "engines.json", "lock.toml", "host.json", "shard.json", "merged.json"] {
        let path = bench.path("run").join(name);
        let whole = fs::read(&path).unwrap();
        let half = &whole[..whole.len() / 2];
        for (content, what) in [(&whole[..0], "is empty"), (half, "is cut off"), (&[0; 64][..], "zero bytes")] {
            fs::write(&path, content).unwrap();
            let resumed = bench.run(&["run", "--resume", "run", "--host", "fake"]);
            let said = text(&resumed.stderr);
            assert_eq!(resumed.status.code(), Some(1), "{name} that {what}: {said}");
            let named = path.canonicalize().unwrap().display().to_string();
            assert!(said.contains("error[MB3007]") && said.contains(&format!("{named} ")), "{name}: {said}");
            assert!(said.contains(what) && said.contains("restore it from a copy"), "{name}: {said}");
        }
        fs::write(&path, whole).unwrap();
    }
    let resumed = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
}

#[test]
fn resume_succeeds_without_the_content_of_optional_files() {
    require!(trials());
    for name in ["session.json", "manifest.toml", ".plan.json"] {
        for content in ["", "{\"pid\":"] {
            let bench = interrupted_run();
            bench.file(&format!("run/{name}"), content);
            let resumed = bench.run(&["run", "--resume", "run", "--host", "fake"]);
            let said = text(&resumed.stderr);
            assert!(resumed.status.success(), "{name}: {said}");
            assert_eq!(name == "session.json", said.contains("session.json is empty or damaged"), "{said}");
            assert_eq!(bench.counted().len(), 2);
        }
    }
}

#[test]
fn resume_refuses_a_lock_file_with_a_missing_artefact() {
    require!(trials());
    let bench = interrupted_run();
    let path = bench.path("run/lock.toml");
    let whole = fs::read_to_string(&path).unwrap();
    let second = whole.match_indices("[[artifacts]]").nth(1).unwrap().0;
    fs::write(&path, &whole[..second]).unwrap();
    let resumed = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    let said = text(&resumed.stderr);
    assert_eq!(resumed.status.code(), Some(1), "{said}");
    assert!(said.contains("error[MB3021]") && said.contains("lock.toml was changed"), "{said}");
}
