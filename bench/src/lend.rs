//! What it takes to lend 1,000 VMs a disk and a network, and to take both back, beside a shell that calls `ip` and `cp`.

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
/// The disk image: as many bytes, of which so many are data.
const IMAGE: u64 = 2 << 20;
const DATA: usize = 160 << 10;
/// What the shell does.
const SCRIPT: &str = include_str!("lend.sh");

/// `microbench selftest lend`.
#[derive(Deserialize)]
struct Lent {
    clone_ns: u64,
    tap_ns: u64,
    remove_ns: u64,
}

/// `lend.sh`.
#[derive(Deserialize)]
struct ByShell {
    lend_ns: u64,
    remove_ns: u64,
}

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot make a folder")?;
    let image = folder.path().join("image");
    let file = File::create(&image).context("cannot make an image")?;
    file.set_len(IMAGE)?;
    file.write_all_at(&microbench_agent::work::pseudo_random(DATA, 1), 0)?;
    let script = folder.path().join("lend.sh");
    fs::write(&script, SCRIPT)?;
    let [mut ours, mut ours_back, mut peer, mut peer_back, mut limit] = [(); 5].map(|()| Vec::new());
    let milliseconds = |ns: u64| ns as f64 / 1e6;
    for _ in 0..bench.rounds {
        let vms = VMS.to_string();
        let mut command = Command::new(&bench.microbench);
        let lent: Lent = measure::json(command.args(["selftest", "lend", "--vms", &vms]).arg(&image))?;
        ours.push(milliseconds(lent.clone_ns + lent.tap_ns));
        ours_back.push(milliseconds(lent.remove_ns));

        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-eu"]).arg(&script).arg(&vms).arg(&image);
        let by_shell: ByShell = measure::json(&mut command)?;
        peer.push(milliseconds(by_shell.lend_ns));
        peer_back.push(milliseconds(by_shell.remove_ns));
        limit.push(bare()? * 1e3);
    }
    let [ours, ours_back, peer, peer_back, limit] = [ours, ours_back, peer, peer_back, limit].map(|v| Figure::of(&v));
    let lend = Row {
        what: format!(
            "lending {VMS} VMs a clone of a disk ({} KiB of data), a tap, up, with addresses and the guest as a neighbour",
            DATA >> 10
        ),
        unit: "ms",
        ours,
        peer: Some(Named { name: "sh with cp, ip".into(), figure: peer }),
        limit: Some(Named { name: format!("{VMS} bare taps, nothing else"), figure: limit }),
        goal: "at most 1/20 of the shell's",
        met: Some(ours.median * 20.0 <= peer.median),
    };
    let back = Row {
        what: format!("taking what {VMS} VMs had back"),
        unit: "ms",
        ours: ours_back,
        peer: Some(Named { name: "sh with rm, ip".into(), figure: peer_back }),
        limit: None,
        goal: "at most 1/20 of the shell's",
        met: Some(ours_back.median * 20.0 <= peer_back.median),
    };
    Ok(Outcome { rows: vec![lend, back], curves: Vec::new() })
}

/// Seconds that it takes to make as many taps in a new network namespace, whose end removes them.
fn bare() -> Result<f64> {
    let make = || -> Result<f64> {
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        let begun = Instant::now();
        for vm in 0..VMS {
            sys::tap_create(&format!("mb{vm}"), 0).context("cannot make a tap")?;
        }
        Ok(begun.elapsed().as_secs_f64())
    };
    std::thread::spawn(make).join().unwrap_or_else(|_| Err(anyhow!("the thread panicked")))
}
