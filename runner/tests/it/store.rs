//! The store of runs: lookup, list, details, export and pruning.

use std::fs;
use std::path::Path;
use std::process::Command;

use microbench_testing::require;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Bench, processes_of, text, trials, wait_until};

/// A project with two imported runs of the study `test`, an older and a newer one, in its `runs/`.
fn imported() -> Bench {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 2", "");
    bench.file(
        "table.csv",
        "metric,concurrency,value,unit\nwebservice_startup_time,1,100,ms\nwebservice_startup_time,1,102,ms\n",
    );
    for name in ["runs/test-old", "runs/test-new"] {
        let made = bench.run(&["import", "study.toml", "table.csv", "--out", name]);
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    bench
}

fn json(bench: &Bench, arguments: &[&str]) -> Value {
    let output = bench.run(arguments);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}{}", text(&output.stdout), text(&output.stderr)))
}

#[test]
fn run_is_found_by_prefix_or_as_the_latest() {
    require!(trials());
    let bench = imported();
    for (name, found) in [("test-o", "old"), ("latest", "new"), ("latest:test", "new"), ("runs/test-old", "old")] {
        let analyzed = bench.run(&["analyze", name]);
        assert!(analyzed.status.success(), "{name}: {}", text(&analyzed.stderr));
        assert!(bench.path(&format!("runs/test-{found}/samples.csv")).is_file(), "{name}");
        fs::remove_file(bench.path(&format!("runs/test-{found}/samples.csv"))).unwrap();
    }
    for (command, said) in [
        (&["plot", "test-"][..], "`test-` is ambiguous: 2 runs start with it: test-new, test-old"),
        (&["compare", "tset-old"], "run `tset-old` not found"),
        (&["analyze", "latest:none"], "contains runs of test"),
        (&["analyze", "kernels/tiny"], "is not a run folder"),
    ] {
        let output = bench.run(command);
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output.stderr).contains(said), "{command:?}: {}", text(&output.stderr));
    }
    let confirmed = json(&bench, &["verify", "test-new", "--against", "test-old", "--json"]);
    assert_eq!((confirmed["run"].as_str(), confirmed["same"].as_bool()), (Some("test-new"), Some(true)));
}

#[test]
fn runs_are_listed_with_their_state_and_unreadable_runs_with_the_reason() {
    require!(trials());
    let bench = imported();
    // A run that was interrupted after its first trial and resumed: two sessions.
    bench.study(&["ok"], "concurrency = [1]\ntrials = 3\nwarmup = false", "");
    assert!(bench.run(&["run", "study.toml", "--host", "fake", "--out", "runs/cut"]).status.success());
    let journal = bench.path("runs/cut/journal.ndjson");
    let whole = fs::read_to_string(&journal).unwrap();
    let first_end = whole.find("\"trial_end\"").and_then(|at| Some(at + whole[at..].find('\n')? + 1)).unwrap();
    fs::write(&journal, &whole[..first_end]).unwrap();
    let cut = json(&bench, &["show", "cut", "--json"]);
    assert_eq!((cut["run"]["state"].as_str(), cut["run"]["trials_ended"].as_u64()), (Some("interrupted"), Some(1)));
    assert_eq!(cut["next"][0][0], "microbench run --resume cut");
    assert!(bench.run(&["run", "--resume", "cut", "--host", "fake"]).status.success());
    bench.file("runs/damaged/plan.json", "{}");
    bench.file("runs/no-run/readme", "nothing");

    let listed = json(&bench, &["runs", "--json"]);
    let of = |name: &str| listed.as_array().unwrap().iter().find(|run| run["name"] == name).cloned();
    let run = of("cut").unwrap();
    assert_eq!((run["state"].as_str(), run["failed_vms"].as_u64()), (Some("complete"), Some(0)));
    let trials: Vec<_> = run["sessions"].as_array().unwrap().iter().map(|session| session["trials"].as_u64()).collect();
    assert_eq!(trials, [Some(1), Some(2)]);
    assert_eq!(of("test-old").unwrap()["kind"], "imported");
    assert_eq!(of("damaged").unwrap()["state"], "unreadable");
    assert_eq!(of("no-run"), None);
    assert_eq!(json(&bench, &["runs", "--study", "none", "--json"]), Value::Array(Vec::new()));

    let table = text(&bench.run(&["runs"]).stdout);
    assert!(table.contains("\u{251c}\u{2500} session 1") && table.contains("\u{2570}\u{2500} session 2"), "{table}");
    assert!(table.contains("damaged: ") && table.contains("is damaged: missing field"), "{table}");
    assert!(!table.contains('\u{1b}'), "control characters without a terminal");
    let shown = text(&bench.run(&["show", "cut"]).stdout);
    for words in ["session 2", "ok/1", "journal.ndjson", "one record per line", "microbench analyze cut"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
}

#[test]
fn executing_run_is_neither_exported_nor_pruned() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 1\nwarmup = false", "boot_deadline_s = 600");
    let mut runner = bench.start(&["run", "study.toml", "--host", "fake", "--out", "runs/held"]);
    let folder = bench.path("runs");
    wait_until("a VM", || processes_of(&folder).iter().any(|(_, line)| line.contains(" silent ")));
    let run = json(&bench, &["runs", "--json"])[0].clone();
    assert_eq!((run["state"].as_str(), run["owner"]["pid"].as_u64()), (Some("running"), Some(u64::from(runner.id()))));
    let pruned = bench.run(&["prune", "held", "--yes"]);
    assert_eq!(pruned.status.code(), Some(1), "{}", text(&pruned.stdout));
    assert!(text(&pruned.stdout).contains("a process executes the run"), "{}", text(&pruned.stdout));
    let exported = bench.run(&["export", "held"]);
    assert!(text(&exported.stderr).contains("is being executed"), "{}", text(&exported.stderr));
    assert!(bench.path("runs/held/journal.ndjson").is_file());
    for _ in 0..2 {
        kill(Pid::from_raw(i32::try_from(runner.id()).unwrap()), Signal::SIGKILL).unwrap();
    }
    runner.wait().unwrap();
    wait_until("the end of the VM", || processes_of(&folder).is_empty());
    assert_eq!(json(&bench, &["runs", "--json"])[0]["state"], "interrupted");
}

