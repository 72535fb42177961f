//! kill -9 at random instants: what is left, and what a resumed run makes of it. `make soak` does it more often.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::support::{Bench, counted, processes_of, text, wait_until};

/// What the kills came to.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) kills: u32,
    /// Kills after which anything was left two seconds later.
    pub(crate) leaks: u32,
    /// Trials in the journal before a kill that were not there, or others, after it.
    pub(crate) lost: u32,
    /// Trials that count twice: `counted` fails on the first.
    pub(crate) duplicated: u32,
    /// The longest time until the last process was gone.
    pub(crate) slowest: Duration,
}

/// Kills the runner `kills` times, each time up to `window` after its start, resumes it, and lets it end.
pub(crate) fn kill_and_resume(kills: u32, trials: u32, window: Duration, seed: u64) -> Found {
    let bench = Bench::new();
    bench.study(&["ok"], &format!("concurrency = [2]\ntrials = {trials}\nwarmup = false"), "disk = \"clone\"");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut found = Found::default();
    let (mut before, mut plan) = (std::collections::BTreeMap::new(), None);
    let begin = ["run", "study.toml", "--host", "fake", "--out", "run"];
    let resume = ["run", "--resume", "run", "--host", "fake"];
    let next = |bench: &Bench| if bench.path("run/plan.json").exists() { &resume[..] } else { &begin[..] };
    for _ in 0..kills {
        let mut runner = bench.start(next(&bench));
        // The instant is the fault that is injected; nothing is waited for by it.
        std::thread::sleep(window.mul_f64((random.next_u64() % 1000) as f64 / 1000.0));
        let inside = processes_of(&bench.path("run")).into_iter().map(|(pid, _)| pid).find(|pid| *pid != runner.id());
        // The process outside, or the first one inside of the sandbox.
        let victim = inside.filter(|_| random.next_u64() % 2 == 0).unwrap_or(runner.id());
        let _ = kill(Pid::from_raw(victim.cast_signed()), Signal::SIGKILL);
        let killed = Instant::now();
        runner.kill().unwrap();
        runner.wait().unwrap();
        wait_until("every process of the run to end", || processes_of(&bench.path("run")).is_empty());
        found.kills += 1;
        found.slowest = found.slowest.max(killed.elapsed());
        found.leaks += u32::from(killed.elapsed() > Duration::from_secs(2) || is_left(&bench));
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

/// A mount, a tap, a socket or a control group of the run is there.
fn is_left(bench: &Bench) -> bool {
    let folder = bench.path("run").display().to_string();
    let mentions = |file: &str, word: &str| fs::read_to_string(file).is_ok_and(|text| text.contains(word));
    mentions("/proc/self/mountinfo", &folder)
        || mentions("/proc/net/unix", &folder)
        || mentions("/proc/net/dev", "mb0:")
        || mentions("/proc/self/cgroup", "microbench-run")
}
