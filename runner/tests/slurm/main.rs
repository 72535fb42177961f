//! Tests with a real Slurm of two nodes on this machine, run by `make test-slurm`. Slurm runs in a temporary folder and
//! listens only on the loopback interface. The test kills the processes that it started, by PID.

#[path = "../it/support.rs"]
#[expect(dead_code, reason = "shared with the short tests, which use all of it")]
mod support;

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{Bench, MARK, counted, processes_of, text, wait_until};

/// Munge, the Slurm controller and two nodes. Dropping it kills them.
struct Slurm {
    folder: PathBuf,
    daemons: Vec<(String, Child)>,
}

impl Slurm {
    /// Starts the daemons in a folder of `bench`, and waits until both nodes accept jobs.
    fn start(bench: &Bench) -> Self {
        let folder = bench.path("slurm");
        for name in ["state", "spool-n1", "spool-n2"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        let key: Vec<u8> = (0..1024_u32).map(|n| (n * 167 % 251) as u8).collect();
        fs::write(folder.join("munge.key"), key).unwrap();
        fs::set_permissions(folder.join("munge.key"), fs::Permissions::from_mode(0o600)).unwrap();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let host = host.trim().split('.').next().unwrap();
        let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).unwrap().unwrap().name;
        let [control, n1, n2] = free_ports();
        let d = folder.display();
        let mut conf = format!(
            "ClusterName=microbench\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={control}\nSlurmUser={user}\nSlurmdUser={user}\n\
             AuthType=auth/munge\nAuthInfo=socket={d}/munge.socket,cred_expire=5\nCredType=cred/munge\nStateSaveLocation={d}/state\n\
             SlurmdSpoolDir={d}/spool-%n\nSlurmctldPidFile={d}/slurmctld.pid\nSlurmdPidFile={d}/slurmd-%n.pid\n\
             SlurmctldLogFile={d}/slurmctld.log\nSlurmdLogFile={d}/slurmd-%n.log\nProctrackType=proctrack/pgid\nTaskPlugin=task/none\n\
             SelectType=select/linear\nMpiDefault=none\nReturnToService=2\nJobRequeue=1\nCommunicationParameters=NoInAddrAny\n"
        );
        for (node, port) in [("n1", n1), ("n2", n2)] {
            conf.push_str(&format!(
                "NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=1 Feature=kvm\n"
            ));
        }
        conf.push_str("PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP\n");
        fs::write(folder.join("slurm.conf"), conf).unwrap();
        let mut slurm = Self { folder, daemons: Vec::new() };
        let path = |name: &str| slurm.folder.join(name).display().to_string();
        let option = |option: &str, name: &str| format!("--{option}={}", path(name));
        let conf = path("slurm.conf");
        let munge = [
            "--foreground".to_owned(),
            "--force".to_owned(),
            option("key-file", "munge.key"),
            option("socket", "munge.socket"),
        ]
        .into_iter()
        .chain([
            option("pid-file", "munged.pid"),
            option("seed-file", "munge.seed"),
            option("log-file", "munged.log"),
        ]);
        let munge: Vec<String> = munge.collect();
        slurm.start_daemon(bench, "munged", "munged", &munge.iter().map(String::as_str).collect::<Vec<_>>());
        wait_until("munged", || slurm.folder.join("munge.socket").exists());
        slurm.start_daemon(bench, "slurmctld", "slurmctld", &["-D", "-i", "-f", &conf]);
        for node in ["n1", "n2"] {
            slurm.start_daemon(bench, node, "slurmd", &["-D", "-N", node, "-f", &conf]);
        }
        wait_until("both nodes to be idle", || {
            let states = slurm.command(bench, "sinfo", &["--noheader", "--Node", "--format=%t"]).output().unwrap();
            text(&states.stdout).lines().filter(|state| *state == "idle").count() == 2
        });
        slurm
    }

    fn start_daemon(&mut self, bench: &Bench, name: &str, program: &str, arguments: &[&str]) {
        let log = fs::File::create(self.folder.join(format!("{name}.out"))).unwrap();
        let mut command = self.command(bench, &format!("/usr/sbin/{program}"), arguments);
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn();
        let child = child.unwrap_or_else(|error| panic!("{program}: {error}; `make test-slurm` installs it"));
        self.daemons.push((name.to_owned(), child));
    }

