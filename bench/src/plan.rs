//! Cost of plans of up to a million cells: read, validate, expand, order and show.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use microbench::catalog;
use microbench_study::manifest::{self, Catalog};
use microbench_study::plan;

use crate::Bench;
use crate::measure::{Cost, python, run, stdout};
use crate::outcome::{Figure, Named, Outcome, Point, Row};

/// Cells per size of the guest's memory.
const CELLS: usize = 800;
/// Numbers of memory sizes: for about 1,000, 10,000, 100,000 and 1,000,000 cells.
const SIZES: [usize; 4] = [1, 12, 125, 1250];
const SCRIPT: &str = include_str!("../python/plan.py");
const MIB: f64 = 1_048_576.0;

pub(crate) fn measure(bench: &Bench) -> Result<Outcome> {
    let folder = tempfile::tempdir().context("cannot create a folder")?;
    // The manifest is not in the project's folder, so the command line names the project.
    let project = std::env::current_dir().context("cannot find the working directory")?;
    let manifest = |size: usize| folder.path().join(format!("cells-{}.toml", size * CELLS));
    for size in SIZES {
        fs::write(manifest(size), manifest_text(size))?;
    }
    let expanded_in = |size: usize| -> Result<f64> {
        let text = stdout(Command::new(std::env::current_exe()?).arg("--expand").arg(manifest(size)))?;
        text.trim().parse().context("the output is not a number of seconds")
    };
    let ours = |size: usize, json: bool| {
        let mut command = Command::new(&bench.microbench);
        command.arg("plan").arg(manifest(size)).arg("--project").arg(&project).args(json.then_some("--json"));
        command
    };
    let (mut expanded, mut theirs, mut curves) = (Vec::new(), Vec::<Cost>::new(), Vec::new());
    let mut costs: BTreeMap<(usize, bool), Vec<Cost>> = BTreeMap::new();
    for round in 1..=bench.rounds {
        for size in SIZES {
            let seconds = expanded_in(size)?;
            let cost = run(&mut ours(size, false))?;
            let cells = (size * CELLS) as u64;
            let mut point = |metric, value| curves.push(Point { metric, size: cells, round, value });
            point("plan_expansion", seconds * 1e3);
            point("plan_time", cost.wall.as_secs_f64() * 1e3);
            point("plan_memory", cost.peak_bytes as f64 / MIB);
            costs.entry((size, false)).or_default().push(cost);
            if size == SIZES[SIZES.len() - 1] {
                expanded.push(seconds);
                costs.entry((size, true)).or_default().push(run(&mut ours(size, true))?);
                if let Some(program) = &bench.python {
                    theirs.push(run(&mut python(program, SCRIPT, &[size.to_string()]))?);
                }
            }
        }
    }
    let [.., before, last] = SIZES;
    let figure = |costs: &[Cost], of: fn(&Cost) -> f64| Figure::of(&costs.iter().map(of).collect::<Vec<_>>());
    let wall: fn(&Cost) -> f64 = |cost| cost.wall.as_secs_f64();
    let peak: fn(&Cost) -> f64 = |cost| cost.peak_bytes as f64 / MIB;
    let peer = |of| {
        let name = "itertools.product of dictionaries in Python".to_owned();
        (!theirs.is_empty()).then(|| Named { name, figure: figure(&theirs, of) })
    };
    let (shown, json, memory) =
        (&costs[&(last, false)], &costs[&(last, true)], |size| figure(&costs[&(size, false)], peak).median);
    let bytes = (memory(last) - memory(before)) * MIB / ((last - before) * CELLS) as f64;
    let exponent = (memory(last) / memory(before)).ln() / (last as f64 / before as f64).ln();
    let stated = |what: String, unit, ours, peer| Row { what, unit, ours, peer, limit: None, goal: "none", met: None };
    let ours = Figure::of(&expanded);
    let rows = vec![
        Row {
            what: "Manifest of 1 million cells: read, validate, expand, order".to_owned(),
            unit: "s",
            ours,
            peer: peer(wall),
            limit: None,
            goal: "under 2 s",
            met: Some(ours.median < 2.0),
        },
        stated("`plan` of it, with its digest: whole process".to_owned(), "s", figure(shown, wall), None),
        stated("`plan --json` of it: whole process".to_owned(), "s", figure(json, wall), None),
        Row {
            goal: "linear",
            met: Some(exponent < 1.1),
            ..stated(
                format!(
                    "Peak resident set of `plan` of it: {bytes:.0} bytes a cell, exponent {exponent:.2} \
                     from 100,000 cells"
                ),
                "MiB",
                figure(shown, peak),
                peer(peak),
            )
        },
    ];
    Ok(Outcome { rows, curves })
}

/// Expands the manifest in this process; returns the time from its path to its plan, seconds.
pub(crate) fn expand(manifest: &Path) -> Result<f64> {
    let known = Catalog { kernels: vec!["microvm-6.1".into()], rootfs: vec!["openrc".into()], ..catalog::built_in()? };
    let begun = Instant::now();
    let study = manifest::load(manifest, &known).map_err(|errors| anyhow::anyhow!("{errors}"))?;
    let plan = plan::expand(&study, plan::Overrides::default())?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(plan.trials.len() == plan.cells.len() && plan.cells.len().is_multiple_of(CELLS), "the plan is incomplete");
    Ok(seconds)
}

/// Returns a manifest with `size` sizes of the guest's memory.
fn manifest_text(size: usize) -> String {
    let list =
        |numbers: std::ops::Range<usize>| numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(", ");
    format!(
        "[study]\nname = \"cells\"\ntitle = \"Many cells\"\n[guest]\nkernel = \"microvm-6.1\"\nrootfs = \"openrc\"\n\
         [variants.fc]\nlabel = \"Firecracker\"\nengine = \"firecracker\"\n\
         [variants.qemu]\nlabel = \"QEMU\"\nengine = \"qemu-microvm\"\n\
         [matrix]\ntrials = 1\nconcurrency = [{}]\nvcpus = [{}]\nconsole = [true, false]\n\
         page_cache = [\"warm\", \"cold\"]\nmemory_mib = [{}]\n[metrics]\nwebservice_startup_time = {{}}\n",
        list(1..11),
        list(1..11),
        list(128..128 + size)
    )
}
