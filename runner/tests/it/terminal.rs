//! Output for people: a line per trial, a live line on a terminal, its width, and colours.

use std::io::Write as _;
use std::process::{Command, Stdio};

use console::strip_ansi_codes;
use microbench_testing::require;
use serde_json::Value;

use crate::support::{Bench, processes_of, text, trials, variables, wait_until};

/// The program on a terminal with this number of columns, which `script` of util-linux creates.
fn terminal(bench: &Bench, columns: u16, arguments: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_microbench");
    let mut command = Command::new("script");
    let inner = bench.command(&[]);
    command
        .args(["-qec", &format!("stty cols {columns} rows 24 && exec {program} {arguments}"), "/dev/null"])
        .current_dir(inner.get_current_dir().expect("a folder"))
        .envs(variables(&inner))
        .env("TERM", "xterm-256color")
        .stdin(Stdio::null());
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command
}

/// Output of the program on a terminal; panics if the program fails.
fn on_terminal(bench: &Bench, columns: u16, arguments: &str, more: &[(&str, &str)]) -> String {
    let mut command = terminal(bench, columns, arguments);
    let output = command.envs(more.iter().copied()).output().expect("script is installed: it is part of util-linux");
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// All lines that were drawn, without control sequences. Paths are left out, because they may be wider than the
/// terminal.
fn lines(output: &str) -> Vec<String> {
    let seen = strip_ansi_codes(output);
    seen.split(['\n', '\r']).map(|line| line.trim_end().to_owned()).filter(|line| !line.starts_with('/')).collect()
}

#[test]
fn each_trial_is_a_line_with_its_status_and_failures_below_it() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "crash", "refuse", "kernel-error-once"], "concurrency = [1]\ntrials = 1\nwarmup = false", "");
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let said = text(&output.stderr);
    for begin in ["   PASS [", "   FAIL [", "   SKIP [", "INVALID ["] {
        assert!(said.lines().any(|line| line.starts_with(begin)), "{begin}: {said}");
    }
    let passed = said.lines().find(|line| line.starts_with("   PASS [") && line.contains("] ok/1")).unwrap();
    assert!(passed.contains("kernel_boot_time 1.00 ms, webservice_startup_time "), "{passed}");
    // Trials of the run, as `runs` counts them: a repeated execution does not add one.
    assert!(passed.contains("/4, "), "{passed}");
    assert!(said.contains("        crash/1 vm 0: exited before http.ok: ") && said.contains("(console/t"), "{said}");
    assert!(said.contains("refuse/1 vm 0: not-applicable"), "{said}");
    assert!(
        said.contains("run: complete, 1 VM failed; trials: 2 pass, 1 fail, 1 skip; 1 disturbed execution was retried"),
        "{said}"
    );
    // No colours without a terminal.
    assert!(!said.contains(['\u{1b}', '\r']), "{said:?}");
    let forced =
        bench.command(&["run", "study.toml", "--host", "fake", "--out", "other", "--color", "always"]).output();
    assert!(text(&forced.unwrap().stderr).contains("\u{1b}[32m"));
}

#[test]
fn run_ends_with_the_next_command_and_resume_reports_a_complete_run() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2\nwarmup = true", "");
    let ran = text(&bench.run(&["run", "study.toml", "--host", "fake", "--out", "runs/first"]).stderr);
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let next = format!("next: microbench analyze {}", bench.path("runs/first").display());
    assert!(words(&ran).ends_with(&next), "{ran}");
    let warm = ran.lines().find(|line| line.contains("WARM [")).unwrap();
    assert!(warm.ends_with(" (0/2)"), "{ran}");
    let resumed = bench.run(&["run", "--resume", "first", "--host", "fake"]);
    let said = text(&resumed.stderr);
    assert!(resumed.status.success(), "{said}");
    assert!(said.contains("run: already complete (2 trials); no trial was executed"), "{said}");
    assert!(words(&said).contains(&next), "{said}");
}

#[test]
fn host_kind_and_machine_have_their_own_lines() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    bench.run_study();
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    for begin in ["host kind: fake VMM for tests", "machine: "] {
        assert_eq!(analyzed.lines().filter(|line| line.starts_with(begin)).count(), 1, "{begin}: {analyzed}");
    }
    let shown = text(&bench.run(&["show", "run"]).stdout);
    for begin in ["host kind  fake (", "machine    "] {
        assert_eq!(shown.lines().filter(|line| line.starts_with(begin)).count(), 1, "{begin}: {shown}");
    }
}

