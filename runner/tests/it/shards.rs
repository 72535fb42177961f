//! Shards of a plan: division, merging, refused merges, and submission to a fake Slurm.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output, Stdio};

use microbench_formats::host::HostKind;
use microbench_formats::journal::{encode, records};
use microbench_formats::plan::Plan;
use microbench_formats::record::Record;
use microbench_plots::journal::Execution;
use microbench_testing::require;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Bench, counted, is_root, processes_of, text, trials, variables, wait_until};

/// A project with a study of two modes at concurrencies 1 and 2: `trials` blocks of four trials.
fn bench(trials: u32) -> Bench {
    let bench = Bench::new();
    bench.study(&["ok", "late"], &format!("concurrency = [1, 2]\ntrials = {trials}\nwarmup = false"), "");
    bench
}

/// `command` in a new UTS namespace with the host name `host`.
fn with_hostname(host: &str, command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    let user: &[&str] = if is_root() { &[] } else { &["--map-root-user"] };
    outer.args(user).args(["--uts", "--", "sh", "-eu", "-c", "hostname \"$0\"; exec \"$@\"", host]);
    outer.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    outer.current_dir(command.get_current_dir().expect("a folder")).envs(variables(command));
    outer
}

/// Runs the shard `shard` (`K/N`) into the folder `out`, with the host name `host`.
fn run_shard(bench: &Bench, shard: &str, out: &str, host: &str) {
    let command = bench.command(&["run", "study.toml", "--host", "fake", "--shard", shard, "--out", out]);
    let output = with_hostname(host, &command).output().expect("the program starts");
    assert!(output.status.success(), "{}", text(&output.stderr));
}

fn executions(bench: &Bench, run: &str) -> BTreeMap<u32, Execution> {
    counted(microbench_plots::journal::read(&bench.path(run).join("journal.ndjson")).expect("a journal"))
}

fn refused(bench: &Bench, arguments: &[&str], code: &str, exit: i32, words: &str) {
    let output = bench.run(arguments);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {said}");
    assert!(said.contains(&format!("error[{code}]")) && said.contains(words), "{arguments:?}: {said}");
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stderr)))
}

#[test]
fn plan_shows_shards_and_refuses_what_cannot_be_divided() {
    require!(trials());
    let bench = bench(5);
    let shown = text(&bench.run(&["plan", "study.toml", "--shards", "3"]).stdout);
    insta::assert_snapshot!(shown.split_once("\nshards: ").expect("shards are shown").1);
    let uneven = text(&bench.run(&["plan", "study.toml", "--trials", "2", "--shards", "2"]).stdout);
    assert!(!uneven.contains("fewer trials than shards"), "{uneven}");
    refused(&bench, &["plan", "study.toml", "--shards", "6"], "MB6009", 2, "it has 5 blocks");
    refused(&bench, &["run", "study.toml", "--shard", "1/6", "--host", "fake"], "MB6009", 2, "use at most 5 shards");
    for wrong in ["0/2", "3/2", "1", "1/0", "a/b"] {
        let output = bench.run(&["run", "study.toml", "--shard", wrong]);
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(text(&output.stderr).contains("a shard is K/N with K from 1 to N"), "{}", text(&output.stderr));
    }
    let rule = "precision = { metric = \"webservice_startup_time\", relative = 0.5, n_min = 6, n_max = 12, every = 6 }";
    bench.study(&["ok"], &format!("concurrency = [1]\n{rule}"), "");
    refused(&bench, &["plan", "study.toml", "--shards", "2"], "MB6009", 2, "its stopping rule checks all blocks");
    assert!(bench.run(&["plan", "study.toml", "--shards", "2", "--trials", "6"]).status.success());
    assert!(!bench.path("runs").exists(), "a refused command left files");
}

