//! The command line: one subcommand a step of the way from a manifest to figures.

mod arguments;
mod compare;
mod exit;
mod import;
mod machine;
mod noise;
mod reference;
mod runs;

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};
use microbench::artifact::cache::Cache;
use microbench::artifact::project::Project;
use microbench::error::describe;
use microbench::host::doctor;
use microbench::host::identity::{self, Identity};
use microbench::host::noise::Noise;
use microbench::host::tree::Tree;
use microbench::lacking::Lacking;
use microbench::plan::PlanError;
use microbench::probe::Probe;
use microbench::run::directory::Directory;
use microbench::run::parts::Files;
use microbench::run::session::Ended;
use microbench::run::{execute, parts};
use microbench::selftest::probe::{FakeGuests, measure};
use microbench::selftest::{fake_guest, load as load_test};
use microbench::{manifest, plan, plan_view, sandbox};
use microbench_plots::record::{ProbeError, Statistic};
use microbench_plots::terminal::wrapped;
use microbench_plots::{claim, compare as comparison, summary};

use self::arguments::{Action, Cli, HostArgument, SelfTest, ThemeArgument};
use self::compare::{Output, compare_runs, compare_variants, verify};
use self::exit::{FAILED, LACKING_HOST, SIGNAL, WRONG_INPUT};
use self::machine::{try_guest, tuning};
use self::runs::{begin, boot_guest, decide, go_on, load};

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
            if error.chain().any(|cause| cause.is::<Lacking>()) {
                return ExitCode::from(LACKING_HOST);
            }
            ExitCode::from(FAILED)
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
        Action::Run { study, host, out, resume, session } => match resume {
            Some(run) => go_on(&run, study.project.as_deref(), host, session),
            None => begin(&study, host, out.as_deref(), session),
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
            import::import(&study, &table, mapping.as_deref(), out.as_deref())
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
            let settings = comparison::Settings { statistic, margin, seed: 0, family: Vec::new(), blocks: b.is_none() };
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
            noise::against_itself(&study, cell.as_deref(), repetitions, blocks, margin, host, out.as_deref())
        }
        Action::Selftest(SelfTest::Load { windows, length, seed }) => {
            let length = Duration::try_from_secs_f64(length).context("`--length` is no time")?;
            let [loaded, quiet] = load_test::measure(load_test::Windows { windows, length, seed })?;
            println!("{:28} {:>8} {:>14}  reasons", "windows", "n", "found invalid");
            for (name, seen) in [("with a load beside the trial", loaded), ("without one", quiet)] {
                let share = f64::from(seen.invalid) / f64::from(seen.windows.max(1)) * 100.0;
                let reasons: Vec<String> = seen.reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
                let (n, invalid) = (seen.windows, seen.invalid);
                println!("{name:28} {n:>8} {invalid:>8} {share:>3.0} %  {}", reasons.join(", "));
            }
            println!(
                "a window: one process of our own on a CPU for {} ms; a load: another process that uses a CPU.\n\
                 Whatever else this machine does counts as well: `stolen` is what a hypervisor below took.",
                length.as_millis()
            );
            Ok(ExitCode::SUCCESS)
        }
        Action::Spin { time_ns } => {
            load_test::spin(Duration::from_nanos(time_ns));
            Ok(ExitCode::SUCCESS)
        }
        Action::FakeGuest { tap, mac, ip, nonce } => {
            fake_guest::play(&tap, &mac, ip, &nonce)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Execute { run, project, host, session } => {
            let project = Project::find(Some(&project), &run)?;
            let host = host.kind().context("a host must be given")?;
            match execute::execute(Directory::open(&run)?, &project, host, session.options())? {
                Ended::Complete { .. } => Ok(ExitCode::SUCCESS),
                Ended::Stopped { signal } => Ok(ExitCode::from(u8::try_from(SIGNAL + signal).unwrap_or(FAILED))),
            }
        }
        Action::Reference { out } => {
            reference::write(&out)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::CheckWords { words } => match Cli::try_parse_from(words) {
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(error) => error.exit(),
        },
        Action::CheckSandbox => {
            sandbox::enter()?;
            Ok(ExitCode::SUCCESS)
        }
        Action::CheckKvm { run, project } => {
            let project = Project::find(Some(&project), &run)?;
            execute::check_kvm(Directory::open(&run)?, &project)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