    /// A command of `program` that uses this Slurm.
    fn command(&self, bench: &Bench, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("SLURM_CONF", self.folder.join("slurm.conf")).env(MARK, bench.path("."));
        command
    }

    /// Crashes a node: kills its daemon, its tasks and their job steps with SIGKILL. Returns the number of killed
    /// processes.
    fn crash(&mut self, bench: &Bench, node: &str) -> usize {
        let at = self.daemons.iter().position(|(name, _)| name == node).expect("a node");
        let (_, mut daemon) = self.daemons.remove(at);
        daemon.kill().unwrap();
        daemon.wait().unwrap();
        let mut killed = 1;
        let variable = format!("SLURMD_NODENAME={node}\0");
        for (pid, _) in processes_of(&bench.path("x")) {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            if !text(&environment).contains(&variable) {
                continue;
            }
            let above = parent_of(pid).filter(|above| is_slurm_step(*above));
            for pid in above.into_iter().chain([pid]) {
                killed += usize::from(kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).is_ok());
            }
        }
        let down = ["update", &format!("NodeName={node}"), "State=DOWN", "Reason=crashed"];
        assert!(self.command(bench, "scontrol", &down).status().unwrap().success());
        killed
    }
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

fn is_slurm_step(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with("slurmstepd"))
}

/// Unused TCP ports of the loopback interface.
fn free_ports() -> [u16; 3] {
    let held = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)).unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // The nodes stop first and munge stops last.
        for (_, daemon) in self.daemons.iter_mut().rev() {
            let _ = kill(Pid::from_raw(daemon.id().cast_signed()), Signal::SIGTERM);
            drop(daemon.wait());
        }
        for (pid, _) in processes_of(&self.folder) {
            let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL);
        }
    }
}

/// The program, in the folder of `bench` and with this Slurm.
fn microbench(bench: &Bench, slurm: &Slurm, arguments: &[&str]) -> Command {
    let mut command = bench.command(arguments);
    command.env("SLURM_CONF", slurm.folder.join("slurm.conf"));
    command
}

fn run_successfully(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    output
}

fn read_status(bench: &Bench, slurm: &Slurm) -> Value {
    serde_json::from_slice(&run_successfully(microbench(bench, slurm, &["status", "latest", "--json"])).stdout).unwrap()
}

fn count_ended_trials(journal: &Path) -> usize {
    fs::read_to_string(journal).unwrap_or_default().matches("\"trial_end\"").count()
}

#[test]
#[ignore = "needs slurm-wlm and munge: make test-slurm"]
fn crashed_node_loses_and_duplicates_no_trial() {
    let bench = Bench::new();
    bench.study(&["ok", "late"], "concurrency = [1]\ntrials = 40\nwarmup = false", "");
    let mut slurm = Slurm::start(&bench);
    let begun = Instant::now();
    let submit =
        ["submit", "slurm", "study.toml", "--shards", "2", "--host", "fake", "--constraint", "kvm", "--exclusive"];
    run_successfully(microbench(&bench, &slurm, &[&submit[..], &["--out", "runs/s"]].concat()));
    let journal = |shard: u32| bench.path(&format!("runs/s-{shard}of2/journal.ndjson"));
    wait_until("both shards to measure", || (1..=2).all(|shard| count_ended_trials(&journal(shard)) >= 3));
    let running = read_status(&bench, &slurm);
    let node = |shard: usize| running["shards"][shard]["slurm"]["nodes"].as_str().unwrap().to_owned();
    assert_ne!(node(0), node(1), "both shards are on one node");
    // Either shard may be on n2.
    let lost = (0..2).find(|shard| node(*shard) == "n2").unwrap();
    let killed = slurm.crash(&bench, "n2");
    let before = fs::read_to_string(journal(u32::try_from(lost).unwrap() + 1)).unwrap();
    assert!(before.matches("\"trial_end\"").count() < 40, "the node crashed before its shard was complete");
    let dead = Instant::now();
    wait_until("the other node to take the task over", || read_status(&bench, &slurm)["complete"] == true);
    let owner = fs::read_to_string(bench.path(&format!("runs/s-{}of2/session.json", lost + 1))).unwrap();
    assert!(owner.contains("\"restarts\":1"), "Slurm did not restart the task: {owner}");
    run_successfully(microbench(&bench, &slurm, &["merge", "s", "--out", "run"]));
    // `counted` fails if a trial counts twice.
    let all = bench.counted();
    assert_eq!(all.len(), 80);
    let after = fs::read_to_string(journal(u32::try_from(lost).unwrap() + 1)).unwrap();
    let whole = before.rfind('\n').map_or(0, |at| at + 1);
    assert!(after.starts_with(&before[..whole]), "records written before the crash changed");
    println!(
        "Slurm, 2 nodes, 2 shards of 40 trials of a stand-in: {killed} processes of one node killed with {} of its 40 trials \
         measured; lost 0, doubled 0; {:.1} s from the crash to the last trial, {:.1} s in all",
        before.matches("\"trial_end\"").count(),
        dead.elapsed().as_secs_f64(),
        begun.elapsed().as_secs_f64()
    );
    // `cancel` succeeds after the job has ended.
    run_successfully(microbench(&bench, &slurm, &["cancel", "s"]));
}

