//! `kill -9` at random instants: leaked resources, and trials that a resumed run loses. `make soak` runs more kills.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::support::{Bench, counted, processes_of, text, wait_until};

/// Results of the kills.
#[derive(Debug, Default)]
pub(crate) struct KillCounts {
    pub(crate) kills: u32,
    /// Kills after which a process or resource was left after two seconds.
    pub(crate) leaks: u32,
    /// Trials in the journal that were missing or changed after a kill.
    pub(crate) lost: u32,
    /// Trials that count twice. `counted` panics at the first.
    pub(crate) duplicated: u32,
    /// Longest time until the last process of a killed run had ended.
    pub(crate) slowest: Duration,
}

/// Starts and kills a run `kills` times, each time up to `window` after its start, and then resumes it to its end.
pub(crate) fn kill_and_resume(kills: u32, trials: u32, window: Duration, seed: u64) -> KillCounts {
    let bench = Bench::new();
    bench.study(&["ok"], &format!("concurrency = [2]\ntrials = {trials}\nwarmup = false"), "disk = \"clone\"");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut found = KillCounts::default();
    let (mut before, mut plan) = (std::collections::BTreeMap::new(), None);
    let begin = ["run", "study.toml", "--host", "fake", "--out", "run"];
    let resume = ["run", "--resume", "run", "--host", "fake"];
    let next = |bench: &Bench| if bench.path("run/plan.json").exists() { &resume[..] } else { &begin[..] };
    for _ in 0..kills {
        let mut runner = bench.start(next(&bench));
        // The random instant is the injected fault; the sleep waits for no event.
        std::thread::sleep(window.mul_f64((random.next_u64() % 1000) as f64 / 1000.0));
        let inside = processes_of(&bench.path("run")).into_iter().map(|(pid, _)| pid).find(|pid| *pid != runner.id());
        // Kill the outer process, or the outermost process of the sandbox.
        let victim = inside.filter(|_| random.next_u64() % 2 == 0).unwrap_or(runner.id());
        let _ = kill(Pid::from_raw(victim.cast_signed()), Signal::SIGKILL);
        let killed = Instant::now();
        runner.kill().unwrap();
        runner.wait().unwrap();
        wait_until("every process of the run to end", || processes_of(&bench.path("run")).is_empty());
        found.kills += 1;
        found.slowest = found.slowest.max(killed.elapsed());
        found.leaks += u32::from(killed.elapsed() > Duration::from_secs(2) || leaves_resources(&bench));
        if bench.path("run/journal.ndjson").exists() {
            let now = bench.counted();
            found.lost +=
                u32::try_from(before.iter().filter(|(trial, kept)| now.get(trial) != Some(kept)).count()).unwrap();
            before = now;
        }
        if bench.path("run/plan.json").exists() {
            let now = fs::read(bench.path("run/plan.json")).unwrap();
            assert_eq!(*plan.get_or_insert_with(|| now.clone()), now, "the plan changed");
        }
    }
    let output = bench.run(next(&bench));
    assert!(output.status.success(), "{}", text(&output.stderr));
    let after = counted(bench.journal());
    assert_eq!(after.len(), usize::try_from(trials).unwrap());
    found.lost += u32::try_from(before.iter().filter(|(trial, kept)| after.get(trial) != Some(kept)).count()).unwrap();
    let names = fs::read_dir(bench.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
    let half_made = names.filter(|name| name.to_string_lossy().starts_with(".microbench")).count();
    assert_eq!(half_made, 0, "half-made folders are left");
    found
}

/// Whether a mount, tap, socket or control group of the run exists.
fn leaves_resources(bench: &Bench) -> bool {
    let folder = bench.path("run").display().to_string();
    let mentions = |file: &str, word: &str| fs::read_to_string(file).is_ok_and(|text| text.contains(word));
    mentions("/proc/self/mountinfo", &folder)
        || mentions("/proc/net/unix", &folder)
        || mentions("/proc/net/dev", "mb0:")
        || mentions("/proc/self/cgroup", "microbench-run")
}
