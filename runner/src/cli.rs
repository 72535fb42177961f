//! The command line: one subcommand a step of the way from a manifest to figures.

use std::io::IsTerminal;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use microbench::artifact::cache::Cache;
use microbench::artifact::lock::{self, Lock};
use microbench::artifact::project::{Project, read_toml};
use microbench::engine::description::Engine;
use microbench::error::describe;
use microbench::host::identity::{self, Identity};
use microbench::host::noise::Noise;
use microbench::host::tree::Tree;
use microbench::host::{doctor, tune};
use microbench::journal::Journal;
use microbench::manifest::Study;
use microbench::plan::{Choice, PlanError};
use microbench::probe::Probe;
use microbench::run::directory::{Directory, Engines};
use microbench::run::parts::Files;
use microbench::run::session::Ended;
use microbench::run::{execute, parts};
use microbench::sandbox;
use microbench::selftest::probe::{FakeGuests, measure};
use microbench::selftest::{fake_guest, load as load_test};
use microbench::{catalog, journal, manifest, plan, plan_view};
use microbench_plots::record::{HostKind, Plan, ProbeError, Record, Statistic, Theme};
use microbench_plots::terminal::wrapped;
use microbench_plots::{claim, compare, import as imports, noise, samples, summary};

/// Exit code for a manifest or a command line that is wrong: nothing was started.
const WRONG_INPUT: u8 = 2;

/// Declarative experiments on microVMs: one manifest in, measured figures out.
#[derive(Debug, Parser)]
#[command(name = "microbench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what a study would run, without running it.
    Plan {
        #[command(flatten)]
        study: StudyArguments,
        /// Print the plan as JSON, as a run directory keeps it.
        #[arg(long)]
        json: bool,
        /// Show every cell, every exclusion and the whole order.
        #[arg(long)]
        full: bool,
    },
    /// Run a study, or go on with a run that was cut off.
    Run {
        #[command(flatten)]
        study: StudyArguments,
        /// Where trials execute.
        #[arg(long, value_enum, default_value_t = HostArgument::Auto)]
        host: HostArgument,
        /// Run directory to create [default: runs/STUDY-TIME in the project].
        #[arg(long, value_name = "FOLDER")]
        out: Option<PathBuf>,
        /// Go on with this run; no study is given then.
        #[arg(long, value_name = "RUN", conflicts_with_all = ["manifest", "out", "seed", "trials", "profile"])]
        resume: Option<PathBuf>,
    },
    /// Find out where a study's trials can execute, by booting one guest: prints `kvm` or `emulated`.
    Host {
        #[command(flatten)]
        study: StudyArguments,
    },
    /// Is this machine fit to measure on? What was found, why it matters, what mends it.
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
    /// Turn a run's journal into samples.parquet, samples.csv and summary.csv, and print the summary.
    Analyze {
        /// The run directory.
        run: PathBuf,
        /// Print quantiles, the mean's interval, outliers and drift of each cell, too.
        #[arg(long)]
        detail: bool,
    },
    /// Draw a run's figures from its samples.
    Plot {
        /// The run directory.
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
    },
    /// Compare two analysed runs, or the variants of one: ratio, interval and verdict for each cell and metric that both have.
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
        /// Exit with 1 when something is slower beyond the margin.
        #[arg(long, requires = "margin")]
        gate: bool,
        /// Compare although the hosts' fingerprints differ.
        #[arg(long)]
        across_hosts: bool,
    },
    /// Check whether a run confirms a reference run: the same verdict on every claim; the ratios beside them.
    Verify {
        /// The run.
        run: PathBuf,
        /// The run whose claims are to be confirmed.
        #[arg(long, value_name = "RUN")]
        against: PathBuf,
    },
    /// Make a run of a table that somebody else measured: a CSV with the columns `metric`, `value` and one for each axis.
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
    },
    /// Provide a study's kernels, root file systems and programs, and list them.
    Artifacts {
        #[command(flatten)]
        study: StudyArguments,
        /// Also provide what the emulated host needs.
        #[arg(long)]
        emulated: bool,
    },
    /// Let the program measure itself.
    #[command(subcommand)]
    Selftest(SelfTest),
    /// Uses one CPU (`selftest load` calls it).
    #[command(hide = true)]
    Spin { time_ns: u64 },
    /// Plays a guest that starts to answer at a known instant (`selftest` calls it).
    #[command(hide = true)]
    FakeGuest { tap: String, mac: String, ip: Ipv4Addr, nonce: String, delay_ns: u64 },
    /// Executes the trials of a run that are missing (`run` calls it).
    #[command(hide = true)]
    Execute {
        run: PathBuf,
        #[arg(long)]
        project: PathBuf,
        #[arg(long)]
        host: HostArgument,
    },
    /// Boots one guest under KVM (`run --host auto` calls it).
    #[command(hide = true)]
    CheckKvm {
        run: PathBuf,
        #[arg(long)]
        project: PathBuf,
    },
}

