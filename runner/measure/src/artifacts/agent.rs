//! The guest agent: the static program that every root file system holds.

use std::path::PathBuf;

use anyhow::{Context, bail};
use microbench_formats::code::Code;

use super::built_in;
use super::cache::Cache;

/// Names another agent.
const VARIABLE: &str = "MICROBENCH_AGENT";

/// Where the agent may be, from the folder of this program: as `make install` puts it, and as `make build` leaves it. Not in the program's
/// own folder: `cargo build` and `cargo install` put one there that is not static, which no root file system could run.
const PLACES: [&str; 2] =
    ["../libexec/microbench/microbench-agent", "../x86_64-unknown-linux-gnu/agent/microbench-agent"];

/// The guest agent: the file that `MICROBENCH_AGENT` names, the built-in one, or one that was installed or built with this program.
///
/// # Errors
/// When there is none.
pub fn provide(cache: &Cache) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) {
        if !path.is_file() {
            bail!(
                Code::NoAgent.says(format!("the guest agent {}, which {VARIABLE} names, is no file", path.display()))
            );
        }
        return Ok(path);
    }
    if let Some(path) = built_in::agent(cache)? {
        return Ok(path);
    }
    let this = std::env::current_exe().context("cannot find this program")?;
    let folder = this.parent().context("this program is in no folder")?;
    let places = PLACES.map(|place| folder.join(place));
    places.iter().find(|path| path.is_file()).cloned().with_context(|| {
        let places = places.map(|path| path.display().to_string()).join(" or ");
        Code::NoAgent.says(format!(
            "the guest agent is not built: it is not in this program, nor at {places}; run `make build` in the source tree"
        ))
    })
}
