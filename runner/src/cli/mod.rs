//! The command line: one subcommand a step of the way from a manifest to figures.

mod analyze;
mod arguments;
mod artifacts;
mod compare;
mod execute;
mod front;
mod import;
mod machine;
mod noise;
mod plan;
mod publish;
mod query;
mod reference;
mod runs;
mod selftest;
mod shards;
mod store;
mod work;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser};
use microbench::catalog;
use microbench::error::{codes, explain};
use microbench::store::prune;
use microbench_formats::code::Code;
use microbench_formats::describe::describe;
use microbench_formats::exit;
use microbench_measure::requirement::MissingRequirements;
use microbench_measure::selftest::{fake_guest, load as load_test};
use microbench_measure::terminal::log;
use microbench_measure::terminal::output;
use microbench_measure::terminal::screen::{self, Stream};
use microbench_measure::{err, errln, out};
use microbench_study::manifest;

use self::arguments::{Action, Cli, SelfTest, Submit};
use self::compare::{CompareArguments, verify};
use self::runs::{begin, go_on};

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
    screen::set_colour(cli.color.choice());
    let action = cli.command;
    if only_says(&action) {
        output::exit_on_sigpipe();
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
    let lacking = error.chain().any(|cause| cause.is::<MissingRequirements>());
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
        output::exit_on_sigpipe();
        output::check_written(written.and_then(|()| std::io::stdout().flush()))?;
    }
    Ok(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::WRONG_INPUT)))
}

fn act(action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::New(arguments) => front::new(&arguments),
        Action::Plan { study, json, explain: Some(cell), .. } => front::explain_cell(&study, &cell, json),
        Action::Plan { study, json, full, explain: None, shards } => plan::plan(&study, json, full, shards),
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
            machine::doctor(&study, json, tune, restore, root.as_deref())
        }
        Action::Analyze { runs, detail, json } => match runs.as_slice() {
            [run] if !analyze::is_table_or_pattern(run) => analyze::analyze(run, detail, json),
            several => analyze::analyze_pooled(several, json),
        },
        Action::Import { study, table, mapping, out, json } => {
            let Some(table) = table else {
                Cli::command().error(ErrorKind::MissingRequiredArgument, "no TABLE.csv is given").exit()
            };
            import::import(&study, &table, mapping.as_deref(), out.as_deref(), json)
        }
        Action::Plot { run, theme, sequence, sequences, json } => {
            publish::plot(&run, theme, &sequence, sequences, json)
        }
        Action::Table { run } => publish::table(&run),
        Action::Report { run } => publish::report(&run),
        Action::Query { tables: true, .. } => query::tables(),
        Action::Query { words, csv, json, .. } => query::query(&words, csv, json),
        Action::Compare { a, b, baseline, margin, means, detail, json, gate, allow_missing, across_hosts } => {
            compare::compare(CompareArguments {
                a,
                b,
                baseline,
                margin,
                means,
                detail,
                json,
                gate,
                allow_missing,
                across_hosts,
            })
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
        Action::Artifacts { study, emulated, json } => artifacts::artifacts(&study, emulated, json),
        Action::Schema => {
            out!("{}", manifest::schema::to_text(&catalog::built_in()?))?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Explain { codes, json } => front::explain_codes(&codes, json),
        Action::Completions { shell } => front::completions(shell),
        Action::Man { out } => front::manual(out.as_deref()),
        Action::Selftest(test) => selftest::selftest(test),
        Action::Spin { time_ns } => {
            load_test::spin(Duration::from_nanos(time_ns));
            Ok(ExitCode::SUCCESS)
        }
        Action::FakeGuest { tap, mac, ip, nonce } => {
            fake_guest::run(&tap, &mac, ip, &nonce)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Execute { run, project, host, session, output_lost } => {
            execute::execute(&run, &project, host, session, output_lost)
        }
        Action::Reference { out } => {
            reference::write(&out)?;
            Ok(ExitCode::SUCCESS)
        }
        Action::CheckWords { words } => match Cli::try_parse_from(words) {
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(error) => parsing(&error),
        },
        Action::CheckSandbox => execute::check_sandbox(),
        Action::CheckKvm { run, project, allow_unisolated } => execute::check_kvm(&run, &project, allow_unisolated),
    }
}