#[test]
fn messages_and_lists_fit_the_terminal_or_the_variable_columns() {
    let bench = Bench::new();
    let path = bench.path("").display().to_string();
    let root = bench.path("root");
    std::fs::create_dir_all(&root).unwrap();
    for arguments in [
        &["doctor", "--root", "root"][..],
        &["explain"],
        &["explain", "exit-codes"],
        &["new", "--list"],
        &["query", "--tables"],
        &["show", "a-run-with-a-rather-long-name-that-does-not-exist"],
    ] {
        let output = bench.command(arguments).env("COLUMNS", "80").output().unwrap();
        let shown = text(&output.stdout) + &text(&output.stderr);
        let too_wide = shown.lines().find(|line| line.chars().count() > 80);
        assert_eq!(too_wide, None, "{arguments:?} in {path}: {shown}");
        assert!(!shown.is_empty(), "{arguments:?}");
    }
    // A pipe without a width: lines that a program may search are not broken.
    let output = bench.command(&["doctor", "--root", "root"]).env_remove("COLUMNS").output().unwrap();
    assert!(text(&output.stdout).lines().any(|line| line.chars().count() > 100), "{}", text(&output.stdout));
}

#[test]
fn a_study_in_the_working_directory_is_found_by_its_name() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2", "");
    let planned = bench.run(&["plan", "study"]);
    assert!(planned.status.success(), "{}", text(&planned.stderr));
    let missing = text(&bench.run(&["plan", "missing"]).stderr);
    assert!(missing.contains("missing.toml nor missing.toml in the working directory exists"), "{missing}");
}

#[test]
fn a_skipped_trial_shows_no_values() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "refuse"], "concurrency = [2]\ntrials = 2\nwarmup = false", "");
    let shown = text(&bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]).stderr);
    let skipped: Vec<&str> = shown.lines().filter(|line| line.starts_with("   SKIP [")).collect();
    assert_eq!(skipped.len(), 2, "{shown}");
    assert!(skipped.iter().all(|line| !line.contains("_time ")), "{shown}");
    let passed = shown.lines().find(|line| line.starts_with("   PASS [")).unwrap();
    assert!(passed.contains("kernel_boot_time 1.00 ms"), "{shown}");
}

#[test]
fn a_reason_shared_by_many_vms_is_one_line_with_a_count() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["crash"], "concurrency = [5]\ntrials = 2\nwarmup = false", "");
    let shown = text(&bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]).stderr);
    assert_eq!(shown.matches("crash/5: 5 VMs: exited before http.ok: ").count(), 2, "{shown}");
    assert!(!shown.contains(" vm 0: "), "{shown}");
    // Once for the whole run, at its end and in `show`.
    let line = "10 VMs of crash/5: exited before http.ok: ";
    assert_eq!(shown.matches(line).count(), 1, "{shown}");
    let details = text(&bench.run(&["show", "run"]).stdout);
    assert_eq!(details.matches(line).count(), 1, "{details}");
}

#[test]
fn run_runs_and_show_have_the_same_counts() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "crash", "refuse", "kernel-error-once"], "concurrency = [2]\ntrials = 2\nwarmup = true", "");
    let shown = text(&bench.run(&["run", "study.toml", "--host", "fake", "--out", "runs/counts"]).stderr);
    // Without warm-ups and retried executions.
    assert!(shown.contains("8 trials of 4 cells (16 VMs) and 4 warm-ups on 1 host"), "{shown}");
    let counted =
        "run: complete, 4 VMs failed; trials: 4 pass, 2 fail, 2 skip; 2 disturbed executions were retried; wall time ";
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(counted) && shown.contains("(8/8, "), "{shown}");
    let listed: Value = serde_json::from_slice(&bench.run(&["runs", "--json"]).stdout).unwrap();
    let count = |name: &str| listed[0][name].as_u64();
    assert_eq!((count("trials_planned"), count("trials_ended"), count("failed_vms")), (Some(8), Some(8), Some(4)));
    assert_eq!(listed[0]["sessions"][0]["trials"], 8);
    let details: Value = serde_json::from_slice(&bench.run(&["show", "counts", "--json"]).stdout).unwrap();
    let sum =
        |name: &str| details["cells"].as_array().unwrap().iter().filter_map(|cell| cell[name].as_u64()).sum::<u64>();
    assert_eq!((sum("ok"), sum("failed"), sum("skipped"), sum("invalid")), (4, 2, 2, 0));
}

#[test]
fn the_list_of_runs_fits_80_columns_without_breaking_words() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 2", "");
    bench.file("table.csv", "metric,concurrency,value,unit\nwebservice_startup_time,1,100,ms\n");
    let name = "runs/paper-2019-20260101T000000Z";
    assert!(bench.run(&["import", "study.toml", "table.csv", "--out", name]).status.success());
    bench.file("runs/damaged-20260102T000000Z/plan.json", "{}");
    let wide = text(&bench.run(&["runs"]).stdout);
    let words: std::collections::BTreeSet<&str> = wide.split_whitespace().collect();
    let narrow = on_terminal(&bench, 80, "runs", &[]);
    assert!(narrow.contains("paper-2019-20260101T000000Z") && narrow.contains("imported"), "{narrow}");
    for line in lines(&narrow).iter().filter(|line| !line.starts_with("omitted to fit ") && !line.starts_with("  ")) {
        assert!(line.chars().count() <= 80, "{line}");
        assert!(line.split_whitespace().all(|word| words.contains(word)), "{line}\nof\n{wide}");
    }
}

