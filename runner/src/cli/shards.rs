//! `merge`, `submit`, `status` and `cancel`: shards of one plan on several machines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::bail;
use microbench::cluster::{self, Request, Submission, Task};
use microbench::store::directory::{Directory, Engines, NewRun, time_stamp};
use microbench::store::merge::{self, Part};
use microbench::store::status::{self, State};
use microbench::store::{lookup, prune};
use microbench_formats::code::Code;
use microbench_formats::describe::describe;
use microbench_formats::shard::Shard;
use microbench_formats::terminal::{Column, fitted, wrapped_to};
use microbench_measure::sys::durable;
use microbench_measure::terminal::screen::Stream;
use microbench_measure::{errln, outln, trust};
use microbench_study::plan;
use serde::Serialize;

use super::arguments::{HostArgument, StudyArguments};
use super::run::{Loaded, load, provide};
use super::store::{print_json, print_text};

/// JSON output of `merge`.
#[derive(Serialize)]
struct MergeReport<'a> {
    run: String,
    complete: bool,
    shards: &'a [Part],
}

/// Merges shards, or the shards of submissions, into one run, and prints the run's folder.
pub(super) fn merge(given: &[PathBuf], out: Option<&Path>, partial: bool, json: bool) -> anyhow::Result<ExitCode> {
    let mut shards = Vec::new();
    let runs = lookup::runs_folder().unwrap_or_default();
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
    let is_complete = parts.first().is_some_and(|part| part.shard.of as usize == parts.len());
    if json {
        let run = run.path().display().to_string();
        return print_json(&MergeReport { run, complete: is_complete && ended == planned, shards: &parts });
    }
    let mut machines: Vec<&str> = parts.iter().flat_map(|part| &part.machines).map(String::as_str).collect();
    machines.sort_unstable();
    machines.dedup();
    let hosts = match machines.as_slice() {
        [one] => format!("one host, {one}"),
        several => format!("{} hosts (cells are compared within each host): {}", several.len(), several.join(", ")),
    };
    let count = parts.first().map_or(0, |part| part.shard.of);
    let message = format!("merged {} of {count} shards with {ended} of {planned} trials from {hosts}", parts.len());
    errln!("{}", wrapped_to(Stream::Err.output_width().prose, &message, 2));
    outln!("{}", run.path().display())?;
    Ok(ExitCode::SUCCESS)
}

fn total(parts: &[Part], of: fn(&Part) -> usize) -> usize {
    parts.iter().map(of).sum()
}

/// Options of the Slurm job.
pub(super) struct JobOptions {
    pub(super) shards: u32,
    pub(super) constraint: Option<String>,
    pub(super) exclusive: bool,
    pub(super) allow_unisolated: bool,
    pub(super) options: Vec<String>,
}

/// JSON output of `submit`.
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

