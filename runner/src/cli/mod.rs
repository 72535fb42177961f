//! The command line: one file for each command or group of commands.

mod ab;
mod analyze;
mod arguments;
mod artifacts;
mod compare;
mod completions;
mod doctor;
mod execute;
mod explain;
mod history;
mod import;
mod new;
mod noise_floor;
mod plan;
mod publish;
mod query;
mod reference;
mod run;
mod selftest;
mod shards;
mod store;
mod trust;
mod workload;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};
use microbench::catalog;
use microbench::error::{codes, explain as explanations};
use microbench::store::prune;
use microbench_formats::code::Code;
use microbench_formats::describe::describe;
use microbench_formats::exit;
use microbench_measure::requirement::MissingRequirements;
use microbench_measure::selftest::{fake_guest, load as load_test};
use microbench_measure::terminal::log;
use microbench_measure::terminal::output;
use microbench_measure::terminal::screen::{self, Stream};
use microbench_measure::trust as trusted;
use microbench_measure::{err, errln, out};
use microbench_study::manifest;

use self::arguments::{Action, Cli, SelfTest, Submit};
use self::compare::verify;
use self::run::Place;

/// Whether the command only prints: it starts no guest and no job, and leaves no incomplete files. Such a command may
/// exit on SIGPIPE.
fn is_read_only(action: &Action) -> bool {
    matches!(
        action,
        Action::Plan { .. }
            | Action::Status { .. }
            | Action::Doctor { tune: false, restore: false, .. }
            | Action::Query { .. }
            | Action::Compare { .. }
            | Action::Verify { .. }
            | Action::History(_)
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

/// Parses the command line, executes the command, and returns the exit code.
pub(crate) fn main() -> ExitCode {
    completions::complete();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return exit_code(print_parse_error(&error), false),
    };
    screen::set_colour(cli.color.choice());
    let action = cli.command;
    if is_read_only(&action) {
        output::exit_on_sigpipe();
    }
    // microbench itself calls these commands and parses their output.
    if cli.trust || matches!(action, Action::Execute { .. } | Action::CheckKvm { .. }) {
        // The parent of an internal command has checked the files.
        trusted::trust_all();
    }
    let internal = matches!(action, Action::CheckSandbox | Action::CheckKvm { .. } | Action::FakeGuest { .. });
    let keeps = matches!(
        action,
        Action::Run { .. } | Action::Ab(_) | Action::Execute { .. } | Action::Selftest(SelfTest::NoiseFloor { .. })
    );
    let logs = if internal { Ok(()) } else { log::start(cli.verbose, keeps) };
    exit_code(logs.map_err(Into::into).and_then(|()| execute_action(action)), internal)
}

/// The exit code for the outcome of a command. Prints an error to standard error, as one line for an `internal`
/// command.
fn exit_code(outcome: anyhow::Result<ExitCode>, internal: bool) -> ExitCode {
    match outcome {
        Ok(code) => code,
        Err(error) => {
            if let Some(errors) = error.downcast_ref::<manifest::ManifestErrors>() {
                err!("{}", errors.render(Stream::Err.is_coloured(), Stream::Err.columns()));
                let mut codes: Vec<_> = errors.errors().iter().map(|error| error.code.as_str()).collect();
                codes.sort_unstable();
                codes.dedup();
                errln!("{}", Stream::Err.wrap(&explain_hint(&codes), 2));
                return ExitCode::from(exit::WRONG_INPUT);
            }
            let codes = codes(&error);
            let exit = ExitCode::from(codes.first().map_or(exit::FAILED, |code| code.exit()));
            if internal {
                errln!("microbench: {}", describe(error.as_ref()));
            } else {
                print_error(&error, &codes);
            }
            exit
        }
    }
}

/// The last line of an error, which names all of its codes.
fn explain_hint(codes: &[&str]) -> String {
    format!("for details, run `microbench explain {}`", codes.join(" "))
}

/// Whether the fix for `code` applies to an error with this message: the fix for an unknown name is to use the suggested
/// name, so it needs a suggestion.
fn is_fix_applicable(code: &str, message: &str) -> bool {
    code != Code::UnknownName.as_str() || message.contains("did you mean ")
}

/// Prints an error with its code and, unless the error itself contains a fix, with the fix for the code.
fn print_error(error: &anyhow::Error, codes: &[Code]) {
    let names: Vec<&str> = codes.iter().map(|code| code.as_str()).collect();
    let message = describe(error.as_ref());
    let first = names.first().copied().unwrap_or_default();
    errln!("{}", Stream::Err.wrap(&format!("microbench: error[{first}]: {message}"), 2));
    let is_missing_requirement = error.chain().any(|cause| cause.is::<MissingRequirements>());
    let entries = explanations::entries().unwrap_or_default();
    let has_fix = !is_missing_requirement && is_fix_applicable(first, &message);
    if let Some(entry) = entries.iter().find(|entry| has_fix && first == entry.code) {
        errln!("{}", Stream::Err.wrap(&format!("  next: {}", entry.next), 2));
    }
    errln!("{}", Stream::Err.wrap(&format!("  {}", explain_hint(&names)), 2));
}

/// Ends the program with the usage of `command` and a message about its missing argument.
fn missing_argument(command: &str, message: &str) -> ! {
    let mut root = Cli::command();
    root.build();
    let command =
        root.find_subcommand_mut(command).map(|command| command.error(ErrorKind::MissingRequiredArgument, message));
    command.unwrap_or_else(|| root.error(ErrorKind::MissingRequiredArgument, message)).exit()
}

/// Prints the help, the version, or an error of the command line.
fn print_parse_error(error: &clap::Error) -> anyhow::Result<ExitCode> {
    let written = error.print();
    if !error.use_stderr() {
        output::exit_on_sigpipe();
        output::check_written(written.and_then(|()| std::io::stdout().flush()))?;
    }
    Ok(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::WRONG_INPUT)))
}

