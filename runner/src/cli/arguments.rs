//! The command line: subcommands and their arguments.
//!
//! The first paragraph of a doc comment is the short help (`-h`). It has one sentence of at most 80 columns, which a
//! test checks.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::engine::ArgValueCompleter;
use microbench::build::long_version;
use microbench::run::emulated::PATIENCE_S;
use microbench::run::execute::Options;
use microbench_formats::figure::Theme;
use microbench_formats::host::HostKind;
use microbench_formats::label::Label;
use microbench_formats::shard::Shard;
use microbench_measure::selftest::probe::FakeGuests;
use microbench_measure::terminal::screen::Colour;

use super::completions::{runs, studies, studies_and_runs, studies_with_runs, submissions};

/// The end of the help: the first steps, and how runs and studies are named.
const AFTER_HELP: &str = "\
Create a study: microbench new mine
Explain an error code: microbench explain CODE

STUDY is the path of a manifest, or the name of a study in the project's experiments/.
RUN is the folder of a run, the start of the name of a run in the project's runs/, `latest`, or `latest:STUDY`.";

/// Run declarative experiments on microVMs, from one manifest to measured figures.
#[derive(Debug, Parser)]
#[command(name = "microbench", version, long_version = long_version(), max_term_width = 100, after_help = AFTER_HELP)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Action,
    /// When to use colors.
    ///
    /// `auto` also respects the environment variables NO_COLOR, CLICOLOR and CLICOLOR_FORCE.
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorArgument::Auto)]
    pub(super) color: ColorArgument,
    /// Trust files of other users in this call.
    ///
    /// A manifest, project, run or description is refused if it belongs to neither this user nor root, or if others can
    /// write to it. `microbench trust PATH` records a path instead.
    #[arg(long, global = true)]
    pub(super) trust: bool,
    /// Log progress to standard error; repeat the option for more detail.
    ///
    /// The environment variable MICROBENCH_LOG sets the level instead: off, error, warn, info, debug or trace.
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorArgument {
    /// Use colors on a terminal.
    Auto,
    /// Always use colors.
    Always,
    /// Never use colors.
    Never,
}

impl ColorArgument {
    pub(super) fn choice(self) -> Colour {
        match self {
            Self::Auto => Colour::Auto,
            Self::Always => Colour::Always,
            Self::Never => Colour::Never,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Create a commented manifest for a new study.
    #[command(after_help = "Example: microbench new mine --engines fc,qemu --metrics kernel_boot_time,shutdown_time")]
    New(NewArguments),
    /// Show which trials a study would run, without running them.
    #[command(mut_args(require_study), after_help = "Example: microbench plan quick --explain fc/1/minimal")]
    Plan {
        #[command(flatten)]
        study: StudyArguments,
        #[command(flatten)]
        repetitions: RepetitionArguments,
        /// Print the plan as JSON, in the format of a run's plan.json.
        #[arg(long)]
        json: bool,
        /// Show all cells, exclusions and metric definitions, and the complete run order.
        #[arg(long)]
        full: bool,
        /// Show where each setting of a cell comes from, and the VMM's command line.
        #[arg(long, value_name = "CELL", conflicts_with = "full")]
        explain: Option<String>,
        /// Also show how the plan is divided into N shards.
        #[arg(long, value_name = "N", conflicts_with_all = ["json", "explain"], value_parser = clap::value_parser!(u32).range(1..))]
        shards: Option<u32>,
    },
    /// Run a study, or resume an interrupted run.
    #[command(
        mut_args(require_study_or_resume),
        override_usage = "microbench run [OPTIONS] <STUDY>\n       microbench run [OPTIONS] --resume <RUN>",
        after_help = "Examples: microbench run quick --host emulated; microbench run --resume latest"
    )]
    Run {
        #[command(flatten)]
        study: StudyArguments,
        #[command(flatten)]
        repetitions: RepetitionArguments,
        /// Kind of host on which trials are executed.
        #[arg(long, value_enum, default_value_t = HostArgument::Auto)]
        host: HostArgument,
        /// Run folder to create [default: runs/STUDY-TIME in the project].
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::AnyPath)]
        out: Option<PathBuf>,
        /// Execute only shard K of N, for example 1/4.
        ///
        /// A shard consists of every N-th block of the plan. `microbench merge` merges the shards.
        #[arg(long, value_name = "K/N")]
        shard: Option<Shard>,
        /// Label of the run, for example the version of the program under test.
        ///
        /// At most 64 characters. `history` shows runs by label.
        #[arg(long, value_name = "TEXT")]
        label: Option<Label>,
        /// Resume this run. Conflicts with STUDY.
        #[arg(
            long,
            value_name = "RUN",
            add = ArgValueCompleter::new(runs),
            conflicts_with_all = ["manifest", "out", "seed", "trials", "profile", "repetitions", "shard", "label"]
        )]
        resume: Option<PathBuf>,
        #[command(flatten)]
        session: SessionArguments,
    },
    /// Compare two studies by interleaved repetitions.
    ///
    /// Creates a run of each study and executes their repetitions alternately (A B, B A, A B, ...), each with new hosts.
    /// Then prints the comparison of B with A, as `compare` does. A drift of the machine affects both runs alike.
    #[command(
        override_usage = "microbench ab [OPTIONS] <A> <B>\n       microbench ab [OPTIONS] --resume <A> <B>",
        after_help = "Example: microbench ab before.toml after.toml --repetitions 6 --margin 0.02 --gate\n\n\
The paths of the runs are printed to standard error. JSON: as `compare` has it."
    )]
    Ab(AbArguments),
    /// Merge the shards of a plan into one run.
    ///
    /// Fails when plans or kinds of host differ, or when a shard is missing or given twice.
    #[command(after_help = "Example: microbench merge runs/quick-1of2 runs/quick-2of2 --out runs/quick\n\n\
