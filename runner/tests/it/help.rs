//! Help for users: new studies, explanations of cells and error codes, completions and manual pages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use microbench::error::explain;
use microbench_formats::exit;
use microbench_study::manifest::BUILT_IN;
use microbench_testing::require;

use crate::support::{Bench, text, trials};

/// A project with the kernel and root file system that the template of a new study names.
fn bench() -> Bench {
    let bench = Bench::new();
    bench.file("kernels/microvm-6.1/kernel.toml", "description = \"one\"\nseries = \"6.1\"\n");
    bench.file(
        "rootfs/minimal/rootfs.toml",
        "description = \"one\"\ninit = \"/sbin/init\"\nagent = \"/sbin/init\"\nsize_mib = 2\n",
    );
    bench
}

fn ok(bench: &Bench, arguments: &[&str]) -> String {
    let output = bench.run(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn refused(bench: &Bench, arguments: &[&str]) -> (Option<i32>, String) {
    let output = bench.run(arguments);
    assert!(!output.status.success(), "{arguments:?}");
    (output.status.code(), text(&output.stderr))
}

#[test]
fn new_study_is_valid_for_each_engine_and_metric() {
    let bench = bench();
    for engine in ["fc", "qemu", "firecracker,qemu-microvm"] {
        let name = engine.replace(',', "-");
        ok(&bench, &["new", &name, "--engines", engine, "--out", &format!("{name}.toml")]);
        ok(&bench, &["plan", &format!("{name}.toml")]);
    }
    let all: Vec<&str> = BUILT_IN.iter().map(|metric| metric.name).collect();
    for metrics in all.iter().map(|metric| (*metric).to_owned()).chain([all.join(",")]) {
        let file = format!("m-{}.toml", metrics.len());
        drop(fs::remove_file(bench.path(&file)));
        ok(&bench, &["new", "metrics", "--metrics", &metrics, "--out", &file]);
        let plan: serde_json::Value = serde_json::from_str(&ok(&bench, &["plan", &file, "--json"])).unwrap();
        assert_eq!(plan["metrics"].as_array().unwrap().len(), metrics.split(',').count());
    }
}

#[test]
fn new_study_names_an_existing_schema() {
    let bench = bench();
    let said = ok(&bench, &["new", "mine", "--engines", "fc,qemu"]);
    assert!(said.contains("microbench plan experiments/mine.toml"), "{said}");
    let made = fs::read_to_string(bench.path("experiments/mine.toml")).unwrap();
    insta::assert_snapshot!(made);
    assert!(bench.path("experiments/microbench.schema.json").is_file(), "{said}");
    // The next study refers to the same schema.
    ok(&bench, &["new", "other", "--out", "other.toml"]);
    let other = fs::read_to_string(bench.path("other.toml")).unwrap();
    assert!(other.starts_with("#:schema experiments/microbench.schema.json\n"), "{other}");
}

#[test]
fn uncommented_lines_of_a_new_study_add_a_variant_and_a_sweep() {
    let bench = bench();
    ok(&bench, &["new", "sweep", "--engines", "qemu"]);
    let path = bench.path("experiments/sweep.toml");
    let edited: String = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| {
            let wanted = ["#[variants.", "#label", "#engine", "#vcpus = 2", "#memory_mib = [", "#groups"];
            let line = if wanted.iter().any(|start| line.starts_with(start)) { &line[1..] } else { line };
            format!("{line}\n")
        })
        .collect();
    fs::write(&path, edited).unwrap();
    let plan = ok(&bench, &["plan", "experiments/sweep.toml"]);
    assert!(plan.contains("total: 6 cells"), "{plan}");
}

#[test]
fn every_commented_line_of_a_new_study_is_valid() {
    let bench = bench();
    ok(&bench, &["new", "all", "--engines", "fc,qemu", "--metrics", "kernel_boot_time,phase_spawn,phase_vmm"]);
    let path = bench.path("experiments/all.toml");
    let mut taken = 0;
    let edited: String = fs::read_to_string(&path)
        .unwrap()
        .lines()
        .map(|line| {
            let code =
                line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['));
            taken += usize::from(code.is_some());
            format!("{}\n", code.unwrap_or(line))
        })
        .collect();
    assert!(taken > 20, "{taken}");
    fs::write(&path, &edited).unwrap();
    let plan = ok(&bench, &["plan", "experiments/all.toml"]);
    assert!(plan.contains("total: 9 cells"), "{plan}");
    crate::schema::check(&bench.path("experiments/microbench.schema.json"), &edited).unwrap();
}

#[test]
fn new_study_can_copy_another_and_overwrites_nothing() {
    let bench = bench();
    ok(&bench, &["new", "first", "--metrics", "shutdown_time"]);
    ok(&bench, &["new", "second", "--from", "first"]);
    let made = |name: &str| fs::read_to_string(bench.path(&format!("experiments/{name}.toml"))).unwrap();
    assert_eq!(made("second"), made("first").replace("name = \"first\"", "name = \"second\""));
    let (code, said) = refused(&bench, &["new", "first"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("error[MB6007]") && said.contains("experiments/first.toml"), "{said}");
    let (code, said) = refused(&bench, &["new", "x", "--engines", "firecraker"]);
    assert!(code == Some(2) && said.contains("did you mean `firecracker`?"), "{said}");
    let (_, said) = refused(&bench, &["new", "x", "--metrics", "kernel_boot"]);
    assert!(said.contains("did you mean `kernel_boot_time`?"), "{said}");
    // Nothing is written, so the error names no place in a file.
    for name in ["../Mine", "My Study"] {
        let (code, said) = refused(&bench, &["new", name]);
        assert!(code == Some(2) && said.contains("error[MB0106]") && said.contains("at most "), "{said}");
        assert!(!said.contains(".toml") && !said.contains("-->"), "{said}");
    }
    assert!(!bench.path("Mine.toml").exists());
}

#[test]
fn explain_names_the_lines_that_set_the_values_of_a_cell() {
    let bench = bench();
    let study = bench.study(
        &["ok", "late"],
        "concurrency = [1, 3]\nmemory_mib = [128, 256]\ntrials = { 1 = 4, 3 = 2 }\n\
         exclude = [{ variant = \"late\", concurrency = 3 }]",
        "vcpus = 2",
    );
    let profile = "[profiles.few]\ntrials = 1\nwhere = { concurrency = 1 }\n";
    let grouped = fs::read_to_string(&study).unwrap() + "panels = \"memory_mib\"\n" + profile;
    fs::write(&study, grouped).unwrap();
    let filters = vec![("(/[^ ]+)?/fake-vmm", "fake-vmm"), ("/[^ ]*microbench-test-[^ \n]+", "[the test's folder]")];
    insta::with_settings!({ filters => filters }, {
        insta::assert_snapshot!("a cell explained", ok(&bench, &["plan", "study.toml", "--explain", "ok/3/256"]));
    });
    let json: serde_json::Value =
        serde_json::from_str(&ok(&bench, &["plan", "study.toml", "--explain", "ok/1/128", "--json"])).unwrap();
    let setting = |name: &str| {
        let all = json["settings"].as_array().unwrap();
        all.iter().find(|setting| setting["name"] == name).unwrap().clone()
    };
    assert_eq!(setting("vcpus")["source"]["by"], "manifest");
    assert_eq!(setting("mode")["value"], "ok");
    assert_eq!(setting("disk")["source"]["by"], "built-in");
    assert_eq!(setting("file")["source"]["by"], "engine");
    assert!(setting("file")["source"]["line"].as_u64().unwrap() > 1);
    let excluded = ok(&bench, &["plan", "study.toml", "--explain", "late/3/128"]);
    assert!(excluded.contains("is not run") && excluded.contains("study.toml:"), "{excluded}");
    let (code, said) = refused(&bench, &["plan", "study.toml", "--explain", "ok/3/25"]);
    assert!(code == Some(2) && said.contains("did you mean `ok/3/256`?"), "{said}");
    let few = ok(&bench, &["plan", "study.toml", "--explain", "ok/3/256", "--profile", "few"]);
    assert!(few.contains("the profile `few` does not include it") && few.contains("[profiles.few]"), "{few}");
    let few = ok(&bench, &["plan", "study.toml", "--explain", "ok/1/256", "--profile", "few"]);
    assert!(few.lines().any(|line| line.starts_with("  trials") && line.contains("[profiles.few]")), "{few}");
    let asked = ok(&bench, &["plan", "study.toml", "--explain", "ok/1/128", "--trials", "9"]);
    assert!(asked.contains("--trials"), "{asked}");
}

#[test]
fn explained_lines_contain_their_settings() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let study = project.join("experiments/paper-2019.toml");
    let lines: Vec<String> = fs::read_to_string(&study).unwrap().lines().map(str::to_owned).collect();
    let bench = Bench::new();
    let study = study.display().to_string();
    for (cell, profile) in [("fc-t2/1", None), ("qemu-host/20", None), ("fc-custom/1", Some("short"))] {
        let mut arguments = vec!["plan", &study, "--explain", cell, "--json"];
        arguments.extend(profile.iter().flat_map(|profile| ["--profile", profile]));
        let json: serde_json::Value = serde_json::from_str(&ok(&bench, &arguments)).unwrap();
        let mut seen = 0;
        for setting in json["settings"].as_array().unwrap() {
            let (name, source) = (setting["name"].as_str().unwrap(), &setting["source"]);
            if source["by"] == "manifest" {
                let line = &lines[usize::try_from(source["line"].as_u64().unwrap()).unwrap() - 1];
                assert!(line.trim_start().starts_with(name), "{name}: {line}");
                seen += 1;
            }
        }
        assert!(seen >= 2, "{cell}");
        let trials = &json["trials"]["source"]["line"];
        assert!(lines[usize::try_from(trials.as_u64().unwrap()).unwrap() - 1].contains("trials"), "{trials}");
    }
}

#[test]
fn every_error_code_is_explained() {
    let bench = Bench::new();
    let list = ok(&bench, &["explain"]);
    let entries = explain::entries().unwrap();
    let codes: BTreeSet<&str> = list.lines().filter_map(|line| line.split("  ").next()).collect();
    for entry in &entries {
        assert!(codes.contains(entry.code), "{} is not listed", entry.code);
    }
    insta::assert_snapshot!("a code explained", ok(&bench, &["explain", "MB3004"]));
    let json: serde_json::Value = serde_json::from_str(&ok(&bench, &["explain", "--json"])).unwrap();
    assert_eq!(json.as_array().unwrap().len(), entries.len());
    let (code, said) = refused(&bench, &["explain", "MB0199"]);
    assert!(code == Some(2) && said.contains("there is no error code `MB0199`"), "{said}");
    // The fix of an unknown name is the suggested name; here is no suggestion.
    assert!(!said.contains("next: "), "{said}");
    let shown = ok(&bench, &["explain", "exit-codes"]);
    for (code, _) in exit::CODES {
        assert!(shown.contains(code), "{shown}");
    }
}

#[test]
fn every_error_has_a_code_and_a_next_step() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "trials = 1", "");
    bench.file("run/plan.json", "{}");
    for (arguments, code, exit) in [
        (&["analyze", "no-such-run"][..], "MB3001", 1),
        (&["analyze", "kernels"], "MB3002", 1),
        (&["run", "study.toml", "--host", "fake", "--out", "run"], "MB3003", 1),
        (&["analyze", "run"], "MB3007", 1),
        (&["plan", "study.toml", "--profile", "none"], "MB6002", 2),
        (&["plan", "study.toml", "--trials", "4000000"], "MB6003", 2),
        (&["plan", "study.toml", "--project", "rootfs"], "MB6001", 2),
    ] {
        let (status, said) = refused(&bench, arguments);
        assert_eq!(status, Some(exit), "{arguments:?}: {said}");
        assert!(said.contains(&format!("microbench: error[{code}]: ")), "{arguments:?}: {said}");
        assert!(said.contains("\n  next: ") && said.contains(&format!("`microbench explain {code}`")), "{said}");
    }
}

