//! The command line: one subcommand a step of the way from a manifest to figures.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use microbench::artifact::project::Project;
use microbench::run::directory::Directory;
use microbench::run::execute;
use microbench::run::session::Ended;
use microbench_plots::record::HostKind;

/// Declarative experiments on microVMs: one manifest in, measured figures out.
#[derive(Debug, Parser)]
#[command(name = "microbench", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Executes the trials of a run that are missing (`run` calls it).
    #[command(hide = true)]
    Execute {
        /// The run directory.
        run: PathBuf,
        #[arg(long)]
        project: PathBuf,
        #[arg(long)]
        host: HostArgument,
    },
    /// Boots one guest under KVM (`run --host auto` calls it).
    #[command(hide = true)]
    CheckKvm {
        /// The run directory.
        run: PathBuf,
        #[arg(long)]
        project: PathBuf,
    },
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
            eprintln!("microbench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> anyhow::Result<ExitCode> {
    match action {
        Action::Execute { run, project, host } => {
            let host = match host {
                HostArgument::Kvm => HostKind::Kvm,
                HostArgument::Emulated => HostKind::Emulated,
                HostArgument::Fake => HostKind::Fake,
                HostArgument::Auto => anyhow::bail!("`execute` takes a host, not `auto`"),
            };
            let project = Project::find(Some(&project), &run)?;
            match execute::execute(Directory::open(&run)?, &project, host)? {
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
