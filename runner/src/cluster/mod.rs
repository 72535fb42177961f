//! Shards as an array job of Slurm: submission, status and cancellation. microbench uses only Slurm's commands.
//!
//! The run folders of the shards are created before the job is submitted, and each task resumes the run of its
//! shard. When Slurm requeues a task, for example because a node failed, the task resumes the run, so that no
//! trial is lost or executed twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use microbench_formats::code::Code;
use microbench_formats::input;
use microbench_measure::artifacts::tool::{Tool, ToolError};
use microbench_measure::sys::durable::{self, damaged_file_error};
use microbench_measure::trust;
use microbench_study::engine::template::{self, Data};
use serde::{Deserialize, Serialize};

/// File in the folder of a submission that describes it.
pub const FILE: &str = "submission.json";
/// The batch script of a submission.
const SCRIPT: &str = "batch.sh";
/// States of a job in which its tasks may execute.
const ALIVE: &str = "RUNNING,COMPLETING,CONFIGURING,SUSPENDED,STOPPED,STAGE_OUT,SIGNALING";

/// A Slurm job, as seen by one of its processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// Job number; for a task of an array `JOB_TASK`.
    pub id: String,
    /// Number of times that the job was requeued.
    pub restarts: u32,
}

impl Job {
    /// The job of this process; `None` outside of Slurm.
    #[must_use]
    pub fn this() -> Option<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let array = variable("SLURM_ARRAY_JOB_ID").zip(variable("SLURM_ARRAY_TASK_ID"));
        let id = array.map(|(job, task)| format!("{job}_{task}")).or_else(|| variable("SLURM_JOB_ID"))?;
        let restarts = variable("SLURM_RESTART_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0);
        Some(Self { id, restarts })
    }

    /// Whether this job is `earlier` after a requeue, so that `earlier` has ended.
    #[must_use]
    pub fn succeeds(&self, earlier: &Self) -> bool {
        self.id == earlier.id && self.restarts > earlier.restarts
    }

    /// Whether `squeue` reports that the job has ended; false when `squeue` is not installed.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        let states = format!("--states={ALIVE}");
        match Tool::new("squeue").args(["--noheader", "--format=%T", &states, &format!("--jobs={}", self.id)]).run(None)
        {
            Ok(states) => states.trim().is_empty(),
            Err(ToolError::Failed { output, .. }) => output.contains("Invalid job id"),
            Err(ToolError::Start { .. } | ToolError::Killed { .. }) => false,
        }
    }
}

/// A submission before it is submitted.
#[derive(Clone, Debug)]
pub struct Request {
    pub study: String,
    pub plan_sha256: String,
    /// Value of `--host`.
    pub host: String,
    /// Run folders of the shards, in order: `<prefix>KofN`.
    pub shards: Vec<PathBuf>,
    /// Feature that a node must have.
    pub constraint: Option<String>,
    /// Whether each task gets a node exclusively.
    pub exclusive: bool,
    /// Whether VMMs may run that are not isolated from the node.
    pub allow_unisolated: bool,
    /// Additional options for `sbatch`.
    pub options: Vec<String>,
    /// Folder of the project.
    pub project: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submission {
    pub study: String,
    pub plan_sha256: String,
    /// Job number.
    pub job: String,
    /// Name of the cluster; `None` when `sbatch` does not print one.
    pub cluster: Option<String>,
    /// Time of the submission, RFC 3339.
    pub submitted: String,
    /// The microbench program that the tasks execute.
    pub program: PathBuf,
    /// Run folders of the shards; task K executes the K-th shard.
    pub shards: Vec<PathBuf>,
}

/// The status of one task in Slurm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Task {
    /// Slurm's name of the state, for example `RUNNING`.
    pub state: String,
    /// The node or nodes; empty before the task has one.
    pub nodes: String,
}

