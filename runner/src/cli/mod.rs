//! The command line: one subcommand a step of the way from a manifest to figures.

mod analyze;
mod arguments;
mod compare;
mod front;
mod import;
mod machine;
mod noise;
mod reference;
mod runs;
mod shards;
mod store;
mod work;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};
use microbench::catalog;
use microbench::error::{codes, explain};
use microbench::run::parts::Files;
use microbench::run::session::Ended;
use microbench::run::{execute, parts};
use microbench::store::directory::Directory;
use microbench::store::prune;
use microbench_formats::code::Code;
use microbench_formats::describe::describe;
use microbench_formats::exit;
use microbench_formats::record::ProbeError;
use microbench_formats::statistic::Statistic;
use microbench_measure::artifacts::cache::Cache;
use microbench_measure::artifacts::project::Project;
use microbench_measure::host::machine::doctor;
use microbench_measure::host::machine::tree::Tree;
use microbench_measure::probe::Probe;
use microbench_measure::requirement::Lacking;
use microbench_measure::sandbox::isolation;
use microbench_measure::selftest::probe::{FakeGuests, measure};
use microbench_measure::selftest::{fake_guest, lend, load as load_test, spawn};
use microbench_measure::terminal::log;
use microbench_measure::terminal::output;
use microbench_measure::terminal::screen::{self, Stream};
use microbench_measure::{err, errln, out, outln, sandbox};
use microbench_plots::{compare as comparison, query, schema};
use microbench_study::manifest;
use microbench_study::plan::{self, view};

use self::arguments::{Action, Cli, SelfTest, Submit, ThemeArgument};
use self::compare::{GateRule, Output, compare_runs, compare_variants, verify};
use self::machine::{try_guest, tuning};
use self::runs::{begin, go_on, load};
use self::store::print_json;

/// True for what is over when nobody reads what it says: it starts no guest and no job, and leaves nothing half-made.
fn only_says(action: &Action) -> bool {
    matches!(
        action,
        Action::Plan { .. }
            | Action::Status { .. }
            | Action::Doctor { tune: false, restore: false, .. }
            | Action::Query { .. }
            | Action::Compare { .. }
            | Action::Verify { .. }
            | Action::Runs { .. }
            | Action::Show { .. }
            | Action::Schema
            | Action::Explain { .. }
            | Action::Completions { .. }
            | Action::Man { .. }
            | Action::Analyze { .. }
            | Action::Plot { .. }
            | Action::Table { .. }
            | Action::Report { .. }
    )
}

/// Parses the command line, does what it says, and turns the outcome into an exit code.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return concluded(parsing(&error), false),
    };
    screen::choose(cli.color.choice());
    let action = cli.command;
    if only_says(&action) {
        output::end_with_reader();
    }
    // Another microbench reads what these say.
    let own = matches!(action, Action::CheckSandbox | Action::CheckKvm { .. } | Action::FakeGuest { .. });
    let keeps = matches!(action, Action::Run { .. } | Action::Execute { .. } | Action::Selftest(SelfTest::Aa { .. }));
    let logs = if own { Ok(()) } else { log::start(cli.verbose, keeps) };
    concluded(logs.map_err(Into::into).and_then(|()| act(action)), own)
}

/// The exit code for the outcome of a command. Prints an error to standard error, as one line for microbench's `own`
/// commands.
fn concluded(outcome: anyhow::Result<ExitCode>, own: bool) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            if let Some(errors) = error.downcast_ref::<manifest::ManifestErrors>() {
                err!("{}", if Stream::Err.is_coloured() { errors.coloured() } else { errors.plain() });
                let mut codes: Vec<_> = errors.errors().iter().map(|error| error.code.as_str()).collect();
                codes.sort_unstable();
                codes.dedup();
                codes.truncate(MOST_CODES);
                errln!("`microbench explain {}` says more", codes.join(" "));
                return ExitCode::from(exit::WRONG_INPUT);
            }
            let codes = codes(&error);
            let exit = ExitCode::from(codes.first().map_or(exit::FAILED, |code| code.exit()));
            if own {
                errln!("microbench: {}", describe(error.as_ref()));
            } else {
                say(&error, &codes);
            }
            exit
        }
    }
}

