//! What a VM's VMM is started with: the engine's templates over this VM, a root folder of the VMM's own, a snapshot, an instrument.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use microbench_formats::instrument::Instrument;
use microbench_study::engine::context::{Assigned, Context, SettingFile, setting_files};
use microbench_study::engine::launch::{self, Launch};

use super::network::Net;
use super::prepare::Assembly;
use super::{Life, NotHere};
use crate::host::counters::strace;
use crate::host::resources::disk::Disk;
use crate::sys::mount;

/// A VMM that can be started.
pub(super) struct Prepared {
    pub(super) launch: Launch,
    /// The guest kernel's command line; `None` for a guest without a kernel of its own.
    pub(super) words: Option<String>,
    /// Where the instrument leaves its counts; `None` in a timed trial.
    pub(super) counts: Option<PathBuf>,
}

impl Assembly<'_> {
    /// What the VMM is started with.
    pub(super) fn launch(&mut self, disk: &Disk, net: Option<&Net>) -> anyhow::Result<Prepared> {
        let context = self.context(net)?;
        let mut launch = launch::render(&self.wanted.parts.engine, &context)?;
        if let Some(root) = &launch.root {
            self.jail(root, disk)?;
        }
        if let Life::IsRestored(place) = self.life {
            place.lend(&mut launch, &self.folder)?;
        }
        let counts = self.instrument(&mut launch)?;
        Ok(Prepared { launch, words: context.boot_args, counts })
    }

    /// The templates' context.
    fn context(&self, net: Option<&Net>) -> anyhow::Result<Context> {
        let (cell, parts) = (self.wanted.cell, self.wanted.parts);
        let path = |path: &Path| path.display().to_string();
        let assigned = Assigned {
            program: path(&parts.program),
            program_name: parts.program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            jail_program: parts.jailer.as_deref().map(path),
            user: self.isolation.owner(),
            id: self.wanted.id.to_owned(),
            folder: path(&self.folder),
            kernel: parts.kernel.as_deref().map(path),
            image: path(&parts.image),
            init: parts.init.clone(),
            agent: parts.agent.clone(),
            nonce: self.nonce.to_owned(),
            tap: net.map(|net| net.link.name().to_owned()),
            addresses: self.addresses,
            files: setting_files(&parts.engine, &cell.settings, |name, _| {
                let file = parts.files.get(name).with_context(|| format!("the run has no file for `{name}`"))?;
                let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
                Ok(SettingFile { path: path(file), text })
            })?,
        };
        Context::of(&parts.engine, cell, &parts.guest, assigned)
    }

    /// Puts the kernel and the disk into the folder that becomes the VMM's root.
    fn jail(&mut self, root: &Path, disk: &Disk) -> anyhow::Result<()> {
        let parts = self.wanted.parts;
        if !self.isolation.is_own() {
            return Err(NotHere("a jailed VMM, because the runner is not root here".into()).into());
        }
        if parts.jailer.is_none() {
            let program = parts.program.display();
            return Err(NotHere(format!("a jailed VMM, because no jailer is beside {program}")).into());
        }
        fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
        let inside = |path: &str| root.join(path.trim_start_matches('/'));
        let kernel = parts.kernel.as_deref().context("a jailed VMM has a guest kernel")?;
        self.shown.push(mount::show(kernel, &inside(launch::JAILED_KERNEL))?);
        let place = inside(launch::JAILED_DISK);
        match disk {
            Disk::Shared(path) => self.shown.push(mount::show(path, &place)?),
            Disk::Clone(path, _) => {
                fs::hard_link(path, &place).with_context(|| format!("cannot link {}", place.display()))?
            }
        }
        self.isolation.give(root)
    }

    /// Has the VMM started by its instrument, if the trial has one; returns where the counts will be.
    fn instrument(&self, launch: &mut Launch) -> anyhow::Result<Option<PathBuf>> {
        let Some(Instrument::Strace) = self.wanted.instrument else { return Ok(None) };
        let strace = self.wanted.parts.strace.as_deref().context("the run has no strace")?;
        let file = self.folder.join("strace");
        launch.argv = strace::argv(strace, &file, &launch.argv);
        Ok(Some(file))
    }

    /// Writes the files that the VMM reads, and makes the VM's files those of its user.
    pub(super) fn own_files(&self, launch: &Launch, disk: &Disk) -> anyhow::Result<()> {
        for (name, content) in &launch.files {
            let path = launch.root.as_deref().unwrap_or(&self.folder).join(name);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            self.isolation.give(&path)?;
        }
        if let Disk::Clone(path, _) = disk {
            self.isolation.give(path)?;
        }
        self.isolation.give(&self.folder)
    }
}