/// Writes the batch script of `request` into the existing `folder`, submits it, and writes [`FILE`] into `folder`.
///
/// # Errors
/// When a path or option cannot be quoted in a batch script, `sbatch` is not installed, or `sbatch` fails.
pub fn submit(request: &Request, folder: &Path) -> anyhow::Result<Submission> {
    let program = std::env::current_exe().context("cannot find this program")?;
    let text = render_script(request, folder, &program)?;
    let path = folder.join(SCRIPT);
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    // Options may contain paths relative to the working directory.
    let sbatch = Tool::new("sbatch").folder(Path::new("."));
    let printed = run_tool(sbatch.arg("--parsable").args(&request.options).arg(&path))?;
    let (job, cluster) = parse_sbatch(&printed).with_context(|| {
        Code::SlurmFailed
            .with_message(format!("`sbatch --parsable` printed {:?} instead of a job number", printed.trim()))
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
        // A job without a record cannot be managed, so it is cancelled.
        let outcome = if submission.cancel().is_ok() { "was cancelled" } else { "could not be cancelled: cancel it" };
        let message = format!("cannot write {}; the submitted job {} {outcome}", path.display(), submission.job);
        return Err(error.context(message));
    }
    Ok(submission)
}

fn render_script(request: &Request, folder: &Path, program: &Path) -> anyhow::Result<String> {
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
        trust: bool,
    }
    let last = request.shards.last().context("the submission has no shards")?;
    let end = format!("{0}of{0}", request.shards.len());
    let prefix = last.to_str().and_then(|path| path.strip_suffix(&end));
    let context = Context {
        study: &request.study,
        shards: request.shards.len(),
        folder: quotable(folder)?,
        program: quotable(program)?,
        prefix: quotable(Path::new(prefix.with_context(|| format!("{} does not end in {end}", last.display()))?))?,
        host: &request.host,
        project: quotable(&request.project)?,
        constraint: request.constraint.as_deref(),
        exclusive: request.exclusive,
        allow_unisolated: request.allow_unisolated,
        trust: trust::is_all_trusted(),
    };
    if let Some(constraint) = context.constraint {
        let good = |c: char| c.is_ascii_alphanumeric() || "_-.&|!*[](),:@".contains(c);
        let message =
            || format!("`--constraint {constraint:?}` contains characters that are not allowed in a node's feature");
        ensure!(!constraint.is_empty() && constraint.chars().all(good), Code::BadValue.with_message(message()));
    }
    let written = Data::new(context).and_then(|data| template::render(include_str!("batch.sh"), &data));
    written.context("the template of the batch script is wrong")
}

/// Checks that a path can be quoted in the script, and be part of a file name that Slurm expands.
fn quotable(path: &Path) -> anyhow::Result<&str> {
    let bad = |c: char| c.is_control() || "'\"\\%`$".contains(c);
    path.to_str().filter(|text| !text.contains(bad)).with_context(|| {
        Code::UnusablePath.with_message(format!(
            "{} contains a character that cannot be quoted in a batch script (quotes, \\, %, `, $): use another folder",
            path.display()
        ))
    })
}

/// Parses the output of `sbatch --parsable`: job number and cluster.
fn parse_sbatch(text: &str) -> Option<(String, Option<String>)> {
    let line = text.lines().last()?.trim();
    let (job, cluster) = line.split_once(';').map_or((line, None), |(job, cluster)| (job, Some(cluster.to_owned())));
    (!job.is_empty() && job.bytes().all(|byte| byte.is_ascii_digit())).then(|| (job.to_owned(), cluster))
}

/// Runs a command of Slurm and returns its output.
fn run_tool(tool: Tool) -> anyhow::Result<String> {
    tool.run(None).map_err(|error| match error {
        ToolError::Start { command, cause, .. } => Code::NoProgram
            .with_message(format!(
                "cannot start `{}`: {cause}; Slurm's commands are not installed: use a login node of the cluster, or install the \
                 Debian package slurm-client",
                command.split(' ').next().unwrap_or_default()
            ))
            .into(),
        failed => Code::SlurmFailed.with_message(failed.to_string()).into(),
    })
}

