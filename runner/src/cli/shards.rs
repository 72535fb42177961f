//! One plan on several machines: shards joined to a run, and handed to Slurm.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use microbench::cluster::{self, Request, Submission, Task};
use microbench::store::directory::{Begun, Directory, Engines, stamp};
use microbench::store::merge::{self, Part};
use microbench::store::survey::{self, State};
use microbench::store::{name, prune};
use microbench_formats::code::Code;
use microbench_formats::describe::describe;
use microbench_formats::shard::Shard;
use microbench_formats::terminal::{Column, fitted, wrapped_to};
use microbench_measure::sys::durable;
use microbench_measure::terminal::screen::Stream;
use microbench_measure::{errln, outln};
use microbench_study::plan;
use serde::Serialize;

use super::arguments::{HostArgument, StudyArguments};
use super::runs::{Loaded, load, provide};
use super::store::{print_json, print_text};

/// What was merged, as JSON has it.
#[derive(Serialize)]
struct MergeReport<'a> {
    run: String,
    complete: bool,
    shards: &'a [Part],
}

/// Joins shards, or those of submissions, to one run, and prints its folder.
pub(super) fn merge(given: &[PathBuf], out: Option<&Path>, partial: bool, json: bool) -> anyhow::Result<ExitCode> {
    let mut shards = Vec::new();
    let runs = name::runs_folder().unwrap_or_default();
    for given in given {
        let submission = [given.clone(), runs.join(given)].into_iter().find(|path| path.join(cluster::FILE).is_file());
        if let Some(submission) = submission {
            let (submission, _) = Submission::open(&submission, &runs)?;
            for shard in &submission.shards {
                shards.push(Directory::open(shard)?);
            }
        } else {
            shards.push(Directory::open(given)?);
        }
    }
    let (run, parts) = merge::merge(&shards, out, partial)?;
    let (ended, planned) = (total(&parts, |part| part.trials_ended), total(&parts, |part| part.trials_planned));
    let whole = parts.first().is_some_and(|part| part.shard.of as usize == parts.len());
    if json {
        let run = run.path().display().to_string();
        return print_json(&MergeReport { run, complete: whole && ended == planned, shards: &parts });
    }
    let mut machines: Vec<&str> = parts.iter().flat_map(|part| &part.machines).map(String::as_str).collect();
    machines.sort_unstable();
    machines.dedup();
    let hosts = match machines.as_slice() {
        [one] => format!("one host, {one}"),
        several => format!("{} hosts, within which cells are compared: {}", several.len(), several.join(", ")),
    };
    let of = parts.first().map_or(0, |part| part.shard.of);
    let words = format!("{} of {of} shards, {ended} of their {planned} trials, of {hosts}", parts.len());
    errln!("{}", wrapped_to(Stream::Err.room().words, &words, 2));
    outln!("{}", run.path().display())?;
    Ok(ExitCode::SUCCESS)
}

fn total(parts: &[Part], of: fn(&Part) -> usize) -> usize {
    parts.iter().map(of).sum()
}

/// What Slurm is to do.
pub(super) struct Wanted {
    pub(super) shards: u32,
    pub(super) constraint: Option<String>,
    pub(super) exclusive: bool,
    pub(super) allow_unisolated: bool,
    pub(super) options: Vec<String>,
}

/// What was submitted, as JSON has it.
#[derive(Serialize)]
struct SubmitReport<'a> {
    submission: String,
    study: &'a str,
    plan_sha256: &'a str,
    job: &'a str,
    cluster: Option<&'a str>,
    submitted: &'a str,
    program: String,
    shards: Vec<String>,
}

/// Makes the shards' run directories, submits their array, and prints the submission's folder. What was made goes when Slurm refuses.
pub(super) fn submit(
    arguments: &StudyArguments,
    wanted: Wanted,
    host: HostArgument,
    out: Option<&Path>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let Wanted { shards: of, constraint, exclusive, allow_unisolated, options } = wanted;
    let Some(kind) = host.kind() else {
        bail!(Code::BadValue.says(
            "`--host auto` would let each node decide by itself, and shards of two kinds of hosts are no run: say kvm or emulated"
        ));
    };
    let Loaded { study, plan, engines, project, folder } = load(arguments)?;
    plan::divisible(&plan, of)?;
    // Here, so that all tasks find the same in the cache; what a node lacks it says itself.
    let lock = provide(&plan, &engines, &project, &folder, host)?;
    let base =
        out.map_or_else(|| project.root().join("runs").join(format!("{}-{}", plan.study, stamp())), Path::to_path_buf);
    let base = std::path::absolute(base)?;
    let beside = |end: String| {
        let name = base.file_name().unwrap_or_default().to_string_lossy().into_owned();
        base.with_file_name(name + &end)
    };
    let submission = if out.is_some() { base.clone() } else { beside("-slurm".to_owned()) };
    if submission.exists() {
        bail!(Code::FileExists.says(format!("{} exists already: give another --out", submission.display())));
    }
    let mut made = Vec::new();
    let prepare = || -> anyhow::Result<Submission> {
        let engines = Engines { engines };
        for shard in (1..=of).map(|index| Shard { index, of }) {
            let path = beside(format!("-{}of{of}", shard.index));
            let (manifest, shard) = (study.source.as_str(), Some(shard));
            let begun = Begun { plan: &plan, manifest, engines: &engines, lock: Some(&lock), shard };
            made.push(Directory::create(project.root(), Some(&path), begun)?.path().to_path_buf());
        }
        durable::create_folders(&submission)?;
        let project = std::path::absolute(project.root())?;
        let request = Request {
            study: plan.study.clone(),
            plan_sha256: plan::digest(&plan),
            host: HostArgument::of(kind).to_owned(),
            shards: made.clone(),
            constraint,
            exclusive,
            allow_unisolated,
            options,
            project,
        };
        cluster::submit(&request, &submission)
    };
    let submitted = match prepare() {
        Ok(submitted) => submitted,
        Err(error) => {
            // What could not be submitted is no run of anybody's.
            made.iter().for_each(|run| drop(prune::remove(run)));
            if !submission.join(cluster::FILE).exists() {
                drop(std::fs::remove_dir_all(&submission));
            }
            return Err(error);
        }
    };
    let path = submission.display().to_string();
    if json {
        return print_json(&SubmitReport {
            submission: path,
            study: &submitted.study,
            plan_sha256: &submitted.plan_sha256,
            job: &submitted.job,
            cluster: submitted.cluster.as_deref(),
            submitted: &submitted.submitted,
            program: submitted.program.display().to_string(),
            shards: submitted.shards.iter().map(|shard| shard.display().to_string()).collect(),
        });
    }
    errln!("job {} of {of} tasks; `microbench status {path}` shows it", submitted.job);
    outln!("{path}")?;
    Ok(ExitCode::SUCCESS)
}

