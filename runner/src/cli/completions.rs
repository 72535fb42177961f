//! `completions` and `man`: shell completions, which offer runs and studies of the project, and manual pages.
//!
//! A completion script calls `microbench` with the environment variable [`VARIABLE`], and [`complete`] prints the
//! candidates.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory as _;
use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter as _};
use clap_complete::env::{CompleteEnv, Shells};
use microbench::catalog;
use microbench::cluster;
use microbench::store::lookup;
use microbench_measure::terminal::output;

use super::arguments::Cli;

/// Environment variable with the name of the shell, which requests completions instead of a command.
const VARIABLE: &str = "MICROBENCH_COMPLETE";

/// Prints completions and exits the process if a completion script called the program; otherwise does nothing.
pub(super) fn complete() {
    CompleteEnv::with_factory(visible_command).var(VARIABLE).complete();
}

/// The command line without hidden commands.
fn visible_command() -> clap::Command {
    let command = Cli::command();
    let visible: Vec<_> = command.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let about = command.get_about().cloned().unwrap_or_default();
    clap::Command::new("microbench")
        .version(env!("CARGO_PKG_VERSION"))
        .about(about)
        .args(command.get_arguments().cloned())
        .subcommands(visible)
}

/// Prints the completion script of a shell.
pub(super) fn print_script(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let name = shell.to_string();
    let shells = Shells::builtins();
    let completer = shells.completer(&name).with_context(|| format!("no completions for the shell {name}"))?;
    let mut script = Vec::new();
    completer.write_registration(VARIABLE, "microbench", "microbench", "microbench", &mut script)?;
    if name == "zsh" {
        // zsh loads the file as the function `_microbench` on the first completion, which must complete as well.
        script.extend_from_slice(
            b"if [ \"$funcstack[1]\" = \"_microbench\" ]; then\n    _clap_dynamic_completer_microbench \"$@\"\nfi\n",
        );
    }
    if name == "bash" {
        let script = String::from_utf8_lossy(&script);
        let quoted = script.replace("-F _clap_complete_microbench", "-F _microbench_quoted");
        output::write_with(|out| out.write_all(format!("{}\n{BASH_QUOTED}", quoted.trim_end()).as_bytes()))?;
        return Ok(ExitCode::SUCCESS);
    }
    output::write_with(|out| out.write_all(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// bash inserts candidates as they are, so the name of a run or file could contain a command. This function quotes them.
/// A candidate that ends a word ends in a space.
const BASH_QUOTED: &str = r#"_microbench_quoted() {
    local -
    set -f
    _clap_complete_microbench "$@"
    local i word
    for i in "${!COMPREPLY[@]}"; do
        word=${COMPREPLY[i]}
        case "$word" in
            '') ;;
            *' ') printf -v "COMPREPLY[$i]" '%q ' "${word% }" ;;
            *) printf -v "COMPREPLY[$i]" '%q' "$word" ;;
        esac
    done
}
"#;

/// Prints the manual page of the program, or writes the pages of all commands into the folder `out`.
pub(super) fn manual(out: Option<&Path>) -> anyhow::Result<ExitCode> {
    let command = Cli::command();
    let Some(folder) = out else {
        output::write_with(|mut out| clap_mangen::Man::new(command).render(&mut out))?;
        return Ok(ExitCode::SUCCESS);
    };
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    clap_mangen::generate_to(command, folder).with_context(|| format!("cannot write into {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// Completes a RUN: `latest` and the runs of the project, newest first, or paths.
pub(super) fn runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let known = lookup::runs_folder().map(|folder| lookup::list_runs(&folder)).unwrap_or_default();
    let latest = if known.is_empty() { None } else { Some(lookup::LATEST.to_owned()) };
    names_and_paths(current, latest.into_iter().chain(known.into_iter().rev().map(|run| run.name)))
}

/// Completes a STUDY: the studies of the project, or paths.
pub(super) fn studies(current: &OsStr) -> Vec<CompletionCandidate> {
    names_and_paths(current, catalog::study_names().unwrap_or_default())
}

/// Completes a STUDY or a RUN: the studies and runs of the project, or paths.
pub(super) fn studies_and_runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let runs = lookup::runs_folder().map(|folder| lookup::list_runs(&folder)).unwrap_or_default();
    let runs = runs.into_iter().rev().map(|run| run.name);
    names_and_paths(current, catalog::study_names().unwrap_or_default().into_iter().chain(runs))
}

/// Completes the STUDY of `history`: the studies of the project and those with runs, or paths.
pub(super) fn studies_with_runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let known = lookup::runs_folder().map(|folder| lookup::list_runs(&folder)).unwrap_or_default();
    let mut names = catalog::study_names().unwrap_or_default();
    names.extend(known.into_iter().map(|run| run.study).filter(|study| !study.is_empty()));
    names.sort();
    names.dedup();
    names_and_paths(current, names)
}

/// Completes a submission: the submissions in the project's runs/, or paths.
pub(super) fn submissions(current: &OsStr) -> Vec<CompletionCandidate> {
    let entries = lookup::runs_folder().ok().and_then(|folder| fs::read_dir(folder).ok());
    let folders = entries.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let is_submission = |folder: &PathBuf| folder.join(cluster::FILE).is_file();
    let names = folders.filter(is_submission).filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned()));
    names_and_paths(current, names)
}

/// The `names` that start with `current`; without such a name, paths.
fn names_and_paths(current: &OsStr, names: impl IntoIterator<Item = String>) -> Vec<CompletionCandidate> {
    let start = current.to_string_lossy();
    // A name that starts with a dash would be an option.
    let is_plain = |name: &String| !name.starts_with('-') && !name.chars().any(char::is_control);
    let names = names.into_iter().filter(is_plain);
    let names = names.filter(|name| name.starts_with(start.as_ref())).map(CompletionCandidate::new);
    let candidates: Vec<CompletionCandidate> = names.collect();
    if candidates.is_empty() { PathCompleter::any().complete(current) } else { candidates }
}
