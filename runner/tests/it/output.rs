//! Output that cannot be written: full disk, pipe without a reader, closed descriptors, closed terminal.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use microbench_agent::READY_MARK;
use microbench_testing::require;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Bench, processes_of, text, trials, variables, wait_until};

/// A command line for every subcommand. `{n}` is replaced in each execution, and `+` is a space within an argument.
const COMMANDS: &[&str] = &[
    "--help",
    "--version",
    "help plan",
    "plan --help",
    "submit slurm --help",
    "new mine-{n}",
    "plan study.toml",
    "plan study.toml --full --shards 2",
    "plan study.toml --json",
    "plan study.toml --explain ok/1",
    "run study.toml --host fake --fake-guests 1 --out run-{n}",
    "run --resume run --host fake",
    "merge one two --out merged-{n}",
    "merge one two --out merged-json-{n} --json",
    "submit slurm study.toml --shards 2 --host fake --out submitted-{n}",
    "status submission",
    "status submission --json",
    "cancel submission",
    "host study.toml",
    "host study.toml --json",
    "doctor --root machine",
    "doctor --root machine --json",
    "doctor --root machine --tune",
    "doctor --root machine --restore",
    "analyze run",
    "analyze run --json",
    "analyze run one/samples.parquet",
    "plot run",
    "plot run --json",
    "table run",
    "report run",
    "query --tables",
    "query run select+*+from+summary",
    "query --csv run select+*+from+summary",
    "query --json run select+*+from+summary",
    "compare run",
    "compare run --json",
    "compare run run --detail",
    "verify run --against run",
    "verify run --against run --json",
    "ab study.toml study.toml --host fake --repetitions 3 --trials 1 --out ab-{n}",
    "history test",
    "history test --format csv",
    "history test --format json",
    "import study.toml table.csv --out imported-{n}",
    "import study.toml table.csv --out imported-json-{n} --json",
    "artifacts study.toml",
    "artifacts study.toml --json",
    "runs",
    "runs --json",
    "show run",
    "show run --json",
    "show run.tar.gz",
    "export run --out {n}.tar.gz",
    "export run --out json-{n}.tar.gz --json",
    "prune run",
    "prune run --json",
    "schema",
    "trust",
    "explain",
    "explain MB0102",
    "explain exit-codes",
    "explain --json",
    "completions bash",
    "man",
    "selftest probe --guests 1 --at-once 1 --spread 0",
    "selftest load --windows 2 --length 0.01",
    "selftest workload",
    "selftest noise-floor study.toml --host fake --repetitions 1 --blocks 3 --out aa-{n}",
];

/// Commands that print only messages.
const WITHOUT_RESULT: &[&str] = &["cancel submission"];

/// A project in which each of [`COMMANDS`] succeeds or has something to print.
fn project() -> Bench {
    let bench = Bench::new();
    bench.study(&["ok", "late"], "concurrency = [1]\ntrials = 3\nwarmup = false", "");
    bench.file("table.csv", "metric,concurrency,value,variant\nhashing_time,1,5,ok\nhashing_time,1,5,late\n");
    bench.file("machine/sys/kernel/mm/ksm/run", "1\n");
    for (name, prints) in [("sbatch", "77"), ("squeue", "1|RUNNING|n1"), ("sacct", ""), ("scancel", "")] {
        write_script(&bench, &format!("bin/{name}"), &format!("echo '{prints}'"));
    }
    // An agent that prints an address and does not listen there.
    write_script(&bench, "agent", &format!("echo '{READY_MARK} nonce 127.0.0.1:1'; exec sleep 600"));
    for arguments in [
        "run study.toml --host fake --fake-guests 1 --out runs/run",
        "run study.toml --host fake --fake-guests 1 --shard 1/2 --out one",
        "run study.toml --host fake --fake-guests 1 --shard 2/2 --out two",
        "submit slurm study.toml --shards 2 --host fake --out submission",
        "analyze run",
        "analyze one",
        "export run --out run.tar.gz",
        "trust runs",
    ] {
        let output = command(&bench, arguments).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
    }
    bench
}

