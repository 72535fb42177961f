//! Project whose kernel, root file system and engine have no cost, so that a run measures the runner's own
//! cost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use microbench_plots::journal::{self, Journal};
use tempfile::TempDir;

use crate::Bench;

/// Folder of a project; removed on drop.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// Creates a project whose engine `fake` starts `program` with the arguments `argv`, a TOML array as in
    /// an engine's description.
    pub(crate) fn new(program: &Path, argv: &str) -> Result<Self> {
        let project = Self { folder: tempfile::tempdir().context("cannot create a folder")? };
        project.write(
            "kernels/tiny/kernel.toml",
            "description = \"tiny\"\nseries = \"0\"\n[[sources]]\nkind = \"file\"\nfile = \"image\"\n",
        )?;
        project.write("kernels/tiny/image", "a kernel that is never booted")?;
        project.write(
            "rootfs/tiny/rootfs.toml",
            "description = \"tiny\"\ninit = \"/sbin/init\"\nagent = \"/sbin/init\"\nsize_mib = 2\n",
        )?;
        project.write("agent", "an agent that is never started")?;
        let program = program.display();
        project.write(
            "engines/fake.toml",
            &format!(
                "name = \"fake\"\ntitle = \"Fake\"\nprogram = \"{program}\"\nneeds_kvm = false\n\
                 [command]\nargv = {argv}\n[kernel]\nboot_args = \"fake\"\nreboot = \"t\"\nconsole = \"console=ttyS0\"\n\
                 [version]\nargv = [\"{{{{program}}}}\", \"--version\"]\nprefix = \"\"\n[not_applicable]\nmessages = []\n\
                 [[files]]\nname = \"given\"\ncontent = \"nothing\"\n"
            ),
        )?;
        Ok(project)
    }

    /// Writes a file of the project; returns its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().context("the path has no folder")?)?;
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Returns the command `microbench ARGUMENTS`, run in the project's folder and with its own cache.
    pub(crate) fn command(&self, bench: &Bench, arguments: &[&str]) -> Result<Command> {
        let program = fs::canonicalize(&bench.microbench)
            .with_context(|| format!("cannot find {}", bench.microbench.display()))?;
        let folder = self.folder.path();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(folder)
            .env("MICROBENCH_CACHE", folder.join("cache"))
            .env("XDG_STATE_HOME", folder.join("state"))
            .env("MICROBENCH_AGENT", folder.join("agent"));
        Ok(command)
    }

    /// Reads the journal of the run folder `run`.
    pub(crate) fn journal(&self, run: &str) -> Result<Journal> {
        Ok(journal::read(&self.folder.path().join(run).join("journal.ndjson"))?)
    }
}
