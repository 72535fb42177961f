//! A project for tests in a temporary folder, with a fake engine, a fake kernel and a fake root file system.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use microbench::run::parts::EMULATED_HOST_KERNEL;
use microbench_formats::journal::{encode, records};
use microbench_formats::record::Record;
use microbench_measure::artifacts::cache::Cache;
use microbench_measure::artifacts::project::Project;
use microbench_measure::artifacts::{kernel, program as described};
use microbench_plots::journal::{self, Journal};
use microbench_testing::{Missing, Requirement, must_run_all, program};

/// The folder of the programs of this build.
fn built() -> PathBuf {
    let mut path = std::env::current_exe().expect("this test's path");
    path.pop();
    if path.ends_with("deps") {
        path.pop();
    }
    path
}

/// A temporary folder with a project. Dropping it removes the folder.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    /// A project with the engine `fake`, whose setting `mode` selects the behaviour of the guest.
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("microbench-test-").tempdir().expect("a temporary folder");
        let bench = Self { folder };
        let fake = example("fake-vmm");
        bench.file(
            "kernels/tiny/kernel.toml",
            "description = \"tiny\"\nseries = \"0\"\n[[sources]]\nkind = \"file\"\nfile = \"image\"\n",
        );
        bench.file("kernels/tiny/image", "a fake kernel");
        bench.file(
            "rootfs/tiny/rootfs.toml",
            "description = \"tiny\"\ninit = \"/sbin/init\"\nagent = \"/sbin/init\"\nsize_mib = 2\n",
        );
        bench.file("agent", "a fake agent");
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
argv = ["{{{{program}}}}", "{{{{mode}}}}", "{{{{#if network}}}}{{{{tap}}}}{{{{else}}}}-{{{{/if}}}}", "{{{{#if network}}}}{{{{mac}}}}{{{{else}}}}-{{{{/if}}}}", "{{{{#if network}}}}{{{{guest_ip}}}}{{{{else}}}}-{{{{/if}}}}", "{{{{boot_args}}}}", "{{{{folder}}}}", "{}"]

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
                fake.display(),
                bench.folder.path().display()
            ),
        );
        bench
    }

    /// Writes a file of the project and returns its path.
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

    /// Writes `study.toml` with one variant per mode and the given lines of `[matrix]` and `[guest]`. Returns its path.
    pub(crate) fn study(&self, modes: &[&str], matrix: &str, guest: &str) -> PathBuf {
        let variants: String = modes
            .iter()
            .map(|mode| format!("[variants.{mode}]\nlabel = \"{mode}\"\nengine = \"fake\"\nmode = \"{mode}\"\n"))
            .collect();
        // A deadline is short if a test waits for it to pass, and long otherwise.
        let any = |waited: &[&str]| modes.iter().any(|mode| waited.contains(mode));
        let boot = if any(&["silent", "wrap", "flood-console", "mute", "drip", "stopped"]) { 2 } else { 60 };
        let boot =
            if guest.contains("boot_deadline_s") { String::new() } else { format!("boot_deadline_s = {boot}\n") };
        let stop = if any(&["no-stop"]) { 1 } else { 60 };
        let text = format!(
            "[study]\nname = \"test\"\ntitle = \"A test\"\nseed = 1\n\
             [guest]\nkernel = \"tiny\"\nrootfs = \"tiny\"\n{boot}stop_deadline_s = {stop}\nworkload_deadline_s = 120\n{guest}\n\
             {variants}[matrix]\n{matrix}\n\
             [metrics]\nkernel_boot_time = {{}}\nwebservice_startup_time = {{}}\n\
             hashing_time = {{ workload = {{ kind = \"sha256\", bytes = \"64 KiB\", rounds = 2 }} }}\nshutdown_time = {{}}\n\
             [figures.startup]\nform = \"grouped-bars\"\ntitle = \"Start-up\"\nmetric = \"webservice_startup_time\"\n\
             groups = \"concurrency\"\n"
        );
        self.file("study.toml", &text)
    }

    /// The program with these arguments, in the project's folder and with the project's cache.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_microbench"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env(MARK, self.folder.path())
            .env("MICROBENCH_CACHE", self.path("cache"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("MICROBENCH_AGENT", self.path("agent"))
            .stdin(Stdio::null());
        command
    }

    /// Runs the program until it exits.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program starts")
    }

    /// Starts the program in the background and discards its output.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts")
    }

    /// Runs `study.toml` on the fake host, with the run in the folder `run`. Panics if the run fails.
    pub(crate) fn run_study(&self) -> Journal {
        let output = self.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        self.journal()
    }

    /// The journal of the folder `run`.
    pub(crate) fn journal(&self) -> Journal {
        journal::read(&self.path("run/journal.ndjson")).expect("a journal")
    }

    /// Replaces the digests of plan, engines and lock file in the journal of `run` by those of the present files.
    pub(crate) fn update_digests(&self, run: &str) {
        let path = self.path(run).join("journal.ndjson");
        let digests = microbench_plots::run::digests(&self.path(run)).expect("a plan");
        let mut records: Vec<Record> =
            records(&fs::read(&path).expect("a journal")).map(|record| record.expect("a record")).collect();
        for record in &mut records {
            if let Record::RunStart { plan_sha256, engines_sha256, lock_sha256, .. } = record {
                plan_sha256.clone_from(&digests.plan);
                engines_sha256.clone_from(&digests.engines);
                lock_sha256.clone_from(&digests.lock);
            }
        }
        fs::write(path, encode(&records)).expect("a journal");
    }

    /// Counted executions of the folder `run`, by trial.
    pub(crate) fn counted(&self) -> BTreeMap<u32, journal::Execution> {
        counted(self.journal())
    }
}