/// One Firecracker VM per shard, on an emulated host of each node.
const STUDY: &str = r#"
[study]
name = "real"
title = "One guest a node"
seed = 1
[guest]
kernel = "microvm-6.1"
rootfs = "minimal"
memory_mib = 128
[variants.fc]
label = "Firecracker"
engine = "firecracker"
[matrix]
trials = 2
warmup = true
[metrics]
kernel_boot_time = {}
webservice_startup_time = {}
"#;

#[test]
#[ignore = "needs slurm-wlm and munge: make test-slurm"]
fn emulated_hosts_of_two_nodes_count_as_one_host() {
    let bench = Bench::new();
    let slurm = Slurm::start(&bench);
    let study = bench.file("real.toml", STUDY).display().to_string();
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().display().to_string();
    let real = |arguments: &[&str]| {
        let mut command = microbench(&bench, &slurm, arguments);
        // Use the cached kernels, images and agent of the user.
        command.env_remove("MICROBENCH_CACHE").env_remove("MICROBENCH_AGENT");
        command
    };
    let begun = Instant::now();
    let out = bench.path("runs/s").display().to_string();
    let submit =
        ["submit", "slurm", &study, "--project", &project, "--shards", "2", "--host", "emulated", "--out", &out];
    let made = run_successfully(real(&submit));
    eprint!("{}", text(&made.stderr));
    let shown =
        || -> Value { serde_json::from_slice(&run_successfully(real(&["status", &out, "--json"])).stdout).unwrap() };
    // On a busy machine a guest needs minutes of real time.
    let mut log = String::new();
    while shown()["complete"] != true {
        log = fs::read_to_string(bench.path("runs/s/task-1.log")).unwrap_or_default();
        assert!(begun.elapsed().as_secs() < 1500, "not complete after 25 minutes: {}\n{log}", shown());
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    drop(log);
    run_successfully(real(&["merge", &out, "--out", "run"]));
    let all = counted(bench.journal());
    assert_eq!(all.len(), 2);
    let machines: Vec<&str> = all.values().map(|execution| execution.machine.as_str()).collect();
    assert!(machines[0].starts_with("emulated-") && machines[0] == machines[1], "{machines:?}");
    let span = |trial: u32| {
        let vm = &all[&trial].vms[&0];
        assert_eq!(vm.failure, None);
        (vm.events["http.ok"] - vm.events["spawn"]) as f64 / 1e6
    };
    println!(
        "Slurm, 2 nodes, one emulated host each, one Firecracker microVM each: spawn to first answer {:.3} and {:.3} ms of virtual \
         time, n = 1 trial a node; {:.0} s in all",
        span(0),
        span(1),
        begun.elapsed().as_secs_f64()
    );
}
