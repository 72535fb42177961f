//! The command line: subcommands and their arguments.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum, ValueHint};
use microbench::run::emulated::PATIENCE_S;
use microbench::run::execute::Options;
use microbench_formats::figure::Theme;
use microbench_formats::host::HostKind;
use microbench_formats::shard::Shard;
use microbench_measure::selftest::probe::FakeGuests;
use microbench_measure::terminal::screen::Colour;

/// What the help ends with: the way in, and how a run is named.
const NEXT: &str = "\
A study of your own: microbench new mine\nWhat an error's code means: microbench explain CODE\n\n\
RUN is a run's folder, or a name that is looked up in the project's runs/: the beginning of a run's name that no other one has, \
`latest`, or `latest:STUDY`.";

/// Declarative experiments on microVMs: one manifest in, measured figures out.
#[derive(Debug, Parser)]
#[command(name = "microbench", version, max_term_width = 100, after_help = NEXT)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Action,
    /// When to colour [variables: NO_COLOR, CLICOLOR, CLICOLOR_FORCE].
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = ColorArgument::Auto)]
    pub(super) color: ColorArgument,
    /// Log to standard error what is done; twice for more [variable: MICROBENCH_LOG=off|error|warn|info|debug|trace].
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorArgument {
    /// On a terminal.
    Auto,
    /// Always.
    Always,
    /// Never.
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
    /// Write a commented manifest to begin with; asks nothing.
    #[command(after_help = "Example: microbench new mine --engines fc,qemu --metrics kernel_boot_time,shutdown_time")]
    New(NewArguments),
    /// Show what a study would run, without running it.
    #[command(after_help = "Example: microbench plan experiments/quick.toml --explain fc/1/minimal")]
    Plan {
        #[command(flatten)]
        study: StudyArguments,
        /// Print the plan as JSON, as a run directory keeps it.
        #[arg(long)]
        json: bool,
        /// Show every cell, every exclusion and the whole order.
        #[arg(long)]
        full: bool,
        /// Show one cell: every value with what set it, and what would be started.
        #[arg(long, value_name = "CELL", conflicts_with = "full")]
        explain: Option<String>,
        /// Show also who does what when the plan is divided into N shards.
        #[arg(long, value_name = "N", conflicts_with_all = ["json", "explain"], value_parser = clap::value_parser!(u32).range(1..))]
        shards: Option<u32>,
    },
    /// Run a study, or go on with a run that was cut off.
    #[command(after_help = "Example: microbench run experiments/quick.toml --host emulated")]
    Run {
        #[command(flatten)]
        study: StudyArguments,
        /// Where trials execute.
        #[arg(long, value_enum, default_value_t = HostArgument::Auto)]
        host: HostArgument,
        /// Run directory to create [default: runs/STUDY-TIME in the project].
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
        /// Execute one shard of N: every N-th block of the plan, from the K-th; `merge` joins the shards.
        #[arg(long, value_name = "K/N")]
        shard: Option<Shard>,
        /// Go on with this run; no study is given then.
        #[arg(long, value_name = "RUN", conflicts_with_all = ["manifest", "out", "seed", "trials", "profile", "shard"])]
        resume: Option<PathBuf>,
        #[command(flatten)]
        session: SessionArguments,
    },
    /// Join the shards of a plan to one run. Other plans or kinds of hosts, a shard that is there twice, and one that is missing are
    /// refused.
    #[command(after_help = "Example: microbench merge runs/quick-1of2 runs/quick-2of2 --out runs/quick\n\n\
JSON: {run, complete, shards: [{shard: {index, of}, name, machines, trials_ended, trials_planned, journal_sha256}]}.")]
    Merge {
        /// The shards, or submissions of such.
        #[arg(value_name = "SHARD", required = true)]
        shards: Vec<PathBuf>,
        /// Run directory to create [default: STUDY-TIME-merged beside the first shard].
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
        /// Merge although shards are missing or incomplete: their trials are missing values then, with the reason.
        #[arg(long)]
        partial: bool,
        /// Print what was made as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Hand a study's shards to a cluster.
    #[command(subcommand)]
    Submit(Submit),
    /// Show what has become of a submission: each task's state in Slurm, and its shard's trials.
    #[command(after_help = "JSON: {submission, study, job, cluster, submitted, complete, \
shards: [{shard, run, slurm: {state, nodes}, state, trials_ended, trials_planned}]}; what Slurm does not know is null.")]
    Status {
        /// The submission: its folder, its name in runs/, or `latest`.
        submission: PathBuf,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Cancel a submission's job; what was measured stays and can be gone on with.
    Cancel {
        /// The submission: its folder, its name in runs/, or `latest`.
        submission: PathBuf,
    },
    /// Find out where a study's trials can execute, by booting one guest: prints `kvm` or `emulated`.
    #[command(after_help = "JSON: {host: kvm|emulated, reason: why not KVM, or null}.")]
    Host {
        #[command(flatten)]
        study: StudyArguments,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Check whether this machine is suitable for benchmarking, and suggest fixes. With a study, boot one of its
    /// guests, and report what is missing only if the study needs it.
    #[command(after_help = "Example: microbench doctor experiments/quick.toml")]
    Doctor {
        #[command(flatten)]
        study: StudyArguments,
        /// Print the checks as JSON.
        #[arg(long)]
        json: bool,
        /// Set the machine up (governor, turbo, SMT, KSM, control groups, neighbour table); previous values are kept first.
        #[arg(long, conflicts_with = "restore")]
        tune: bool,
        /// Put back what was there before `--tune`, also after a crash.
        #[arg(long)]
        restore: bool,
        /// Read and write below this folder in place of the machine's own /proc and /sys.
        #[arg(long, hide = true)]
        root: Option<PathBuf>,
    },
    #[command(
        after_help = "Examples: microbench analyze latest; microbench analyze 'runs/*/samples.parquet'\n\nJSON: {run, study, host, machine, unisolated: why, or null, values, missing, results: [{cell, label, metric, unit, host, n, vms, median, \
median_interval: {low, high, level}, mean, coefficient_of_variation, missing: {STATUS: {vms, reason}}}], \
sentences: [{says: differs|no-difference-shown|withheld, text, comparison: as `compare` has it, baseline, tests}], hints: [{hint, message, advice}], \
claims: [{name, outcome, value, interval, n, unit, remark}], torn_line}; of many runs {files, left_out, results: \
[{study, cell, metric, unit, host, runs, machines, n, median, interval, p90, p99, between: [low, high], missing}]}."
    )]
    /// Turn a run's journal into samples.parquet, samples.csv and summary.csv, and print the summary. Of many runs, or of files or
    /// patterns of such, read the samples that they have, and print a summary over all of them.
    Analyze {
        /// The run; or several runs, samples.parquet files, or patterns of them with `*` (in quotes).
        #[arg(value_name = "RUN", value_hint = ValueHint::AnyPath, required = true)]
        runs: Vec<PathBuf>,
        /// Print quantiles, the mean's interval, outliers and drift of each cell, too.
        #[arg(long, conflicts_with = "json")]
        detail: bool,
        /// Print all of it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Draw a run's figures from its samples.
    #[command(after_help = "JSON: {run, files}.")]
    Plot {
        /// The run.
        #[arg(value_hint = ValueHint::DirPath)]
        run: PathBuf,
        /// Draw all of them in this theme, into figures/THEME [default: each in its own].
        #[arg(long, value_enum)]
        theme: Option<ThemeArgument>,
        /// Draw, in place of the study's figures, each metric of this cell over the execution order; may be given several times.
        #[arg(long, value_name = "CELL", conflicts_with = "sequences")]
        sequence: Vec<String>,
        /// The same for every cell.
        #[arg(long)]
        sequences: bool,
        /// Print the files that were drawn as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Write a run's tables (Markdown, CSV, LaTeX) and its numbers as LaTeX macros into RUN/tables.
    Table {
        /// The run directory.
        run: PathBuf,
    },
    /// Write RUN/report.html: what was run and where, failures, claims, figures, a matrix, samples and provenance on one page.
    Report {
        /// The run directory.
        run: PathBuf,
    },
    /// Ask the tables of one run or several by SQL: samples, summary, cells, metrics, claims, events, readings.
    Query {
        /// One run directory or several, and last the query, for instance "select cell, median, unit from summary".
        #[arg(value_name = "RUN... SQL", required_unless_present = "tables", num_args = 1..)]
        words: Vec<String>,
        /// Say which tables and columns there are, with types, units and meanings.
        #[arg(long, conflicts_with = "words")]
        tables: bool,
        /// Print CSV.
        #[arg(long)]
        csv: bool,
        /// Print JSON: an array of one object a row.
        #[arg(long, conflicts_with = "csv")]
        json: bool,
    },
    #[command(after_help = "Example: microbench compare runs/before runs/after --margin 0.02 --gate\n\nJSON: [{cell, \
metric, unit, \
better: lower|higher|neither, n, values, ratio, interval: {low, high, level}, difference, difference_interval, shift, \
shift_interval, a12, p, \
adjusted_p, verdict: better|worse|differs|equivalent|inconclusive|missing|dropped, missing: {what: cell|metric, side: \
a|b|both, planned}, \
completed: [{completed, of, reason}, the same of B], hosts, remark}].")]
    /// Compare two analysed runs, or the variants of one: ratio, interval and verdict for each cell and metric, and
    /// what a side lacks.
    Compare {
        /// The run that is compared with; alone, the run whose variants are compared.
        a: PathBuf,
        /// The run that is compared.
        b: Option<PathBuf>,
        /// Of one run: the variant that the others are compared with [default: the first].
        #[arg(long, value_name = "VARIANT", conflicts_with = "b")]
        baseline: Option<String>,
        /// What does not matter: 0.02 is 2 % either way. Without one nothing is called equivalent.
        #[arg(long, value_name = "SHARE", value_parser = share)]
        margin: Option<f64>,
        /// Compare means in place of medians.
        #[arg(long)]
        means: bool,
        /// Print shifts, A12 and p-values, too.
        #[arg(long)]
        detail: bool,
        /// Print all of it as JSON.
        #[arg(long, conflicts_with = "detail")]
        json: bool,
        /// Exit with 4 when a metric is worse beyond the margin, when a side lacks a cell or a metric that the other
        /// has, or when a smaller share of a cell's VMs completed.
        #[arg(long, requires = "margin")]
        gate: bool,
        /// Let the gate pass although a side lacks cells or metrics; what both sides have is judged as ever.
        #[arg(long, requires = "gate")]
        allow_missing: bool,
        /// Compare although the hosts' fingerprints differ.
        #[arg(long)]
        across_hosts: bool,
    },
    /// Check whether a run confirms a reference run: the same verdict on every claim; the ratios beside them.
    #[command(
        after_help = "JSON: {run, against, same, claims: [{name, there, here, values: [there, here]}]}; an outcome is \
holds|contradicted|inconclusive|not-measured, or null where there is no such claim."
    )]
    Verify {
        /// The run.
        run: PathBuf,
        /// The run whose claims are to be confirmed.
        #[arg(long, value_name = "RUN")]
        against: PathBuf,
        /// Print the verdicts as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a run of a table that somebody else measured: a CSV with the columns `metric`, `value` and one for each axis.
    #[command(
        after_help = "Example: microbench import experiments/paper-2019-published.toml table.csv --mapping names.toml\n\n\
Columns: metric, value; the axes whose level the study does not decide; optional unit, trial (its number), \
vm (its name in the trial) and reason (why a value is empty). Without vm, the rows of one trial and metric are VMs in their order.\n\n\
JSON: {run, rows, left_out}."
    )]
    Import {
        #[command(flatten)]
        study: StudyArguments,
        /// The table.
        #[arg(value_name = "TABLE.csv", requires = "manifest")]
        table: Option<PathBuf>,
        /// Which of its columns, rows and names are which of ours (TOML) [default: they have our names].
        #[arg(long, value_name = "FILE")]
        mapping: Option<PathBuf>,
        /// Run directory to create [default: runs/STUDY-TIME in the project].
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
        /// Print what was made as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Provide a study's kernels, root file systems and programs, and list them.
    #[command(after_help = "JSON: a list of {kind, name, version, sha256, bytes, origin, path}.")]
    Artifacts {
        #[command(flatten)]
        study: StudyArguments,
        /// Also provide what the emulated host needs.
        #[arg(long)]
        emulated: bool,
        /// Print the list as JSON.
        #[arg(long)]
        json: bool,
    },
    /// List the project's runs, the newest last: study, host, state, VMs that failed, size; the sessions of one that was resumed below it.
    #[command(after_help = "JSON: a list of {name, path, study, kind: measured|imported|noise, shard: {index, of}, \
merged: [the shards, as `merge` has them], host, begun, \
state: complete|interrupted|running|unreadable, owner: {pid, machine, since}, reason, trials_ended, trials_planned, failed_vms, \
bytes, sessions: [{started, host, hosts, version, trials, of a shard also shard and machine}]}; what is unknown is null.")]
    Runs {
        /// Only runs of this study.
        #[arg(long, value_name = "STUDY")]
        study: Option<String>,
        /// Print the list as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show a run from all sides: what was run and where, its sessions, cells, artefacts and files, what can be done next. Of an archive
    /// that `export` made: check every file in it by its SHA-256.
    #[command(
        after_help = "JSON: {run: as `runs` has it, title, protocol, profile, seed, plan_sha256, machine, fingerprint, \
cells: [{cell, label, ok, failed, invalid, missing}] in trials, artifacts: [{kind, name, version, sha256, bytes, origin, path}], \
files: [{name, files, bytes, what}], next: [[command, what it does]]}; of an archive \
{archive, name, study, title, trials_ended, trials_planned, files: [{name, bytes, sha256}]}."
    )]
    Show {
        /// The run, or an archive of one.
        #[arg(value_name = "RUN|ARCHIVE")]
        run: PathBuf,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Pack a run into one archive: everything that drawing it again and verifying it takes, with a SHA256SUMS. The same run gives the
    /// same bytes; `show` checks an archive, and `tar -xf` unpacks it.
    #[command(after_help = "JSON: {archive, bytes, sha256, files: [{name, bytes, sha256}]}.")]
    Export {
        /// The run.
        run: PathBuf,
        /// The archive to make: FILE.tar.zst or FILE.tar.gz [default: NAME.tar.zst].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Leave out what guests and emulated hosts wrote on their consoles.
        #[arg(long)]
        without_consoles: bool,
        /// Print what was made as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say which runs may go, by name or by rule, and what that frees; `--yes` removes them. A run that a process executes stays, and
    /// so does what is no run.
    #[command(
        group(clap::ArgGroup::new("which").args(["runs", "keep", "older_than"]).required(true).multiple(true)),
        after_help = "JSON: {removed, bytes, runs: [{name, path, bytes, goes, why}]}."
    )]
    Prune {
        /// These runs.
        #[arg(value_name = "RUN", conflicts_with_all = ["keep", "older_than"])]
        runs: Vec<PathBuf>,
        /// Of each study and kind of host, all complete runs but the newest N, and interrupted ones that N complete runs are newer than.
        #[arg(long, value_name = "N")]
        keep: Option<usize>,
        /// Runs that began more than DAYS days ago. With --keep: those that both rules name.
        #[arg(long, value_name = "DAYS")]
        older_than: Option<u32>,
        /// Remove them.
        #[arg(long)]
        yes: bool,
        /// Print what goes and what stays as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of manifests, for editors; `#:schema FILE` on the first line of a manifest names it.
    #[command(after_help = "Example: microbench schema > microbench.schema.json")]
    Schema,
    /// Say what an error's code means, why it happens and what to do; without a code, list them all.
    #[command(after_help = "Examples: microbench explain MB0102; microbench explain exit-codes")]
    Explain {
        /// The codes, as errors show them, or `exit-codes`.
        #[arg(value_name = "CODE")]
        codes: Vec<String>,
        /// Print them as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a shell's completions.
    #[command(
        after_help = "Example: microbench completions bash > ~/.local/share/bash-completion/completions/microbench"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all subcommands.
    #[command(after_help = "Example: microbench man --out ~/.local/share/man/man1")]
    Man {
        /// Write them into this folder.
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
    },
    /// Let the program measure itself.
    #[command(subcommand)]
    Selftest(SelfTest),
    /// Uses one CPU (`selftest load` calls it).
    #[command(hide = true)]
    Spin { time_ns: u64 },
    /// Plays a guest that starts to answer at a known instant (`selftest` calls it).
    #[command(hide = true)]
    FakeGuest { tap: String, mac: String, ip: Ipv4Addr, nonce: String },
    /// Executes the trials of a run that are missing (`run` calls it).
    #[command(hide = true)]
    Execute {
        run: PathBuf,
        #[arg(long)]
        project: PathBuf,
        #[arg(long)]
        host: HostArgument,
        #[command(flatten)]
        session: SessionArguments,
        /// The path of the run could not be printed: the exit code of a complete run is 1.
        #[arg(long)]
        output_lost: bool,
    },
    /// Writes the reference pages of docs/ (`make docs` calls it).
    #[command(hide = true)]
    Reference {
        #[arg(long, value_name = "FOLDER", default_value = "docs/reference")]
        out: PathBuf,
    },
    /// Whether a command line, `microbench` included, can be parsed (the documents' test asks it).
    #[command(hide = true)]
    CheckWords {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Enters a sandbox, and prints why VMMs would not be isolated in it, if so (`run` asks).
    #[command(hide = true)]
    CheckSandbox,
    /// Boots one guest under KVM (`run --host auto` calls it).
    #[command(hide = true)]
    CheckKvm {
        run: PathBuf,
        #[arg(long)]
        project: PathBuf,
        #[arg(long)]
        allow_unisolated: bool,
    },
}

/// Where a study is submitted.
#[derive(Debug, Subcommand)]
pub(super) enum Submit {
    /// As an array of Slurm: one task a shard, with this very program. Prints the submission's folder.
    #[command(
        after_help = "Example: microbench submit slurm experiments/quick.toml --shards 4 --constraint kvm --exclusive -- --time=2:00:00\n\n\
JSON: {submission, study, plan_sha256, job, cluster, submitted, program, shards}."
    )]
    Slurm {
        #[command(flatten)]
        study: StudyArguments,
        /// Shards, each of which becomes a task.
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        shards: u32,
        /// Only nodes that have this feature, for instance `kvm`.
        #[arg(long, value_name = "FEATURE")]
        constraint: Option<String>,
        /// Give each task its node alone; wall time wants that.
        #[arg(long)]
        exclusive: bool,
        /// Have each task run VMMs even where they cannot be isolated from its node, as `run --allow-unisolated` does.
        #[arg(long)]
        allow_unisolated: bool,
        /// Where trials execute: all tasks on one kind of host.
        #[arg(long, value_enum, default_value_t = HostArgument::Kvm)]
        host: HostArgument,
        /// Folder of the submission to create; the shards' runs are beside it [default: runs/STUDY-TIME-slurm in the project].
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
        /// Print what was submitted as JSON.
        #[arg(long)]
        json: bool,
        /// Further options for `sbatch`, after `--`.
        #[arg(last = true, value_name = "OPTION")]
        options: Vec<String>,
    },
}