JSON: {run, complete, shards: [{shard: {index, of}, name, machines, trials_ended, trials_planned, journal_sha256}]}.")]
    Merge {
        /// Runs of the shards, or submissions.
        #[arg(value_name = "SHARD", required = true, add = ArgValueCompleter::new(runs))]
        shards: Vec<PathBuf>,
        /// Run folder to create [default: STUDY-TIME-merged next to the first shard].
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::AnyPath)]
        out: Option<PathBuf>,
        /// Merge even if shards or trials are missing.
        ///
        /// The missing trials become missing values with that reason.
        #[arg(long)]
        partial: bool,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Submit the shards of a study to a cluster.
    #[command(subcommand)]
    Submit(Submit),
    /// Show the status of a submission: Slurm tasks and trials of each shard.
    #[command(after_help = "JSON: {submission, study, job, cluster, submitted, complete, \
shards: [{shard, run, slurm: {state, nodes}, state, trials_ended, trials_planned}]}; values that Slurm does not report are null.")]
    Status {
        /// Submission: its folder, its name in runs/, or `latest`.
        #[arg(add = ArgValueCompleter::new(submissions))]
        submission: PathBuf,
        /// Print the status as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Cancel the Slurm job of a submission; its shards can be resumed.
    Cancel {
        /// Submission: its folder, its name in runs/, or `latest`.
        #[arg(add = ArgValueCompleter::new(submissions))]
        submission: PathBuf,
    },
    /// Boot one guest to find the kind of host for a study: `kvm` or `emulated`.
    #[command(
        mut_args(require_study),
        after_help = "JSON: {host: kvm|emulated, reason: why KVM is not usable, or null}."
    )]
    Host {
        #[command(flatten)]
        study: StudyArguments,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check whether this machine is suitable for benchmarking, and suggest fixes.
    ///
    /// With a study, also boot one of its guests, and report only missing requirements that the study needs.
    #[command(after_help = "Example: microbench doctor quick")]
    Doctor {
        #[command(flatten)]
        study: StudyArguments,
        /// Print the checks as JSON.
        #[arg(long)]
        json: bool,
        /// Configure this machine for benchmarking.
        ///
        /// Sets governor, turbo, SMT, KSM, control groups and the neighbour table, after saving the previous values.
        #[arg(long, conflicts_with = "restore")]
        tune: bool,
        /// Restore the values from before `--tune`, also after a crash.
        #[arg(long)]
        restore: bool,
        /// Use the files below this folder instead of /proc and /sys.
        #[arg(long, hide = true)]
        root: Option<PathBuf>,
    },
    /// Compute samples and summary of a run, and print the summary.
    ///
    /// Writes samples.parquet, samples.csv, summary.csv and uncertainty.csv. With several runs, samples.parquet files or
    /// patterns, prints a summary over their samples.
    #[command(
        after_help = "Examples: microbench analyze latest; microbench analyze 'runs/*/samples.parquet'\n\nJSON: {run, study, host, machine, unisolated: why, or null, values, missing, results: [{cell, label, metric, unit, host, n, vms, median, \
median_interval: {low, high, level}, mean, coefficient_of_variation, repetitions?, missing: {STATUS: {vms, reason}}}], \
uncertainty: [{cell, metric, unit, entries: [{component, kind, value, source} or {component, kind, reason}]}], \
sentences: [{says: differs|no-difference-shown|withheld, text, comparison: as `compare` has it, baseline, tests}], hints: [{hint, message, advice}], \
claims: [{name, outcome, value, interval, bound: at least|at most, or null, n, unit, remark}], torn_line}; of many runs {files, left_out, results: \
[{study, cell, metric, unit, host, host_cpu, runs, machines, n, median, interval, interval_withheld?, p90, p99, between: [low, high], between_deviation, missing}]}."
    )]
    Analyze {
        /// Runs, samples.parquet files, or quoted patterns of them with `*`.
        #[arg(value_name = "RUN", add = ArgValueCompleter::new(runs), required = true)]
        runs: Vec<PathBuf>,
        /// Also print quantiles, intervals of means, outliers and drift of each cell.
        #[arg(long, conflicts_with = "json")]
        detail: bool,
        /// Print the analysis as JSON.
        #[arg(long)]
        json: bool,
        /// Exit with 4 if a claim with `gate = true` is contradicted or not measured.
        #[arg(long)]
        gate: bool,
        /// Do not fail the gate because a claim is not measured.
        #[arg(long, requires = "gate")]
        allow_missing: bool,
    },
    /// Draw the figures of a run from its samples.
    #[command(after_help = "JSON: {run, files}.")]
    Plot {
        /// Run to draw.
        #[arg(add = ArgValueCompleter::new(runs))]
        run: PathBuf,
        /// Draw all figures in this theme, into figures/THEME [default: that of each figure].
        #[arg(long, value_enum)]
        theme: Option<ThemeArgument>,
        /// Draw each metric of this cell over the execution order instead.
        ///
        /// May be given several times.
        #[arg(long, value_name = "CELL", conflicts_with = "sequences")]
        sequence: Vec<String>,
        /// Draw each metric of every cell over the execution order instead.
        #[arg(long)]
        sequences: bool,
        /// Print the paths of the figures as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write the tables of a run to RUN/tables.
    ///
    /// Writes Markdown, CSV and LaTeX tables, and the numbers as LaTeX macros.
    Table {
        /// Run with samples.
        #[arg(add = ArgValueCompleter::new(runs))]
        run: PathBuf,
    },
    /// Write a report of a run to RUN/report.html.
    ///
    /// The page has the plan, the hosts, failures, claims, figures, a matrix of all cells, samples and provenance.
    Report {
        /// Run with samples.
        #[arg(add = ArgValueCompleter::new(runs))]
        run: PathBuf,
    },
    /// Query the tables of one or more runs with SQL.
    ///
    /// The tables are samples, summary, uncertainty, cells, metrics, claims, events and readings.
    Query {
        /// Runs, followed by a query such as "select cell, median from summary".
        #[arg(value_name = "RUN... SQL", required_unless_present = "tables", num_args = 1.., add = ArgValueCompleter::new(runs))]
        arguments: Vec<String>,
        /// List the tables and columns, with types, units and meanings.
        #[arg(long, conflicts_with = "arguments")]
        tables: bool,
        /// Print the result as CSV.
        #[arg(long)]
        csv: bool,
        /// Print the result as JSON: an array with one object per row.
        #[arg(long, conflicts_with = "csv")]
        json: bool,
    },
    /// Compare two runs, or the variants of one run.
    ///
    /// Prints ratio, interval and verdict for each cell and metric, and the cells and metrics that one side does not
    /// have. Both runs must be analyzed.
    #[command(after_help = "Example: microbench compare runs/before runs/after --margin 0.02 --gate\n\nJSON: [{cell, \
metric, unit, \
better: lower|higher|neither, n, values, with_value: [[VMs with a value, VMs], the same of B], ratio, interval: {low, \
high, level}, margin, difference, difference_interval, shift, shift_interval, a12, p, test: \
rank-sum|signed-rank|bootstrap, adjusted_p, verdict: \
better|worse|differs|equivalent|inconclusive|not-compared|missing|dropped, missing: {what: cell|metric, side: \
a|b|both, planned}, \
completed: [{completed, of, reason}, the same of B], hosts, remark}]; with `--gate` {passes, messages, rows: these rows, \
claims: those of B with a gate, as `analyze` has them}.")]
    Compare(CompareOptions),
    /// Check whether a run has the same verdicts on all claims as a reference run.
    #[command(
        after_help = "JSON: {run, against, same, claims: [{name, there, here, values: [there, here]}]}; an outcome is \
holds|contradicted|inconclusive|not-comparable|not-measured, or null when the run has no such claim."
    )]
    Verify {
        /// Run to check.
        #[arg(add = ArgValueCompleter::new(runs))]
        run: PathBuf,
        /// Reference run.
        #[arg(long, value_name = "RUN", add = ArgValueCompleter::new(runs))]
        against: PathBuf,
        /// Print the verdicts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a metric over the runs of a study, and the changes of its level.
    ///
    /// Lists the runs by date, with the median and its interval, marks changes of the host, and draws a figure for each
    /// metric. Runs are those in the runs/ of the project.
    #[command(
        after_help = "Examples: microbench history quick; microbench history quick --metric kernel_boot_time --cell fc/1/minimal\n\n\
JSON: {study, runs: [{name, started, label, build, fingerprint}], left_out: [{name, reason}], level, \
series: [{cell, label, metric, unit, host, host_cpu, points: [{run: index, n, missing, median, censored, \
interval: {low, high, level}, host_changed, settings_changed}], parts: [{from, to, values, searched}], \
changes: [{point, end, start, before, after, p, support: unconfirmed|confirmed|unsupported, added}]}], figures}; \
point, end and start are indices into points."
    )]
    History(HistoryArguments),
    /// Create a run from a table of values that were measured elsewhere.
    ///
    /// The table is a CSV file with the columns `metric`, `value`, and one for each axis.
    #[command(
        mut_args(require_study),
        after_help = "Example: microbench import experiments/paper-2019-published.toml table.csv --mapping names.toml\n\n\
Columns: metric, value; the axes whose level the study does not determine; optionally unit, trial (its number), \
vm (its name in the trial), reason (why a value is empty) and censored (true for a VM that timed out). Without vm, the rows of one trial and metric are VMs in their order.\n\n\
JSON: {run, rows, left_out}."
    )]
    Import {
        #[command(flatten)]
        study: StudyArguments,
        /// CSV file with the values.
        #[arg(value_name = "TABLE.csv", value_hint = ValueHint::FilePath)]
        table: PathBuf,
        /// TOML file that maps columns, rows and names [default: names as in the study].
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        mapping: Option<PathBuf>,
        /// Run folder to create [default: runs/STUDY-TIME in the project].
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::AnyPath)]
        out: Option<PathBuf>,
        /// Label of the run, for example the version of the program under test.
        #[arg(long, value_name = "TEXT")]
        label: Option<Label>,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Download or build the artefacts of a study, and list them.
    ///
    /// Artefacts are kernels, root file systems and programs.
    #[command(
        mut_args(require_study_or_other),
        after_help = "JSON: a list of {kind, name, version, sha256, bytes, origin, path, config_hz: of a kernel built here}."
    )]
    Artifacts {
        #[command(flatten)]
        study: StudyArguments,
        /// Include the artefacts of the emulated host.
        #[arg(long)]
        emulated: bool,
        /// Check every artefact in the cache instead; exit with 1 if one is damaged.
        #[arg(long, conflicts_with_all = ["manifest", "emulated", "json"])]
        verify: bool,
        /// List the artefacts in the cache that no project needs instead.
        ///
        /// A project needs the artefacts that its descriptions and the built-in ones of this version give. Projects
        /// that used the cache and still exist count. An artefact that another process uses is kept.
        #[arg(long, conflicts_with_all = ["manifest", "emulated", "json", "verify"])]
        gc: bool,
        /// Remove the artefacts that `--gc` lists.
        #[arg(long, requires = "gc")]
        yes: bool,
        /// Print the list as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the runs of the project, newest last.
    ///
    /// Shows host, start, state, trials, failed VMs and size of each run, and the sessions of runs that were resumed.
    #[command(after_help = "JSON: a list of {name, path, study, kind: measured|imported|noise, shard: {index, of}, \
merged: [the shards, as `merge` has them], host, begun, \
state: complete|interrupted|running|unreadable, owner: {pid, machine, since}, reason, trials_ended, trials_planned, failed_vms, \
bytes, sessions: [{started, host, hosts, version, build, label, trials, of a shard also shard and machine, repetition?}]}; unknown values are null.")]
    Runs {
        /// List only runs of this study.
        #[arg(long, value_name = "STUDY")]
        study: Option<String>,
        /// Print the list as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show the details of a run, or check an archive of a run.
    ///
    /// Shows plan, hosts, sessions, cells, failures, artefacts, files and next commands. For an archive from `export`,
    /// checks the SHA-256 of every file.
    #[command(
        after_help = "JSON: {run: as `runs` has it, title, attribution: {authors: [{name, email, orcid}], license, doi}, protocol, profile, seed, plan_sha256, machine, fingerprint, \
cells: [{cell, label, ok, failed, invalid, skipped, missing}] in trials, failures: [{vms, cells, reason, stage, message}], \
artifacts: [{kind, name, version, sha256, bytes, origin, path, config_hz?}], \
files: [{name, files, bytes, what}], next: [[command, description]]}; of an archive \
{archive, name, study, title, trials_ended, trials_planned, files: [{name, bytes, sha256}]}."
    )]
    Show {
        /// Run, or archive of a run.
        #[arg(value_name = "RUN|ARCHIVE", add = ArgValueCompleter::new(runs))]
        run: PathBuf,
        /// Print the details as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Pack a run into an archive with SHA-256 digests of all files.
    ///
    /// The archive contains everything that is needed to verify the run and to draw its figures. The same run always
    /// gives the same bytes. `microbench show` checks an archive, and `tar -xf` unpacks it.
    #[command(after_help = "JSON: {archive, bytes, sha256, files: [{name, bytes, sha256}]}.")]
    Export {
        /// Run to pack.
        #[arg(add = ArgValueCompleter::new(runs))]
        run: PathBuf,
        /// Archive to create, .tar.zst or .tar.gz [default: NAME.tar.zst].
        #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
        out: Option<PathBuf>,
        /// Leave out the console logs of guests and emulated hosts.
        #[arg(long)]
        without_consoles: bool,
        /// Print the result as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show which runs a rule would remove; `--yes` removes them.
    ///
    /// Runs are selected by name or by a rule. A run that a process executes is never removed, and neither is a folder
    /// that is not a run.
    #[command(
        group(clap::ArgGroup::new("which").args(["runs", "keep", "older_than"]).required(true).multiple(true)),
        after_help = "JSON: {removed, bytes, runs: [{name, path, bytes, goes, why}]}."
    )]
    Prune {
        /// Runs to remove.
        #[arg(value_name = "RUN", conflicts_with_all = ["keep", "older_than"], add = ArgValueCompleter::new(runs))]
        runs: Vec<PathBuf>,
        /// Keep the newest N complete runs of each study and kind of host.
        ///
        /// Interrupted runs are removed when N complete runs are newer.
        #[arg(long, value_name = "N")]
        keep: Option<usize>,
        /// Remove runs that began more than DAYS days ago.
        ///
        /// With `--keep`, remove only runs that both rules select.
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u32>,
        /// Remove the runs.
        #[arg(long)]
        yes: bool,
        /// Print the decisions as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of manifests, for editors.
    ///
    /// A first line `#:schema FILE` in a manifest refers to it.
    #[command(after_help = "Example: microbench schema > microbench.schema.json")]
    Schema,
    /// Trust the files of a folder although they belong to other users.
    ///
    /// The paths are recorded in microbench/trusted.toml of $XDG_CONFIG_HOME or ~/.config. Without PATH, prints the
    /// recorded paths.
    #[command(after_help = "Examples: microbench trust ~alice/study; microbench trust --remove ~alice/study")]
    Trust {
        /// Folder or file to trust, with everything in it.
        #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
        paths: Vec<PathBuf>,
        /// Remove the records of these paths instead.
        #[arg(long, requires = "paths")]
        remove: bool,
    },
    /// Explain error codes: meaning, cause and fix.
    #[command(after_help = "Examples: microbench explain MB0102; microbench explain exit-codes")]
    Explain {
        /// Codes, or `exit-codes` [default: list all codes].
        #[arg(value_name = "CODE")]
        codes: Vec<String>,
        /// Print the explanations as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the completion script of a shell.
    ///
    /// The script completes commands, options, runs and studies by calling `microbench`.
    #[command(
        after_help = "Example: microbench completions bash > ~/.local/share/bash-completion/completions/microbench"
    )]
    Completions {
        /// Shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write the manual pages of all commands.
    #[command(after_help = "Example: microbench man --out ~/.local/share/man/man1")]
    Man {
        /// Write the pages of all commands into this folder.
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        out: Option<PathBuf>,
    },
    /// Measure microbench itself and the noise of this host.
    #[command(subcommand)]
    Selftest(SelfTest),
    /// Use one CPU for a time (called by `selftest load`).
    #[command(hide = true)]
    Spin { time_ns: u64 },
    /// Play a guest that responds from a known instant on (called by `selftest`).
    #[command(hide = true)]
    FakeGuest { tap: String, mac: String, ip: Ipv4Addr, nonce: String },
    /// Execute the missing trials of a run (called by `run`).
    #[command(hide = true)]
    Execute {
        run: PathBuf,
        #[arg(long)]
        project: PathBuf,
        #[arg(long)]
        host: HostArgument,
        #[command(flatten)]
        session: SessionArguments,
        #[command(flatten)]
        repeated: RepeatedSession,
        /// Exit with 1 after a complete run, because its path could not be printed.
        #[arg(long)]
        output_lost: bool,
    },
    /// Write the reference pages of docs/ (called by `make docs`).
    #[command(hide = true)]
    Reference {
        #[arg(long, value_name = "FOLDER", default_value = "docs/reference")]
        out: PathBuf,
    },
    /// Check that a command line can be parsed (called by the test of the docs).
    #[command(hide = true)]
    CheckArguments {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Enter a sandbox, and print why it would not isolate VMMs (called by `run`).
    #[command(hide = true)]
    CheckSandbox,
    /// Boot one guest under KVM (called by `run --host auto`).
    #[command(hide = true)]
    CheckKvm {
        run: PathBuf,
        #[arg(long)]
        project: PathBuf,
        #[arg(long)]
        allow_unisolated: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Submit {
    /// Submit the shards as an array job of Slurm, one task per shard.
    ///
    /// The tasks execute this program. Prints the folder of the submission.
    #[command(
        mut_args(require_study),
        after_help = "Example: microbench submit slurm quick --shards 4 --constraint kvm --exclusive -- --time=2:00:00\n\n\
JSON: {submission, study, plan_sha256, job, cluster, submitted, program, shards}."
    )]
    Slurm {
        #[command(flatten)]
        study: StudyArguments,
        /// Number of shards.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        shards: u32,
        /// Use only nodes with this feature, for example `kvm`.
        #[arg(long, value_name = "FEATURE")]
        constraint: Option<String>,
        /// Run each task exclusively on its node; recommended for wall time.
        #[arg(long)]
        exclusive: bool,
        /// Run VMMs even if they cannot be isolated from the node.
        ///
        /// See `microbench run --help`.
        #[arg(long)]
        allow_unisolated: bool,
        /// Kind of host on which all tasks execute trials.
        #[arg(long, value_enum, default_value_t = HostArgument::Kvm)]
        host: HostArgument,
        /// Folder of the submission to create [default: runs/STUDY-TIME-slurm in the project].
        ///
        /// The runs of the shards are created next to it.
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::AnyPath)]
        out: Option<PathBuf>,
        /// Print the submission as JSON.
        #[arg(long)]
        json: bool,
        /// Additional options for `sbatch`, after `--`.
        #[arg(last = true, value_name = "OPTION")]
        options: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum SelfTest {
    /// Measure the error of the probe with fake guests.
    ///
    /// The fake guests respond from known instants on. The polling probes of the 2019 paper are measured for
    /// comparison.
    Probe {
        /// Number of fake guests for each probe.
        #[arg(long, default_value_t = 1000)]
        guests: u32,
        /// Number of fake guests that exist at the same time.
        #[arg(long, default_value_t = 10)]
        at_once: u32,
        /// Largest start-up time of a fake guest, seconds; times are uniform from 0.
        #[arg(long, default_value_t = 3.0)]
        spread: f64,
        /// Seed of the start-up times.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure how reliably a concurrent load on this machine is detected.
    Load {
        /// Number of time windows; half of them, in random order, have a load.
        #[arg(long, default_value_t = 200)]
        windows: u32,
        /// Length of a window, seconds.
        #[arg(long, default_value_t = 0.3)]
        length: f64,
        /// Seed of the order.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Run every workload of the guest agent on this machine, without a VM.
    #[command(alias = "work")]
    Workload {
        /// Folder for the file of disk workloads [default: the temporary folder].
        ///
        /// A tmpfs may not support O_DIRECT.
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
        folder: Option<PathBuf>,
    },
    /// Measure starting and reaping a VMM process (called by the benchmarks).
    #[command(hide = true)]
    Spawn {
        #[arg(long)]
        times: u32,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argv: Vec<String>,
    },
    /// Measure allocating clones of a disk image and taps (called by the benchmarks).
    #[command(hide = true)]
    HostResources {
        #[arg(long)]
        vms: u32,
        image: PathBuf,
    },
    /// Measure the noise floor of this host: compare a cell with itself (A/A test).
    #[command(name = "noise-floor", alias = "aa", mut_args(require_study))]
    NoiseFloor {
        #[command(flatten)]
        study: StudyArguments,
        /// Cell, by its identifier in `plan` [default: the first].
        #[arg(long, value_name = "CELL")]
        cell: Option<String>,
        /// Number of comparisons.
        #[arg(long, default_value_t = 20)]
        repetitions: u32,
        /// Trials under each label in one comparison.
        #[arg(long, default_value_t = 6, value_name = "TRIALS")]
        blocks: u32,
        /// Equivalence margin, for example 0.01 for ±1 %.
        #[arg(long, default_value = "0.01", value_name = "SHARE", value_parser = parse_share)]
        margin: f64,
        /// Kind of host on which trials are executed.
        #[arg(long, value_enum, default_value_t = HostArgument::Auto)]
        host: HostArgument,
        /// Run folder to create [default: runs/STUDY-noise-TIME in the project].
        #[arg(long, value_name = "FOLDER", value_hint = ValueHint::AnyPath)]
        out: Option<PathBuf>,
        /// Run VMMs even if they cannot be isolated from this machine.
        ///
        /// See `microbench run --help`.
        #[arg(long)]
        allow_unisolated: bool,
    },
}

#[derive(Clone, Debug, Args)]
pub(super) struct NewArguments {
    /// Name of the study, of a-z, 0-9 and `-`.
    #[arg(required_unless_present = "list")]
    pub(super) name: Option<String>,
    /// List the built-in studies that `--from` accepts.
    #[arg(long, conflicts_with_all = ["name", "engines", "metrics", "from", "out", "project"])]
    pub(super) list: bool,
    /// Engines to compare, comma-separated [default: those that any kernel supports].
    ///
    /// Short names such as `fc` and `qemu`, and unambiguous starts of names are accepted.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "from")]
    pub(super) engines: Vec<String>,
    /// Built-in metrics, comma-separated [default: boot, start-up, hashing, shutdown].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "from")]
    pub(super) metrics: Vec<String>,
    /// Copy this study instead: a path, a study of the project, or a built-in one.
    #[arg(long, value_name = "STUDY", add = ArgValueCompleter::new(studies))]
    pub(super) from: Option<String>,
    /// Manifest to create [default: experiments/NAME.toml in the project, else NAME.toml].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub(super) out: Option<PathBuf>,
    /// Folder of the project, with kernels/ and rootfs/ [default: around the manifest].
    ///
    /// Its kernels and root file systems replace built-in ones of the same name. Without a project around the manifest,
    /// the one around the working directory is used.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(super) project: Option<PathBuf>,
}

/// What `compare` compares, and how.
#[derive(Clone, Debug, Args)]
pub(super) struct CompareOptions {
    /// Baseline run; without B, the run whose variants are compared.
    #[arg(add = ArgValueCompleter::new(runs))]
    pub(super) a: PathBuf,
    /// Run that is compared with the baseline.
    #[arg(add = ArgValueCompleter::new(runs))]
    pub(super) b: Option<PathBuf>,
    /// Variant with which the other variants of one run are compared [default: the first].
    #[arg(long, value_name = "VARIANT", conflicts_with = "b")]
    pub(super) baseline: Option<String>,
    /// Equivalence margin, for example 0.02 for ±2 %.
    ///
    /// Without a margin, no verdict is `equivalent`.
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub(super) margin: Option<f64>,
    /// Compare means instead of medians.
    #[arg(long)]
    pub(super) means: bool,
    /// Also print shifts, A12 and p-values.
    #[arg(long)]
    pub(super) detail: bool,
    /// Print the comparison as JSON, like `--format json`.
    #[arg(long, conflicts_with_all = ["detail", "format"])]
    pub(super) json: bool,
    /// Output format [default: text].
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(super) format: Option<ComparisonFormat>,
    /// Print only the rows of this metric; may be repeated.
    ///
    /// The verdicts do not change: the family of tests contains the other metrics as well.
    #[arg(long = "metric", value_name = "METRIC")]
    pub(super) metrics: Vec<String>,
    /// Exit with 4 on a regression.
    ///
    /// A regression is a metric that is worse beyond the margin, a cell or metric that only one side has, or a cell
    /// of which a smaller share of VMs completed. If a metric of the study has `gate`, only such metrics are judged. A
    /// claim with `gate = true` that the second run contradicts is a regression as well.
    #[arg(long)]
    pub(super) gate: bool,
    /// Do not count missing cells and metrics as a regression.
    #[arg(long, requires = "gate")]
    pub(super) allow_missing: bool,
    /// Compare even if the fingerprints or the emulated CPUs of the hosts differ.
    #[arg(long)]
    pub(super) across_hosts: bool,
}

#[derive(Clone, Debug, Args)]
pub(super) struct AbArguments {
    /// Manifest or study of the baseline; with `--resume` its run.
    #[arg(value_name = "A", add = ArgValueCompleter::new(studies_and_runs))]
    pub(super) a: PathBuf,
    /// Manifest or study that is compared with the baseline; with `--resume` its run.
    #[arg(value_name = "B", add = ArgValueCompleter::new(studies_and_runs))]
    pub(super) b: PathBuf,
    /// Number of repetitions of both [default: that of the manifests, else 5].
    #[arg(long, value_name = "K")]
    pub(super) repetitions: Option<NonZeroU32>,
    /// Resume two runs of `ab`: execute missing trials, then compare.
    #[arg(long, conflicts_with_all = ["repetitions", "seed", "trials", "profile", "out"])]
    pub(super) resume: bool,
    /// Seed of the run orders, instead of the manifests'.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Number of trials of every cell in each repetition, instead of the manifests'.
    #[arg(long)]
    pub(super) trials: Option<NonZeroU32>,
    /// Profile of both studies that sets the number of trials [default: `full`].
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Option<String>,
    /// Folder of the project, with kernels/ and rootfs/ [default: around each manifest].
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(super) project: Option<PathBuf>,
    /// Kind of host on which trials are executed.
    #[arg(long, value_enum, default_value_t = HostArgument::Auto)]
    pub(super) host: HostArgument,
    /// Create the run folders FOLDER-a and FOLDER-b [default: runs/STUDY-TIME-a and -b].
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::AnyPath)]
    pub(super) out: Option<PathBuf>,
    #[command(flatten)]
    pub(super) session: SessionArguments,
    /// Equivalence margin, for example 0.02 for ±2 %.
    ///
    /// Without a margin, no verdict is `equivalent`.
    #[arg(long, value_name = "SHARE", value_parser = parse_share)]
    pub(super) margin: Option<f64>,
    /// Compare means instead of medians.
    #[arg(long)]
    pub(super) means: bool,
    /// Also print shifts, A12 and p-values.
    #[arg(long)]
    pub(super) detail: bool,
    /// Print the comparison as JSON.
    #[arg(long, conflicts_with = "detail")]
    pub(super) json: bool,
    /// Exit with 4 on a regression: see `microbench compare --help`.
    #[arg(long, requires = "margin")]
    pub(super) gate: bool,
    /// Do not count missing cells and metrics as a regression.
    #[arg(long, requires = "gate")]
    pub(super) allow_missing: bool,
    /// Compare even if the fingerprints or the emulated CPUs of the hosts differ.
    #[arg(long)]
    pub(super) across_hosts: bool,
}

/// What `history` shows.
#[derive(Clone, Debug, Args)]
pub(super) struct HistoryArguments {
    /// Manifest, or the name of a study in experiments/ or of one with runs.
    #[arg(value_name = "STUDY", add = ArgValueCompleter::new(studies_with_runs))]
    pub(super) study: PathBuf,
    /// Show this metric [default: the study's `family`, else the metrics in figures].
    ///
    /// May be given several times.
    #[arg(long, value_name = "NAME")]
    pub(super) metric: Vec<String>,
    /// Show only this cell, by its identifier in `plan`.
    ///
    /// May be given several times.
    #[arg(long, value_name = "CELL")]
    pub(super) cell: Vec<String>,
    /// Search for changes even where the host's fingerprint changes.
    ///
    /// A change that the host causes is then found like any other.
    #[arg(long)]
    pub(super) across_hosts: bool,
    /// Output format.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = HistoryFormat::Text)]
    pub(super) format: HistoryFormat,
    /// Folder for the figures [default: runs/STUDY-history in the project].
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(super) out: Option<PathBuf>,
    /// Folder of the project, with runs/ [default: around the manifest].
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(super) project: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum HistoryFormat {
    /// A table for each series, for people.
    Text,
    /// One row for each run and series.
    Csv,
    /// The complete history.
    Json,
}

/// A study, and options that override its manifest.
#[derive(Clone, Debug, Args)]
pub(super) struct StudyArguments {
    /// Manifest, or the name of a study in experiments/.
    #[arg(value_name = "STUDY", add = ArgValueCompleter::new(studies))]
    pub(super) manifest: Option<PathBuf>,
    /// Seed of the run order, instead of the manifest's.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Number of trials of every cell, instead of the manifest's.
    #[arg(long)]
    pub(super) trials: Option<NonZeroU32>,
    /// Profile of the study that sets the number of trials [default: `full`].
    ///
    /// `full` is the trials of the study's matrix.
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Option<String>,
    /// Folder of the project, with kernels/ and rootfs/ [default: around the manifest].
    ///
    /// Its kernels and root file systems replace built-in ones of the same name. Without a project around the manifest,
    /// the one around the working directory is used.
    #[arg(long, value_name = "FOLDER", value_hint = ValueHint::DirPath)]
    pub(super) project: Option<PathBuf>,
}

/// The number of repetitions.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct RepetitionArguments {
    /// Run all trials K times, with new hosts each time; overrides the manifest.
    ///
    /// Each repetition is a session of its own. From 3 repetitions on, intervals and comparisons include the variation
    /// between sessions.
    #[arg(long, value_name = "K")]
    pub(super) repetitions: Option<NonZeroU32>,
}

/// Makes STUDY of [`StudyArguments`] required.
fn require_study(argument: Arg) -> Arg {
    if argument.get_id() == "manifest" { argument.required(true) } else { argument }
}

/// Makes STUDY of [`StudyArguments`] required unless `--verify` or `--gc` is present.
fn require_study_or_other(argument: Arg) -> Arg {
    let is_study = argument.get_id() == "manifest";
    if is_study { argument.required_unless_present_any(["verify", "gc"]) } else { argument }
}

/// Makes STUDY of [`StudyArguments`] required unless `--resume` is present.
fn require_study_or_resume(argument: Arg) -> Arg {
    if argument.get_id() == "manifest" { argument.required_unless_present("resume") } else { argument }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum HostArgument {
    /// KVM if a guest boots under it, otherwise the emulated host.
    Auto,
    /// KVM of this machine; wall time.
    Kvm,
    /// QEMU TCG with AMD SVM, which runs the real VMMs; virtual time.
    Emulated,
    /// This machine, for engines that need no KVM; used by tests.
    #[value(hide = true)]
    Fake,
}

impl HostArgument {
    pub(super) fn kind(self) -> Option<HostKind> {
        match self {
            Self::Auto => None,
            Self::Kvm => Some(HostKind::Kvm),
            Self::Emulated => Some(HostKind::Emulated),
            Self::Fake => Some(HostKind::Fake),
        }
    }

    /// The value of `--host` that requests a kind of host.
    pub(super) fn of(kind: HostKind) -> Self {
        match kind {
            HostKind::Kvm => Self::Kvm,
            HostKind::Emulated => Self::Emulated,
            HostKind::Fake => Self::Fake,
            HostKind::Imported => Self::Auto,
        }
    }

    /// The value of `--host` for a kind of host.
    pub(super) fn name(kind: HostKind) -> &'static str {
        match kind {
            HostKind::Kvm => "kvm",
            HostKind::Emulated => "emulated",
            HostKind::Fake => "fake",
            HostKind::Imported => "imported",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ThemeArgument {
    /// Intervals, raw points and colors for color-blind readers.
    Publication,
    /// The style of the 2019 paper.
    Paper,
}

impl ThemeArgument {
    pub(super) fn theme(self) -> Theme {
        match self {
            Self::Publication => Theme::Publication,
            Self::Paper => Theme::Paper,
        }
    }
}

/// The output format of `compare`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum ComparisonFormat {
    /// Tables for a terminal.
    #[default]
    Text,
    /// One object for each row.
    Json,
    /// A table in Markdown, for a comment or a summary.
    Markdown,
    /// Workflow commands of GitHub Actions: an annotation for each regression.
    Github,
}

/// Parses a share such as 0.02.
pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("expected a share between 0 and 1, for example 0.02".into()),
    }
}

/// Options of a session that executes one repetition.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct RepeatedSession {
    /// Execute only the trials of this repetition, from 0.
    #[arg(long)]
    pub(super) repetition: Option<u32>,
    /// Name of the run whose repetitions alternate with those of this run.
    #[arg(long, value_name = "RUN")]
    pub(super) interleaved_with: Option<String>,
    /// End when this process, the parent, ends.
    #[arg(long, value_name = "PID")]
    pub(super) supervisor: Option<u32>,
}