/// Creates the run folders of the shards, submits the array job, and prints the folder of the submission. When the
/// submission fails, the created folders are removed.
pub(super) fn submit(
    arguments: &StudyArguments,
    job: JobOptions,
    host: HostArgument,
    out: Option<&Path>,
    json: bool,
) -> anyhow::Result<ExitCode> {
    let JobOptions { shards: of, constraint, exclusive, allow_unisolated, options } = job;
    let Some(kind) = host.kind() else {
        bail!(Code::BadValue.with_message(
            "`--host auto` is not possible for a submission, because shards on different kinds of host cannot be merged: pass --host kvm or --host emulated"
        ));
    };
    let Loaded { study, plan, engines, project, folder, .. } = load(arguments)?;
    plan::divisible(&plan, of)?;
    // Artefacts are provided here, so that all tasks find the same ones in the cache.
    let lock = provide(&plan, &engines, &project, &folder, host)?;
    let base = out.map_or_else(
        || project.root().join("runs").join(format!("{}-{}", plan.study, time_stamp())),
        Path::to_path_buf,
    );
    let base = std::path::absolute(base)?;
    let with_suffix = |end: String| {
        let name = base.file_name().unwrap_or_default().to_string_lossy().into_owned();
        base.with_file_name(name + &end)
    };
    let submission = if out.is_some() { base.clone() } else { with_suffix("-slurm".to_owned()) };
    if submission.exists() {
        bail!(Code::FileExists.with_message(format!("{} exists: pass another --out", submission.display())));
    }
    let mut made = Vec::new();
    let prepare = || -> anyhow::Result<Submission> {
        let engines = Engines { engines };
        for shard in (1..=of).map(|index| Shard { index, of }) {
            let path = with_suffix(format!("-{}of{of}", shard.index));
            let (manifest, shard) = (study.source.as_str(), Some(shard));
            let new_run = NewRun { plan: &plan, manifest, engines: &engines, lock: Some(&lock), shard, label: None };
            made.push(Directory::create(project.root(), Some(&path), new_run)?.path().to_path_buf());
        }
        durable::create_folders(&submission)?;
        let project = std::path::absolute(project.root())?;
        let request = Request {
            study: plan.study.clone(),
            plan_sha256: plan::digest(&plan),
            host: HostArgument::name(kind).to_owned(),
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
            // Without a job, no task would ever execute these runs.
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
    errln!("submitted job {} with {of} tasks; `microbench status {path}` shows its status", submitted.job);
    outln!("{path}")?;
    Ok(ExitCode::SUCCESS)
}

/// JSON output of `status`.
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

/// The status of one shard.
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
    // Outside of a project, the submission must be given by its path.
    let runs = lookup::runs_folder().unwrap_or_default();
    Submission::open(given, &runs)
}

/// Prints the state of each task in Slurm, and the trials in the journal of its shard.
pub(super) fn status(given: &Path, json: bool) -> anyhow::Result<ExitCode> {
    let (submission, folder) = find(given)?;
    let mut has_slurm = true;
    // Without Slurm, the journals still tell the trials.
    let mut tasks = submission.tasks().unwrap_or_else(|error| {
        let warning = format!("warning: no status from Slurm, only from the journals: {}", describe(error.as_ref()));
        errln!("{}", wrapped_to(Stream::Err.output_width().prose, &warning, 2));
        has_slurm = false;
        BTreeMap::new()
    });
    let mut shards = Vec::new();
    for (task, path) in (1..).zip(&submission.shards) {
        let run = Directory::open(path)?;
        let (entry, _) = status::read_entry(&run, lookup::start_time(run.path()));
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
        let unknown = || if has_slurm { "not in the queue" } else { "unknown" }.to_owned();
        vec![
            shard.shard.clone(),
            shard.slurm.as_ref().map_or_else(unknown, |task| task.state.clone()),
            shard.slurm.as_ref().map(|task| task.nodes.clone()).unwrap_or_default(),
            format!("{} of {}", shard.trials_ended, shard.trials_planned),
            Path::new(&shard.run).file_name().unwrap_or_default().to_string_lossy().into_owned(),
        ]
    };
    let width = Stream::Out.output_width();
    let (table, left_out) = fitted(&columns, &report.shards.iter().map(row).collect::<Vec<_>>(), width.table);
    let mut text = format!("job {} of study {}, submitted {}\n", report.job, report.study, report.submitted);
    text.push_str(&table);
    text.push_str(&width.left_out(&left_out));
    if complete {
        text.push_str(&format!("all shards are complete; next: microbench merge {}\n", report.submission));
    }
    print_text(&text)
}

/// Cancels a submission's job.
pub(super) fn cancel(given: &Path) -> anyhow::Result<ExitCode> {
    let (submission, folder) = find(given)?;
    trust::check("the submission", &folder)?;
    trust::check("the submission", &folder.join(cluster::FILE))?;
    submission.cancel()?;
    errln!(
        "job {} was cancelled; `microbench status {}` shows the trials of each shard, and `microbench run --resume SHARD` resumes a shard",
        submission.job,
        folder.display()
    );
    Ok(ExitCode::SUCCESS)
}
