//! Cost of allocating and releasing the disks and networks of 1,000 VMs, compared with a shell script that
//! calls `ip` and `cp`.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use microbench_measure::sys;
use nix::sched::{CloneFlags, unshare};
use serde::Deserialize;

use crate::Bench;
use crate::measure;
use crate::outcome::{Figure, Named, Outcome, Row};

const VMS: u32 = 1000;
/// Size of the disk image, and its data, bytes.
const IMAGE: u64 = 2 << 20;
const DATA: usize = 160 << 10;
/// Shell script of the peer.
const SCRIPT: &str = include_str!("host_resources.sh");

/// Output of `microbench selftest host-resources`.
#[derive(Deserialize)]
struct OwnTimes {
    clone_ns: u64,
    tap_ns: u64,
    remove_ns: u64,
}

/// Output of `host_resources.sh`.
#[derive(Deserialize)]
struct ShellTimes {
    allocate_ns: u64,
    remove_ns: u64,
}

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    let image = folder.path().join("image");
    let file = File::create(&image).context("cannot create the image")?;
    file.set_len(IMAGE)?;
    file.write_all_at(&microbench_agent::workload::pseudo_random(DATA, 1), 0)?;
    let script = folder.path().join("host_resources.sh");
    fs::write(&script, SCRIPT)?;
    let [mut ours, mut ours_release, mut peer, mut peer_release, mut limit] = [(); 5].map(|()| Vec::new());
    let milliseconds = |ns: u64| ns as f64 / 1e6;
    for _ in 0..bench.rounds {
        let vms = VMS.to_string();
        let mut command = Command::new(&bench.microbench);
        let own: OwnTimes = measure::json(command.args(["selftest", "host-resources", "--vms", &vms]).arg(&image))?;
        ours.push(milliseconds(own.clone_ns + own.tap_ns));
        ours_release.push(milliseconds(own.remove_ns));

        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-eu"]).arg(&script).arg(&vms).arg(&image);
        let by_shell: ShellTimes = measure::json(&mut command)?;
        peer.push(milliseconds(by_shell.allocate_ns));
        peer_release.push(milliseconds(by_shell.remove_ns));
        limit.push(create_taps()? * 1e3);
    }
    let [ours, ours_release, peer, peer_release, limit] =
        [ours, ours_release, peer, peer_release, limit].map(|v| Figure::of(&v));
    let allocation = Row {
        what: format!(
            "allocating the host resources of {VMS} VMs: a disk clone ({} KiB of data) and a tap with addresses \
             and neighbour",
            DATA >> 10
        ),
        unit: "ms",
        ours,
        peer: Some(Named { name: "sh with cp, ip".into(), figure: peer }),
        limit: Some(Named { name: format!("creating {VMS} taps, nothing else"), figure: limit }),
        goal: "at most 1/20 of the shell's time",
        met: Some(ours.median * 20.0 <= peer.median),
    };
    let release = Row {
        what: format!("releasing the host resources of {VMS} VMs"),
        unit: "ms",
        ours: ours_release,
        peer: Some(Named { name: "sh with rm, ip".into(), figure: peer_release }),
        limit: None,
        goal: "at most 1/20 of the shell's time",
        met: Some(ours_release.median * 20.0 <= peer_release.median),
    };
    Ok(Outcome { rows: vec![allocation, release], curves: Vec::new() })
}

/// Creates [`VMS`] taps in a new network namespace, whose end removes them; returns the time, seconds.
fn create_taps() -> Result<f64> {
    let create = || -> Result<f64> {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot create a network namespace")?;
        let begun = Instant::now();
        for vm in 0..VMS {
            sys::tap_create(&format!("mb{vm}"), 0).context("cannot create a tap")?;
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    std::thread::spawn(create).join().unwrap_or_else(|_| Err(anyhow!("the thread panicked")))
}
