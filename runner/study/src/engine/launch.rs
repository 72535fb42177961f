//! Renders an engine's description for one VM: pure, so that the argv and the calls can be tested without a VMM.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use microbench_formats::code::Code;

use super::context::Context;
use super::description::{Api, ApiCall, Engine};
use super::machine::Settings;
use crate::engine::template::{self, Data};

/// What it takes to start one VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Argument vector, program first.
    pub argv: Vec<String>,
    /// Files to write into the VM's folder, or into the root of one that is jailed: name and content.
    pub files: Vec<(String, String)>,
    /// The calls to make, if any.
    pub api: Option<LaunchApi>,
    /// The folder that becomes the VMM's root, when it is jailed.
    pub root: Option<PathBuf>,
    /// How the VM is restored, when it is; then `api` holds the calls that boot the VM of which the snapshot is taken.
    pub snapshot: Option<LaunchSnapshot>,
}

/// A snapshot: what is written, by which calls, and how it is loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchSnapshot {
    /// Names of its files, in the folder that the VMM sees as its own.
    pub files: Vec<String>,
    /// Calls that write them.
    pub take: Vec<LaunchCall>,
    /// Calls that load them.
    pub load: Vec<LaunchCall>,
}

/// The kernel in a jailed VMM's root.
pub const JAILED_KERNEL: &str = "/kernel";
/// The disk in a jailed VMM's root.
pub const JAILED_DISK: &str = "/disk";

/// Calls over a unix socket.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchApi {
    /// Path of the socket.
    pub socket: String,
    /// The calls in order.
    pub calls: Vec<LaunchCall>,
}

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchCall {
    /// HTTP method.
    pub method: String,
    /// Path of the resource.
    pub path: String,
    /// JSON body.
    pub body: String,
    /// This call starts the guest.
    pub boots: bool,
}

/// Renders `engine` over `context`.
///
/// # Errors
/// A path that would mean something else within a template; a template that names what the context does not have; a body that is
/// no JSON: with the engine's name and the place.
pub fn render(engine: &Engine, context: &Context) -> anyhow::Result<Launch> {
    let given = context.files.values().flatten().map(|file| &file.path);
    for path in [&context.program, &context.folder, &context.disk].into_iter().chain(&context.kernel).chain(given) {
        // Templates put paths into JSON strings and into QEMU's comma-separated options.
        if path.contains(|c: char| c.is_control() || matches!(c, ',' | '"' | '\\')) {
            bail!(Code::UnfitPath.says(format!(
                "engine {}: the path {path:?} holds a comma, a quote, a backslash or a control character: move it",
                engine.name
            )));
        }
    }
    let outside = Templates::of(engine, context);
    let mut root = None;
    if let Some(jail) = &engine.jail
        && !outside.text("jail.when", &jail.when)?.is_empty()
    {
        root = Some(PathBuf::from(outside.text("jail.root", &jail.root)?));
    }
    let (argv, place) = match (&engine.jail, &root) {
        (Some(jail), Some(_)) => (&jail.argv, "jail.argv"),
        _ => (&engine.command.argv, "command.argv"),
    };
    let mut argv = (argv.iter().enumerate())
        .map(|(n, template)| outside.text(&format!("{place}[{n}]"), template))
        .collect::<anyhow::Result<Vec<_>>>()?;
    argv.retain(|word| !word.is_empty());
    // What the VMM itself is told are paths as it sees them.
    let inside = match &root {
        Some(_) => {
            let (kernel, disk) = (Some(JAILED_KERNEL.to_owned()), JAILED_DISK.to_owned());
            Templates::of(engine, &Context { kernel, disk, folder: String::new(), ..context.clone() })
        }
        None => outside,
    };
    let mut files = Vec::new();
    for file in &engine.files {
        if inside.wanted(&format!("the file {}", file.name), file.when.as_deref())? {
            files.push((file.name.clone(), inside.text(&format!("the file {}", file.name), &file.content)?));
        }
    }
    let mut api = engine.api.as_ref().map(|api| inside.api(api)).transpose()?.flatten();
    if let (Some(api), Some(root)) = (&mut api, &root) {
        api.socket = format!("{}{}", root.display(), api.socket);
    }
    let mut snapshot = None;
    if let Some(described) = &engine.snapshot
        && inside.wanted("[snapshot]", Some(&described.when))?
    {
        if api.is_none() {
            bail!(Code::BadDescription.says(format!(
                "engine {}: a snapshot is taken and loaded over the API, which the settings of this VM take away: give it its API",
                engine.name
            )));
        }
        let (take, load) = (inside.calls(&described.take)?, inside.calls(&described.load)?);
        snapshot = Some(LaunchSnapshot { files: described.files.clone(), take, load });
    }
    Ok(Launch { argv, files, api, root, snapshot })
}

/// Whether VMs of `engine` with these settings are restored from a snapshot.
///
/// # Errors
/// A condition that cannot be rendered over the settings.
pub fn restores(engine: &Engine, settings: &Settings) -> anyhow::Result<bool> {
    let Some(snapshot) = &engine.snapshot else { return Ok(false) };
    let data = Data::of(settings).context("settings are no JSON")?;
    Templates { engine, data }.wanted("[snapshot]", Some(&snapshot.when))
}

/// Renders the argument vector that prints the version of `program`.
///
/// # Errors
/// As [`render`].
pub fn version_argv(engine: &Engine, program: &str) -> anyhow::Result<Vec<String>> {
    let data = serde_json::json!({ "program": program }).into();
    (engine.version.argv.iter())
        .map(|text| Ok(template::render(text, &data)?))
        .collect::<anyhow::Result<_>>()
        .with_context(|| format!("engine {}: version.argv cannot be rendered", engine.name))
}

/// The templates of an engine over one context.
struct Templates<'a> {
    engine: &'a Engine,
    data: Data,
}

impl<'a> Templates<'a> {
    fn of(engine: &'a Engine, context: &Context) -> Self {
        Self { engine, data: context.to_json().into() }
    }

    /// Renders the template at `place` of the description.
    fn text(&self, place: &str, text: &str) -> anyhow::Result<String> {
        template::render(text, &self.data).with_context(|| {
            Code::BadDescription.says(format!("engine {}: {place} cannot be rendered", self.engine.name))
        })
    }

    /// Whether what stands at `place` is wanted: its condition, if it has one, renders to something.
    fn wanted(&self, place: &str, when: Option<&str>) -> anyhow::Result<bool> {
        let Some(when) = when else { return Ok(true) };
        Ok(!self.text(&format!("the condition of {place}"), when)?.is_empty())
    }

    fn api(&self, api: &Api) -> anyhow::Result<Option<LaunchApi>> {
        if !self.wanted("[api]", api.when.as_deref())? {
            return Ok(None);
        }
        Ok(Some(LaunchApi { socket: self.text("api.socket", &api.socket)?, calls: self.calls(&api.calls)? }))
    }

    fn calls(&self, calls: &[ApiCall]) -> anyhow::Result<Vec<LaunchCall>> {
        let mut rendered = Vec::new();
        for call in calls {
            if !self.wanted(&call.path, call.when.as_deref())? {
                continue;
            }
            let body = self.text(&call.path, &call.body)?;
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&body) {
                bail!(Code::BadDescription.says(format!(
                    "engine {}: the body of {} is no JSON ({error}): {body}",
                    self.engine.name, call.path
                )));
            }
            let (method, path) = (call.method.clone(), call.path.clone());
            rendered.push(LaunchCall { method, path, body, boots: call.boots });
        }
        Ok(rendered)
    }
}
