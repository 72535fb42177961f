//! Shards as an array of Slurm: submitted, looked at, cancelled. Slurm is asked by its commands alone and need not be installed.
//!
//! The shards' run directories are made before the job is submitted, so that a task has but to go on with its own: when Slurm runs one
//! again (a node died, a job was requeued) nothing is lost and nothing is there twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use microbench_formats::code::Code;
use microbench_measure::artifacts::tool::{Tool, ToolError};
use microbench_measure::sys::durable::{self, damaged_file_error};
use microbench_study::engine::template::{self, Data};
use serde::{Deserialize, Serialize};

/// File of a submission.
pub const FILE: &str = "submission.json";
/// The batch script of a submission.
const SCRIPT: &str = "batch.sh";
/// States of a job in which a task of it may execute.
const ALIVE: &str = "RUNNING,COMPLETING,CONFIGURING,SUSPENDED,STOPPED,STAGE_OUT,SIGNALING";

/// A job of Slurm, as one of its processes sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Its number; of a task of an array `JOB_TASK`.
    pub id: String,
    /// How often it was requeued.
    pub restarts: u32,
}

impl Job {
    /// The job that this process belongs to.
    #[must_use]
    pub fn this() -> Option<Self> {
        Self::of(|name| std::env::var(name).ok())
    }

    fn of(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let array = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
        let id = array.map(|(job, task)| format!("{job}_{task}")).or_else(|| variable("SLURM_JOB_ID"))?;
        let restarts = variable("SLURM_RESTART_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0);
        Some(Self { id, restarts })
    }

    /// Whether it is `earlier`, requeued: Slurm runs a job again only when it has ended.
    #[must_use]
    pub fn succeeds(&self, earlier: &Self) -> bool {
        self.id == earlier.id && self.restarts > earlier.restarts
    }

    /// Whether Slurm says that the job executes no more. False where Slurm cannot be asked.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let states = format!("--states={ALIVE}");
        match Tool::new("squeue").args(["--noheader", "--format=%T", &states, &format!("--jobs={}", self.id)]).run(None)
        {
            Ok(states) => states.trim().is_empty(),
            Err(ToolError::Failed { output, .. }) => output.contains("Invalid job id"),
            Err(ToolError::Start { .. }) => false,
        }
    }
}

/// What is submitted.
#[derive(Clone, Debug)]
pub struct Request {
    /// The study's name.
    pub study: String,
    /// SHA-256 of the plan.
    pub plan_sha256: String,
    /// The kind of host, as the command line has it.
    pub host: String,
    /// The shards' run directories, in order: `<prefix>KofN`.
    pub shards: Vec<PathBuf>,
    /// What a node must have.
    pub constraint: Option<String>,
    /// Whether a task has its node alone.
    pub exclusive: bool,
    /// Whether a task may run VMMs that are not isolated from its node.
    pub allow_unisolated: bool,
    /// Further options for `sbatch`.
    pub options: Vec<String>,
    /// The project's folder.
    pub project: PathBuf,
}

/// What a submission's folder says of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    /// The study's name.
    pub study: String,
    /// SHA-256 of the plan.
    pub plan_sha256: String,
    /// The job's number.
    pub job: String,
    /// The cluster, where `sbatch` names one.
    pub cluster: Option<String>,
    /// When it was submitted, RFC 3339.
    pub submitted: String,
    /// The program that its tasks execute.
    pub program: PathBuf,
    /// The shards' run directories; task K executes the K-th.
    pub shards: Vec<PathBuf>,
}

/// Slurm's word on one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Its state, as Slurm names it.
    pub state: String,
    /// The node or nodes; empty when there is none yet.
    pub nodes: String,
}