impl Submission {
    /// Opens the submission in the folder `given`, or in the folder `given` below `runs`; `latest` is the newest one in
    /// `runs`. Returns the submission and its folder.
    ///
    /// # Errors
    /// [`Code::NoSubmission`] when the folder contains no submission.
    pub fn open(given: &Path, runs: &Path) -> anyhow::Result<(Self, PathBuf)> {
        let is = |folder: &PathBuf| folder.join(FILE).is_file();
        let all = || -> Vec<PathBuf> {
            let entries = std::fs::read_dir(runs).into_iter().flatten();
            let mut all: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is).collect();
            all.sort_by_key(|path| std::fs::metadata(path.join(FILE)).and_then(|data| data.modified()).ok());
            all
        };
        let found = [given.to_path_buf(), runs.join(given)].into_iter().find(is);
        let found = found.or_else(|| if given == Path::new("latest") { all().pop() } else { None });
        let folder = found.with_context(|| {
            Code::NoSubmission.with_message(if given == Path::new("latest") {
                let runs = if runs.as_os_str().is_empty() { Path::new("runs") } else { runs };
                format!("there is no submission in {}", runs.display())
            } else {
                format!("{} is not a submission: it has no {FILE}", given.display())
            })
        })?;
        let path = folder.join(FILE);
        let bytes = input::read_in(&folder, FILE).with_context(|| format!("cannot read {}", path.display()))?;
        let submission: Self = serde_json::from_slice(&bytes)
            .map_err(|error| damaged_file_error(&path, &bytes, error.is_eof(), &error))?;
        if let Some(problem) = submission.problem() {
            return Err(damaged_file_error(&path, &bytes, false, &problem).into());
        }
        Ok((submission, folder))
    }

    /// What would be an option of Slurm's commands, or another job.
    fn problem(&self) -> Option<&'static str> {
        if self.job.is_empty() || !self.job.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some("`job` is not a job number");
        }
        let is_name = |name: &String| {
            let is_permitted = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
            name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(is_permitted)
        };
        (!self.cluster.iter().all(is_name)).then_some("`cluster` is not the name of a cluster")
    }

    /// The status of the tasks, by number: of tasks in the queue, and, if Slurm keeps accounts, of tasks that have
    /// ended. Tasks that Slurm does not report are left out.
    ///
    /// # Errors
    /// When `squeue` is not installed, or it fails for another reason than that the job has ended.
    pub fn tasks(&self) -> anyhow::Result<BTreeMap<u32, Task>> {
        let mut tasks = BTreeMap::new();
        let mut on = self.with_job(["--noheader", "--parsable2", "--allocations", "--format=JobID,State,NodeList"]);
        // `sacct` fails on a cluster without accounting.
        if let Ok(text) = Tool::new("sacct").args(on.drain(..)).run(None) {
            tasks.extend(parse_sacct(&text));
        }
        let queue =
            Tool::new("squeue").args(self.with_job(["--noheader", "--array", "--format=%K|%T|%N", "--states=all"]));
        match queue.run(None) {
            Ok(text) => tasks.extend(parse_squeue(&text)),
            // Slurm no longer knows a job some time after its end.
            Err(ToolError::Failed { output, .. }) if output.contains("Invalid job id") => {}
            Err(error) => {
                run_tool(Tool::new("squeue").arg("--version"))?;
                bail!(Code::SlurmFailed.with_message(error.to_string()));
            }
        }
        Ok(tasks)
    }

    /// Cancels the job. No further task starts, and running tasks receive SIGTERM, after which their runs can be
    /// resumed.
    ///
    /// # Errors
    /// When `scancel` is not installed, or it fails.
    pub fn cancel(&self) -> anyhow::Result<()> {
        let cluster = self.cluster.iter().map(|cluster| format!("--clusters={cluster}"));
        run_tool(Tool::new("scancel").args(cluster).args(["--", &self.job])).map(drop)
    }

    /// `options`, followed by those that select the job.
    fn with_job<const N: usize>(&self, options: [&str; N]) -> Vec<String> {
        let own =
            [format!("--jobs={}", self.job)].into_iter().chain(self.cluster.iter().map(|c| format!("--clusters={c}")));
        options.iter().map(|&option| option.to_owned()).chain(own).collect()
    }
}

