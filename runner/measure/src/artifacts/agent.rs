//! The guest agent: a static program that every root file system contains.

use std::path::PathBuf;

use anyhow::{Context, bail};
use microbench_formats::code::Code;

use super::built_in;
use super::cache::Cache;

/// Environment variable with the path of another agent.
const VARIABLE: &str = "MICROBENCH_AGENT";

/// Paths of the agent relative to the folder of this program: after `make install`, and after `make build`. The folder
/// itself is excluded, because the agent of `cargo build` or `cargo install` is not static and cannot run in a root
/// file system.
const PLACES: [&str; 2] =
    ["../libexec/microbench/microbench-agent", "../x86_64-unknown-linux-gnu/agent/microbench-agent"];

/// The path of the guest agent: the value of `MICROBENCH_AGENT`, else the built-in agent, unpacked into `cache`. If
/// there is no built-in agent, it is the agent that was installed or built with this program.
///
/// # Errors
/// [`Code::NoAgent`] if no agent exists.
pub fn provide(cache: &Cache) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) {
        if !path.is_file() {
            bail!(Code::NoAgent.with_message(format!(
                "cannot use the guest agent {} (set by {VARIABLE}): not a file",
                path.display()
            )));
        }
        return Ok(path);
    }
    if let Some(path) = built_in::unpack_agent(cache)? {
        return Ok(path);
    }
    let executable = std::env::current_exe().context("cannot find the path of this program")?;
    let folder = executable.parent().context("the path of this program has no folder")?;
    let places = PLACES.map(|place| folder.join(place));
    places.iter().find(|path| path.is_file()).cloned().with_context(|| {
        let places = places.map(|path| path.display().to_string()).join(" or ");
        Code::NoAgent.with_message(format!(
            "the guest agent is missing: it is not built into executable program and not at {places}; run `make build` in the \
             source tree"
        ))
    })
}