/// Options of a session.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct SessionArguments {
    /// Wall time after which an emulated host without progress is considered hung.
    ///
    /// Applies to one trial, with a tenth more for each VM. The trial is repeated in another emulated host.
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE_S, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) patience: u64,
    /// Number of fake guests that measure the probe's error at the start.
    #[arg(long, value_name = "N", default_value_t = FakeGuests::SESSION_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) fake_guests: u32,
    /// Run VMMs even if they cannot be isolated from this machine.
    ///
    /// VMMs may then run as root or with capabilities. The run records this, and `analyze`, `show`, `runs`, `compare`,
    /// the report and captions show it. The option must be repeated when the run is resumed.
    #[arg(long)]
    pub(super) allow_unisolated: bool,
}

impl SessionArguments {
    /// The defaults of `run`.
    pub(super) const DEFAULT: Self =
        Self { patience: PATIENCE_S, fake_guests: FakeGuests::SESSION_DEFAULT, allow_unisolated: false };

    pub(super) fn options(self, repeated: RepeatedSession) -> Options {
        let Self { patience, fake_guests, allow_unisolated } = self;
        let RepeatedSession { repetition, interleaved_with, supervisor: _ } = repeated;
        let patience = Duration::from_secs(patience);
        Options { patience, fake_guests, allow_unisolated, repetition, interleaved_with }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory as _};

    use super::*;

    fn collect(command: &Command, found: &mut Vec<(String, String)>) {
        let name = command.get_name();
        found.extend(command.get_about().map(|about| (name.to_owned(), about.to_string())));
        for argument in command.get_arguments() {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            // The default is a column of its own in the reference page.
            let help = help.split(" [default: ").next().unwrap_or_default().to_owned();
            found.push((format!("{name} {}", argument.get_id()), help));
        }
        command.get_subcommands().filter(|command| !command.is_hide_set()).for_each(|command| collect(command, found));
    }

    #[test]
    fn short_help_is_one_sentence_of_at_most_80_columns() {
        let mut found = Vec::new();
        collect(&Cli::command(), &mut found);
        assert!(found.len() > 100, "{found:?}");
        for (name, help) in found {
            assert!(help.chars().count() <= 80, "{name}: {help}");
            assert!(help.starts_with(|c: char| c.is_uppercase()), "{name}: {help}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
