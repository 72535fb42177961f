//! What a VM's VMM is started with: the engine's templates over this VM, a root folder of the VMM's own, a snapshot, an instrument.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use microbench_formats::record::{Cell, Instrument};
use microbench_study::engine::context::{Context, GuestArgs, boot_args};
use microbench_study::engine::description::SettingKind;
use microbench_study::engine::launch::{self, Launch};
use microbench_study::engine::machine;

use super::network::Net;
use super::prepare::Assembly;
use super::{Life, NotHere};
use crate::host::counters::strace;
use crate::host::resources::disk::Disk;
use crate::parts::Parts;
use crate::sys::mount;

/// A VMM that can be started.
pub(super) struct Prepared {
    pub(super) launch: Launch,
    /// The guest kernel's command line.
    pub(super) words: String,
    /// Where the instrument leaves its counts; `None` in a timed trial.
    pub(super) counts: Option<PathBuf>,
}

impl Assembly<'_> {
    /// What the VMM is started with.
    pub(super) fn launch(&mut self, disk: &Disk, net: Option<&Net>) -> anyhow::Result<Prepared> {
        let (context, words) = self.context(disk, net)?;
        let mut launch = launch::render(&self.wanted.parts.engine, &context)?;
        if let Some(root) = &launch.root {
            self.jail(root, disk)?;
        }
        if let Life::IsRestored(place) = self.life {
            place.lend(&mut launch, &self.folder)?;
        }
        let counts = self.instrument(&mut launch)?;
        Ok(Prepared { launch, words, counts })
    }

    /// The templates' context, and the guest kernel's command line.
    fn context(&self, disk: &Disk, net: Option<&Net>) -> anyhow::Result<(Context, String)> {
        let (id, cell, parts) = (self.wanted.id, self.wanted.cell, self.wanted.parts);
        let shares_kernel = parts.engine.guest.shares_kernel();
        let words = boot_args(
            &machine::words(&parts.engine, &parts.guest, &cell.settings)?,
            &GuestArgs {
                init: &parts.init,
                read_only: disk.read_only(),
                addresses: net.map(|_| &self.addresses),
                nonce: self.nonce,
                extra: parts.guest.boot_args.as_deref(),
            },
        );
        let context = Context {
            program: parts.program.display().to_string(),
            program_name: parts.program.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            jail_program: parts.jailer.as_deref().map_or_else(String::new, |path| path.display().to_string()),
            user: self.isolation.owner(),
            id: id.to_owned(),
            folder: self.folder.display().to_string(),
            kernel: parts.kernel.as_deref().map_or_else(String::new, |path| path.display().to_string()),
            boot_args: if shares_kernel { String::new() } else { words.clone() },
            disk: disk.path().display().to_string(),
            disk_read_only: disk.read_only(),
            root: if shares_kernel { self.folder.join("root").display().to_string() } else { String::new() },
            agent: parts.agent.clone(),
            nonce: self.nonce.to_owned(),
            tap: net.map_or_else(String::new, |net| net.link.name().to_owned()),
            mac: self.addresses.mac_text(),
            guest_ip: self.addresses.guest.to_string(),
            host_ip: self.addresses.host.to_string(),
            settings: cell.settings.clone(),
            files: setting_files(cell, parts)?,
        };
        Ok((context, words))
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

/// Path and text of each file that a setting of the cell's engine names; both empty where it names none.
fn setting_files(cell: &Cell, parts: &Parts) -> anyhow::Result<BTreeMap<String, (String, String)>> {
    let settings = parts.engine.settings.iter().filter(|(_, setting)| setting.kind == SettingKind::File);
    settings
        .map(|(name, _)| {
            let named = cell.settings.get(name).map(ToString::to_string).unwrap_or_default();
            if named.is_empty() {
                return Ok((name.clone(), (String::new(), String::new())));
            }
            let path = parts.files.get(name).with_context(|| format!("the run has no file for `{name}`"))?;
            let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok((name.clone(), (path.display().to_string(), text)))
        })
        .collect()
}