#[test]
fn output_fits_the_terminal_and_respects_colour_settings() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "late", "crash"], "concurrency = [1, 2]\ntrials = 2", "");
    for columns in [40, 60, 80] {
        let run = format!("run study.toml --host fake --out runs/run-{columns}");
        let ran = on_terminal(&bench, columns, &run, &[]);
        let shown = on_terminal(&bench, columns, &format!("show run-{columns}"), &[]);
        let analyzed = on_terminal(&bench, columns, &format!("analyze run-{columns}"), &[]);
        let listed = on_terminal(&bench, columns, "runs", &[]);
        let compared = on_terminal(&bench, columns, "compare latest --detail", &[]);
        assert!(ran.contains("\u{1b}[32m") && ran.contains("PASS"), "no colour on a terminal: {ran:?}");
        assert!(
            lines(&ran).iter().any(|line| line.starts_with('[') && line.contains(" left")),
            "no live line: {ran:?}"
        );
        for output in [ran, shown, analyzed, listed, compared] {
            for line in lines(&output) {
                let width = line.chars().count();
                assert!(width <= usize::from(columns), "{width} > {columns}: {line}\nof\n{output}");
            }
        }
    }
    for (more, flags) in [(&[("NO_COLOR", "1")][..], ""), (&[], "--color never")] {
        let out = if flags.is_empty() { "plain-1" } else { "plain-2" };
        let ran = on_terminal(&bench, 80, &format!("run study.toml --host fake --out {out} {flags}"), more);
        assert!(!ran.contains("\u{1b}[32m"), "{ran:?}");
    }
}

#[test]
fn log_lines_are_printed_above_the_live_line() {
    let bench = Bench::new();
    bench.study(&["ok", "crash"], "concurrency = [1]\ntrials = 2", "");
    let ran = on_terminal(&bench, 100, "run study.toml --host fake --out run -vv", &[]);
    let logged: Vec<String> =
        lines(&ran).into_iter().filter(|line| [" INFO ", "DEBUG "].iter().any(|level| line.contains(level))).collect();
    // Including events of trials, which end while a live line is shown.
    assert!(logged.iter().any(|line| line.contains("microbench::run::session: ok/1 ended ")), "{ran}");
    for line in logged {
        let level = line.strip_prefix(" INFO ").or(line.strip_prefix("DEBUG "));
        assert!(level.is_some_and(|rest| rest.starts_with("microbench")), "{line}\nof\n{ran}");
    }
}

#[test]
fn analysis_prints_sentences_and_json_with_the_same_numbers() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok", "late"], "concurrency = [1]\ntrials = 7\nwarmup = false", "");
    bench.run_study();
    let analyzed = text(&bench.run(&["analyze", "run"]).stdout);
    assert!(analyzed.contains("webservice_startup_time\n\u{251c}\u{2500} ok "), "{analyzed}");
    // Which variant is faster depends on this machine, so the test does not check it.
    assert!(analyzed.contains("web service start-up") && analyzed.contains("fake VMM for tests"), "{analyzed}");
    let output = bench.run(&["analyze", "run", "--json"]);
    let found: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text(&output.stdout)));
    assert_eq!((found["study"].as_str(), found["values"].as_u64()), (Some("test"), Some(56)));
    let results = found["results"].as_array().unwrap();
    let boot = results.iter().find(|row| row["cell"] == "ok/1" && row["metric"] == "kernel_boot_time").unwrap();
    assert_eq!((boot["median"].as_f64(), boot["n"].as_u64(), boot["unit"].as_str()), (Some(1.0), Some(7), Some("ms")));
    let said = &found["sentences"][0];
    assert!(["differs", "no-difference-shown"].contains(&said["says"].as_str().unwrap()), "{said}");
    assert_eq!((said["baseline"].as_str(), said["comparison"]["cell"].as_str()), (Some("ok/1"), Some("late/1")));
    // The numbers are those of `compare`.
    let compared: Value = serde_json::from_slice(&bench.run(&["compare", "run", "--json"]).stdout).unwrap();
    assert!(compared.as_array().unwrap().contains(&said["comparison"]));
}

#[test]
fn interrupt_from_the_terminal_ends_the_run_after_the_current_trial() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["silent"], "concurrency = [1]\ntrials = 3\nwarmup = false", "");
    let mut command = terminal(&bench, 80, "run study.toml --host fake --out run");
    let mut run = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script is installed");
    wait_until("a VM", || processes_of(&bench.path("run")).iter().any(|(_, line)| line.contains(" silent ")));
    run.stdin.as_mut().unwrap().write_all(b"\x03").unwrap();
    let output = run.wait_with_output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("stopping after the current trial, which has 30 s to end"), "{said}");
    // A terminal sends the signal to every process of the foreground group; the run must count it once.
    let ended = bench.journal().executions.len();
    assert!((1..3).contains(&ended), "{ended} trials ended: {said}");
}