/// What the program can find out about itself.
#[derive(Debug, Subcommand)]
pub(super) enum SelfTest {
    /// The probe's error, over fake guests that start to answer at known instants; the 2019 paper's polls beside it.
    Probe {
        /// Fake guests for each probe.
        #[arg(long, default_value_t = 1000)]
        guests: u32,
        /// How many are there at the same time.
        #[arg(long, default_value_t = 10)]
        at_once: u32,
        /// They start to answer after a time that is uniform between nothing and this, seconds.
        #[arg(long, default_value_t = 3.0)]
        spread: f64,
        /// Seed of these times.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// How often a load beside a trial is found, and how often one that is not there.
    Load {
        /// Windows of time; half of them, in random order, with a load.
        #[arg(long, default_value_t = 200)]
        windows: u32,
        /// Length of a window, seconds.
        #[arg(long, default_value_t = 0.3)]
        length: f64,
        /// Seed of the order.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Run every kind of workload in the guest agent as a plain process: check the results, and measure the speed.
    Workload {
        /// Where the file lies that disk work reads and writes, in a folder of its own; a tmpfs may know no O_DIRECT [default: the
        /// folder for temporary files].
        #[arg(long, value_name = "FOLDER")]
        folder: Option<PathBuf>,
    },
    /// Starts and reaps a program as a VMM, again and again; prints the times as JSON (the benchmarks ask).
    #[command(hide = true)]
    Spawn {
        #[arg(long)]
        times: u32,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        argv: Vec<String>,
    },
    /// Allocate and release disk clones and taps of VMs; print the times as JSON (for the benchmarks).
    #[command(hide = true)]
    HostResources {
        #[arg(long)]
        vms: u32,
        image: PathBuf,
    },
    /// The host's noise floor: one cell of a study against itself.
    Aa {
        #[command(flatten)]
        study: StudyArguments,
        /// The cell, as `plan` shows it [default: the first].
        #[arg(long, value_name = "CELL")]
        cell: Option<String>,
        /// Comparisons.
        #[arg(long, default_value_t = 20)]
        repetitions: u32,
        /// Trials under each label in one comparison.
        #[arg(long, default_value_t = 6, value_name = "TRIALS")]
        blocks: u32,
        /// What does not matter: 0.01 is 1 % either way.
        #[arg(long, default_value = "0.01", value_name = "SHARE", value_parser = share)]
        margin: f64,
        /// Where trials execute.
        #[arg(long, value_enum, default_value_t = HostArgument::Auto)]
        host: HostArgument,
        /// Run directory to create [default: runs/STUDY-noise-TIME in the project].
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
        /// Run VMMs even where they cannot be isolated from this machine, as `run --allow-unisolated` does.
        #[arg(long)]
        allow_unisolated: bool,
    },
}

/// What a manifest to begin with has.
#[derive(Clone, Debug, Args)]
pub(super) struct NewArguments {
    /// Name of the study: a-z, 0-9 and `-`.
    #[arg(required_unless_present = "list")]
    pub(super) name: Option<String>,
    /// List the shipped studies, which `--from` takes by name; write nothing.
    #[arg(long, conflicts_with_all = ["name", "engines", "metrics", "from", "out", "project"])]
    pub(super) list: bool,
    /// Engines to compare, with commas; a short name will do, such as `fc` or `qemu` [default: those whose guests any kernel serves].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "from")]
    pub(super) engines: Vec<String>,
    /// Built-in metrics to measure, with commas [default: boot, start-up, hashing, shutdown].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', conflicts_with = "from")]
    pub(super) metrics: Vec<String>,
    /// Begin with this study instead: one of the project's experiments/ or a shipped one by its name, or a path.
    #[arg(long, value_name = "STUDY")]
    pub(super) from: Option<String>,
    /// The file to write [default: experiments/NAME.toml in the project, else NAME.toml].
    #[arg(long, value_name = "FILE")]
    pub(super) out: Option<PathBuf>,
    /// Folder whose kernels/ and rootfs/ come before the built-in ones [default: found above the manifest or the working directory].
    #[arg(long, value_name = "FOLDER")]
    pub(super) project: Option<PathBuf>,
}

/// Which study, and what to change in it.
#[derive(Clone, Debug, Args)]
pub(super) struct StudyArguments {
    /// The study's manifest.
    #[arg(value_name = "STUDY", value_hint = ValueHint::FilePath)]
    pub(super) manifest: Option<PathBuf>,
    /// Seed of the run order, in place of the manifest's.
    #[arg(long)]
    pub(super) seed: Option<u64>,
    /// Trials of every cell, in place of the manifest's.
    #[arg(long)]
    pub(super) trials: Option<NonZeroU32>,
    /// The study's profile that says how often each cell is run [default: the trials of its matrix, `full`].
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Option<String>,
    /// Folder whose kernels/ and rootfs/ come before the built-in ones [default: found above the manifest or the working directory].
    #[arg(long, value_name = "FOLDER")]
    pub(super) project: Option<PathBuf>,
}

/// Where trials execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum HostArgument {
    /// KVM where a guest comes up under it, else the emulated host.
    Auto,
    /// This machine's KVM; wall time.
    Kvm,
    /// QEMU TCG with AMD SVM, in which the real VMMs run; virtual time.
    Emulated,
    /// This machine, for engines that need no KVM: the tests' own.
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

    pub(super) fn of(kind: HostKind) -> &'static str {
        match kind {
            HostKind::Kvm => "kvm",
            HostKind::Emulated => "emulated",
            HostKind::Fake => "fake",
            HostKind::Imported => "imported",
        }
    }
}