/// A submission, as JSON has it.
#[derive(Serialize)]
struct StatusReport {
    submission: String,
    study: String,
    job: String,
    cluster: Option<String>,
    submitted: String,
    complete: bool,
    shards: Vec<ShardStatus>,
}

/// A shard of a submission.
#[derive(Serialize)]
struct ShardStatus {
    shard: String,
    run: String,
    slurm: Option<Task>,
    state: State,
    trials_ended: usize,
    trials_planned: usize,
}

fn find(given: &Path) -> anyhow::Result<(Submission, PathBuf)> {
    // Without a project there is no runs/, and a path will do.
    let runs = name::runs_folder().unwrap_or_default();
    Submission::open(given, &runs)
}

/// Shows each task's state in Slurm beside what its shard's journal says.
pub(super) fn status(given: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (submission, folder) = find(given)?;
    let mut asked = true;
    // Trials are in the journals, whether Slurm can be asked or not.
    let mut tasks = submission.tasks().unwrap_or_else(|error| {
        let words =
            format!("Slurm cannot be asked, and what follows is by the journals alone: {}", describe(error.as_ref()));
        errln!("{}", wrapped_to(Stream::Err.room().words, &words, 2));
        asked = false;
        BTreeMap::new()
    });
    let mut shards = Vec::new();
    for (task, path) in (1..).zip(&submission.shards) {
        let run = Directory::open(path)?;
        let (entry, _) = survey::entry(&run, name::begun(run.path()));
        shards.push(ShardStatus {
            shard: entry.shard.map(|shard| shard.to_string()).unwrap_or_default(),
            run: entry.path,
            slurm: tasks.remove(&task),
            state: entry.state,
            trials_ended: entry.trials_ended,
            trials_planned: entry.trials_planned,
        });
    }
    let complete = shards.iter().all(|shard| shard.state == State::Complete);
    let report = StatusReport {
        submission: folder.display().to_string(),
        study: submission.study,
        job: submission.job,
        cluster: submission.cluster,
        submitted: submission.submitted,
        complete,
        shards,
    };
    if json {
        return print_json(&report);
    }
    let columns = [
        Column::left("shard", 0),
        Column::left("Slurm", 0),
        Column::left("node", 1),
        Column::left("trials", 0),
        Column::left("run", 2),
    ];
    let row = |shard: &ShardStatus| {
        let unknown = || if asked { "not in the queue" } else { "unknown" }.to_owned();
        vec![
            shard.shard.clone(),
            shard.slurm.as_ref().map_or_else(unknown, |task| task.state.clone()),
            shard.slurm.as_ref().map(|task| task.nodes.clone()).unwrap_or_default(),
            format!("{} of {}", shard.trials_ended, shard.trials_planned),
            Path::new(&shard.run).file_name().unwrap_or_default().to_string_lossy().into_owned(),
        ]
    };
    let room = Stream::Out.room();
    let (table, left_out) = fitted(&columns, &report.shards.iter().map(row).collect::<Vec<_>>(), room.table);
    let mut text = format!("job {} of {}, submitted {}\n", report.job, report.study, report.submitted);
    text.push_str(&table);
    text.push_str(&room.left_out(&left_out));
    if complete {
        text.push_str(&format!("all shards are complete: microbench merge {}\n", report.submission));
    }
    print_text(&text)
}

/// Cancels a submission's job.
pub(super) fn cancel(given: &Path) -> anyhow::Result<ExitCode> {
    let (submission, folder) = find(given)?;
    submission.cancel()?;
    errln!(
        "job {} is cancelled; `microbench status {}` shows what was measured, and `microbench run --resume SHARD` goes on",
        submission.job,
        folder.display()
    );
    Ok(ExitCode::SUCCESS)
}