/// Counted executions by trial: neither warm-ups nor invalid. Panics if a trial counts twice.
pub(crate) fn counted(journal: Journal) -> BTreeMap<u32, journal::Execution> {
    let mut counted = BTreeMap::new();
    for execution in journal.executions.into_iter().filter(|e| !e.warmup && e.invalid.is_empty()) {
        let trial = execution.trial;
        assert!(counted.insert(trial, execution).is_none(), "trial {trial} counts twice");
    }
    counted
}

/// Bytes as text; invalid UTF-8 is replaced.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Environment variable that identifies the microbench processes of a test. VMMs and emulators do not inherit it: the
/// test's folder in their arguments identifies them.
pub(crate) const MARK: &str = "MICROBENCH_TEST";

/// PID and arguments of the processes with [`MARK`] set to the parent folder of `run`, or with this folder in an
/// argument. Arguments are searched only for folders of tests.
pub(crate) fn processes_of(run: &Path) -> Vec<(u32, String)> {
    let folder = run.parent().expect("a parent");
    let mark = format!("{MARK}={}\0", folder.display());
    let of_test = folder.file_name().is_some_and(|name| name.to_string_lossy().starts_with("microbench-"));
    let named = ['\0', '/'].map(|end| format!("{}{end}", folder.display()));
    let read = |pid: u32, file: &str| Some(text(&fs::read(format!("/proc/{pid}/{file}")).ok()?));
    let is_of = |pid: &u32| {
        read(*pid, "environ").is_some_and(|variables| variables.contains(&mark))
            || of_test && read(*pid, "cmdline").is_some_and(|line| named.iter().any(|name| line.contains(name)))
    };
    fs::read_dir("/proc")
        .expect("/proc")
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| *pid != std::process::id())
        .filter(is_of)
        .filter_map(|pid| Some((pid, read(pid, "cmdline")?.replace('\0', " "))))
        .collect()
}

/// Whether the user is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Requires what trials on this host need: a sandbox that isolates VMMs, taps, and the tools that build a root file
/// system.
pub(crate) fn trials() -> Requirement {
    static SANDBOX: OnceLock<Requirement> = OnceLock::new();
    program("mke2fs", "e2fsprogs")?;
    program("debugfs", "e2fsprogs")?;
    let tun = fs::File::options().read(true).write(true).open("/dev/net/tun");
    tun.map_err(|error| Missing::machine(format!("/dev/net/tun cannot be opened: {error}")))?;
    let check = || {
        let output = Command::new(env!("CARGO_BIN_EXE_microbench")).arg("check-sandbox").output().expect("it starts");
        let said = text(&output.stdout) + &text(&output.stderr);
        let missing =
            || Missing::machine(format!("VMMs cannot be isolated on this host: {}", said.trim().replace('\n', " ")));
        if output.status.success() && said.trim().is_empty() { Ok(()) } else { Err(missing()) }
    };
    SANDBOX.get_or_init(check).clone()
}

/// Processes of the test, and shared memory and files of VMs, that are on this host after a run.
pub(crate) fn left_behind(bench: &Bench) -> Vec<String> {
    let mut left: Vec<String> = processes_of(&bench.path("run")).into_iter().map(|(_, line)| line).collect();
    // The eighth field is the user of the segment (proc_sysvipc_shm(5)).
    let segments = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let of_vms = |line: &&str| {
        let user = line.split_whitespace().nth(7).and_then(|user| user.parse::<u32>().ok());
        user.is_some_and(|user| user >= 0x7000_0000)
    };
    left.extend(segments.lines().filter(of_vms).map(str::to_owned));
    let files = ["/tmp/left", "/var/tmp/left", "/dev/shm/left"].into_iter().filter(|path| Path::new(path).exists());
    left.extend(files.map(str::to_owned));
    left
}