#[test]
fn completions_of_bash_quote_names_of_runs() {
    let bench = Bench::new();
    for name in ["$(touch pwned)", "semi;touch pwned", "two words", "-dash"] {
        bench.file(&format!("runs/{name}/plan.json"), "{\"study\": \"quick\"}");
    }
    let script = "PATH=$1:$PATH; source <(microbench completions bash); COMP_CWORD=2; COMP_WORDS=(microbench show \"$2\")\n\
                  _microbench_quoted microbench \"$2\" show; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let folder = Path::new(env!("CARGO_BIN_EXE_microbench")).parent().unwrap();
    let complete = |start: &str| {
        let mut bash = std::process::Command::new("bash");
        bash.args(["--noprofile", "--norc", "-c", script, "bash"]).arg(folder).arg(start).current_dir(bench.path(""));
        let output = bash.output().expect("bash starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(complete("$"), ["\\$\\(touch\\ pwned\\)"]);
    assert_eq!(complete("se"), ["semi\\;touch\\ pwned"]);
    assert_eq!(complete("tw"), ["two\\ words"]);
    assert!(!complete("-").iter().any(|name| name.contains("dash")));
    assert!(!bench.path("pwned").exists());
}

#[test]
fn completions_offer_commands_options_runs_and_studies() {
    let bench = Bench::new();
    bench.file("runs/quick-20260101T000000Z/plan.json", "{\"study\": \"quick\"}");
    bench.file("runs/quick-20260102T000000Z/plan.json", "{\"study\": \"quick\"}");
    bench.file("experiments/density.toml", "");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = ok(&bench, &["completions", shell]);
        assert!(script.contains("MICROBENCH_COMPLETE") && script.contains(" -- "), "{shell}: {script}");
    }
    let complete = |shell: &str, arguments: &[&str]| {
        let mut command = bench.command(&[&["--", "microbench"], arguments].concat());
        command.env("MICROBENCH_COMPLETE", shell).env("_CLAP_IFS", "\n");
        let output = command.env("_CLAP_COMPLETE_INDEX", arguments.len().to_string()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        let stdout = text(&output.stdout);
        // fish and zsh get a description behind the candidate.
        let candidate = |line: &str| line.split(['\t', ':']).next().unwrap_or_default().to_owned();
        stdout.lines().map(candidate).collect::<Vec<_>>()
    };
    let runs = ["quick-20260101T000000Z", "quick-20260102T000000Z"].map(str::to_owned);
    for shell in ["bash", "zsh", "fish"] {
        for arguments in [&["show", "qu"][..], &["run", "--resume", "qu"], &["verify", "latest", "--against", "qu"]] {
            let mut found = complete(shell, arguments);
            found.sort();
            assert_eq!(found, runs, "{shell}: {arguments:?}");
        }
        assert_eq!(complete(shell, &["plan", "den"]), ["density"], "{shell}");
        assert_eq!(complete(shell, &["plan", "--exp"]), ["--explain"], "{shell}");
        assert_eq!(complete(shell, &["check-s"]), Vec::<String>::new(), "{shell}: a hidden command");
    }
}

#[test]
fn every_subcommand_has_a_manual_page() {
    let bench = Bench::new();
    assert!(ok(&bench, &["man"]).contains(".TH microbench 1"));
    ok(&bench, &["man", "--out", "man"]);
    let pages: BTreeSet<String> = fs::read_dir(bench.path("man"))
        .unwrap()
        .map(|page| page.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let help = ok(&bench, &["help"]);
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for command in
        commands.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).filter(|name| !name.is_empty())
    {
        if command != "help" {
            assert!(pages.contains(&format!("microbench-{command}.1")), "{command}: {pages:?}");
        }
    }
    assert!(!pages.contains("microbench-execute.1"), "{pages:?}");
}