/// Look of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ThemeArgument {
    /// Intervals, raw points, colours for every eye.
    Publication,
    /// As the 2019 paper printed its charts.
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

/// A share such as 0.02.
pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("a share between 0 and 1, for instance 0.02".into()),
    }
}

/// How a session is executed.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct SessionArguments {
    /// Real time in which an emulated host must end a trial, or it is taken for hung and the trial is run again in another; a
    /// tenth of it more for each VM.
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE_S, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) patience: u64,
    /// Fake guests by which the probe's error is measured at the start of the session.
    #[arg(long, value_name = "N", default_value_t = FakeGuests::SESSION_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(super) fake_guests: u32,
    /// Run VMMs even where they cannot be isolated from this machine: with root's rights, or with capabilities. The run,
    /// `analyze`, `show`, `runs`, `compare`, the report and captions say so. To resume the run, give the option again.
    #[arg(long)]
    pub(super) allow_unisolated: bool,
}

impl SessionArguments {
    /// Those of `run` where nobody says.
    pub(super) const DEFAULT: Self =
        Self { patience: PATIENCE_S, fake_guests: FakeGuests::SESSION_DEFAULT, allow_unisolated: false };

    /// As the library takes them.
    pub(super) fn options(self) -> Options {
        let Self { patience, fake_guests, allow_unisolated } = self;
        Options { patience: Duration::from_secs(patience), fake_guests, allow_unisolated }
    }
}