/// Writes the batch script of `request` into `folder`, which must be there, submits it and records what came of it.
///
/// # Errors
/// When a path or an option cannot stand in a script, when there is no `sbatch` or it refuses.
pub fn submit(request: &Request, folder: &Path) -> anyhow::Result<Submission> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let text = script(request, folder, &program)?;
    let path = folder.join(SCRIPT);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    // Options may name files of the working directory.
    let sbatch = Tool::new("sbatch").folder(Path::new("."));
    let printed = ask(sbatch.arg("--parsable").args(&request.options).arg(&path))?;
    let (job, cluster) = parsable(&printed).with_context(|| {
        Code::SlurmFailed.says(format!("`sbatch --parsable` printed no job number but {:?}", printed.trim()))
    })?;
    let submission = Submission {
        study: request.study.clone(),
        plan_sha256: request.plan_sha256.clone(),
        job,
        cluster,
        submitted: jiff::Timestamp::now().strftime("%FT%TZ").to_string(),
        program,
        shards: request.shards.clone(),
    };
    let mut text = serde_json::to_vec_pretty(&submission)?;
    text.push(b'\n');
    let path = folder.join(FILE);
    if let Err(error) = durable::write(&path, &text) {
        // What nobody knows of is not to run.
        let cancelled = if submission.cancel().is_ok() { "is cancelled" } else { "cannot be cancelled: cancel it" };
        let message =
            format!("cannot write {}; job {}, which was submitted, {cancelled}", path.display(), submission.job);
        return Err(error.context(message));
    }
    Ok(submission)
}

/// The batch script.
fn script(request: &Request, folder: &Path, program: &Path) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Context<'a> {
        study: &'a str,
        shards: usize,
        folder: &'a str,
        program: &'a str,
        prefix: &'a str,
        host: &'a str,
        project: &'a str,
        constraint: Option<&'a str>,
        exclusive: bool,
        allow_unisolated: bool,
    }
    let last = request.shards.last().context("a submission without shards")?;
    let end = format!("{0}of{0}", request.shards.len());
    let prefix = last.to_str().and_then(|path| path.strip_suffix(&end));
    let context = Context {
        study: &request.study,
        shards: request.shards.len(),
        folder: fit(folder)?,
        program: fit(program)?,
        prefix: fit(Path::new(prefix.with_context(|| format!("{} does not end in {end}", last.display()))?))?,
        host: &request.host,
        project: fit(&request.project)?,
        constraint: request.constraint.as_deref(),
        exclusive: request.exclusive,
        allow_unisolated: request.allow_unisolated,
    };
    if let Some(constraint) = context.constraint {
        let good = |c: char| c.is_ascii_alphanumeric() || "_-.&|!*[](),:@".contains(c);
        let message = || format!("`--constraint {constraint:?}` holds what no feature of a node has");
        ensure!(!constraint.is_empty() && constraint.chars().all(good), Code::BadValue.says(message()));
    }
    let written = Data::new(context).and_then(|data| template::render(include_str!("batch.sh"), &data));
    written.context("the template of the batch script is wrong")
}

/// A path that may stand between quotes in the script, and in a name that Slurm expands.
fn fit(path: &Path) -> anyhow::Result<&str> {
    let bad = |c: char| c.is_control() || "'\"\\%`$".contains(c);
    path.to_str().filter(|text| !text.contains(bad)).with_context(|| {
        Code::UnfitPath.says(format!(
            "{} holds a character that a batch script cannot hold (quotes, \\, %, `, $): take another folder",
            path.display()
        ))
    })
}

/// The job and the cluster in what `sbatch --parsable` prints.
fn parsable(text: &str) -> Option<(String, Option<String>)> {
    let line = text.lines().last()?.trim();
    let (job, cluster) = line.split_once(';').map_or((line, None), |(job, cluster)| (job, Some(cluster.to_owned())));
    (!job.is_empty() && job.bytes().all(|byte| byte.is_ascii_digit())).then(|| (job.to_owned(), cluster))
}

/// Runs a command of Slurm.
fn ask(tool: Tool) -> anyhow::Result<String> {
    tool.run(None).map_err(|error| match error {
        ToolError::Start { command, cause, .. } => Code::NoProgram
            .says(format!(
                "cannot start `{}`: {cause}; Slurm's commands are not on this machine: go to a node of the cluster that has them \
                 (Debian: the package slurm-client)",
                command.split(' ').next().unwrap_or_default()
            ))
            .into(),
        failed => Code::SlurmFailed.says(failed.to_string()).into(),
    })
}