#[test]
fn export_is_reproducible_and_gives_the_same_results_elsewhere() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "crash"], "concurrency = [1, 2]\ntrials = 3", "");
    bench.run_study();
    for command in ["analyze", "plot"] {
        assert!(bench.run(&[command, "run"]).status.success());
    }
    for end in ["tar.zst", "tar.gz"] {
        let made = bench.run(&["export", "run", "--out", &format!("one.{end}")]);
        assert!(made.status.success(), "{}", text(&made.stderr));
        // Derived files and their times do not change the archive.
        assert!(bench.run(&["plot", "run"]).status.success());
        let again = json(&bench, &["export", "run", "--out", &format!("two.{end}"), "--json"]);
        let read = |name: &str| fs::read(bench.path(&format!("{name}.{end}"))).unwrap();
        assert!(read("one") == read("two"), "{end}");
        assert!(again["files"].as_array().unwrap().iter().any(|file| file["name"] == "journal.ndjson"));
        let shown = bench.run(&["show", &format!("one.{end}")]);
        assert!(shown.status.success(), "{}", text(&shown.stderr));
        assert!(text(&shown.stdout).contains("12 of 12 trials"), "{}", text(&shown.stdout));
    }
    let elsewhere = bench.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    // gzip, because tar needs a separate program for zstd.
    let unpacked = Command::new("tar").arg("-xf").arg(bench.path("one.tar.gz")).arg("-C").arg(&elsewhere).status();
    assert!(unpacked.unwrap().success());
    let run = elsewhere.join("run");
    let sums = Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(&run).status();
    assert!(sums.unwrap().success());
    for file in ["samples.csv", "samples.parquet"] {
        fs::remove_file(run.join(file)).unwrap();
    }
    for command in ["analyze", "plot"] {
        let done = bench.run(&[command, &run.display().to_string()]);
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    let figures = fs::read_dir(bench.path("run/figures")).unwrap().map(|entry| entry.unwrap().file_name());
    let figures: Vec<String> = figures.map(|name| format!("figures/{}", name.to_string_lossy())).collect();
    assert!(figures.len() >= 3, "{figures:?}");
    for file in figures.iter().map(String::as_str).chain(["samples.csv", "samples.parquet", "summary.csv"]) {
        assert!(fs::read(bench.path("run").join(file)).unwrap() == fs::read(run.join(file)).unwrap(), "{file} differs");
    }
}

