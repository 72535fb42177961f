//! Files that others made: projects, runs, manifests, descriptions and submissions of other users, with links, FIFOs,
//! devices, options and control characters in them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::process::{Command, Output};

use microbench_formats::journal::{encode, records};
use microbench_formats::record::Record;
use microbench_testing::{Missing, Requirement, require};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::support::{Bench, root, text, trials, variables};

/// A user who is neither root nor the user of the test.
const OTHER: u32 = 4242;

/// A project with the imported run `runs/test`, which has been analysed.
fn imported() -> Bench {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 2", "");
    bench.file("table.csv", "metric,concurrency,value,unit\nwebservice_startup_time,1,100,ms\n");
    for arguments in [&["import", "study.toml", "table.csv", "--out", "runs/test"][..], &["analyze", "runs/test"]] {
        let made = bench.run(arguments);
        assert!(made.status.success(), "{}", text(&made.stderr));
    }
    bench
}

/// Runs the program, and ends it with the exit code 124 if it hangs.
fn within_a_minute(bench: &Bench, arguments: &[&str]) -> Output {
    let inner = bench.command(arguments);
    let mut command = Command::new("timeout");
    command.arg("60").arg(inner.get_program()).args(inner.get_args()).envs(variables(&inner));
    command.current_dir(inner.get_current_dir().unwrap()).output().unwrap()
}

/// Asserts that the program ends with the error `code`, whose text contains `said`.
fn refused(output: &Output, code: &str, said: &str) {
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let joined = stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!output.status.success() && joined.contains(code) && joined.contains(said), "{said}: {stdout}{stderr}");
}

fn own_by_other(path: &Path) {
    chown(path, Some(OTHER), Some(OTHER)).unwrap();
}

fn own_by_root(path: &Path) {
    chown(path, Some(0), Some(0)).unwrap();
}

fn fifo(path: &Path) {
    mkfifo(path, Mode::S_IRWXU).unwrap();
}

/// Replaces `from` in the plan of the run `runs/test`, with matching digests in the journal.
fn edit_plan(bench: &Bench, from: &str, to: &str) {
    let plan = fs::read_to_string(bench.path("runs/test/plan.json")).unwrap();
    assert!(plan.contains(from), "{plan}");
    bench.file("runs/test/plan.json", &plan.replacen(from, to, 1));
    bench.update_digests("runs/test");
}

/// Requires that the kernel has `openat2(2)`.
fn openat2() -> Requirement {
    let folder = tempfile::tempdir().expect("a folder");
    let root = microbench_formats::input::Root::open(folder.path()).expect("a folder");
    root.create_folders(Path::new("a")).map_err(|error| Missing::machine(format!("openat2(2): {error}")))
}

#[test]
fn projects_engines_and_manifests_of_others_are_refused() {
    require!(root());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    for name in [
        ".",
        "study.toml",
        "engines",
        "engines/fake.toml",
        "kernels",
        "kernels/tiny",
        "kernels/tiny/kernel.toml",
        "kernels/tiny/image",
        "rootfs/tiny/rootfs.toml",
    ] {
        own_by_other(&bench.path(name));
        refused(&bench.run(&["artifacts", "study.toml"]), "error[MB7001]", "it belongs to user 4242");
        own_by_root(&bench.path(name));
        let mode = bench.path(name).metadata().unwrap().permissions();
        fs::set_permissions(bench.path(name), fs::Permissions::from_mode(0o777)).unwrap();
        refused(&bench.run(&["artifacts", "study.toml"]), "error[MB7001]", "every user can write to it (mode 777)");
        fs::set_permissions(bench.path(name), mode).unwrap();
    }
    refused(&bench.run(&["explain", "MB7001x"]), "MB6006", "");
}

