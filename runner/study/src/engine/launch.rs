//! Renders an engine's description for one VM, without any I/O, so that tests need no VMM.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use microbench_formats::code::Code;

use super::context::Context;
use super::description::{Api, ApiCall, Engine};
use super::machine::Settings;
use crate::engine::template::{self, Data};

/// The rendered command, files and calls of one VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Argument vector, beginning with the program.
    pub argv: Vec<String>,
    /// Names and contents of files to write into the VM's folder, or into the root folder of a jailed VMM.
    pub files: Vec<(String, String)>,
    /// `None` if the VMM is not configured over an API.
    pub api: Option<LaunchApi>,
    /// The root folder of a jailed VMM.
    pub root: Option<PathBuf>,
    /// The snapshot that the VM is restored from. `api` then has the calls that boot the VM for the snapshot.
    pub snapshot: Option<LaunchSnapshot>,
}

/// A snapshot's files, and the calls that write and load them.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchSnapshot {
    /// File names in the folder that the VMM sees as its own.
    pub files: Vec<String>,
    /// Calls that write the files.
    pub take: Vec<LaunchCall>,
    /// Calls that load the files.
    pub load: Vec<LaunchCall>,
}

/// Path of the kernel for a jailed VMM.
pub const JAILED_KERNEL: &str = "/kernel";
/// Path of the disk for a jailed VMM.
pub const JAILED_DISK: &str = "/disk";

/// HTTP calls over a Unix socket.
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
    /// True for the call that starts the guest.
    pub boots: bool,
}

/// Renders `engine` over `context`.
///
/// # Errors
/// A path with a character that has a special meaning in templates, a template with an unknown name, or a body that is
/// not JSON. Messages have the engine's name and the place in its description.
pub fn render(engine: &Engine, context: &Context) -> anyhow::Result<Launch> {
    let given = context.files.values().flatten().map(|file| &file.path);
    for path in [&context.program, &context.folder, &context.disk].into_iter().chain(&context.kernel).chain(given) {
        // Templates insert paths into JSON strings and into QEMU's comma-separated options.
        if path.contains(|c: char| c.is_control() || matches!(c, ',' | '"' | '\\')) {
            bail!(Code::UnusablePath.with_message(format!(
                "engine {}: the path {path:?} contains a comma, a quote, a backslash or a control character: rename it",
                engine.name
            )));
        }
    }
    let outside = Templates::new(engine, context);
    let mut root = None;
    if let Some(jail) = &engine.jail
        && !outside.render("jail.when", &jail.when)?.is_empty()
    {
        root = Some(PathBuf::from(outside.render("jail.root", &jail.root)?));
    }
    let (argv, place) = match (&engine.jail, &root) {
        (Some(jail), Some(_)) => (&jail.argv, "jail.argv"),
        _ => (&engine.command.argv, "command.argv"),
    };
    let mut argv = (argv.iter().enumerate())
        .map(|(n, template)| outside.render(&format!("{place}[{n}]"), template))
        .collect::<anyhow::Result<Vec<_>>>()?;
    argv.retain(|argument| !argument.is_empty());
    // Files and API calls contain the paths that the jailed VMM sees.
    let inside = match &root {
        Some(_) => {
            let (kernel, disk) = (Some(JAILED_KERNEL.to_owned()), JAILED_DISK.to_owned());
            Templates::new(engine, &Context { kernel, disk, folder: String::new(), ..context.clone() })
        }
        None => outside,
    };
    let mut files = Vec::new();
    for file in &engine.files {
        if inside.applies(&format!("the file {}", file.name), file.when.as_deref())? {
            files.push((file.name.clone(), inside.render(&format!("the file {}", file.name), &file.content)?));
        }
    }
    let mut api = engine.api.as_ref().map(|api| inside.render_api(api)).transpose()?.flatten();
    if let (Some(api), Some(root)) = (&mut api, &root) {
        api.socket = format!("{}{}", root.display(), api.socket);
    }
    let mut snapshot = None;
    if let Some(described) = &engine.snapshot
        && inside.applies("[snapshot]", Some(&described.when))?
    {
        if api.is_none() {
            bail!(Code::BadDescription.with_message(format!(
                "engine {}: snapshots need the API, which the settings of this VM disable: enable the API",
                engine.name
            )));
        }
        let (take, load) = (inside.render_calls(&described.take)?, inside.render_calls(&described.load)?);
        snapshot = Some(LaunchSnapshot { files: described.files.clone(), take, load });
    }
    Ok(Launch { argv, files, api, root, snapshot })
}

/// True if VMs of `engine` with these settings are restored from a snapshot.
///
/// # Errors
/// The condition cannot be rendered.
pub fn restores_from_snapshot(engine: &Engine, settings: &Settings) -> anyhow::Result<bool> {
    let Some(snapshot) = &engine.snapshot else { return Ok(false) };
    let data = Data::new(settings).context("settings are no JSON")?;
    Templates { engine, data }.applies("[snapshot]", Some(&snapshot.when))
}

/// Renders the argument vector that prints the version of `program`.
///
/// # Errors
/// A template cannot be rendered.
pub fn version_argv(engine: &Engine, program: &str) -> anyhow::Result<Vec<String>> {
    let data = serde_json::json!({ "program": program }).into();
    (engine.version.argv.iter())
        .map(|text| Ok(template::render(text, &data)?))
        .collect::<anyhow::Result<_>>()
        .with_context(|| format!("engine {}: cannot render version.argv", engine.name))
}

/// Renders the templates of an engine with one context.
struct Templates<'a> {
    engine: &'a Engine,
    data: Data,
}

impl<'a> Templates<'a> {
    fn new(engine: &'a Engine, context: &Context) -> Self {
        Self { engine, data: context.to_json().into() }
    }

    /// Renders the template at `place` of the description.
    fn render(&self, place: &str, text: &str) -> anyhow::Result<String> {
        template::render(text, &self.data).with_context(|| {
            Code::BadDescription.with_message(format!("engine {}: cannot render {place}", self.engine.name))
        })
    }

    /// True without a condition, or if the condition `when` renders to a non-empty text.
    fn applies(&self, place: &str, when: Option<&str>) -> anyhow::Result<bool> {
        let Some(when) = when else { return Ok(true) };
        Ok(!self.render(&format!("the condition of {place}"), when)?.is_empty())
    }

    fn render_api(&self, api: &Api) -> anyhow::Result<Option<LaunchApi>> {
        if !self.applies("[api]", api.when.as_deref())? {
            return Ok(None);
        }
        Ok(Some(LaunchApi { socket: self.render("api.socket", &api.socket)?, calls: self.render_calls(&api.calls)? }))
    }

    fn render_calls(&self, calls: &[ApiCall]) -> anyhow::Result<Vec<LaunchCall>> {
        let mut rendered = Vec::new();
        for call in calls {
            if !self.applies(&call.path, call.when.as_deref())? {
                continue;
            }
            let body = self.render(&call.path, &call.body)?;
            if let Err(error) = serde_json::from_str::<serde_json::Value>(&body) {
                bail!(Code::BadDescription.with_message(format!(
                    "engine {}: the body of {} is not JSON ({error}): {body}",
                    self.engine.name, call.path
                )));
            }
            let (method, path) = (call.method.clone(), call.path.clone());
            rendered.push(LaunchCall { method, path, body, boots: call.boots });
        }
        Ok(rendered)
    }
}
