//! What a run states about its origin: the build of the program, the agent, the authors of the study.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use microbench::build::this_build;
use microbench_formats::record::Record;
use microbench_testing::{program, require};
use serde_json::Value;

use crate::support::{Bench, text, trials};

/// Authors, licence and DOI of a study.
const ATTRIBUTION: &str = "authors = [\"Lovelace, Ada <ada@example.org> (https://orcid.org/0000-0002-1825-0097)\", \
                           \"The <b> team\"]\nlicense = \"CC-BY-4.0 OR MIT\"\ndoi = \"10.5281/zenodo.1234567\"\n";

/// The build script, compiled on its own, and a git work tree with the files that it looks at.
struct Sources {
    folder: tempfile::TempDir,
}

impl Sources {
    fn new() -> Self {
        let sources = Self { folder: tempfile::tempdir().unwrap() };
        let output = Command::new("rustc")
            .args(["--edition", "2024", "-o"])
            .arg(sources.path("script"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("build.rs"))
            .output()
            .expect("rustc starts");
        assert!(output.status.success(), "{}", text(&output.stderr));
        for file in ["tree/agent/Cargo.toml", "tree/runner/build.rs", "tree/runner/src/main.rs", "tree/README.md"] {
            let path = sources.path(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        sources
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn git(&self, folder: &str, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .current_dir(self.path(folder))
            .args(["-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "init.defaultBranch=main"])
            .args(arguments)
            .output()
            .expect("git starts");
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }

    /// Creates a repository of everything below `folder` with one commit, and returns the commit.
    fn commit(&self, folder: &str) -> String {
        self.git(folder, &["init", "--quiet"]);
        self.git(folder, &["add", "."]);
        self.git(folder, &["commit", "--quiet", "--message", "all"]);
        self.git(folder, &["rev-parse", "HEAD"])
    }

    /// The script's output for the package in `package`.
    fn output(&self, package: &str, variables: &[(&str, &str)]) -> std::process::Output {
        let mut command = Command::new(self.path("script"));
        command.env_remove("MICROBENCH_COMMIT").env("CARGO_MANIFEST_DIR", self.path(package));
        command.env("PROFILE", "debug").env("TARGET", "x86_64-unknown-linux-gnu").envs(variables.iter().copied());
        command.output().expect("the script starts")
    }

    /// The commit and `dirty` that the script states; empty if unknown.
    fn facts(&self, package: &str, variables: &[(&str, &str)]) -> (String, String) {
        let output = self.output(package, variables);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let output = text(&output.stdout);
        let value = |name: &str| {
            let line = format!("cargo::rustc-env=MICROBENCH_BUILD_{name}=");
            output.lines().find_map(|text| text.strip_prefix(&line)).expect("the fact is missing").to_owned()
        };
        (value("COMMIT"), value("DIRTY"))
    }

    /// The files in git's folder that the script watches, relative to the folder of the sources.
    fn watched(&self, package: &str) -> Vec<String> {
        let output = text(&self.output(package, &[]).stdout);
        let paths = output.lines().filter_map(|line| line.strip_prefix("cargo::rerun-if-changed="));
        let inside = paths.map(|path| fs::canonicalize(path).expect("a watched path exists"));
        let folder = fs::canonicalize(self.folder.path()).unwrap();
        inside.map(|path| path.strip_prefix(&folder).unwrap().display().to_string()).collect()
    }
}

fn stated(commit: &str, dirty: &str) -> (String, String) {
    (commit.to_owned(), dirty.to_owned())
}

#[test]
fn build_states_the_commit_and_uncommitted_changes() {
    require!(program("git", "git").and(program("rustc", "rustc")));
    let sources = Sources::new();
    assert_eq!(sources.facts("tree/runner", &[]), stated("", ""), "without a repository");
    let commit = sources.commit("tree");
    assert_eq!(sources.facts("tree/runner", &[]), stated(&commit, "false"));
    let elsewhere = sources.path("elsewhere").display().to_string();
    assert_eq!(sources.facts("tree/runner", &[("GIT_DIR", &elsewhere)]), stated(&commit, "false"), "in a git hook");
    fs::write(sources.path("tree/new"), "untracked").unwrap();
    assert_eq!(sources.facts("tree/runner", &[]), stated(&commit, "false"), "untracked files do not count");
    fs::write(sources.path("tree/README.md"), "changed").unwrap();
    assert_eq!(sources.facts("tree/runner", &[]), stated(&commit, "true"));
    sources.git("tree", &["add", "README.md"]);
    assert_eq!(sources.facts("tree/runner", &[]), stated(&commit, "true"), "a staged change");
    assert_eq!(sources.facts("tree/runner", &[("PATH", "/nonexistent")]), stated("", ""), "without git");

    // In a linked work tree, `.git` is a file.
    sources.git("tree", &["worktree", "add", "--quiet", "../linked", "HEAD"]);
    assert_eq!(sources.facts("linked/runner", &[]), stated(&commit, "false"));
}

#[test]
fn build_does_not_state_the_commit_of_another_project() {
    require!(program("git", "git").and(program("rustc", "rustc")));
    let sources = Sources::new();
    fs::create_dir(sources.path("other")).unwrap();
    fs::rename(sources.path("tree"), sources.path("other/tree")).unwrap();
    sources.commit("other");
    assert_eq!(sources.facts("other/tree/runner", &[]), stated("", ""));

    // A packaged crate states the commit that `cargo package` recorded.
    let (commit, info) = ("0123456789abcdef0123456789abcdef01234567", "other/tree/runner/.cargo_vcs_info.json");
    let json = format!("{{\n  \"git\": {{\n    \"sha1\": \"{commit}\"\n  }},\n  \"path_in_vcs\": \"runner\"\n}}");
    fs::write(sources.path(info), &json).unwrap();
    assert_eq!(sources.facts("other/tree/runner", &[]), stated(commit, "false"));
    fs::write(sources.path(info), json.replace("\"\n  },", "\",\n    \"dirty\": true\n  },")).unwrap();
    assert_eq!(sources.facts("other/tree/runner", &[]), stated(commit, "true"));
}

#[test]
fn packager_states_the_commit() {
    require!(program("git", "git").and(program("rustc", "rustc")));
    let sources = Sources::new();
    sources.commit("tree");
    let facts = |value: &str| sources.facts("tree/runner", &[("MICROBENCH_COMMIT", value)]);
    assert_eq!(facts("0123456789"), stated("0123456789", "false"));
    assert_eq!(facts("0123456789-dirty"), stated("0123456789", "true"));
    assert_eq!(facts(""), stated("", ""));
    let output = sources.output("tree/runner", &[("MICROBENCH_COMMIT", "v1.0")]);
    assert!(!output.status.success() && text(&output.stderr).contains("is not a commit"), "{output:?}");
}

/// Cargo runs the script at every build if a watched path does not exist.
#[test]
fn next_commit_runs_the_build_script_again() {
    require!(program("git", "git").and(program("rustc", "rustc")));
    let sources = Sources::new();
    sources.commit("tree");
    let watched = sources.watched("tree/runner");
    for file in ["HEAD", "index", "logs/HEAD", "refs/heads/main"] {
        assert!(watched.contains(&format!("tree/.git/{file}")), "{file}: {watched:?}");
    }
    assert!(watched.contains(&"tree/runner/src".to_owned()), "{watched:?}");
    // The next commit creates the branch's file again.
    sources.git("tree", &["pack-refs", "--all"]);
    let watched = sources.watched("tree/runner");
    for file in ["packed-refs", "refs/heads"] {
        assert!(watched.contains(&format!("tree/.git/{file}")), "{file}: {watched:?}");
    }
    sources.git("tree", &["worktree", "add", "--quiet", "-b", "side", "../linked"]);
    let watched = sources.watched("linked/runner");
    for file in ["worktrees/linked/HEAD", "worktrees/linked/index", "refs/heads/side"] {
        assert!(watched.contains(&format!("tree/.git/{file}")), "{file}: {watched:?}");
    }
}

#[test]
fn long_version_states_commit_and_compiler() {
    let bench = Bench::new();
    let short = format!("microbench {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(text(&bench.run(&["-V"]).stdout), short);
    let long = text(&bench.run(&["--version"]).stdout);
    let build = this_build();
    assert!(long.starts_with(&format!("{} ({})\n", short.trim_end(), build.short_source())), "{long}");
    assert!(long.contains(&build.source()) && long.contains(&build.compiler()), "{long}");
    assert!(long.contains("guest agent: "), "{long}");
    assert!(!build.rustc.is_empty() && build.target.contains("linux"), "{build:?}");

    // The other program states its own build.
    let output = Command::new(env!("CARGO_BIN_EXE_microbench-emulated-host")).arg("build").output().unwrap();
    let other: microbench_formats::build::Build = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(other, build);
}

#[test]
fn run_states_its_build_and_agent() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2", "");
    bench.run_study();
    let build = this_build();
    let host: Value = serde_json::from_slice(&fs::read(bench.path("run/host.json")).unwrap()).unwrap();
    assert_eq!(host["build"], serde_json::to_value(&build).unwrap());
    let names: Vec<_> =
        host["artifacts"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
    assert!(names.contains(&"microbench-agent".to_owned()), "{names:?}");
    assert_eq!(bench.journal().sessions[0].build.as_ref(), Some(&build));

    let shown = text(&bench.run(&["show", "run"]).stdout);
    assert!(shown.contains(&format!("({})", build.short_source())), "{shown}");
    let json: Value = serde_json::from_slice(&bench.run(&["show", "run", "--json"]).stdout).unwrap();
    assert_eq!(json["run"]["sessions"][0]["build"]["rustc"], Value::String(build.rustc.clone()));

    assert!(bench.run(&["analyze", "run"]).status.success());
    assert!(bench.run(&["report", "run"]).status.success());
    let page = fs::read_to_string(bench.path("run/report.html")).unwrap();
    assert!(page.contains(&build.source()) && page.contains("microbench-agent"), "the report does not state the build");
    assert_eq!(page.contains("<strong>Build.</strong>"), build.dirty != Some(false) || build.commit.is_none());
}

#[test]
fn report_states_uncommitted_and_unknown_sources() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    bench.run_study();
    let path = bench.path("run/journal.ndjson");
    let report = |commit: Option<&str>, dirty: Option<bool>| {
        let mut records: Vec<Record> =
            microbench_formats::journal::records(&fs::read(&path).unwrap()).map(|record| record.unwrap()).collect();
        if let Record::RunStart { build: Some(build), .. } = &mut records[0] {
            (build.commit, build.dirty, build.date) = (commit.map(str::to_owned), dirty, None);
        }
        fs::write(&path, microbench_formats::journal::encode(&records)).unwrap();
        assert!(bench.run(&["analyze", "run"]).status.success());
        let output = bench.run(&["report", "run"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        fs::read_to_string(bench.path("run/report.html")).unwrap()
    };
    let page = report(Some("abc1234<script>"), Some(true));
    assert!(page.contains("microbench was built from commit abc1234&lt;script&gt; with uncommitted changes."));
    assert!(report(None, None).contains("microbench was built from an unknown commit"));
    let clean = report(Some("abc1234"), Some(false));
    assert!(!clean.contains("<strong>Build.</strong>") && clean.contains("commit abc1234, clean"), "{clean}");
}

#[test]
fn authors_licence_and_doi_are_shown_and_exported() {
    require!(trials());
    let bench = Bench::new();
    let study = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let attribution = ATTRIBUTION.replace("<b> ", "");
    let manifest = fs::read_to_string(&study).unwrap();
    fs::write(&study, manifest.replace("seed = 1\n", &format!("seed = 1\n{attribution}"))).unwrap();
    let planned = text(&bench.run(&["plan", "study.toml"]).stdout);
    let flat = planned.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = "Ada Lovelace, The team (organisation); licence CC-BY-4.0 OR MIT; DOI 10.5281/zenodo.1234567";
    assert!(flat.contains(line), "{planned}");
    bench.run_study();
    let plan: Value = serde_json::from_slice(&fs::read(bench.path("run/plan.json")).unwrap()).unwrap();
    assert_eq!(plan["attribution"]["authors"][0]["email"], "ada@example.org");
    assert_eq!(plan["attribution"]["doi"], "10.5281/zenodo.1234567");
    assert!(text(&bench.run(&["show", "run"]).stdout).contains("Ada Lovelace, The team"));

    assert!(bench.run(&["analyze", "run"]).status.success());
    assert!(bench.run(&["report", "run"]).status.success());
    let page = fs::read_to_string(bench.path("run/report.html")).unwrap();
    for part in [
        "<a href=\"https://orcid.org/0000-0002-1825-0097\">Ada Lovelace</a>, The team",
        "<dt>Licence</dt><dd>CC-BY-4.0 OR MIT</dd>",
        "<a href=\"https://doi.org/10.5281/zenodo.1234567\">10.5281/zenodo.1234567</a>",
    ] {
        assert!(page.contains(part), "{part}");
    }

    let output = bench.run(&["export", "run", "--out", "run.tar.gz"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = bench.run(&["show", "run.tar.gz"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let unpacked =
        Command::new("tar").args(["-xzOf", "run.tar.gz", "run/CITATION.cff"]).current_dir(bench.path("")).output();
    let commit = this_build().commit.map_or_else(String::new, |commit| format!("    commit: \"{commit}\"\n"));
    let expected = format!(
        "cff-version: 1.2.0\n\
         message: \"If you use these data, please cite them with these metadata.\"\n\
         type: dataset\n\
         title: \"A test\"\n\
         authors:\n  - family-names: \"Lovelace\"\n    given-names: \"Ada\"\n    email: \"ada@example.org\"\n    \
         orcid: \"https://orcid.org/0000-0002-1825-0097\"\n  - name: \"The team\"\n\
         license:\n  - \"CC-BY-4.0\"\n  - \"MIT\"\n\
         doi: \"10.5281/zenodo.1234567\"\n\
         references:\n  - type: software\n    title: microbench\n    authors:\n      - name: The microbench maintainers\n    \
         version: \"{}\"\n{commit}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(text(&unpacked.unwrap().stdout), expected);
}

/// The errors of a study with these keys in `[study]`, with single spaces.
fn attribution_errors(keys: &str) -> String {
    let bench = Bench::new();
    let study = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let manifest = fs::read_to_string(&study).unwrap();
    fs::write(&study, manifest.replace("seed = 1\n", &format!("seed = 1\n{keys}\n"))).unwrap();
    let output = bench.run(&["plan", "study.toml"]);
    let said = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(output.status.code(), Some(2), "{keys}: {said}");
    said
}

#[test]
fn repeated_authors_and_licences_are_errors() {
    const ORCID: &str = "(https://orcid.org/0000-0002-1825-0097)";
    for (keys, expected) in [
        ("authors = [\"Lovelace,Ada\", \"Lovelace, Ada\"]".to_owned(), "`authors` lists `Lovelace, Ada` twice"),
        (
            format!("authors = [\"Lovelace, Ada {ORCID}\", \"King, Ada {ORCID}\"]"),
            "`authors` lists `King, Ada` twice: `Lovelace, Ada` is the same author",
        ),
        ("license = \"MIT OR MIT\"".to_owned(), "`license` lists `MIT` twice"),
        ("license = \"NOASSERTION\"".to_owned(), "`NOASSERTION` is not a license; omit the key"),
        ("license = \"NONE\"".to_owned(), "`NONE` is not a license; omit the key"),
        ("license = \"MIT OR NOASSERTION\"".to_owned(), "`NOASSERTION` in `license` is not a license"),
        ("authors = [\"Ada\\u3164\"]".to_owned(), "an invisible character"),
    ] {
        let said = attribution_errors(&keys);
        assert!(said.contains(expected), "{keys}: {said}");
    }
}

#[test]
fn wrong_licence_has_a_valid_suggestion() {
    for (license, expected) in [
        ("GPL-2.0+", "did you mean `GPL-2.0-or-later`?"),
        ("MIT/Apache-2.0", "did you mean `MIT OR Apache-2.0`?"),
        ("MIT / Apache 2.0", "did you mean `MIT OR Apache-2.0`?"),
        ("MITT", "did you mean `MIT`?"),
        ("MIT/own licence", "use an identifier of https://spdx.org/licenses"),
    ] {
        let said = attribution_errors(&format!("license = \"{license}\""));
        assert!(said.contains(expected), "{license}: {said}");
    }
}

#[test]
fn licence_and_doi_are_shown_beside_many_authors_and_noted_without_authors() {
    require!(trials());
    let bench = Bench::new();
    let study = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let manifest = fs::read_to_string(&study).unwrap();
    let authors: Vec<String> = (10..70).map(|n| format!("\"Author of the data {n}\"")).collect();
    for (out, keys) in [("many", format!("authors = [{}]\n", authors.join(", "))), ("none", String::new())] {
        let keys = format!("seed = 1\n{keys}license = \"MIT\"\ndoi = \"10.5281/zenodo.1\"\n");
        fs::write(&study, manifest.replace("seed = 1\n", &keys)).unwrap();
        let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", out]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let shown = text(&bench.run(&["show", out]).stdout);
        assert!(shown.contains("\nlicence    MIT\n") && shown.contains("\nDOI        10.5281/zenodo.1\n"), "{shown}");
        let flat = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(flat.contains("authors Author of the data 10, "), out == "many", "{shown}");
        assert_eq!(flat.contains("Author of the data 26 and 43 more"), out == "many", "{shown}");
        let output = bench.run(&["export", out, "--out", &format!("{out}.tar.gz")]);
        let said = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(output.status.success(), "{said}");
        let note = "note: the archive has no CITATION.cff, because the study has no `authors`, which this format \
                    requires; plan.json states: licence MIT; DOI 10.5281/zenodo.1";
        assert_eq!(said.contains(note), out == "none", "{said}");
    }
}

#[test]
fn wrong_attribution_is_reported_with_a_fix() {
    let bench = Bench::new();
    let study = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let attribution =
        ATTRIBUTION.replace("CC-BY-4.0 OR MIT", "Apache 2.0").replace("10.5281", "https://doi.org/10.5281");
    let manifest = fs::read_to_string(&study).unwrap();
    fs::write(&study, manifest.replace("seed = 1\n", &format!("seed = 1\n{attribution}"))).unwrap();
    let output = bench.run(&["plan", "study.toml"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for part in ["MB0111", "MB0112", "did you mean `Apache-2.0`?", "MB0113", "`10.5281/zenodo.1234567`"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