fn write_script(bench: &Bench, name: &str, commands: &str) {
    let path = bench.file(name, &format!("#!/bin/sh\n{commands}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The program with these arguments and with the fake commands of Slurm on PATH.
fn command(bench: &Bench, arguments: &str) -> Command {
    let words: Vec<String> = arguments.split(' ').map(|word| word.replace('+', " ")).collect();
    let mut command = bench.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    command.env("PATH", format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap()));
    command
}

/// Target of an output stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// A pipe with a reader.
    Reader,
    /// A full disk.
    FullDisk,
    /// A pipe without a reader.
    ClosedPipe,
}

impl Target {
    fn stdio(self) -> Stdio {
        match self {
            Self::Reader => Stdio::piped(),
            Self::FullDisk => File::options().write(true).open("/dev/full").expect("/dev/full").into(),
            Self::ClosedPipe => std::io::pipe().expect("a pipe").1.into(),
        }
    }
}

/// Documented subcommands, without those that only group other subcommands.
fn documented_subcommands(bench: &Bench) -> BTreeSet<String> {
    assert!(bench.run(&["reference", "--out", "reference"]).status.success());
    let page = fs::read_to_string(bench.path("reference/commands.md")).unwrap();
    let names: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("## `microbench ")?.strip_suffix('`')).collect();
    let above = |name: &str| names.iter().any(|other| other.starts_with(&format!("{name} ")));
    names.iter().filter(|name| !above(name)).map(|name| (*name).to_owned()).collect()
}

#[test]
fn every_subcommand_fails_when_its_output_cannot_be_written() {
    require!(trials());
    let bench = project();
    for name in documented_subcommands(&bench) {
        let words = format!("{name} ");
        assert!(COMMANDS.iter().any(|line| format!("{line} ").starts_with(&words)), "{name} has no line in COMMANDS");
    }
    let all = |n: &str, to: Target| {
        let run = |line: &&str| {
            let mut command = command(&bench, &line.replace("{n}", n));
            command.stdout(to.stdio()).stderr(Stdio::piped()).output().expect("the program starts")
        };
        COMMANDS.iter().map(run).collect::<Vec<_>>()
    };
    let (read, full, unread) =
        (all("read", Target::Reader), all("full", Target::FullDisk), all("unread", Target::ClosedPipe));
    let mut wrong = Vec::new();
    for (((line, read), full), unread) in COMMANDS.iter().zip(read).zip(full).zip(unread) {
        let prints = !read.stdout.is_empty();
        if prints == WITHOUT_RESULT.contains(line) {
            wrong.push(format!("{line}: prints to standard output: {prints}: {}", text(&read.stderr)));
            continue;
        }
        for output in [&full, &unread] {
            let said = text(&output.stderr);
            if output.status.code() == Some(101) || said.contains("panicked") || (prints && output.status.success()) {
                wrong.push(format!("{line}: {}: {said}", output.status));
            }
        }
        let said = text(&full.stderr);
        if prints && (full.status.code() != Some(1) || !said.contains("error[MB9003]: ")) {
            wrong.push(format!("{line}: {}: {said}", full.status));
        }
        let by_signal = unread.status.signal() == Some(libc::SIGPIPE);
        if prints && !by_signal && !text(&unread.stderr).contains("error[MB9003]: ") {
            wrong.push(format!("{line}: {}: {}", unread.status, text(&unread.stderr)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A command completes although its result cannot be printed.
    for made in
        ["run", "merged", "imported", "aa"].iter().flat_map(|name| ["full", "unread"].map(|n| format!("{name}-{n}")))
    {
        let journal = microbench_plots::journal::read(&bench.path(&made).join("journal.ndjson")).expect("a journal");
        assert!(journal.ended.is_some(), "{made} is not complete");
    }
}

#[test]
fn exit_code_is_kept_when_messages_cannot_be_written() {
    let bench = Bench::new();
    let path = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let study = fs::read_to_string(path).unwrap();
    bench.file("wrong.toml", &study.replace("seed", "sede"));
    for (arguments, code) in [
        (&["plan", "wrong.toml"][..], 2),
        (&["plan"], 2),
        (&["show", "nothing"], 1),
        (&["runs"], 0),
        (&["doctor", "--root", "nothing"], 1),
        (&["unknown"], 2),
    ] {
        for err in [Target::FullDisk, Target::ClosedPipe] {
            let output = bench.command(arguments).stdout(Stdio::piped()).stderr(err.stdio()).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: messages to {err:?}");
        }
    }
}

/// Asserts that the run in the folder `run` is complete and that its journal is not torn.
fn assert_complete(bench: &Bench, trials: usize) {
    let journal = bench.journal();
    assert_eq!((journal.ended.is_some(), journal.torn), (true, None));
    assert_eq!(bench.counted().len(), trials);
}

#[test]
fn run_completes_when_its_output_cannot_be_written() {
    require!(trials());
    for (out, err, code) in [
        (Target::Reader, Target::FullDisk, 0),
        (Target::Reader, Target::ClosedPipe, 0),
        (Target::FullDisk, Target::Reader, 1),
        (Target::ClosedPipe, Target::Reader, 1),
        (Target::ClosedPipe, Target::ClosedPipe, 1),
    ] {
        let bench = Bench::new();
        bench.study(&["ok", "crash"], "concurrency = [1]\ntrials = 3\nwarmup = false", "");
        let mut command = bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]);
        let output = command.stdout(out.stdio()).stderr(err.stdio()).spawn().unwrap().wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "results to {out:?}, messages to {err:?}: {said}");
        assert_complete(&bench, 6);
        if out != Target::Reader && err == Target::Reader {
            // The messages contain the path that standard output could not show.
            let path = format!("the run continues in {}", bench.path("run").display());
            assert!(said.contains(&path) && said.contains("error[MB9003]: "), "{out:?}: {said}");
        }
    }
}

#[test]
fn run_started_with_closed_descriptors_passes_no_file_to_its_vms() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent", "ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    let inner = bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$@\" <&- >&- 2>&-", "sh"]).arg(inner.get_program()).args(inner.get_args());
    shell.current_dir(inner.get_current_dir().expect("a folder")).envs(variables(&inner));
    let mut run = shell.spawn().unwrap();
    let mut open = Vec::new();
    wait_until("a VM", || {
        let processes = processes_of(&bench.path("run"));
        open = processes
            .iter()
            .flat_map(|(pid, _)| (0..3).filter_map(move |fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()))
            .collect();
        processes.iter().any(|(_, line)| line.contains(" silent "))
    });
    assert!(!open.is_empty());
    for file in &open {
        assert!(file.starts_with("/dev/null") || file.to_string_lossy().starts_with("pipe:"), "{}", file.display());
    }
    assert!(run.wait().unwrap().success());
    assert_complete(&bench, 2);
}