/// Requires root.
pub(crate) fn root() -> Requirement {
    if is_root() { Ok(()) } else { Err(Missing::machine("the test requires root")) }
}

/// Requires what containers and processes need on this host: root, loop devices and the static agent.
pub(crate) fn mounts() -> Requirement {
    trials()?;
    root()?;
    if !Path::new("/dev/loop-control").exists() {
        return Err(Missing::machine("loop devices are not available: /dev/loop-control does not exist"));
    }
    agent().map(drop)
}

/// Path of the static guest agent of this build.
pub(crate) fn agent() -> Result<PathBuf, Missing> {
    let target = Path::new(env!("CARGO_BIN_EXE_microbench")).parent().and_then(Path::parent).expect("a target folder");
    let path = target.join("x86_64-unknown-linux-gnu/agent/microbench-agent");
    if path.is_file() { Ok(path) } else { Err(Missing::installable("the guest agent is not built (`make build`)")) }
}

/// Requires what trials in the emulated host need: QEMU, the agent, these programs of engines, and in the user's cache
/// these kernels and the kernel of the emulated host. `make test` builds them.
pub(crate) fn emulated(kernels: &[&str], programs: &[&str]) -> Requirement {
    program("qemu-system-x86_64", "qemu-system-x86")?;
    program("mke2fs", "e2fsprogs")?;
    agent()?;
    if must_run_all() {
        return Ok(());
    }
    let made = || -> anyhow::Result<Option<String>> {
        let cache = Cache::for_user()?;
        let project = Project::new(Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace"))?;
        for name in kernels.iter().copied().chain([EMULATED_HOST_KERNEL]) {
            if !kernel::is_cached(&project.kernels(), name, &cache)? {
                return Ok(Some(format!("the kernel {name} is not built (`make test` builds it)")));
            }
        }
        for name in programs {
            if !described::is_available(name, &cache)? {
                return Ok(Some(format!("the program {name} is missing (`make images` downloads it)")));
            }
        }
        Ok(None)
    };
    match made() {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(Missing::installable(reason)),
        Err(error) => Err(Missing::installable(format!("{error:#}"))),
    }
}

/// Environment variables that `command` sets.
pub(crate) fn variables(command: &Command) -> Vec<(OsString, OsString)> {
    command.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap_or_default().to_owned())).collect()
}

/// Path of a program or library that is built for tests.
pub(crate) fn example(name: &str) -> PathBuf {
    let path = built().join("examples").join(name);
    assert!(path.is_file(), "{} is not built", path.display());
    path
}

/// `command` in new user, mount and network namespaces, after the shell commands `first`. In these, `$BENCH` is the
/// working directory of the command.
pub(crate) fn in_namespaces(command: &Command, first: &str) -> Command {
    // For the command, map an unprivileged user back: root of a user namespace cannot isolate VMMs.
    let user: &[&str] = if is_root() { &[] } else { &["--map-root-user"] };
    let back = if is_root() { "" } else { "unshare --map-user=1000 --map-group=1000 -- " };
    let script = format!("{first}\nexec {back}\"$@\"");
    let mut outer = Command::new("unshare");
    outer.args(user).args(["--mount", "--net", "--", "sh", "-eu", "-c", &script, "sh"]);
    outer.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    let folder = command.get_current_dir().expect("a folder");
    outer.current_dir(folder).env("BENCH", folder);
    outer.envs(variables(command));
    outer
}

/// A control group with a memory limit. Dropping it removes the group.
pub(crate) struct ControlGroup {
    folder: PathBuf,
}

/// Creates a control group with a memory limit of `bytes`.
pub(crate) fn control_group(bytes: u64) -> Result<ControlGroup, Missing> {
    let name = format!("microbench-test-{}", std::process::id());
    let roots = [("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")];
    let group = roots.into_iter().find_map(|(root, limit)| {
        let folder = Path::new(root).join(&name);
        fs::create_dir(&folder).ok()?;
        let group = ControlGroup { folder };
        fs::write(group.folder.join(limit), bytes.to_string()).ok()?;
        Some(group)
    });
    group.ok_or_else(|| Missing::machine("a control group with a memory limit cannot be created"))
}

impl ControlGroup {
    /// `command`, run in the group.
    pub(crate) fn run_in_group(&self, command: &mut Command) -> Command {
        let mut outer = in_namespaces(command, "echo $$ > \"$GROUP/cgroup.procs\"");
        outer.env("GROUP", &self.folder);
        outer
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.folder));
    }
}

/// Waits until `condition` is true, and panics after five minutes.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() {
        assert!(begun.elapsed().as_secs() < 300, "waited five minutes for {what}");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