fn execute_action(action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::New(arguments) => new::new(&arguments),
        Action::Plan { study, json, explain: Some(cell), .. } => explain::explain_cell(&study, &cell, json),
        Action::Plan { study, repetitions, json, full, explain: None, shards } => {
            plan::plan(&study, repetitions.repetitions, json, full, shards)
        }
        Action::Run { study, repetitions, host, out, shard, label, resume, session } => match resume {
            Some(run) => run::resume(&run, study.project.as_deref(), host, session),
            None => {
                let place = Place { out: out.as_deref(), shard, label: label.as_ref() };
                run::start(&study, repetitions.repetitions, host, place, session)
            }
        },
        Action::Ab(arguments) => ab::ab(&arguments),
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
            let job = shards::JobOptions { shards, constraint, exclusive, allow_unisolated, options };
            shards::submit(&study, job, host, out.as_deref(), json)
        }
        Action::Status { submission, json } => shards::status(&submission, json),
        Action::Cancel { submission } => shards::cancel(&submission),
        Action::Host { study, json } => run::host(&study, json),
        Action::Doctor { study, json, tune, restore, root } => {
            doctor::doctor(&study, json, tune, restore, root.as_deref())
        }
        Action::Analyze { runs, detail, json, gate, allow_missing } => match runs.as_slice() {
            [run] if !analyze::is_table_or_pattern(run) => {
                analyze::analyze(run, detail, json, gate.then_some(analyze::AnalyzeGate { allow_missing }))
            }
            _ if gate => {
                anyhow::bail!(Code::BadValue.with_message("`--gate` judges the claims of one run; give one run folder"))
            }
            several => analyze::analyze_pooled(several, json),
        },
        Action::Import { study, table, mapping, out, label, json } => {
            import::import(&study, &table, mapping.as_deref(), out.as_deref(), label.as_ref(), json)
        }
        Action::Plot { run, theme, sequence, sequences, json } => {
            publish::plot(&run, theme, &sequence, sequences, json)
        }
        Action::Table { run } => publish::table(&run),
        Action::Report { run } => publish::report(&run),
        Action::Query { tables: true, .. } => query::tables(),
        Action::Query { arguments, csv, json, .. } => query::query(&arguments, csv, json),
        Action::Compare(options) => compare::compare(options.into()),
        Action::Verify { run, against, json } => verify(&run, &against, json),
        Action::History(arguments) => history::history(&arguments),
        Action::Runs { study, json } => store::runs(study.as_deref(), json),
        Action::Show { run, json } => store::show(&run, json),
        Action::Export { run, out, without_consoles, json } => {
            store::export(&run, out.as_deref(), !without_consoles, json)
        }
        Action::Prune { runs, keep, older_than, yes, json } => {
            store::prune(&runs, prune::Rule { keep, older_than }, yes, json)
        }
        Action::Trust { paths, remove } => trust::trust(&paths, remove),
        Action::Artifacts { verify: true, .. } => artifacts::verify(),
        Action::Artifacts { gc: true, yes, .. } => artifacts::collect(yes),
        Action::Artifacts { study, emulated, json, .. } => artifacts::artifacts(&study, emulated, json),
        Action::Schema => {
            out!("{}", manifest::schema::to_text(&catalog::built_in()?))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Explain { codes, json } => explain::explain_codes(&codes, json),
        Action::Completions { shell } => completions::print_script(shell),
        Action::Man { out } => completions::manual(out.as_deref()),
        Action::Selftest(test) => selftest::selftest(test),
        Action::Spin { time_ns } => {
            load_test::spin(Duration::from_nanos(time_ns));
            Ok(ExitCode::SUCCESS)
        }
        Action::FakeGuest { tap, mac, ip, nonce } => {
            fake_guest::run(&tap, &mac, ip, &nonce)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Execute { run, project, host, session, repeated, output_lost } => {
            execute::execute(&run, &project, host, session, repeated, output_lost)
        }
        Action::Reference { out } => {
            reference::write(&out)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::CheckArguments { arguments } => match Cli::try_parse_from(arguments) {
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(error) => print_parse_error(&error),
        },
        Action::CheckSandbox => execute::check_sandbox(),
        Action::CheckKvm { run, project, allow_unisolated } => execute::check_kvm(&run, &project, allow_unisolated),
    }
}