impl Submission {
    /// That of the folder `given`, or of `runs/GIVEN` below `runs`; `latest` is the newest there.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(given: &Path, runs: &Path) -> anyhow::Result<(Self, PathBuf)> {
        let is = |folder: &PathBuf| folder.join(FILE).is_file();
        let all = || -> Vec<PathBuf> {
            let entries = std::fs::read_dir(runs).into_iter().flatten();
            let mut all: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is).collect();
            // The names end in the time.
            all.sort_by_key(|path| std::fs::metadata(path.join(FILE)).and_then(|data| data.modified()).ok());
            all
        };
        let found = [given.to_path_buf(), runs.join(given)].into_iter().find(is);
        let found = found.or_else(|| if given == Path::new("latest") { all().pop() } else { None });
        let folder = found.with_context(|| {
            Code::NoSubmission.says(format!(
                "{} is no submission: it has no {FILE}; `microbench submit slurm STUDY --shards N` makes one",
                given.display()
            ))
        })?;
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let submission = serde_json::from_slice(&bytes)
            .map_err(|error| damaged_file_error(&path, &bytes, error.is_eof(), &error))?;
        Ok((submission, folder))
    }

    /// What Slurm says of each task, by its number: of those in the queue, and where it keeps accounts of those that have ended. A task
    /// of which it says nothing is left out.
    ///
    /// # Errors
    /// When there is no `squeue`, or it fails for another reason than that the job is over.
    pub fn tasks(&self) -> anyhow::Result<BTreeMap<u32, Task>> {
        let mut tasks = BTreeMap::new();
        let mut on = self.on(["--noheader", "--parsable2", "--allocations", "--format=JobID,State,NodeList"]);
        // Without accounting it fails: then the queue and the shards' journals are all there is.
        if let Ok(text) = Tool::new("sacct").args(on.drain(..)).run(None) {
            tasks.extend(accounted(&text));
        }
        let queue = Tool::new("squeue").args(self.on(["--noheader", "--array", "--format=%K|%T|%N", "--states=all"]));
        match queue.run(None) {
            Ok(text) => tasks.extend(queued(&text)),
            // It has forgotten the job, because it is over.
            Err(ToolError::Failed { output, .. }) if output.contains("Invalid job id") => {}
            Err(error) => {
                ask(Tool::new("squeue").arg("--version"))?;
                bail!(Code::SlurmFailed.says(error.to_string()));
            }
        }
        Ok(tasks)
    }

    /// Ends the job: no task of it is begun any more, and those that run get SIGTERM, after which what was measured can be read.
    ///
    /// # Errors
    /// When there is no `scancel`, or it fails.
    pub fn cancel(&self) -> anyhow::Result<()> {
        let cluster = self.cluster.iter().map(|cluster| format!("--clusters={cluster}"));
        ask(Tool::new("scancel").args(cluster).arg(&self.job)).map(drop)
    }

    fn on<const N: usize>(&self, options: [&str; N]) -> Vec<String> {
        let own =
            [format!("--jobs={}", self.job)].into_iter().chain(self.cluster.iter().map(|c| format!("--clusters={c}")));
        options.iter().map(|&option| option.to_owned()).chain(own).collect()
    }
}

/// Tasks in what `squeue --format=%K|%T|%N` prints.
fn queued(text: &str) -> BTreeMap<u32, Task> {
    let line = |line: &str| {
        let mut fields = line.trim().split('|');
        let task = fields.next()?.trim().parse().ok()?;
        let (state, nodes) = (fields.next()?.to_owned(), fields.next().unwrap_or_default().to_owned());
        Some((task, Task { state, nodes }))
    };
    text.lines().filter_map(line).collect()
}