/// A program that an engine names by its path or that is on PATH, and the cache.
#[test]
fn programs_and_caches_of_others_are_refused() {
    require!(root());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let engine = fs::read_to_string(bench.path("engines/fake.toml")).unwrap();
    let line = engine.lines().find(|line| line.starts_with("program = ")).unwrap().to_owned();
    let program = bench.path("others/vmm");
    bench.file("others/vmm", "#!/bin/sh\necho 1.0\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    own_by_other(&program);
    let on_path = format!("{}:/usr/bin:/bin", bench.path("others").display());
    for name in [program.display().to_string(), "vmm".to_owned()] {
        bench.file("engines/fake.toml", &engine.replace(&line, &format!("program = \"{name}\"")));
        let refusing = || bench.command(&["artifacts", "study.toml"]).env("PATH", &on_path).output().unwrap();
        refused(&refusing(), "error[MB7001]", "vmm is not trusted: it belongs to user 4242");
    }
    bench.file("engines/fake.toml", &engine);
    assert!(bench.run(&["artifacts", "study.toml"]).status.success());
    let cache = bench.path("others/cache");
    fs::create_dir(&cache).unwrap();
    own_by_other(&cache);
    let with_cache = bench.command(&["artifacts", "study.toml"]).env("MICROBENCH_CACHE", &cache).output().unwrap();
    refused(&with_cache, "error[MB7001]", "the cache");
}

#[test]
fn files_of_others_are_trusted_for_one_call_or_by_a_record() {
    require!(root());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    own_by_other(&bench.path("engines/fake.toml"));
    let plan = |more: &[&str]| bench.run(&[&["plan", "study.toml"], more].concat());
    refused(&plan(&[]), "error[MB7001]", "engines/fake.toml is not trusted");
    assert!(plan(&["--trust"]).status.success());
    refused(&plan(&[]), "error[MB7001]", "microbench trust PATH");
    assert!(bench.run(&["trust", "engines"]).status.success());
    assert!(plan(&[]).status.success());
    let listed = text(&bench.run(&["trust"]).stdout);
    assert_eq!(listed.trim(), fs::canonicalize(bench.path("engines")).unwrap().display().to_string());
    assert!(bench.run(&["trust", "--remove", "engines"]).status.success());
    refused(&plan(&[]), "error[MB7001]", "is not trusted");
    assert_eq!(bench.run(&["trust", "--remove", "engines"]).status.code(), Some(1));
    // A record that others can write is not a record.
    assert!(bench.run(&["trust", "engines"]).status.success());
    fs::set_permissions(bench.path("config/microbench/trusted.toml"), fs::Permissions::from_mode(0o666)).unwrap();
    refused(&plan(&[]), "error[MB7001]", "are not used");
}

#[test]
fn search_for_a_project_stops_at_a_folder_of_others() {
    require!(root());
    let bench = Bench::new();
    let study = fs::read_to_string(bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "")).unwrap();
    let engine = fs::read_to_string(bench.path("engines/fake.toml")).unwrap();
    bench.file("inner/study.toml", &study);
    bench.file("inner/engines/fake.toml", &engine);
    let plan = || bench.command(&["plan", "study.toml"]).current_dir(bench.path("inner")).output().unwrap();
    assert!(plan().status.success(), "{}", text(&plan().stderr));
    own_by_other(&bench.path("rootfs"));
    refused(&plan(), "MB0203", "tiny");
    own_by_root(&bench.path("rootfs"));
    own_by_other(&bench.path("."));
    refused(&plan(), "MB0203", "tiny");
}

#[test]
fn runs_of_others_are_neither_resumed_nor_written() {
    require!(root());
    let bench = imported();
    for name in ["runs/test", "runs/test/engines.json"] {
        own_by_other(&bench.path(name));
        for command in [&["run", "--resume", "runs/test"][..], &["analyze", "runs/test"], &["report", "runs/test"]] {
            refused(&bench.run(command), "error[MB7001]", "it belongs to user 4242");
        }
        assert!(bench.run(&["show", "runs/test"]).status.success(), "reading is permitted");
        own_by_root(&bench.path(name));
    }
}

