//! `plan --explain` shows the arguments and files with which `run` starts the VMM of a cell.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::{Bench, text};

/// A VMM that prints its arguments one per line, prints its configuration file, and exits.
const PRINT_ARGUMENTS: &str = r#"#!/bin/sh
case "$*" in --version|version) echo '1.0'; exit 0;; esac
printf 'argument %s\n' "$0" "$@"
while [ "$#" -gt 1 ]; do
    case "$1" in --config-file) sed 's/^/line /' "$2"; echo;; esac
    shift
done
"#;

/// Built-in descriptions of engines, with settings that change the arguments.
const ENGINES: [(&str, &str, &str); 3] = [
    (
        "qemu-microvm",
        include_str!("../../study/engines/qemu-microvm.toml"),
        "disk = \"clone\"\nhuge_pages = false\ncpu = \"qemu64\"\nboot_args = \"loglevel=3 quiet\"",
    ),
    (
        "firecracker",
        include_str!("../../study/engines/firecracker.toml"),
        "api = false\nnetwork = false\nreboot = \"t\"\nvcpus = 2\ncpu_config = \"cpu.json\"",
    ),
    (
        "kvmtool",
        include_str!("../../study/engines/kvmtool.toml"),
        "transport = \"mmio\"\nreboot = \"power-off\"\ntrace = true",
    ),
];

/// Whether `actual` matches `shown`, in which each placeholder in angle brackets stands for the same text everywhere.
/// `known` receives the text of each placeholder.
fn matches_template<'a>(shown: &'a str, actual: &'a str, known: &mut BTreeMap<&'a str, &'a str>) -> bool {
    let Some(open) = shown.find('<') else { return shown == actual };
    let (literal, rest) = shown.split_at(open);
    let Some(actual) = actual.strip_prefix(literal) else { return false };
    let Some(close) = rest.find('>') else { return false };
    let (placeholder, rest) = rest.split_at(close + 1);
    if let Some(value) = known.get(placeholder) {
        return actual.strip_prefix(value).is_some_and(|actual| matches_template(rest, actual, known));
    }
    // The text of a placeholder ends at the literal that follows the placeholder.
    let following = rest.split('<').next().unwrap_or_default();
    let end = if following.is_empty() { Some(actual.len()) } else { actual.find(following) };
    let Some(end) = end else { return false };
    known.insert(placeholder, &actual[..end]);
    matches_template(rest, &actual[end..], known)
}

#[test]
fn explain_shows_the_arguments_and_files_of_the_vmm() {
    let bench = Bench::new();
    let program = bench.file("bin/vmm", PRINT_ARGUMENTS);
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    bench.file("cpu.json", "{}");
    let mut variants = String::new();
    for (name, description, settings) in ENGINES {
        let line = |key: &str| description.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
        let described = description.replacen(line("name"), &format!("name = \"own-{name}\""), 1).replacen(
            line("program"),
            &format!("program = \"{}\"", program.display()),
            1,
        );
        bench.file(&format!("engines/{name}.toml"), &described);
        variants += &format!("[variants.{name}]\nengine = \"own-{name}\"\n{settings}\n");
    }
    bench.study(&["ok"], "trials = 1\nwarmup = false", "");
    let study = fs::read_to_string(bench.path("study.toml")).unwrap();
    bench.file("study.toml", &study.replace("[matrix]", &format!("{variants}[matrix]")));
    bench.run_study();
    for execution in bench.counted().values() {
        let Some(name) = execution.cell.strip_suffix("/1").filter(|name| *name != "ok") else { continue };
        let explained = bench.run(&["plan", "study.toml", "--explain", &execution.cell, "--json"]);
        let explained: serde_json::Value = serde_json::from_slice(&explained.stdout).unwrap();
        let log = format!("run/console/t{:04}-a0-vm000.log", execution.trial);
        let log = fs::read_to_string(bench.path(&log)).unwrap_or_else(|error| panic!("{name}: {error}: {execution:?}"));
        let started = |mark: &str| log.lines().filter_map(|line| line.strip_prefix(mark)).collect::<Vec<_>>();

        let argv: Vec<&str> = explained["argv"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let words = started("argument ");
        assert_eq!(argv.len(), words.len(), "{name}: {argv:#?} {log}");
        let mut known = BTreeMap::new();
        for (shown, actual) in argv.iter().zip(words) {
            assert!(
                matches_template(shown, actual, &mut known),
                "{name}: {shown:?} is explained, {actual:?} is started"
            );
        }
        if let Some(file) = explained["files"]["vm.json"].as_str() {
            let actual = started("line ").join("\n");
            assert!(
                matches_template(file.trim_end(), actual.trim_end(), &mut known),
                "{name}: {file} is explained: {actual}"
            );
        }
        // The kernel command line is an argument or is in the file.
        let line = explained["kernel_command_line"].as_str().unwrap();
        assert!(argv.contains(&line) || explained["files"]["vm.json"].as_str().is_some_and(|file| file.contains(line)));
    }
    assert_eq!(bench.counted().len(), 1 + ENGINES.len(), "{}", text(&bench.run(&["show", "run"]).stdout));
}

#[test]
fn placeholder_matches_the_same_text_everywhere() {
    let of = |shown, actual| matches_template(shown, actual, &mut BTreeMap::new());
    assert!(of("a=<x>,b=<y>,c=<x>", "a=1,b=2,c=1") && of("plain", "plain") && of("<x>/disk", "/run/vm/disk"));
    assert!(!of("a=<x>,b=<x>", "a=1,b=2") && !of("plain", "plains") && !of("<x>,ro", "/disk"));
}
