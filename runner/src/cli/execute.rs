//! Hidden commands that microbench executes in child processes, because these steps need a process without threads.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use microbench::run::session::Ended;
use microbench::run::{execute as execution, repetitions};
use microbench::store::directory::Directory;
use microbench_formats::code::Code;
use microbench_formats::exit;
use microbench_measure::artifacts::project::Project;
use microbench_measure::outln;
use microbench_measure::sandbox::{self, isolation, vm_namespaces};

use super::arguments::{HostArgument, RepeatedSession, SessionArguments};

/// Executes the missing trials of a run, or of one of its repetitions.
pub(super) fn execute(
    run: &Path,
    project: &Path,
    host: HostArgument,
    session: SessionArguments,
    repeated: RepeatedSession,
    output_lost: bool,
) -> anyhow::Result<ExitCode> {
    let project = Project::new(project)?;
    let host = host.kind().context("`--host` must not be `auto`")?;
    if let Some(supervisor) = repeated.supervisor {
        repetitions::end_with(supervisor)?;
    }
    match execution::execute(Directory::open(run)?, &project, host, &session.options(repeated))? {
        Ended::Complete if output_lost => {
            let message = format!("cannot write to standard output; the run {} is complete", run.display());
            Err(Code::NoOutput.with_message(message).into())
        }
        Ended::Complete => Ok(ExitCode::SUCCESS),
        Ended::Stopped { signal } => Ok(ExitCode::from(u8::try_from(exit::SIGNAL + signal).unwrap_or(exit::FAILED))),
    }
}

/// Boots a guest of the run under KVM.
pub(super) fn check_kvm(run: &Path, project: &Path, allow_unisolated: bool) -> anyhow::Result<ExitCode> {
    let project = Project::new(project)?;
    execution::check_kvm(Directory::open(run)?, &project, allow_unisolated)?;
    Ok(ExitCode::SUCCESS)
}

/// Enters a sandbox, and prints why it would not isolate VMMs; prints an empty line if it would.
pub(super) fn check_sandbox() -> anyhow::Result<ExitCode> {
    sandbox::enter()?;
    // A run reports a missing place for its scratch folder itself.
    if let Ok(scratch) = sandbox::mount_scratch() {
        vm_namespaces::check(&scratch)?;
    }
    outln!("{}", isolation::why_not_isolated().unwrap_or_default())?;
    Ok(ExitCode::SUCCESS)
}