#[test]
fn merged_shards_equal_a_single_run() {
    require!(trials());
    let bench = bench(6);
    let whole = bench.run_study();
    for (index, host) in [(1, "n1"), (2, "n2"), (3, "n1")] {
        run_shard(&bench, &format!("{index}/3"), &format!("runs/part-{index}of3"), host);
    }
    let arguments = ["merge", "runs/part-3of3", "runs/part-1of3", "part-2of3", "--out", "runs/all", "--json"];
    let merged = json(&bench.run(&arguments));
    assert_eq!((merged["complete"].as_bool(), merged["shards"].as_array().unwrap().len()), (Some(true), 3));
    assert_eq!(merged["shards"][1]["machines"][0], "n2");
    // Each trial once, on the host of its shard. The fake guest reports the same values on every host.
    let (one, all) = (counted(whole), executions(&bench, "runs/all"));
    assert_eq!(one.keys().collect::<Vec<_>>(), all.keys().collect::<Vec<_>>());
    let plan: Plan = serde_json::from_slice(&fs::read(bench.path("runs/all/plan.json")).unwrap()).unwrap();
    for (trial, execution) in &all {
        let block = plan.trials[*trial as usize].block;
        assert_eq!(execution.machine, if block % 3 == 1 { "n2" } else { "n1" }, "trial {trial}");
        assert_eq!(one[trial].cell, execution.cell);
        for (vm, own) in &execution.vms {
            let reading = "workload.hashing_time.duration";
            assert_eq!(own.readings[reading], one[trial].vms[vm].readings[reading]);
            assert!(bench.path(&format!("runs/all/console/t{trial:04}-a0-vm{vm:03}.log")).is_file());
        }
    }
    assert!(one.values().all(|execution| execution.machine.is_empty()), "a run of a whole plan has the name of a host");

    let analyzed = bench.run(&["analyze", "all"]);
    let said = text(&analyzed.stdout);
    assert!(analyzed.status.success() && said.contains("144 samples, 0 missing"), "{said}{}", text(&analyzed.stderr));
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    // n1 has four of the six blocks and n2 has two.
    assert!(words.contains("within 2 hosts"), "{said}");
    let compared = text(&bench.run(&["compare", "all", "--detail"]).stdout);
    assert!(compared.contains("within each of 2 hosts (n1, n2)"), "{compared}");
    let hosts = text(&bench.run(&["query", "all", "select distinct machine from samples order by machine"]).stdout);
    assert!(hosts.contains("n1") && hosts.contains("n2"), "{hosts}");
    // The analysis of a single shard reports the trials of the other shards as missing.
    let part = text(&bench.run(&["analyze", "part-2of3"]).stdout);
    assert!(part.contains("48 samples, 96 missing") && part.contains("the trial belongs to shard 1/3"), "{part}");

    let listed = text(&bench.run(&["runs"]).stdout);
    for words in ["test (merged)", "\u{251c}\u{2500} 1/3 part-1of3", "\u{2570}\u{2500} 3/3 part-3of3", "n1"] {
        assert!(listed.contains(words), "{words}: {listed}");
    }
    assert_eq!(listed.matches("part-2of3").count(), 1, "{listed}");
    let shown = text(&bench.run(&["show", "part-1of3"]).stdout);
    assert!(shown.contains("microbench merge part-1of3 part-2of3 part-3of3"), "{shown}");
    assert!(text(&bench.run(&["show", "all"]).stdout).contains("part-2of3, 8 of 8 trials, on n2"));
    // Several runs together count each trial once: the shards are part of the merged run.
    assert!(bench.run(&["analyze", "run"]).status.success());
    let many = json(&bench.run(&["analyze", "runs/*/samples.parquet", "run", "--json"]));
    assert_eq!((many["files"].as_array().unwrap().len(), many["left_out"].as_array().unwrap().len()), (2, 1), "{many}");
    let row = |cell: &str, metric: &str| {
        let rows = many["results"].as_array().unwrap();
        rows.iter().find(|row| row["cell"] == cell && row["metric"] == metric).unwrap().clone()
    };
    let work = row("late/2", "hashing_time");
    assert_eq!((work["n"].as_u64(), work["runs"].as_u64(), work["missing"].as_u64()), (Some(12), Some(2), Some(0)));
    assert_eq!((work["median"].as_f64(), work["machines"].as_array().unwrap().len()), (Some(0.5), 2));
    let table = text(&bench.run(&["analyze", "runs/*/samples.parquet"]).stdout);
    assert!(table.contains("1 table of samples; 1 of shards") && table.contains("hashing_time"), "{table}");
    assert!(text(&bench.run(&["analyze", "none/*.parquet"]).stderr).contains("no file matches"));
    // Merged runs and shards can be exported, verified and pruned.
    for run in ["all", "part-1of3"] {
        let archive = format!("{run}.tar.gz");
        assert!(bench.run(&["export", run, "--out", &archive]).status.success());
        let checked = json(&bench.run(&["show", &archive, "--json"]));
        assert_eq!(checked["trials_ended"], checked["trials_planned"], "{checked}");
    }
    let would = json(&bench.run(&["prune", "--keep", "1", "--json"]));
    assert_eq!(would["runs"].as_array().unwrap().len(), 0, "a shard is no newer run of its study: {would}");
    refused(&bench, &["run", "--resume", "all", "--host", "fake"], "MB3020", 1, "was merged from shards");
}