/// Parses the output of `squeue --format=%K|%T|%N`.
fn parse_squeue(text: &str) -> BTreeMap<u32, Task> {
    let line = |line: &str| {
        let mut fields = line.trim().split('|');
        let task = fields.next()?.trim().parse().ok()?;
        let (state, nodes) = (fields.next()?.to_owned(), fields.next().unwrap_or_default().to_owned());
        Some((task, Task { state, nodes }))
    };
    text.lines().filter_map(line).collect()
}

/// Parses the output of `sacct --parsable2 --format=JobID,State,NodeList`. The last line of a task is its last
/// execution.
fn parse_sacct(text: &str) -> BTreeMap<u32, Task> {
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
    fn a_requeued_job_succeeds_only_its_earlier_execution() {
        let job = |id: &str, restarts| Job { id: id.to_owned(), restarts };
        assert!(job("7_2", 1).succeeds(&job("7_2", 0)));
        assert!(!job("7_2", 0).succeeds(&job("7_2", 0)), "the same execution");
        assert!(!job("7_3", 1).succeeds(&job("7_2", 0)) && !job("8_2", 1).succeeds(&job("7_2", 0)));
        let variables =
            BTreeMap::from([("SLURM_ARRAY_JOB_ID", "7"), ("SLURM_ARRAY_TASK_ID", "2"), ("SLURM_JOB_ID", "9")]);
        assert_eq!(Job::from_variables(|name| variables.get(name).map(|&value| value.to_owned())), Some(job("7_2", 0)));
        assert_eq!(Job::from_variables(|_| None), None);
    }

    #[test]
    fn the_output_of_slurm_is_parsed() {
        assert_eq!(parse_sbatch("77\n"), Some(("77".to_owned(), None)));
        assert_eq!(parse_sbatch("sbatch: a note\n77;big\n"), Some(("77".to_owned(), Some("big".to_owned()))));
        assert_eq!(parse_sbatch("Submitted batch job 77"), None);
        let task = |state: &str, nodes: &str| Task { state: state.to_owned(), nodes: nodes.to_owned() };
        let queue = parse_squeue("1|RUNNING|n1\n2|PENDING|\nN/A|PENDING|\n");
        assert_eq!(queue, BTreeMap::from([(1, task("RUNNING", "n1")), (2, task("PENDING", ""))]));
        let ended = parse_sacct("77_1|COMPLETED|n1\n77_2|CANCELLED by 0|None assigned\n77_1|NODE_FAIL|n2\n");
        assert_eq!(ended, BTreeMap::from([(1, task("NODE_FAIL", "n2")), (2, task("CANCELLED", ""))]));
    }

    #[test]
    fn a_script_quotes_its_paths_and_rejects_unquotable_ones() {
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
            render_script(&request, Path::new("/p/my runs/quick-slurm"), Path::new("/opt/microbench")).unwrap()
        );
        let plain = Request { constraint: None, exclusive: false, ..request.clone() };
        let plain = render_script(&plain, Path::new("/p/s"), Path::new("/opt/microbench")).unwrap();
        assert!(!plain.contains("constraint") && !plain.contains("exclusive") && !plain.contains("\n\n"), "{plain}");
        let has_option = |script: &str| script.trim_end().ends_with("--project '/p' --allow-unisolated");
        let allowed = Request { allow_unisolated: true, ..request.clone() };
        let allowed = render_script(&allowed, Path::new("/p/s"), Path::new("/opt/microbench")).unwrap();
        assert!(has_option(&allowed) && !has_option(&plain), "{allowed}");
        for folder in ["/p/it's", "/p/50%", "/p/$HOME", "/p/a\nb", "/p/`id`"] {
            assert!(render_script(&request, Path::new(folder), Path::new("/opt/microbench")).is_err(), "{folder}");
        }
        let hostile = Request { constraint: Some("kvm\"\nrm -rf /".into()), ..request };
        assert!(render_script(&hostile, Path::new("/p/s"), Path::new("/opt/microbench")).is_err());
    }
}
