//! `trust`: records paths whose files are trusted although they belong to others, and lists them.

use std::path::PathBuf;
use std::process::ExitCode;

use microbench_measure::{errln, outln, trust};

/// Records or removes `paths`; without paths, lists the recorded ones. The exit code is 1 if a path to remove was not
/// recorded.
pub(super) fn trust(paths: &[PathBuf], remove: bool) -> anyhow::Result<ExitCode> {
    if paths.is_empty() {
        let recorded = trust::recorded()?;
        if recorded.is_empty() {
            errln!("no path is trusted; `microbench trust PATH` records one");
        }
        for path in recorded {
            outln!("{}", path.display())?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut is_unknown = false;
    for path in paths {
        if !remove {
            errln!("{} and everything in it is trusted", trust::record(path)?.display());
        } else if trust::forget(path)? {
            errln!("{} is not trusted any more", path.display());
        } else {
            errln!("{} was not recorded", path.display());
            is_unknown = true;
        }
    }
    Ok(if is_unknown { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