/// Most codes that the last line of an error names.
const MOST_CODES: usize = 4;

/// Says an error with its code, and what to do next where the error does not say it itself.
fn say(error: &anyhow::Error, codes: &[Code]) {
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    errln!("microbench: error[{}]: {}", names.first().unwrap_or(&""), describe(error.as_ref()));
    let lacking = error.chain().any(|cause| cause.is::<Lacking>());
    let entries = explain::all().unwrap_or_default();
    if let Some(entry) = entries.iter().find(|entry| !lacking && names.first() == Some(&entry.code)) {
        errln!("  next: {}", entry.next);
    }
    errln!("  `microbench explain {}` says more", names.join(" "));
}

/// Prints the help or the version, or what is wrong with the command line.
fn parsing(error: &clap::Error) -> anyhow::Result<ExitCode> {
    let written = error.print();
    if !error.use_stderr() {
        output::end_with_reader();
        output::check(written.and_then(|()| std::io::stdout().flush()))?;
    }
    Ok(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::WRONG_INPUT)))
}

fn act(action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::New(arguments) => front::new(&arguments),
        Action::Plan { study, json, explain: Some(cell), .. } => front::explain_cell(&study, &cell, json),
        Action::Plan { study, json, full, explain: None, shards } => {
            let loaded = load(&study)?;
            shards.map_or(Ok(()), |of| plan::divisible(&loaded.plan, of))?;
            if json {
                output::write_by(|out| plan::write_json(&loaded.plan, out))?;
            } else {
                out!("{}", view::render(&loaded.plan, &loaded.study, full))?;
                out!("{}", view::without_kernel(&loaded.engines))?;
                let cells = parts::not_applicable(&loaded.plan, &loaded.engines, &loaded.project)?;
                out!("{}", view::not_applicable(&cells))?;
                if let Some(of) = shards {
                    out!("\n{}", view::shards(&loaded.plan, of))?;
                }
            }
            Ok(ExitCode::SUCCESS)
        }
        Action::Run { study, host, out, shard, resume, session } => match resume {
            Some(run) => go_on(&run, study.project.as_deref(), host, session),
            None => begin(&study, host, out.as_deref(), shard, session),
        },
        Action::Merge { shards, out, partial, json } => shards::merge(&shards, out.as_deref(), partial, json),
        Action::Submit(Submit::Slurm {
            study,
            shards,
            constraint,
            exclusive,
            allow_unisolated,
            host,
            out,
            json,
            options,
        }) => {
            let wanted = shards::Wanted { shards, constraint, exclusive, allow_unisolated, options };
            shards::submit(&study, wanted, host, out.as_deref(), json)
        }
        Action::Status { submission, json } => shards::status(&submission, json),
        Action::Cancel { submission } => shards::cancel(&submission),
        Action::Host { study, json } => runs::host(&study, json),
        Action::Doctor { study, json, tune, restore, root } => {
            let tree = root.as_deref().map_or_else(Tree::machine, Tree::at);
            if tune || restore {
                return tuning(&tree, tune);
            }
            // Without a named study nothing is booted: a manifest of the working directory may name any program.
            let needs = machine::needs(&study)?;
            let kvm = needs.as_ref().is_some_and(|needs| needs.contains(&doctor::Need::Kvm));
            let boot = (root.is_none() && kvm).then(|| try_guest(&study));
            let checks = doctor::checks(&tree, boot.as_ref(), needs.as_ref());
            if json {
                outln!("{}", serde_json::to_string_pretty(&checks)?)?;
            } else {
                out!("{}", doctor::text(&checks))?;
            }
            let bad = checks.iter().any(|check| check.state == doctor::State::Bad);
            Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
        Action::Analyze { runs, detail, json } => match runs.as_slice() {
            [run] if !analyze::is_many(run) => analyze::analyze(run, detail, json),
            several => analyze::many(several, json),
        },
        Action::Import { study, table, mapping, out, json } => {
            let Some(table) = table else {
                Cli::command().error(ErrorKind::MissingRequiredArgument, "no TABLE.csv is given").exit()
            };
            import::import(&study, &table, mapping.as_deref(), out.as_deref(), json)
        }
        Action::Plot { run, theme, sequence, sequences, json } => {
            let (run, theme) = (Directory::open(&run)?, theme.map(ThemeArgument::theme));
            let files = if sequences || !sequence.is_empty() {
                microbench_plots::plot_sequences(run.path(), theme, &sequence)?
            } else {
                microbench_plots::plot(run.path(), theme)?
            };
            if json {
                let files = files.iter().map(|file| file.display().to_string()).collect();
                return print_json(&store::PlotReport { run: run.name(), files });
            }
            files.iter().try_for_each(|file| outln!("{}", file.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Table { run } => {
            let files = microbench_plots::table::save(Directory::open(&run)?.path())?;
            files.iter().try_for_each(|file| outln!("{}", file.display()))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Report { run } => {
            outln!("{}", microbench_plots::report::save(Directory::open(&run)?.path())?.display())?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Query { tables: true, .. } => {
            out!("{}", schema::text())?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Query { words, csv, json, .. } => {
            let Some((sql, runs)) = words.split_last().filter(|(_, runs)| !runs.is_empty()) else {
                let missing = "a query needs a RUN and, last, the SQL: microbench query RUN \"select * from summary\"";
                Cli::command().error(ErrorKind::MissingRequiredArgument, missing).exit()
            };
            let opened = runs.iter().map(|run| Ok(Directory::open(Path::new(run))?.path().to_path_buf()));
            let answer = query::query(&opened.collect::<anyhow::Result<Vec<_>>>()?, sql)?;
            let text = match (csv, json) {
                (true, _) => answer.csv()?,
                (_, true) => answer.json(),
                _ => answer.text(),
            };
            out!("{text}")?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Compare { a, b, baseline, margin, means, detail, json, gate, allow_missing, across_hosts } => {
            let statistic = if means { Statistic::Mean } else { Statistic::Median };
            let settings = comparison::Settings {
                statistic,
                margin,
                seed: 0,
                family: Vec::new(),
                blocks: b.is_none(),
                pooled: false,
            };
            let output = if json { Output::Json } else { Output::Text { detail } };
            let gate = margin.filter(|_| gate).map(|margin| GateRule { margin, allow_missing });
            match b {
                Some(b) => compare_runs(&a, &b, settings, across_hosts, output, gate),
                None => compare_variants(&a, baseline.as_deref(), settings, output, gate),
            }
        }
        Action::Verify { run, against, json } => verify(&run, &against, json),
        Action::Runs { study, json } => store::runs(study.as_deref(), json),
        Action::Show { run, json } => store::show(&run, json),
        Action::Export { run, out, without_consoles, json } => {
            store::export(&run, out.as_deref(), !without_consoles, json)
        }
        Action::Prune { runs, keep, older_than, yes, json } => {
            store::prune(&runs, prune::Rule { keep, older_than }, yes, json)
        }
        Action::Artifacts { study, emulated, json } => {
            let loaded = load(&study)?;
            let cache = Cache::of_user()?;
            let mut lock =
                parts::provide(&loaded.plan, &loaded.engines, &loaded.project, &cache, Files::In(&loaded.folder))?;
            if emulated {
                parts::provide_testbed(&mut lock, &loaded.project, &cache)?;
            }
            if json {
                return print_json(&lock.artifacts);
            }
            store::print_text(&store::artifacts(&lock.artifacts, Stream::Out.room()))
        }
        Action::Schema => {
            out!("{}", manifest::schema::text(&catalog::built_in()?))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Explain { codes, json } => front::explain_codes(&codes, json),
        Action::Completions { shell } => front::completions(shell),
        Action::Man { out } => front::manual(out.as_deref()),
        Action::Selftest(SelfTest::Probe { guests, at_once, spread, seed }) => {
            let spread =
                Duration::try_from_secs_f64(spread).with_context(|| Code::BadValue.says("`--spread` is no time"))?;
            sandbox::enter()?;
            outln!("{:8} {:>6} {:>10} {:>10} {:>10} {:>10}", "probe", "n", "median ms", "p99 ms", "max ms", "CPU ms")?;
            for (name, probe) in [("exact", Probe::Exact), ("paper", Probe::Paper), ("busy", Probe::Busy)] {
                let found = measure(probe, FakeGuests { guests, at_once, spread, seed })?;
                let ProbeError { n, median_ms, p99_ms, max_ms, cpu_ms } = found;
                outln!("{name:8} {n:>6} {median_ms:>10.3} {p99_ms:>10.3} {max_ms:>10.3} {cpu_ms:>10.3}")?;
            }
            outln!(
                "from a fake guest's listen(2) to the answer that the probe saw; CPU time of the probe, mean of a guest"
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Selftest(SelfTest::Work { folder }) => work::print(&folder.unwrap_or_else(std::env::temp_dir)),
        Action::Selftest(SelfTest::Spawn { times, argv }) => {
            sandbox::enter()?;
            isolation::require(false)?;
            print_json(&spawn::measure(&argv, times, &sandbox::scratch()?)?)
        }
        Action::Selftest(SelfTest::Lend { vms, image }) => {
            sandbox::enter()?;
            print_json(&lend::measure(vms, &image, &sandbox::scratch()?.join("lent"))?)
        }
        Action::Selftest(SelfTest::Aa { study, cell, repetitions, blocks, margin, host, out, allow_unisolated }) => {
            let how = noise::How { repetitions, blocks, margin, allow_unisolated };
            noise::against_itself(&study, cell.as_deref(), how, host, out.as_deref())
        }
        Action::Selftest(SelfTest::Load { windows, length, seed }) => {
            let length =
                Duration::try_from_secs_f64(length).with_context(|| Code::BadValue.says("`--length` is no time"))?;
            let [loaded, quiet] = load_test::measure(load_test::Windows { windows, length, seed })?;
            outln!("{:28} {:>8} {:>14}  reasons", "windows", "n", "found invalid")?;
            for (name, seen) in [("with a load beside the trial", loaded), ("without one", quiet)] {
                let share = f64::from(seen.invalid) / f64::from(seen.windows.max(1)) * 100.0;
                let reasons: Vec<String> = seen.reasons.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
                let (n, invalid) = (seen.windows, seen.invalid);
                outln!("{name:28} {n:>8} {invalid:>8} {share:>3.0} %  {}", reasons.join(", "))?;
            }
            outln!(
                "a window: one process of our own on a CPU for {} ms; a load: another process that uses a CPU.\n\
                 Whatever else this machine does counts as well: `stolen` is what a hypervisor below took.",
                length.as_millis()
            )?;
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
        Action::Execute { run, project, host, session, output_lost } => {
            let project = Project::at(&project)?;
            let host = host.kind().context("a host must be given")?;
            match execute::execute(Directory::open(&run)?, &project, host, session.options())? {
                Ended::Complete { .. } if output_lost => {
                    let message =
                        format!("standard output cannot be written to; the run {} is complete", run.display());
                    Err(Code::NoOutput.says(message).into())
                }
                Ended::Complete { .. } => Ok(ExitCode::SUCCESS),
                Ended::Stopped { signal } => {
                    Ok(ExitCode::from(u8::try_from(exit::SIGNAL + signal).unwrap_or(exit::FAILED)))
                }
            }
        }
        Action::Reference { out } => {
            reference::write(&out)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::CheckWords { words } => match Cli::try_parse_from(words) {
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(error) => parsing(&error),
        },
        Action::CheckSandbox => {
            sandbox::enter()?;
            outln!("{}", isolation::missing().unwrap_or_default())?;
            Ok(ExitCode::SUCCESS)
        }
        Action::CheckKvm { run, project, allow_unisolated } => {
            let project = Project::at(&project)?;
            execute::check_kvm(Directory::open(&run)?, &project, allow_unisolated)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
