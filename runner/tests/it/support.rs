//! A project of the tests' own in a temporary folder: a fake engine, a kernel and a root file system that cost nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use microbench_plots::journal::{self, Journal};

/// Where cargo put the programs of this build.
fn built() -> PathBuf {
    let mut path = std::env::current_exe().expect("this test's path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path
}

/// A folder with a project in it; removed when dropped.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// A project whose engine `fake` plays the guest as its setting `mode` says.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("microbench-test-").tempdir().expect("a temporary folder");
        let bench = Self { folder };
        let fake = built().join("examples/fake-vmm");
        assert!(fake.is_file(), "{} is not built", fake.display());
        bench.file(
            "kernels/tiny/kernel.toml",
            "description = \"tiny\"\nseries = \"0\"\n[[sources]]\nkind = \"file\"\nfile = \"image\"\n",
        );
        bench.file("kernels/tiny/image", "a kernel that nobody boots");
        bench.file(
            "rootfs/tiny/rootfs.toml",
            "description = \"tiny\"\ninit = \"/sbin/init\"\nagent = \"/sbin/init\"\nsize_mib = 2\n",
        );
        bench.file("agent", "an agent that nobody starts");
        bench.file(
            "engines/fake.toml",
            &format!(
                r#"
name = "fake"
title = "Fake"
program = "{}"
needs_kvm = false

[settings.mode]
default = "ok"
doc = "How the guest behaves."

[command]
argv = ["{{{{program}}}}", "{{{{mode}}}}", "{{{{tap}}}}", "{{{{mac}}}}", "{{{{guest_ip}}}}", "{{{{boot_args}}}}", "{{{{folder}}}}"]

[settings.file]
default = ""
kind = "file"
doc = "A file that it is given."

[[files]]
name = "given"
content = "{{{{file}}}}: {{{{file_text}}}}"

[kernel]
boot_args = "fake"
reboot = "t"
console = "console=ttyS0"

[version]
argv = ["{{{{program}}}}", "--version"]
prefix = ""

[not_applicable]
messages = ["lacks the level"]
"#,
                fake.display()
            ),
        );
        bench
    }

    /// Writes a file of the project.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, content).expect("a file");
        path
    }

    /// A path in the project.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `study.toml`: one variant for each mode, and these lines of `[matrix]` and of `[guest]`.
    pub(crate) fn study(&self, modes: &[&str], matrix: &str, guest: &str) -> PathBuf {
        let variants: String = modes
            .iter()
            .map(|mode| format!("[variants.{mode}]\nlabel = \"{mode}\"\nengine = \"fake\"\nmode = \"{mode}\"\n"))
            .collect();
        let text = format!(
            "[study]\nname = \"test\"\ntitle = \"A test\"\nseed = 1\n\
             [guest]\nkernel = \"tiny\"\nrootfs = \"tiny\"\nboot_deadline_s = 2\nstop_deadline_s = 1\nwork_deadline_s = 2\n{guest}\n\
             {variants}[matrix]\n{matrix}\n\
             [metrics]\nkernel_boot_time = {{}}\nwebservice_startup_time = {{}}\n\
             hashing_time = {{ work = {{ kind = \"sha256\", bytes = \"64 KiB\", rounds = 2 }} }}\nshutdown_time = {{}}\n\
             [figures.startup]\nform = \"grouped-bars\"\ntitle = \"Start-up\"\nmetric = \"webservice_startup_time\"\n\
             groups = \"concurrency\"\n"
        );
        self.file("study.toml", &text)
    }

    /// The program with these arguments, in the project's folder and with a cache of its own.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microbench"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("MICROBENCH_CACHE", self.path("cache"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("MICROBENCH_AGENT", self.path("agent"))
            .stdin(Stdio::null());
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// Starts the program in the background, its output thrown away.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
    }

    /// Runs `study.toml` on the fake host into the folder `run`; it must succeed.
    pub(crate) fn run_study(&self) -> Journal {
        let output = self.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        self.journal()
    }

    /// The journal of the folder `run`.
    pub(crate) fn journal(&self) -> Journal {
        journal::read(&self.path("run/journal.ndjson")).expect("a journal")
    }

    /// Counted executions by trial.
    pub(crate) fn counted(&self) -> BTreeMap<u32, journal::Execution> {
        counted(self.journal())
    }
}

/// Counted executions by trial; none may count twice.
pub(crate) fn counted(journal: Journal) -> BTreeMap<u32, journal::Execution> {
    let mut counted = BTreeMap::new();
    for execution in journal.executions.into_iter().filter(|e| !e.warmup && e.invalid.is_empty()) {
        let trial = execution.trial;
        assert!(counted.insert(trial, execution).is_none(), "trial {trial} counts twice");
    }
    counted
}

/// Bytes as text.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Processes whose arguments name a path below `folder`, by PID.
pub(crate) fn processes_of(folder: &Path) -> Vec<(u32, String)> {
    let needle = folder.display().to_string();
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter_map(|pid| Some((pid, text(&fs::read(format!("/proc/{pid}/cmdline")).ok()?).replace('\0', " "))))
        .filter(|(_, line)| line.contains(&needle))
        .collect()
}

/// Waits until `condition` holds; fails after five minutes. The condition is asked, time alone decides nothing.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed().as_secs() < 300, "waited five minutes for {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