#[test]
fn merge_refuses_shards_that_do_not_form_a_run() {
    require!(trials());
    let bench = bench(4);
    bench.run_study();
    run_shard(&bench, "1/2", "one", "n1");
    run_shard(&bench, "2/2", "two", "n2");
    let merge = |shards: &[&'static str]| [&["merge"], shards, &["--out", "out"]].concat();
    refused(&bench, &merge(&["run", "one"]), "MB3016", 1, "is a run of a whole plan, not a shard");
    refused(&bench, &merge(&["one", "one"]), "MB3018", 1, "are both shard 1/2");
    refused(&bench, &merge(&["two"]), "MB3019", 1, "shard 1/2 is missing");
    run_shard(&bench, "1/3", "third", "n1");
    refused(&bench, &merge(&["third", "two"]), "MB3017", 1, "they are 1/3 and 2/2");
    let other =
        bench.command(&["run", "study.toml", "--seed", "9", "--host", "fake", "--shard", "2/2", "--out", "seed"]);
    assert!(with_hostname("n2", &other).status().unwrap().success());
    refused(&bench, &merge(&["one", "seed"]), "MB3017", 1, "their plans differ");
    let same = |change: &dyn Fn(Record) -> Record| {
        let journal = bench.path("two/journal.ndjson");
        let before = fs::read_to_string(&journal).unwrap();
        let changed: Vec<Record> = records(before.as_bytes()).map(|record| change(record.unwrap())).collect();
        let changed = encode(&changed);
        fs::write(&journal, changed).unwrap();
        (journal, before)
    };
    let (journal, before) = same(&|record| match record {
        Record::RunStart { .. } => {
            let mut start = record;
            if let Record::RunStart { host, .. } = &mut start {
                *host = HostKind::Emulated;
            }
            start
        }
        other => other,
    });
    refused(&bench, &merge(&["one", "two"]), "MB5003", 1, "their times are not comparable");
    fs::write(&journal, &before).unwrap();
    // Block 0 belongs to the other shard.
    let plan: Plan = serde_json::from_slice(&fs::read(bench.path("two/plan.json")).unwrap()).unwrap();
    let (own, foreign, of_foreign) = (plan.trials[4].index, plan.trials[0].index, &plan.trials[0].cell);
    same(&|record| match record {
        Record::TrialStart { trial, attempt, warmup, emulated_host, .. } if trial == own => {
            Record::TrialStart { trial: foreign, attempt, cell: of_foreign.to_string(), warmup, emulated_host }
        }
        other => other,
    });
    refused(&bench, &merge(&["one", "two"]), "MB3018", 1, "does not belong to shard 2/2");
    fs::write(&journal, &before).unwrap();
    // Another kernel on the second node.
    let lock = fs::read_to_string(bench.path("two/lock.toml")).unwrap();
    let at = lock.find("sha256 = \"").unwrap() + "sha256 = \"".len();
    fs::write(bench.path("two/lock.toml"), format!("{}{}{}", &lock[..at], "0".repeat(64), &lock[at + 64..])).unwrap();
    refused(&bench, &merge(&["one", "two"]), "MB3021", 1, "lock.toml was changed");
    bench.update_digests("two");
    refused(&bench, &merge(&["one", "two"]), "MB3017", 1, "differs");
    fs::write(bench.path("two/lock.toml"), &lock).unwrap();
    let flipped = before.replacen("spawn", "spawm", 1);
    fs::write(&journal, flipped).unwrap();
    refused(&bench, &merge(&["one", "two"]), "MB3006", 1, "checksum mismatch");
    fs::write(&journal, &before).unwrap();
    assert!(!bench.path("out").exists(), "a refused command left files");

    // An incomplete shard: its last trials are cut off, as after the crash of a node.
    let third_end =
        before.match_indices("\"trial_end\"").nth(2).map(|(at, _)| at + before[at..].find('\n').unwrap() + 1);
    fs::write(&journal, &before[..third_end.unwrap()]).unwrap();
    refused(&bench, &merge(&["one", "two"]), "MB3019", 1, "5 of the 8 trials of shard 2/2 are missing");
    let partial = bench.run(&[&merge(&["one", "two"])[..], &["--partial"]].concat());
    assert!(partial.status.success(), "{}", text(&partial.stderr));
    let said = text(&bench.run(&["analyze", "out"]).stdout);
    assert!(said.contains("the trial has not been executed"), "{said}");
    let alone = bench.run(&["merge", "one", "--partial", "--out", "alone"]);
    assert!(alone.status.success(), "{}", text(&alone.stderr));
    let said = text(&bench.run(&["analyze", "alone"]).stdout);
    assert!(said.contains("the trial belongs to shard 2/2, which is not in this run"), "{said}");
}

#[test]
fn cells_without_a_common_host_are_not_compared() {
    require!(trials());
    let bench = Bench::new();
    let study = bench.study(&["ok", "late"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    let claim = "[[claims]]\nname = \"same\"\ntext = \"They are alike.\"\nmetric = \"kernel_boot_time\"\n\
                 ratio = [{ where = { variant = \"ok\" } }, { where = { variant = \"late\" } }]\nexpect = \"0.9 .. 1.1\"\n";
    let text_of = fs::read_to_string(study).unwrap();
    bench.file("study.toml", &format!("{text_of}{claim}"));
    run_shard(&bench, "1/2", "one", "n1");
    run_shard(&bench, "2/2", "two", "n2");
    // Remove one cell on each host. A partial merge may miss cells, although complete shards contain whole blocks.
    for (run, lost) in [("one", "ok/1"), ("two", "late/1")] {
        let path = bench.path(run).join("journal.ndjson");
        let mut inside = false;
        let mut kept = Vec::new();
        for record in records(&fs::read(&path).unwrap()) {
            let record = record.unwrap();
            inside |= matches!(&record, Record::TrialStart { cell, .. } if cell == lost);
            let ends = matches!(record, Record::TrialEnd { .. });
            if !inside {
                kept.push(record);
            }
            inside &= !ends;
        }
        fs::write(path, encode(&kept)).unwrap();
    }
    assert!(bench.run(&["merge", "one", "two", "--partial", "--out", "both"]).status.success());
    let said = text(&bench.run(&["analyze", "both"]).stdout);
    let words = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("inconclusive same: They are alike."), "{said}");
    assert!(
        words.contains("no host has all of them (late/1 on n1; ok/1 on n2)")
            || words.contains("(ok/1 on n2; late/1 on n1)"),
        "{said}"
    );
    let compared = text(&bench.run(&["compare", "both"]).stdout);
    assert!(compared.contains("no common host") && compared.contains("4 not-compared"), "{compared}");
}

#[test]
fn killed_shard_can_be_resumed() {
    require!(trials());
    let bench = bench(6);
    let arguments = ["run", "study.toml", "--host", "fake", "--shard", "1/2", "--out", "one"];
    let mut runner = bench.start(&arguments);
    wait_until("a trial", || {
        fs::read_to_string(bench.path("one/journal.ndjson")).is_ok_and(|text| text.contains("\"trial_end\""))
    });
    kill(Pid::from_raw(runner.id().cast_signed()), Signal::SIGKILL).unwrap();
    runner.wait().unwrap();
    wait_until("every process of the run to end", || processes_of(&bench.path("one")).is_empty());
    let before = executions(&bench, "one");
    let resumed = bench.run(&["run", "--resume", "one", "--host", "fake"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert!(bench.run(&["run", "study.toml", "--host", "fake", "--shard", "2/2", "--out", "two"]).status.success());
    assert!(bench.run(&["merge", "one", "two", "--out", "run"]).status.success());
    let all = bench.counted();
    assert_eq!(all.len(), 24);
    assert!(before.iter().all(|(trial, execution)| all[trial] == *execution), "trials before the kill changed");
}

/// A node resumes a shard that another node left.
#[test]
fn session_of_another_node_is_resumed_only_after_it_ended() {
    require!(trials());
    let bench = bench(2);
    assert!(bench.run(&["run", "study.toml", "--host", "fake", "--shard", "1/1", "--out", "one"]).status.success());
    let journal = bench.path("one/journal.ndjson");
    let whole = fs::read_to_string(&journal).unwrap();
    let cut = whole.find("\"trial_end\"").map(|at| at + whole[at..].find('\n').unwrap() + 1).unwrap();
    let owner = |job: &str| {
        format!(
            "{{\"pid\":7,\"machine\":\"n9\",\"since\":\"2026-01-01T00:00:00Z\",\"boot\":\"another\",{job}\"ended\":false}}"
        )
    };
    let resume = |owner: &str, variables: &[(&str, &str)]| {
        fs::write(&journal, &whole[..cut]).unwrap();
        bench.file("one/session.json", owner);
        let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = bench.command(&["run", "--resume", "one", "--host", "fake"]);
        command.env("PATH", path).envs(variables.iter().copied()).output().unwrap()
    };
    // The lock of the journal is free, but the session on the other host may still execute.
    let refused = resume(&owner(""), &[]);
    assert!(text(&refused.stderr).contains("error[MB3004]"), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("PID 7 on n9") && text(&refused.stderr).contains("then remove"));
    assert_eq!(fs::read_to_string(&journal).unwrap(), &whole[..cut], "nothing was written");
    // Slurm has requeued the same task, so the earlier session has ended.
    let of_task = owner("\"job\":{\"id\":\"77_1\",\"restarts\":0},");
    let task = [("SLURM_ARRAY_JOB_ID", "77"), ("SLURM_ARRAY_TASK_ID", "1")];
    let requeued = [task[0], task[1], ("SLURM_RESTART_COUNT", "1")];
    let done = resume(&of_task, &requeued);
    assert!(done.status.success(), "{}", text(&done.stderr));
    assert_eq!(executions(&bench, "one").len(), 8);
    let owner_now = fs::read_to_string(bench.path("one/session.json")).unwrap();
    assert!(owner_now.contains("\"restarts\":1") && owner_now.contains("\"ended\":true"), "{owner_now}");
    // In another job, the runner asks Slurm for the state of that task.
    fake_slurm_command(&bench, "squeue", "echo RUNNING");
    let other = [("SLURM_JOB_ID", "80")];
    assert!(text(&resume(&of_task, &other).stderr).contains("error[MB3004]"));
    fake_slurm_command(&bench, "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
    assert!(resume(&of_task, &other).status.success());
}

/// Writes a fake command of Slurm, which writes its arguments to `NAME.args` and then runs the shell commands `body`.
fn fake_slurm_command(bench: &Bench, name: &str, body: &str) {
    let noted = bench.path(&format!("{name}.args"));
    let path = bench
        .file(&format!("bin/{name}"), &format!("#!/bin/sh\nprintf '%s\\n' \"$@\" > {}\n{body}\n", noted.display()));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn command_with_fake_slurm(bench: &Bench, arguments: &[&str]) -> Command {
    let mut command = bench.command(arguments);
    command.env("PATH", format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap()));
    command
}

#[test]
fn study_is_submitted_monitored_cancelled_and_merged() {
    require!(trials());
    let bench = bench(4);
    let submit =
        ["submit", "slurm", "study.toml", "--shards", "2", "--host", "fake", "--constraint", "kvm", "--exclusive"];
    let with = |more: &[&str]| command_with_fake_slurm(&bench, &[&submit[..], more].concat()).output().unwrap();
    refused(
        &bench,
        &["submit", "slurm", "study.toml", "--shards", "2", "--host", "auto"],
        "MB6008",
        2,
        "pass --host kvm or --host emulated",
    );
    // If Slurm refuses the job, its folder is removed.
    fake_slurm_command(&bench, "sbatch", "echo 'sbatch: error: invalid partition' >&2; exit 1");
    let failed = with(&["--out", "runs/s"]);
    assert!(text(&failed.stderr).contains("error[MB4006]") && text(&failed.stderr).contains("invalid partition"));
    assert_eq!(fs::read_dir(bench.path("runs")).unwrap().count(), 0);

    fake_slurm_command(&bench, "sbatch", "echo 77");
    let made = with(&["--out", "runs/s", "--", "--partition=bench"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let argv = fs::read_to_string(bench.path("sbatch.args")).unwrap();
    let script = bench.path("runs/s/batch.sh");
    assert_eq!(argv, format!("--parsable\n--partition=bench\n{}\n", script.display()));
    let known: Value = serde_json::from_slice(&fs::read(bench.path("runs/s/submission.json")).unwrap()).unwrap();
    assert_eq!((known["job"].as_str(), known["shards"].as_array().unwrap().len()), (Some("77"), 2));

    fake_slurm_command(&bench, "squeue", "printf '1|RUNNING|n1\\n2|PENDING|\\n'");
    fake_slurm_command(&bench, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1");
    let status = json(&command_with_fake_slurm(&bench, &["status", "s", "--json"]).output().unwrap());
    assert_eq!(status["shards"][0]["slurm"]["nodes"], "n1");
    assert_eq!((status["shards"][1]["trials_ended"].as_u64(), status["complete"].as_bool()), (Some(0), Some(false)));

    // As Slurm does, run the script once per task, and task 1 twice.
    for task in ["1", "2", "1"] {
        let mut node = Command::new("sh");
        let like = bench.command(&[]);
        node.arg(&script).current_dir("/").envs(variables(&like)).stdin(Stdio::null());
        node.envs([("SLURM_ARRAY_JOB_ID", "77"), ("SLURM_ARRAY_TASK_ID", task), ("SLURM_JOB_ID", "78")]);
        let output = node.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    fake_slurm_command(&bench, "squeue", "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1");
    fake_slurm_command(&bench, "sacct", "printf '77_1|COMPLETED|n1\\n77_2|COMPLETED|n2\\n'");
    let shown = text(&command_with_fake_slurm(&bench, &["status", "latest"]).output().unwrap().stdout);
    assert!(
        shown.contains("COMPLETED")
            && shown.contains("8 of 8")
            && shown.contains("all shards are complete; next: microbench merge"),
        "{shown}"
    );
    let merged = command_with_fake_slurm(&bench, &["merge", "s", "--out", "run"]).output().unwrap();
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    assert_eq!(bench.counted().len(), 16);

    // If Slurm does not respond, the status comes from the journals.
    fake_slurm_command(&bench, "squeue", "echo 'Unable to contact slurm controller' >&2; exit 1");
    fake_slurm_command(&bench, "sacct", "exit 1");
    let shown = command_with_fake_slurm(&bench, &["status", "s"]).output().unwrap();
    assert!(text(&shown.stdout).contains("unknown") && text(&shown.stdout).contains("8 of 8"), "{shown:?}");
    assert!(text(&shown.stderr).contains("no status from Slurm"), "{shown:?}");

    fake_slurm_command(&bench, "scancel", "");
    assert!(command_with_fake_slurm(&bench, &["cancel", "s"]).output().unwrap().status.success());
    assert_eq!(fs::read_to_string(bench.path("scancel.args")).unwrap(), "--\n77\n");
    refused(&bench, &["status", "run"], "MB6010", 2, "run is not a submission: it has no submission.json");
}

#[test]
fn status_without_a_submission_says_how_to_create_one() {
    let bench = Bench::new();
    let output = bench.run(&["status", "latest"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("there is no submission in ") && said.contains("submit slurm STUDY --shards N"), "{said}");
    assert!(!said.contains("`latest`"), "{said}");
}

#[test]
fn missing_slurm_is_reported() {
    require!(trials());
    let bench = bench(2);
    let empty = bench.file("empty/none", "").parent().unwrap().to_path_buf();
    let arguments = ["submit", "slurm", "study.toml", "--shards", "2", "--host", "fake"];
    let output = bench.command(&arguments).env("PATH", empty).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("Slurm's commands are not installed"), "{}", text(&output.stderr));
    assert_eq!(fs::read_dir(bench.path("runs")).unwrap().count(), 0);
}
