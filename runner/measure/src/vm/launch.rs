//! Launch of a VM's VMM: its rendered command line and API calls, its jail, its snapshot, its instrument.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use microbench_formats::input;
use microbench_formats::instrument::Instrument;
use microbench_study::engine::context::{Assigned, Context, SettingFile, setting_files};
use microbench_study::engine::launch::{self, Launch};

use super::network::VmNetwork;
use super::prepare::VmBuilder;
use super::{NotSupported, StartMode};
use crate::host::counters::strace;
use crate::host::resources::disk::Disk;
use crate::sys::mount;

/// Rendered launch of a VMM.
pub(super) struct PreparedLaunch {
    pub(super) launch: Launch,
    /// The guest kernel's command line; `None` for a guest that shares the host's kernel.
    pub(super) kernel_parameters: Option<String>,
    /// Output file of the instrument; `None` without one.
    pub(super) instrument_output: Option<PathBuf>,
}

impl VmBuilder<'_> {
    /// Renders the launch of the VMM and prepares its jail and snapshot.
    pub(super) fn prepare_launch(&mut self, disk: &Disk, net: Option<&VmNetwork>) -> anyhow::Result<PreparedLaunch> {
        let context = self.context(net)?;
        let mut launch = launch::render(&self.spec.parts.engine, &context)?;
        if let Some(root) = &launch.root {
            self.jail(root, disk)?;
        }
        if let StartMode::Restore(snapshot) = self.start_mode {
            snapshot.prepare_restore(&mut launch, self.folder.path())?;
        }
        let instrument_output = self.instrument(&mut launch)?;
        Ok(PreparedLaunch { launch, kernel_parameters: context.boot_args, instrument_output })
    }

    /// Returns the template context of this VM.
    fn context(&self, net: Option<&VmNetwork>) -> anyhow::Result<Context> {
        let (cell, parts) = (self.spec.cell, self.spec.parts);
        let path = |path: &Path| path.display().to_string();
        let assigned = Assigned {
            program: path(&parts.program),
            program_name: parts.program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            jail_program: parts.jailer.as_deref().map(path),
            user: self.isolation.owner(),
            id: self.spec.id.to_owned(),
            folder: path(self.folder.path()),
            kernel: parts.kernel.as_deref().map(path),
            image: path(&parts.image),
            init: parts.init.clone(),
            agent: parts.agent.clone(),
            nonce: self.nonce.to_owned(),
            tap: net.map(|net| net.link.name().to_owned()),
            addresses: self.addresses,
            files: setting_files(&parts.engine, &cell.settings, |name, _| {
                let file = parts
                    .files
                    .get(name)
                    .with_context(|| format!("the file of setting `{name}` is missing from the run"))?;
                let text = input::read_text(file).with_context(|| format!("cannot read {}", file.display()))?;
                Ok(SettingFile { path: path(file), text })
            })?,
        };
        Context::new(&parts.engine, cell, &parts.guest, assigned)
    }

    /// Places the kernel and the disk in the folder that becomes the VMM's root.
    fn jail(&mut self, root: &Path, disk: &Disk) -> anyhow::Result<()> {
        let parts = self.spec.parts;
        if !self.isolation.has_own_user() {
            return Err(NotSupported("a jailed VMM: the jailer requires root".into()).into());
        }
        if parts.jailer.is_none() {
            let program = parts.program.display();
            return Err(NotSupported(format!("a jailed VMM: the jailer is missing next to {program}")).into());
        }
        fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
        let in_jail = |path: &str| root.join(path.trim_start_matches('/'));
        let kernel = parts.kernel.as_deref().context("a jailed VMM requires a guest kernel")?;
        self.mounts.push(mount::bind_read_only(kernel, &in_jail(launch::JAILED_KERNEL))?);
        let target = in_jail(launch::JAILED_DISK);
        match disk {
            Disk::Shared(path) => self.mounts.push(mount::bind_read_only(path, &target)?),
            Disk::Clone(path, _) => {
                fs::hard_link(path, &target).with_context(|| format!("cannot link {}", target.display()))?
            }
        }
        self.isolation.chown_to_vmm(root)
    }

    /// Wraps the VMM's command line in that of its instrument. Returns the output file; `None` without an
    /// instrument.
    fn instrument(&self, launch: &mut Launch) -> anyhow::Result<Option<PathBuf>> {
        let Some(Instrument::Strace) = self.spec.instrument else { return Ok(None) };
        let strace = self.spec.parts.strace.as_deref().context("strace is missing from the run")?;
        let file = self.folder.path().join("strace");
        launch.argv = strace::wrap_command(strace, &file, &launch.argv);
        Ok(Some(file))
    }

    /// Writes the VMM's configuration files, and changes the owner of the VM's files to the VMM's user.
    pub(super) fn write_files(&self, launch: &Launch, disk: &Disk) -> anyhow::Result<()> {
        for (name, content) in &launch.files {
            let path = launch.root.as_deref().unwrap_or(self.folder.path()).join(name);
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
            self.isolation.chown_to_vmm(&path)?;
        }
        if let Disk::Clone(path, _) = disk {
            self.isolation.chown_to_vmm(path)?;
        }
        self.isolation.chown_to_vmm(self.folder.path())
    }
}