/// What the program can find out about itself.
#[derive(Debug, Subcommand)]
enum SelfTest {
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
    },
}

/// Which study, and what to change in it.
#[derive(Clone, Debug, Args)]
struct StudyArguments {
    /// The study's manifest.
    #[arg(value_name = "STUDY")]
    manifest: Option<PathBuf>,
    /// Seed of the run order, in place of the manifest's.
    #[arg(long)]
    seed: Option<u64>,
    /// Trials of every cell, in place of the manifest's.
    #[arg(long)]
    trials: Option<NonZeroU32>,
    /// The study's profile that says how often each cell is run [default: the trials of its matrix, `full`].
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// Folder that holds kernels/ and rootfs/ [default: found above the manifest or the working directory].
    #[arg(long, value_name = "FOLDER")]
    project: Option<PathBuf>,
}

/// Where trials execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HostArgument {
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

/// Parses the command line, does what it says, and turns the outcome into an exit code.
pub(crate) fn main() -> ExitCode {
    match act(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            if let Some(errors) = error.downcast_ref::<manifest::ManifestErrors>() {
                let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                eprint!("{}", if colour { errors.coloured() } else { errors.plain() });
                return ExitCode::from(WRONG_INPUT);
            }
            eprintln!("microbench: {}", describe(error.as_ref()));
            if error.is::<PlanError>() {
                return ExitCode::from(WRONG_INPUT);
            }
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Plan { study, json, full } => {
            let loaded = load(&study)?;
            if json {
                print!("{}", plan::to_json(&loaded.plan));
            } else {
                print!("{}", plan_view::render(&loaded.plan, &loaded.study, full));
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Run { study, host, out, resume } => match resume {
            Some(run) => go_on(&run, study.project.as_deref(), host),
            None => begin(&study, host, out.as_deref()),
        },
        Action::Host { study } => {
            println!("{}", HostArgument::of(decide(boot_guest(&study)?)));
            Ok(ExitCode::SUCCESS)
        }
        Action::Doctor { study, json, tune, restore, root } => {
            let tree = root.as_deref().map_or_else(Tree::machine, Tree::at);
            if tune || restore {
                return tuning(&tree, tune);
            }
            let boot = if root.is_some() { None } else { try_guest(&study) };
            let checks = doctor::checks(&tree, boot.as_ref());
            if json {
                println!("{}", serde_json::to_string_pretty(&checks)?);
            } else {
                print!("{}", doctor::text(&checks));
            }
            let bad = checks.iter().any(|check| check.state == doctor::State::Bad);
            Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Action::Analyze { run, detail } => {
            let analysis = microbench_plots::analyze(Directory::open(&run)?.path())?;
            print!("{}", summary::text(&analysis.plan, &analysis.summary, &analysis.journal));
            if let Ok(identity) = Directory::open(&run)?.read::<Identity>(identity::FILE) {
                println!("{}", identity.line());
                let measured = |metric: &str| analysis.plan.metrics.iter().any(|own| own.name == metric);
                match Noise::of_host(&identity.fingerprint) {
                    Some(noise) => println!("{}", wrapped(&noise.line(measured), 4)),
                    None => println!("noise floor of this host: not measured (`microbench selftest aa STUDY` does)"),
                }
            }
            if detail {
                println!("\n{}", summary::detail(&analysis.summary, analysis.plan.seed));
            }
            println!("{} samples, {} missing (samples.csv says why)", analysis.values, analysis.missing);
            if !analysis.verdicts.is_empty() {
                print!("\n{}", claim::text(&analysis.verdicts));
            }
            if let Some(line) = analysis.journal.torn {
                println!("the journal's last line ({line}) was cut off and does not count");
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Import { study, table, mapping, out } => {
            let Some(table) = table else {
                Cli::command().error(ErrorKind::MissingRequiredArgument, "no TABLE.csv is given").exit()
            };
            import(&study, &table, mapping.as_deref(), out.as_deref())
        }
        Action::Plot { run, theme, sequence, sequences } => {
            let (run, theme) = (Directory::open(&run)?, theme.map(ThemeArgument::theme));
            let files = if sequences || !sequence.is_empty() {
                microbench_plots::plot_sequences(run.path(), theme, &sequence)?
            } else {
                microbench_plots::plot(run.path(), theme)?
            };
            files.iter().for_each(|file| println!("{}", file.display()));
            Ok(ExitCode::SUCCESS)
        }
        Action::Compare { a, b, baseline, margin, means, detail, json, gate, across_hosts } => {
            let statistic = if means { Statistic::Mean } else { Statistic::Median };
            let settings = compare::Settings { statistic, margin, seed: 0, family: Vec::new(), blocks: b.is_none() };
            let output = if json { Output::Json } else { Output::Text { detail } };
            match b {
                Some(b) => compare_runs(&a, &b, settings, across_hosts, output, gate),
                None => compare_variants(&a, baseline.as_deref(), settings, output, gate),
            }
        }
        Action::Verify { run, against } => verify(&run, &against),
        Action::Artifacts { study, emulated } => {
            let loaded = load(&study)?;
            let cache = Cache::of_user()?;
            let mut lock =
                parts::provide(&loaded.plan, &loaded.engines, &loaded.project, &cache, Files::In(&loaded.folder))?;
            if emulated {
                parts::provide_testbed(&mut lock, &loaded.project, &cache)?;
            }
            println!("{:8} {:14} {:22} {:>9}  {:16}  origin", "kind", "name", "version", "bytes", "sha256");
            for artifact in &lock.artifacts {
                let (kind, digest) = (artifact.kind.to_string(), &artifact.sha256[..16]);
                let (name, version) = (&artifact.name, &artifact.version);
                println!("{kind:8} {name:14} {version:22} {:>9}  {digest}  {}", artifact.bytes, artifact.origin);
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Selftest(SelfTest::Probe { guests, at_once, spread, seed }) => {
            let spread = Duration::try_from_secs_f64(spread).context("`--spread` is no time")?;
            sandbox::enter()?;
            println!("{:8} {:>6} {:>10} {:>10} {:>10} {:>10}", "probe", "n", "median ms", "p99 ms", "max ms", "CPU ms");
            for (name, probe) in [("exact", Probe::Exact), ("paper", Probe::Paper), ("busy", Probe::Busy)] {
                let found = measure(probe, FakeGuests { guests, at_once, spread, seed })?;
                let ProbeError { n, median_ms, p99_ms, max_ms, cpu_ms } = found;
                println!("{name:8} {n:>6} {median_ms:>10.3} {p99_ms:>10.3} {max_ms:>10.3} {cpu_ms:>10.3}");
            }
            println!(
                "from a fake guest's listen(2) to the answer that the probe saw; CPU time of the probe, mean of a guest"
            );
            Ok(ExitCode::SUCCESS)
        }
        Action::Selftest(SelfTest::Aa { study, cell, repetitions, blocks, margin, host, out }) => {
            against_itself(&study, cell.as_deref(), repetitions, blocks, margin, host, out.as_deref())
        }
        Action::Selftest(SelfTest::Load { windows, length, seed }) => {
            let length = Duration::try_from_secs_f64(length).context("`--length` is no time")?;
            let seen = load_test::measure(load_test::Windows { windows, length, seed })?;
            println!("{:28} {:>8} {:>14}", "windows", "n", "found invalid");
            for (name, [n, invalid]) in [("with a load beside the trial", seen.loaded), ("without one", seen.quiet)] {
                println!("{name:28} {n:>8} {invalid:>8} {:>4.0} %", f64::from(invalid) / f64::from(n.max(1)) * 100.0);
            }
            println!(
                "a window: one process of our own on a CPU for {} ms; a load: another process that uses a CPU.\n\
                 Whatever else this machine does counts as a load too: the second line is of an idle machine only if it is one.",
                length.as_millis()
            );
            Ok(ExitCode::SUCCESS)
        }
        Action::Spin { time_ns } => {
            load_test::spin(Duration::from_nanos(time_ns));
            Ok(ExitCode::SUCCESS)
        }
        Action::FakeGuest { tap, mac, ip, nonce, delay_ns } => {
            fake_guest::play(&tap, &mac, ip, &nonce, Duration::from_nanos(delay_ns))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Execute { run, project, host } => {
            let project = Project::find(Some(&project), &run)?;
            match execute::execute(Directory::open(&run)?, &project, host.kind().context("a host must be given")?)? {
                Ended::Complete { .. } => Ok(ExitCode::SUCCESS),
                Ended::Stopped { signal } => Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))),
            }
        }
        Action::CheckKvm { run, project } => {
            let project = Project::find(Some(&project), &run)?;
            execute::check_kvm(Directory::open(&run)?, &project)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Runs one cell under two labels, and prints how far it is from itself. The exit code is 1 when a comparison found a
/// difference.
fn against_itself(
    arguments: &StudyArguments,
    cell: Option<&str>,
    repetitions: u32,
    blocks: u32,
    margin: f64,
    host: HostArgument,
    out: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let Loaded { study, plan, engines, project, folder } = load(arguments)?;
    let cell = cell.or(plan.cells.first().map(|cell| cell.id.as_str())).unwrap_or_default();
    let plan = plan::against_itself(&plan, cell, repetitions.saturating_mul(blocks)).with_context(|| {
        let cells: Vec<&str> = plan.cells.iter().map(|cell| cell.id.as_str()).collect();
        format!("the study has no cell {cell}; it has {}", cells.join(", "))
    })?;
    let run = prepare(&study, &plan, engines, &project, &folder, host, out)?;
    let ended = hand_over(&run, &project, host)?.status().context("cannot start the execution")?;
    if !ended.success() {
        return Ok(ExitCode::from(ended.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
    }
    microbench_plots::analyze(run.path())?;
    let samples = samples::load(run.path())?;
    let settings = compare::Settings {
        statistic: Statistic::Median,
        margin: Some(margin),
        seed: plan.seed,
        family: Vec::new(),
        blocks: true,
    };
    let floors = noise::floors(&plan, &samples, blocks, &settings);
    print!("{}", noise::text(&floors, &plan, &samples, blocks, &settings));
    let of = format!("{} of {}", plan.cells.first().map_or("", |cell| &cell.label), study.name);
    let fingerprint = run.read::<Identity>(identity::FILE)?.fingerprint;
    Noise::new(fingerprint, of, repetitions, blocks, &floors).save()?;
    let wrong: usize = floors.iter().map(noise::Floor::wrong).sum();
    Ok(if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sets the machine up or puts back what was there; says each thing that was changed or could not be.
fn tuning(tree: &Tree, tune: bool) -> anyhow::Result<ExitCode> {
    let state = tune::state_file()?;
    let outcomes = if tune { tune::tune(tree, &state)? } else { tune::restore(tree, &state)? };
    for tune::Outcome { place, result } in &outcomes {
        match result {
            Ok(value) => println!("{place}: {value}"),
            Err(problem) => println!("{place}: not set: {problem}"),
        }
    }
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    match (tune, outcomes.len(), failed) {
        (true, 0, _) => println!("nothing to set: the machine is as it should be, or shows nothing that can be set"),
        (true, _, _) => println!("previous values: {}; `microbench doctor --restore` puts them back", state.display()),
        (false, _, 0) => println!("everything is as it was"),
        (false, _, _) => println!("not all of it: {} is kept", state.display()),
    }
    Ok(if tune || failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Boots a guest under KVM: one of the study's, or of `experiments/quick.toml`. `None` when there is neither.
fn try_guest(arguments: &StudyArguments) -> Option<doctor::Boot> {
    let manifest = arguments.manifest.clone().or_else(|| Some(PathBuf::from("experiments/quick.toml")))?;
    if !manifest.is_file() {
        return None;
    }
    let arguments = StudyArguments { manifest: Some(manifest), ..arguments.clone() };
    Some(boot_guest(&arguments).flatten().map_err(|error| describe(error.as_ref())))
}

/// What a guest of the study came to under KVM; an error when none could be prepared.
fn boot_guest(arguments: &StudyArguments) -> anyhow::Result<anyhow::Result<()>> {
    let Loaded { study, plan, engines, project, folder } = load(arguments)?;
    let lock = parts::provide(&plan, &engines, &project, &Cache::of_user()?, Files::In(&folder))?;
    let folder = tempfile::tempdir().context("cannot create a temporary folder")?;
    let run = folder.path().join("host-check");
    let run = Directory::create(project.root(), Some(&run), &plan, &study.source, &Engines { engines })?;
    lock.write_or_compare(run.path())?;
    Ok(execute::check_kvm_apart(&run, &project))
}

/// A share such as 0.02.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share < 1.0 => Ok(share),
        _ => Err("a share between 0 and 1, for instance 0.02".into()),
    }
}

/// How a comparison is printed.
#[derive(Clone, Copy, Debug)]
enum Output {
    Text { detail: bool },
    Json,
}

/// Prints the comparison of two runs.
fn compare_runs(
    a: &Path,
    b: &Path,
    settings: compare::Settings,
    across_hosts: bool,
    output: Output,
    gate: bool,
) -> anyhow::Result<ExitCode> {
    let (a, b) = (Directory::open(a)?, Directory::open(b)?);
    let (first, second) = (microbench_plots::load(a.path())?, microbench_plots::load(b.path())?);
    let host = |rows: &[summary::Row]| rows.iter().find_map(|row| row.host);
    let fingerprints = [first.2.as_deref(), second.2.as_deref()];
    compare::check([host(&first.1), host(&second.1)], fingerprints, across_hosts)?;
    let settings = compare::Settings { seed: second.0.seed, family: second.0.family.clone(), ..settings };
    let found = compare::compare(&first.1, &second.1, &settings, |cell| vec![cell.to_owned()]);
    conclude(&found, [&a.name(), &b.name()], &second.0.title, &settings, output, gate)
}

/// Prints the comparison of a run's variants with one of them.
fn compare_variants(
    run: &Path,
    baseline: Option<&str>,
    settings: compare::Settings,
    output: Output,
    gate: bool,
) -> anyhow::Result<ExitCode> {
    let run = Directory::open(run)?;
    let (plan, rows, _) = microbench_plots::load(run.path())?;
    let mut variants: Vec<&str> = plan.cells.iter().map(|cell| cell.variant.as_str()).collect();
    variants.dedup();
    let baseline = baseline.or(variants.first().copied()).unwrap_or_default();
    if !variants.contains(&baseline) {
        bail!("the run has no variant {baseline}; it has {}", variants.join(", "));
    }
    let settings = compare::Settings { seed: plan.seed, family: plan.family.clone(), ..settings };
    let found = compare::within(&plan, &rows, baseline, &settings);
    conclude(&found, [baseline, "each cell's variant"], &plan.title, &settings, output, gate)
}

/// Prints a comparison. The exit code is 1 when the gate is closed.
fn conclude(
    found: &[compare::Comparison],
    sides: [&str; 2],
    title: &str,
    settings: &compare::Settings,
    output: Output,
    gate: bool,
) -> anyhow::Result<ExitCode> {
    if found.is_empty() {
        return Err(compare::Refusal::Nothing.into());
    }
    match output {
        Output::Text { detail } => print!("{}", compare::text(found, sides, title, settings, detail)),
        Output::Json => println!("{}", serde_json::to_string_pretty(found)?),
    }
    let closed = gate && found.iter().any(|one| one.verdict == compare::Verdict::Slower);
    if closed {
        eprintln!("microbench: the gate is closed: something is slower beyond the margin");
    }
    Ok(if closed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints both runs' verdicts on each claim of the reference. The exit code is 1 when one differs.
fn verify(run: &Path, against: &Path) -> anyhow::Result<ExitCode> {
    let (run, reference) = (Directory::open(run)?, Directory::open(against)?);
    let (here, there) = (microbench_plots::load(run.path())?, microbench_plots::load(reference.path())?);
    let (here, there) = (claim::judge(&here.0, &here.1), claim::judge(&there.0, &there.1));
    let checks = claim::confirm(&there, &here);
    print!("{}", claim::confirmations(&checks, &reference.name(), &run.name()));
    Ok(if checks.iter().all(|check| check.same()) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Look of the figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ThemeArgument {
    /// Intervals, raw points, colours for every eye.
    Publication,
    /// As the 2019 paper printed its charts.
    Paper,
}

impl ThemeArgument {
    fn theme(self) -> Theme {
        match self {
            Self::Publication => Theme::Publication,
            Self::Paper => Theme::Paper,
        }
    }
}

impl HostArgument {
    fn kind(self) -> Option<HostKind> {
        match self {
            Self::Auto => None,
            Self::Kvm => Some(HostKind::Kvm),
            Self::Emulated => Some(HostKind::Emulated),
            Self::Fake => Some(HostKind::Fake),
        }
    }

    fn of(kind: HostKind) -> &'static str {
        match kind {
            HostKind::Kvm => "kvm",
            HostKind::Emulated => "emulated",
            HostKind::Fake => "fake",
            HostKind::Imported => "imported",
        }
    }
}

/// A study with everything that its manifest refers to.
struct Loaded {
    study: Study,
    plan: Plan,
    engines: Vec<Engine>,
    project: Project,
    /// The manifest's.
    folder: PathBuf,
}

fn load(arguments: &StudyArguments) -> anyhow::Result<Loaded> {
    let Some(path) = arguments.manifest.as_deref() else {
        Cli::command().error(ErrorKind::MissingRequiredArgument, "no STUDY is given").exit()
    };
    let project = Project::find(arguments.project.as_deref(), path)?;
    let engines = catalog::engines(path)?;
    let study = manifest::load(path, &catalog::catalog(&engines, &project))?;
    let (seed, trials, profile) = (arguments.seed, arguments.trials, arguments.profile.as_deref());
    let plan = plan::expand(&study, Choice { seed, trials, profile })?;
    let used = |engine: &Engine| plan.cells.iter().any(|cell| cell.engine == engine.name);
    let engines = engines.into_values().filter(used).collect();
    let folder = path.parent().unwrap_or(Path::new("")).to_path_buf();
    Ok(Loaded { study, plan, engines, project, folder })
}

fn begin(arguments: &StudyArguments, host: HostArgument, out: Option<&Path>) -> anyhow::Result<ExitCode> {
    let Loaded { study, plan, engines, project, folder } = load(arguments)?;
    let run = prepare(&study, &plan, engines, &project, &folder, host, out)?;
    let error = hand_over(&run, &project, host)?.exec();
    bail!("cannot start the execution: {error}")
}

/// Provides what a plan needs and makes its run directory.
fn prepare(
    study: &Study,
    plan: &Plan,
    engines: Vec<Engine>,
    project: &Project,
    folder: &Path,
    host: HostArgument,
    out: Option<&Path>,
) -> anyhow::Result<Directory> {
    let cache = Cache::of_user()?;
    // Everything is there before a run directory is: a failure here leaves none half-made.
    let mut lock = parts::provide(plan, &engines, project, &cache, Files::In(folder))?;
    if matches!(host, HostArgument::Emulated | HostArgument::Auto) {
        parts::provide_testbed(&mut lock, project, &cache)?;
    }
    let run = Directory::create(project.root(), out, plan, &study.source, &Engines { engines })?;
    lock.write_or_compare(run.path())?;
    Ok(run)
}

fn go_on(run: &Path, project: Option<&Path>, host: HostArgument) -> anyhow::Result<ExitCode> {
    let run = Directory::open(run)?;
    let project = Project::find(project, run.path())?;
    let (plan, _) = run.plan()?;
    let cache = Cache::of_user()?;
    // A session that was killed at the very start left none.
    let before = run.path().join(lock::FILE);
    let before: Lock = if before.exists() { read_toml(&before)? } else { Lock::default() };
    let mut lock = parts::provide(&plan, &run.engines()?.engines, &project, &cache, Files::As(&before))?;
    if matches!(host, HostArgument::Emulated | HostArgument::Auto) {
        parts::provide_testbed(&mut lock, &project, &cache)?;
    }
    lock.write_or_compare(run.path())?;
    let error = hand_over(&run, &project, host)?.exec();
    bail!("cannot start the execution: {error}")
}

/// Makes a run directory of a table; everything wrong with the table is said at once.
fn import(
    study: &StudyArguments,
    table: &Path,
    mapping: Option<&Path>,
    out: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let Loaded { study, plan, engines, project, .. } = load(study)?;
    let text = std::fs::read_to_string(table).with_context(|| format!("cannot read {}", table.display()))?;
    let mapping = mapping.map_or_else(|| Ok(imports::Mapping::default()), read_toml)?;
    let imported = match imports::import(&plan, &text, &mapping) {
        Ok(imported) => imported,
        Err(errors) => {
            const SHOWN: usize = 20;
            errors.iter().take(SHOWN).for_each(|error| eprintln!("{}, {error}", table.display()));
            if errors.len() > SHOWN {
                eprintln!("... and {} more", errors.len() - SHOWN);
            }
            eprintln!("microbench: {}: {} errors; nothing was imported", table.display(), errors.len());
            return Ok(ExitCode::from(WRONG_INPUT));
        }
    };
    let run = Directory::create(project.root(), out, &imported.plan, &study.source, &Engines { engines })?;
    let (_, sha256) = run.plan()?;
    let now = jiff::Timestamp::now().to_string();
    let mut records = vec![imports::start(&run.name(), &sha256, &now, env!("CARGO_PKG_VERSION"))];
    records.extend(imported.records);
    records.push(Record::RunEnd { ended: now });
    Journal::open(run.path())?.append(&records)?;
    eprintln!("{} rows imported, {} left out", imported.rows, imported.ignored);
    println!("{}", run.path().display());
    Ok(ExitCode::SUCCESS)
}

/// KVM when a guest came up under it, else the emulated host; says why in one line.
fn decide(guest: anyhow::Result<()>) -> HostKind {
    match guest {
        Ok(()) => HostKind::Kvm,
        Err(reason) => {
            eprintln!("KVM does not work here: {reason}; taking the emulated host, in virtual time");
            HostKind::Emulated
        }
    }
}

/// Decides on the host; the command that executes the run. It is a process of its own because the sandbox needs one without
/// threads, and this one had some.
fn hand_over(run: &Directory, project: &Project, host: HostArgument) -> anyhow::Result<Command> {
    let host = match (host.kind(), journal::progress(run.path())?.host) {
        (Some(kind), _) | (None, Some(kind)) => kind,
        (None, None) => decide(execute::check_kvm_apart(run, project)),
    };
    println!("{}", run.path().display());
    let this = std::env::current_exe().context("cannot find this program")?;
    let mut command = Command::new(this);
    command.args(["execute", "--host", HostArgument::of(host), "--project"]).arg(project.root()).arg(run.path());
    Ok(command)
}
