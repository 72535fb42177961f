//! Everything that may be done for a VM before the release.
//!
//! The steps are in `disk`, `network`, `launch` and `page_cache`, in the order of [`Vm::assemble`].

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use anyhow::Context as _;
use microbench_formats::record::Record;
use microbench_study::engine::addresses::Addresses;
use microbench_study::engine::description::GuestKind;
use microbench_study::engine::launch::Launch;
use microbench_study::engine::machine;
use nix::sys::inotify::Inotify;

use super::launch::Prepared;
use super::process::{self, Ready, Start};
use super::snapshot::Place;
use super::{Deadlines, Life, NotHere, Vm, Wanted};
use crate::host::resources::huge_pages;
use crate::sandbox::isolation::Isolation;
use crate::sys::clock::Instant;
use crate::sys::mount::Shown;
use crate::vm::api::ApiClient;

/// A VM that is being prepared.
pub(super) struct Assembly<'a> {
    pub(super) wanted: Wanted<'a>,
    pub(super) life: Life<'a>,
    pub(super) nonce: &'a str,
    /// The VM's private folder.
    pub(super) folder: PathBuf,
    pub(super) isolation: Isolation,
    pub(super) addresses: Addresses,
    /// Events and readings so far.
    pub(super) records: Vec<Record>,
    /// Mounts for the VM so far.
    pub(super) shown: Vec<Shown>,
}

impl<'a> Assembly<'a> {
    fn new(wanted: Wanted<'a>, nonce: &'a str, life: Life<'a>) -> anyhow::Result<Self> {
        let folder = life.folder(wanted.folders.scratch, wanted.id)?;
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let (isolation, addresses) = (Isolation::of(wanted.vm), Addresses::of(wanted.vm));
        let records = Vec::with_capacity(96);
        Ok(Self { wanted, life, nonce, folder, isolation, addresses, records, shown: Vec::new() })
    }

    /// Records an event that happens now.
    pub(super) fn event(&mut self, name: &str) {
        self.records.push(Record::Event { vm: self.wanted.vm, name: name.into(), t_ns: Instant::now().0 });
    }

    fn kind(&self) -> GuestKind {
        self.wanted.parts.engine.guest
    }

    /// What wakes when the socket of the VMM's API appears, and the client of that socket; `None` without an API.
    fn api(&self, launch: &Launch) -> anyhow::Result<(Option<Inotify>, Option<ApiClient>)> {
        let Some(api) = &launch.api else { return Ok((None, None)) };
        let watched = launch.root.as_deref().unwrap_or(&self.folder);
        Ok((Some(process::watch(watched)?), Some(ApiClient::new(&api.socket)?)))
    }

    /// The VMM, up to its process.
    fn process(&self, prepared: &Prepared) -> anyhow::Result<Ready> {
        let Wanted { id, folders, shared, .. } = self.wanted;
        let start = Start {
            argv: &prepared.launch.argv,
            isolation: self.isolation,
            as_root: prepared.launch.root.is_some() || self.kind() == GuestKind::Container,
            leads: prepared.counts.is_some(),
            contains: self.kind() == GuestKind::Container,
            console_log: &folders.console.join(self.life.console(id)),
            nonce: self.nonce,
        };
        start.ready(&shared.input, &shared.consoles)
    }
}

impl Vm {
    /// Prepares a VM of a trial: disk, tap, files, client. `nonce` is this VM's.
    ///
    /// # Errors
    /// When the host cannot lend something.
    pub fn prepare(wanted: Wanted<'_>, nonce: &str) -> anyhow::Result<Self> {
        let Wanted { vm, cell, parts, folders, .. } = wanted;
        if let Some(reason) = &parts.unfit {
            return Err(NotHere(reason.clone()).into());
        }
        if let Some(reason) = huge_pages::refusal(&parts.guest, u64::from(vm) + 1) {
            return Err(NotHere(reason).into());
        }
        let Some(place) = Place::of(vm, cell, parts, folders.scratch)? else {
            return Self::assemble(wanted, nonce, Life::Boots);
        };
        if !place.is_taken() {
            let unmeasured = Wanted { instrument: None, ..wanted };
            Self::assemble(unmeasured, nonce, Life::IsSaved(&place))?.save(&place)?;
        }
        Self::assemble(wanted, &place.nonce()?, Life::IsRestored(&place))
    }

    fn assemble(wanted: Wanted<'_>, nonce: &str, life: Life<'_>) -> anyhow::Result<Self> {
        let Wanted { vm, parts, shared, .. } = wanted;
        let guest = &parts.guest;
        let mut assembly = Assembly::new(wanted, nonce, life)?;
        let (disk, tasks) = assembly.disk()?;
        let net = assembly.network()?;
        let prepared = assembly.launch(&disk, net.as_ref())?;
        assembly.own_files(&prepared.launch, &disk)?;
        // Last of all that reads files, first of all that is timed.
        assembly.page_cache(&disk)?;
        let deadlines = Deadlines::of(guest);
        let (watch, api) = assembly.api(&prepared.launch)?;
        let agent = (assembly.addresses.guest, microbench_agent::PORT).into();
        let client = shared.agents.guest(agent, nonce, deadlines.request, deadlines.work);
        let ready = assembly.process(&prepared)?;
        let Assembly { folder, isolation, addresses, records, shown, .. } = assembly;
        let Prepared { launch, words, counts } = prepared;
        Ok(Self {
            vm,
            nonce: nonce.to_owned(),
            launch,
            words,
            counts,
            kvm: parts.engine.needs_kvm,
            traced: machine::traced(&parts.engine, guest),
            kind: parts.engine.guest,
            messages: parts.engine.not_applicable.messages.clone(),
            tasks,
            deadlines,
            memory_bytes: guest.memory_mib << 20,
            steady: guest.steady,
            probe: guest.probe,
            ready: Some(ready),
            restored: matches!(life, Life::IsRestored(_)),
            folder,
            shown,
            isolation,
            oom_kills: shared.oom_kills,
            addresses,
            records,
            ended: None,
            complaint: None,
            guest: client,
            api,
            watch,
            net,
            _disk: disk,
        })
    }
}