#[test]
fn names_in_a_plan_cannot_leave_the_run() {
    for name in ["../../escaped", "/tmp/microbench-escaped", "a}\\\\input{x"] {
        for from in ["\"name\": \"startup\"", "\"name\": \"webservice_startup_time\""] {
            let bench = imported();
            edit_plan(&bench, from, &format!("\"name\": \"{name}\""));
            for command in ["plot", "table", "report", "analyze"] {
                refused(&bench.run(&[command, "runs/test"]), "error[MB3007]", "is not a name of a");
            }
            assert!(!bench.path("runs/escaped.svg").exists() && !bench.path("escaped.svg").exists());
        }
    }
}

#[test]
fn links_in_a_run_are_not_followed() {
    let bench = imported();
    let victim = bench.file("victim", "{\"without\": \"a newline\"}");
    for name in ["journal.ndjson", "plan.json", "engines.json", "session.json", "samples.parquet"] {
        let bench = imported();
        let path = bench.path("runs/test").join(name);
        drop(fs::remove_file(&path));
        symlink(&victim, &path).unwrap();
        for command in [&["run", "--resume", "runs/test"][..], &["show", "runs/test"], &["plot", "runs/test"]] {
            within_a_minute(&bench, command);
        }
        if name != "session.json" {
            let command = if name == "samples.parquet" { "plot" } else { "analyze" };
            refused(&bench.run(&[command, "runs/test"]), "error[MB7002]", "it is a symbolic link");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "{\"without\": \"a newline\"}", "{name}");
    }
    // Folders that results are written to.
    let outside = bench.path("outside");
    fs::create_dir(&outside).unwrap();
    for name in ["figures", "tables", "console"] {
        drop(fs::remove_dir_all(bench.path("runs/test").join(name)));
        symlink(&outside, bench.path("runs/test").join(name)).unwrap();
    }
    for command in [&["plot", "runs/test"][..], &["table", "runs/test"], &["run", "--resume", "runs/test"]] {
        refused(&bench.run(command), "error[MB7002]", "it is a symbolic link");
    }
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn export_and_merge_pack_no_target_of_a_link() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    let secret = bench.file("secret", "secret");
    for shard in ["1", "2"] {
        let run = ["run", "study.toml", "--host", "fake", "--shard", &format!("{shard}/2"), "--out", shard];
        let output = bench.run(&run);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    symlink(&secret, bench.path("1/console/secret.log")).unwrap();
    refused(&bench.run(&["merge", "1", "2", "--out", "merged"]), "error[MB7002]", "it is a symbolic link");
    refused(&bench.run(&["export", "1", "--out", "1.tar.gz"]), "error[", "secret.log is not a regular file");
    // A folder that is a link has no files of the run.
    fs::rename(bench.path("1/console"), bench.path("elsewhere")).unwrap();
    symlink(bench.path("elsewhere"), bench.path("1/console")).unwrap();
    assert!(bench.run(&["merge", "1", "2", "--out", "merged"]).status.success());
    assert!(!bench.path("merged/console/secret.log").exists());
}

#[test]
fn hard_links_of_a_run_to_files_of_another_user_are_not_read() {
    require!(root());
    let bench = imported();
    let secret = bench.file("secret", "a secret");
    own_by_other(&bench.path("runs/test"));
    fs::create_dir_all(bench.path("runs/test/console")).unwrap();
    for name in ["console/secret.log", "plan.json"] {
        let path = bench.path("runs/test").join(name);
        drop(fs::remove_file(&path));
        fs::hard_link(&secret, &path).unwrap();
        let output = bench.run(&["export", "runs/test", "--out", "run.tar.gz"]);
        refused(&output, "error[", "it is a hard link to a file of another user");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn prune_removes_no_target_of_a_link() {
    let bench = imported();
    fs::rename(bench.path("runs/test"), bench.path("kept")).unwrap();
    symlink(bench.path("kept"), bench.path("runs/link")).unwrap();
    let output = bench.run(&["prune", "--keep", "0", "--yes"]);
    assert!(output.status.success() && text(&output.stdout).contains("nothing to remove"), "{output:?}");
    refused(&bench.run(&["prune", "link", "--yes"]), "error[MB7002]", "is a link, and its target is not removed");
    assert!(bench.path("kept/plan.json").is_file());
}

#[test]
fn fifos_and_devices_do_not_hang() {
    let bench = imported();
    fifo(&bench.path("pipe.toml"));
    refused(&within_a_minute(&bench, &["plan", "./pipe.toml"]), "MB0001", "it is a FIFO, not a regular file");
    fifo(&bench.path("engines/pipe.toml"));
    refused(&within_a_minute(&bench, &["plan", "study.toml"]), "error[MB7002]", "it is a FIFO");
    fs::remove_file(bench.path("engines/pipe.toml")).unwrap();
    let study = fs::read_to_string(bench.path("study.toml")).unwrap();
    bench.file("study.toml", &study.replace("mode = \"ok\"", "mode = \"ok\"\nfile = \"/dev/zero\""));
    refused(&within_a_minute(&bench, &["plan", "study.toml"]), "MB0207", "it is a device, not a regular file");
    fifo(&bench.path("rootfs/tiny/overlay-pipe"));
    fs::create_dir(bench.path("rootfs/tiny/overlay")).unwrap();
    fs::rename(bench.path("rootfs/tiny/overlay-pipe"), bench.path("rootfs/tiny/overlay/pipe")).unwrap();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    refused(&within_a_minute(&bench, &["artifacts", "study.toml"]), "error[MB2005]", "it is a FIFO");
    for name in ["journal.ndjson", "host.json", "lock.toml", "session.json", "label.json"] {
        let bench = imported();
        drop(fs::remove_file(bench.path("runs/test").join(name)));
        fifo(&bench.path("runs/test").join(name));
        for command in [&["runs"][..], &["show", "test"], &["analyze", "test"], &["merge", "test"], &["export", "test"]]
        {
            let output = within_a_minute(&bench, command);
            assert_ne!(output.status.code(), Some(124), "{name}: {command:?} hangs");
        }
    }
}

#[test]
fn image_build_writes_nothing_outside_of_the_stage() {
    require!(openat2());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let outside = bench.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(bench.path("rootfs/tiny/overlay")).unwrap();
    symlink(&outside, bench.path("rootfs/tiny/overlay/out")).unwrap();
    bench.file(
        "rootfs/tiny/rootfs.toml",
        "description = \"tiny\"\ninit = \"/sbin/init\"\nagent = \"/out/agent\"\nsize_mib = 2\n",
    );
    refused(&bench.run(&["artifacts", "study.toml"]), "error[MB2005]", "out/agent of the image");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn texts_of_others_reach_the_terminal_without_control_characters() {
    let bench = imported();
    edit_plan(&bench, "\"title\": \"A test\"", "\"title\": \"A \u{202e}test\"");
    let path = bench.path("runs/test/journal.ndjson");
    let mut all: Vec<Record> = records(&fs::read(&path).unwrap()).map(Result::unwrap).collect();
    for record in &mut all {
        if let Record::RunStart { version, machine, .. } = record {
            version.push_str("\u{1b}]0;title\u{7}\u{9b}2J");
            machine.push_str("\u{1b}[8mhidden\u{202e}");
        }
    }
    fs::write(path, encode(&all)).unwrap();
    let is_control = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
    for command in ["show", "runs", "analyze", "query"] {
        for colour in ["always", "never"] {
            let more: &[&str] = match command {
                "runs" => &[],
                "query" => &["runs/test", "select * from cells"],
                _ => &["runs/test"],
            };
            let output = bench.run(&[&[command], more, &["--color", colour]].concat());
            assert!(output.status.success(), "{command}: {}", text(&output.stderr));
            let said = text(&output.stdout) + &text(&output.stderr);
            // Sequences that set a colour are the program's own.
            let said = console::strip_ansi_codes(&said.replace("\u{1b}[8m", "\u{7}")).into_owned();
            assert!(!said.contains(is_control), "{command}: {said:?}");
        }
    }
    let json = text(&bench.run(&["show", "runs/test", "--json"]).stdout);
    assert!(json.contains("A \\u202etest") && !json.contains(is_control), "{json}");
}

#[test]
fn sources_cannot_pass_options_or_lines_to_tools() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let tool = bench.file("bin/apt-get", &format!("#!/bin/sh\necho \"$@\" >> {}\n", bench.path("called").display()));
    fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
    let url = "kind = \"url\"\nurl = ";
    let sha256 = format!("sha256 = \"{}\"", "0".repeat(64));
    for (source, why) in [
        ("kind = \"debian\"\npackage = \"-oDir::Bin=/tmp\"", "is not a valid name of a Debian package"),
        (
            "kind = \"debian\"\npackage = \"a\"\nsuite = \"s\\ndeb [trusted=yes] http://x y\"",
            "is not the name of a suite",
        ),
        (&format!("{url}\"https://example.org/a.tar\""), "has no digest"),
        (&format!("{url}\"http://example.org/a.tar\"\n{sha256}"), "neither https nor http on the loopback interface"),
        (&format!("{url}\"file:///etc/shadow\"\n{sha256}"), "neither https nor http on the loopback interface"),
    ] {
        let description = format!("description = \"tiny\"\nseries = \"0\"\n[[sources]]\n{source}\n");
        bench.file("kernels/tiny/kernel.toml", &description);
        let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap());
        let output = bench.command(&["artifacts", "study.toml"]).env("PATH", path).output().unwrap();
        refused(&output, "error[MB2002]", why);
    }
    assert!(!bench.path("called").exists(), "{}", fs::read_to_string(bench.path("called")).unwrap());
}

#[test]
fn submission_of_others_cannot_cancel_other_jobs() {
    let bench = Bench::new();
    let tool = bench.file("bin/scancel", &format!("#!/bin/sh\necho \"$@\" >> {}\n", bench.path("called").display()));
    fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
    let cancel = |job: &str, cluster: &str| {
        bench.file(
            "s/submission.json",
            &format!(
                "{{\"study\": \"a\", \"plan_sha256\": \"\", \"job\": \"{job}\", \"cluster\": {cluster}, \
                 \"submitted\": \"\", \"program\": \"/bin/true\", \"shards\": []}}"
            ),
        );
        let path = format!("{}:{}", bench.path("bin").display(), std::env::var("PATH").unwrap());
        bench.command(&["cancel", "s"]).env("PATH", path).output().unwrap()
    };
    refused(&cancel("--user=root", "null"), "error[MB3007]", "`job` is not a job number");
    refused(&cancel("77", "\"a --user=root\""), "error[MB3007]", "`cluster` is not the name of a cluster");
    assert!(!bench.path("called").exists());
    assert!(cancel("77", "\"big\"").status.success());
    assert_eq!(fs::read_to_string(bench.path("called")).unwrap(), "--clusters=big -- 77\n");
    if root().is_ok() {
        own_by_other(&bench.path("s"));
        refused(&cancel("77", "null"), "error[MB7001]", "it belongs to user 4242");
    }
}

#[test]
fn umask_limits_the_modes_of_results() {
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1, 2]\ntrials = 2", "");
    bench.file("table.csv", "metric,concurrency,value,unit\nwebservice_startup_time,1,100,ms\n");
    for arguments in [
        &["import", "study.toml", "table.csv", "--out", "run"][..],
        &["analyze", "run"],
        &["plot", "run"],
        &["table", "run"],
        &["export", "run", "--out", "run.tar.gz"],
    ] {
        let inner = bench.command(arguments);
        let mut command = Command::new("sh");
        command.args(["-c", "umask 077; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
        let output = command.envs(variables(&inner)).current_dir(inner.get_current_dir().unwrap()).output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    let mut paths = vec![bench.path("run"), bench.path("run.tar.gz")];
    while let Some(path) = paths.pop() {
        let data = path.symlink_metadata().unwrap();
        assert_eq!(data.permissions().mode() & 0o077, 0, "{}", path.display());
        if data.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}