/// Runs the shell commands `script` on a terminal, with `RUN` replaced by `microbench run ...`, and closes the terminal
/// when a VM is running. Returns the exit code that the commands write to the file `code`.
fn run_and_close_terminal(bench: &Bench, script: &str) -> String {
    let program = env!("CARGO_BIN_EXE_microbench");
    let inner = bench.command(&[]);
    let words = script.replace("RUN", &format!("{program} run study.toml --host fake --out run"));
    let mut terminal = Command::new("script")
        .args(["-qec", &words, "/dev/null"])
        .current_dir(inner.get_current_dir().expect("a folder"))
        .envs(variables(&inner))
        .envs([("SHELL", "/bin/sh"), ("TERM", "xterm-256color")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .expect("script is installed: it is part of util-linux");
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    wait_until("the run to end", || fs::read_to_string(bench.path("code")).is_ok_and(|code| code.ends_with('\n')));
    fs::read_to_string(bench.path("code")).unwrap().trim().to_owned()
}

#[test]
fn hangup_ends_the_run_after_the_current_trial() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 3\nwarmup = false", "");
    // The kernel sends SIGHUP only to the leader of the session, which is the shell.
    let code =
        run_and_close_terminal(&bench, "trap 'kill -HUP $run' HUP; RUN & run=$!; wait $run; wait $run; echo $? > code");
    assert_eq!(code, "129");
    let ended = bench.counted().len();
    assert!((1..3).contains(&ended), "{ended} trials ended");
    let resumed = bench.run(&["run", "--resume", "run", "--host", "fake"]);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    assert_complete(&bench, 3);
}

#[test]
fn run_that_ignores_hangups_continues_without_its_terminal() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    assert_eq!(run_and_close_terminal(&bench, "trap '' HUP; RUN; echo $? > code"), "0");
    assert_complete(&bench, 2);

    // Started as by `nohup`.
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    let inner = bench.command(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    shell.current_dir(inner.get_current_dir().expect("a folder")).envs(variables(&inner));
    let mut run = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    kill(Pid::from_raw(run.id().cast_signed()), Signal::SIGHUP).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert_complete(&bench, 2);
}