/// Tasks in what `sacct --parsable2 --format=JobID,State,NodeList` prints; the last line of a task is of its last execution.
fn accounted(text: &str) -> BTreeMap<u32, Task> {
    let line = |line: &str| {
        let mut fields = line.trim().split('|');
        let task = fields.next()?.split_once('_')?.1.parse().ok()?;
        let state = fields.next()?.split(' ').next()?.to_owned();
        let nodes = fields.next().filter(|nodes| !nodes.starts_with("None")).unwrap_or_default().to_owned();
        Some((task, Task { state, nodes }))
    };
    text.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requeued_job_succeeds_itself_and_no_other() {
        let job = |id: &str, restarts| Job { id: id.to_owned(), restarts };
        assert!(job("7_2", 1).succeeds(&job("7_2", 0)));
        assert!(!job("7_2", 0).succeeds(&job("7_2", 0)), "the same execution");
        assert!(!job("7_3", 1).succeeds(&job("7_2", 0)) && !job("8_2", 1).succeeds(&job("7_2", 0)));
        let variables =
            BTreeMap::from([("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "2"), ("SLURM_JOB_ID", "9")]);
        assert_eq!(Job::of(|name| variables.get(name).map(|&value| value.to_owned())), Some(job("7_2", 0)));
        assert_eq!(Job::of(|_| None), None);
    }

    #[test]
    fn what_slurm_prints_is_understood() {
        assert_eq!(parsable("77\n"), Some(("77".to_owned(), None)));
        assert_eq!(parsable("sbatch: a note\n77;big\n"), Some(("77".to_owned(), Some("big".to_owned()))));
        assert_eq!(parsable("Submitted batch job 77"), None);
        let task = |state: &str, nodes: &str| Task { state: state.to_owned(), nodes: nodes.to_owned() };
        let queue = queued("1|RUNNING|n1\n2|PENDING|\nN/A|PENDING|\n");
        assert_eq!(queue, BTreeMap::from([(1, task("RUNNING", "n1")), (2, task("PENDING", ""))]));
        let ended = accounted("77_1|COMPLETED|n1\n77_2|CANCELLED by 0|None assigned\n77_1|NODE_FAIL|n2\n");
        assert_eq!(ended, BTreeMap::from([(1, task("NODE_FAIL", "n2")), (2, task("CANCELLED", ""))]));
    }

    #[test]
    fn a_script_holds_its_paths_between_quotes_and_refuses_others() {
        let request = Request {
            study: "quick".into(),
            plan_sha256: String::new(),
            host: "kvm".into(),
            shards: vec!["/p/my runs/quick-1of2".into(), "/p/my runs/quick-2of2".into()],
            constraint: Some("kvm&intel".into()),
            exclusive: true,
            allow_unisolated: false,
            options: Vec::new(),
            project: "/p".into(),
        };
        insta::assert_snapshot!(
            script(&request, Path::new("/p/my runs/quick-slurm"), Path::new("/opt/microbench")).unwrap()
        );
        let plain = Request { constraint: None, exclusive: false, ..request.clone() };
        let plain = script(&plain, Path::new("/p/s"), Path::new("/opt/microbench")).unwrap();
        assert!(!plain.contains("constraint") && !plain.contains("exclusive") && !plain.contains("\n\n"), "{plain}");
        let permits = |script: &str| script.trim_end().ends_with("--project '/p' --allow-unisolated");
        let allowed = Request { allow_unisolated: true, ..request.clone() };
        let allowed = script(&allowed, Path::new("/p/s"), Path::new("/opt/microbench")).unwrap();
        assert!(permits(&allowed) && !permits(&plain), "{allowed}");
        for folder in ["/p/it's", "/p/50%", "/p/$HOME", "/p/a\nb", "/p/`id`"] {
            assert!(script(&request, Path::new(folder), Path::new("/opt/microbench")).is_err(), "{folder}");
        }
        let hostile = Request { constraint: Some("kvm\"\nrm -rf /".into()), ..request };
        assert!(script(&hostile, Path::new("/p/s"), Path::new("/opt/microbench")).is_err());
    }
}