#[test]
fn changed_archive_is_refused_and_consoles_can_be_excluded() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    bench.run_study();
    let files = |name: &str, more: &[&str]| {
        let made = json(&bench, &[&["export", "run", "--json", "--out", name], more].concat());
        made["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|file| file["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(files("with.tar.gz", &[]).iter().any(|name| name.starts_with("console/")));
    assert!(!files("without.tar.gz", &["--without-consoles"]).iter().any(|name| name.starts_with("console/")));
    let there = bench.run(&["export", "run", "--out", "with.tar.gz"]);
    assert!(text(&there.stderr).contains("exists: pass another --out"), "{}", text(&there.stderr));

    let folder = bench.path("changed");
    fs::create_dir(&folder).unwrap();
    let tar = |arguments: &[&str], at: &Path| {
        assert!(Command::new("tar").args(arguments).current_dir(at).status().unwrap().success())
    };
    tar(&["-xf", "../with.tar.gz"], &folder);
    let journal = folder.join("run/journal.ndjson");
    fs::write(&journal, fs::read_to_string(&journal).unwrap() + "\n").unwrap();
    tar(&["-czf", "../changed.tar.gz", "--format=ustar", "run/SHA256SUMS", "run/journal.ndjson"], &folder);
    let refused = bench.run(&["show", "changed.tar.gz"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("`journal.ndjson` was changed"), "{}", text(&refused.stderr));
}

#[test]
fn prune_lists_runs_first_and_removes_them_on_request() {
    let bench = imported();
    bench.file("runs/no-run/readme", "nothing");
    bench.file("runs/half/plan.json", "{}");
    let would = json(&bench, &["prune", "--keep", "1", "--json"]);
    assert_eq!(would["removed"], false);
    let of = |report: &Value| -> Vec<(String, bool)> {
        let runs = report["runs"].as_array().unwrap().iter();
        runs.map(|run| (run["name"].as_str().unwrap().to_owned(), run["goes"].as_bool().unwrap())).collect()
    };
    assert_eq!(of(&would), [("test-old".to_owned(), true)]);
    assert!(would["bytes"].as_u64().unwrap() > 0);
    let table = text(&bench.run(&["prune", "--keep", "1"]).stdout);
    assert!(table.contains("1 run would be removed") && table.contains("pass --yes to remove"), "{table}");
    assert!(bench.path("runs/test-old").is_dir());
    assert!(text(&bench.run(&["prune", "--keep", "0", "--older-than", "30"]).stdout).contains("nothing to remove"));
    assert!(bench.run(&["prune", "--keep", "1", "--yes"]).status.success());
    assert!(!bench.path("runs/test-old").exists() && bench.path("runs/test-new").is_dir());
    // A folder that is not a readable run stays, even if it is named.
    let half = bench.run(&["prune", "half", "--yes"]);
    assert_eq!(half.status.code(), Some(1));
    assert!(text(&half.stdout).contains("is not a run folder"), "{}", text(&half.stdout));
    assert!(bench.path("runs/half/plan.json").is_file() && bench.path("runs/no-run/readme").is_file());
    assert_eq!(bench.run(&["prune"]).status.code(), Some(2), "prune without a rule and a name must fail");
    let names: Vec<_> = fs::read_dir(bench.path("runs")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
}

#[test]
fn json_output_contains_only_json() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let artifacts = json(&bench, &["artifacts", "study.toml", "--json"]);
    let kinds: Vec<_> =
        artifacts.as_array().unwrap().iter().map(|artifact| artifact["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"kernel") && kinds.contains(&"rootfs"), "{artifacts}");
    bench.file("table.csv", "metric,value,unit\nwebservice_startup_time,100,ms\n");
    let made = json(&bench, &["import", "study.toml", "table.csv", "--out", "runs/one", "--json"]);
    assert_eq!((made["rows"].as_u64(), made["left_out"].as_u64()), (Some(1), Some(0)));
    assert!(made["run"].as_str().unwrap().ends_with("runs/one"), "{made}");
    assert_eq!(json(&bench, &["analyze", "latest", "--json"])["run"], "one");
    let drawn = json(&bench, &["plot", "latest", "--json"]);
    assert!(drawn["files"].as_array().unwrap().iter().any(|file| file.as_str().unwrap().ends_with("startup.svg")));
    // `--help` describes the JSON of each command.
    for command in ["analyze", "artifacts", "export", "host", "import", "plot", "prune", "runs", "show", "verify"] {
        let help = text(&bench.run(&[command, "--help"]).stdout);
        assert!(help.contains("JSON: ") && help.contains("--json"), "{command}: {help}");
    }
}
