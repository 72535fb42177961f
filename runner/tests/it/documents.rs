//! Documents agree with the code.

use std::fs;
use std::path::{Path, PathBuf};

use microbench_formats::event::{EVENTS, reading};
use microbench_formats::files;
use microbench_testing::require;

use crate::markdown;
use crate::support::{Bench, text, trials};

pub(crate) fn root() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

#[test]
fn reference_pages_are_up_to_date() {
    let bench = Bench::new();
    let made = bench.run(&["reference", "--out", "pages"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    let checked_in = root().join("docs/reference");
    let names = |folder: &Path| {
        let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let mut made = names(&bench.path("pages"));
    // Pages that are written by hand: a specification, and what was tested.
    made.extend(["journal.md", "support.md"].map(Into::into));
    made.sort();
    assert_eq!(made, names(&checked_in), "run `make docs` to generate the reference pages");
    for name in names(&bench.path("pages")) {
        let (now, before) = (bench.path("pages").join(&name), checked_in.join(&name));
        let (now, before) = (fs::read_to_string(now).unwrap(), fs::read_to_string(before).unwrap());
        assert_eq!(before, now, "docs/reference/{} is out of date; run `make docs`", name.display());
    }
}

#[test]
fn reference_describes_every_event_and_reading() {
    let page = |name: &str| fs::read_to_string(root().join("docs/reference").join(name)).unwrap();
    let (events, readings) = (page("events.md"), page("readings.md"));
    for event in EVENTS {
        let row = format!("| `{}` | {} |", event.name, event.doc);
        assert!(events.contains(&row), "missing in docs/reference/events.md: {row}");
    }
    for reading in reading::READINGS.iter().chain(reading::WORKLOAD_READINGS) {
        let row = format!("| `{}` | {} | {} | {} |", reading.name, reading.unit, reading.better(), reading.doc);
        assert!(readings.contains(&row), "missing in docs/reference/readings.md: {row}");
    }
}

#[test]
fn run_contains_only_documented_files() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    bench.run_study();
    for step in [
        &["analyze", "run"][..],
        &["plot", "run"],
        &["plot", "run", "--theme", "paper"],
        &["table", "run"],
        &["report", "run"],
    ] {
        assert!(bench.run(step).status.success());
    }
    let run = bench.path("run");
    let mut folders = vec![run.clone()];
    let mut found = 0;
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&run).unwrap().display().to_string();
            assert!(files::is_known(&name), "{name} is missing in formats/src/files.rs");
            found += 1;
        }
    }
    assert!(found > 15, "{found} files");
}

#[test]
fn every_link_of_the_documents_has_a_target() {
    let root = root();
    let mut wrong = Vec::new();
    for file in markdown::files(&root) {
        let parts = markdown::parse(&fs::read_to_string(root.join(&file)).unwrap());
        for (line, link) in &parts.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let path = if target.is_empty() {
                root.join(&file)
            } else {
                root.join(file.parent().unwrap_or(Path::new(""))).join(target)
            };
            let has_anchor =
                || markdown::parse(&fs::read_to_string(&path).unwrap()).anchors.contains(&anchor.to_owned());
            if !path.exists() || !anchor.is_empty() && !has_anchor() {
                wrong.push(format!("{}:{line}: {link}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links without a target:\n{}", wrong.join("\n"));
}

#[test]
fn tests_that_the_security_policy_names_exist() {
    let policy = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let rows = policy.lines().filter(|line| line.starts_with("| ")).skip(2);
    let tests: Vec<&str> = rows.filter_map(|row| row.trim_end_matches(" |").rsplit(" | ").next()).collect();
    let names: Vec<&str> = tests.iter().flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`')).collect();
    let sources = fs::read_dir(root().join("runner/tests/it")).unwrap().map(|entry| entry.unwrap().path());
    let code: String = sources.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap()).collect();
    let missing: Vec<_> = names.iter().filter(|name| !code.contains(&format!("#[test]\nfn {name}()"))).collect();
    assert!(names.len() > 20 && missing.is_empty(), "SECURITY.md names tests that do not exist: {missing:?}");
}

#[test]
fn every_page_names_its_readers_and_what_to_read_next() {
    let root = root();
    let mut wrong = Vec::new();
    let mut found = 0;
    for page in markdown::files(&root) {
        // Decisions have a form of their own, and docs/README.md is the index.
        if !page.starts_with("docs") || page.components().count() != 3 || page.starts_with("docs/decisions") {
            continue;
        }
        found += 1;
        let text = fs::read_to_string(root.join(&page)).unwrap();
        let mut paragraphs = text.split("\n\n").skip(1).filter(|paragraph| !paragraph.starts_with("<!--"));
        if !paragraphs.next().is_some_and(|first| first.starts_with("For ")) || !text.contains("\n## Read next\n") {
            wrong.push(page.display().to_string());
        }
    }
    assert!(wrong.is_empty(), "pages without readers or `## Read next`:\n{}", wrong.join("\n"));
    assert!(found > 25, "{found} pages");
}

#[test]
fn readme_has_at_most_900_words() {
    let words = fs::read_to_string(root().join("README.md")).unwrap().split_whitespace().count();
    assert!(words <= 900, "{words} words");
}

/// Top-level folders whose paths in documents are checked.
const FOLDERS: &[&str] = &[
    ".ci",
    ".github",
    "agent",
    "bench",
    "docs",
    "experiments",
    "formats",
    "fuzz",
    "kernels",
    "plots",
    "rootfs",
    "runner",
    "testing",
];

#[test]
fn paths_in_the_documents_for_developers_exist() {
    let root = root();
    let mut missing = Vec::new();
    let mut found = 0;
    for document in ["ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"] {
        let parts = markdown::parse(&fs::read_to_string(root.join(document)).unwrap());
        for (line, path) in &parts.spans {
            let inside = path.split_once('/').is_some_and(|(folder, _)| FOLDERS.contains(&folder));
            // `NAME.toml` and `*.toml` are placeholders.
            let placeholder = |part: &str| part.split('.').any(|word| word.len() > 1 && word == word.to_uppercase());
            if !inside || path.contains([' ', '*']) || path.split('/').any(placeholder) {
                continue;
            }
            found += 1;
            if !root.join(path).exists() {
                missing.push(format!("{document}:{line}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "paths that do not exist:\n{}", missing.join("\n"));
    assert!(found > 50, "{found} paths");
}
