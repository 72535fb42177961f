//! Renders an engine's description for one VM: pure, so that the argv and the calls can be tested without a VMM.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use handlebars::Handlebars;

use super::context::Context;
use super::description::{Api, Engine};
use crate::error::code::Code;

/// What it takes to start one VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Argument vector, program first.
    pub argv: Vec<String>,
    /// Files to write into the VM's folder: name and content.
    pub files: Vec<(String, String)>,
    /// The calls to make, if any.
    pub api: Option<LaunchApi>,
    /// The folder that becomes the VMM's root, when it is jailed.
    pub root: Option<PathBuf>,
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
    let given = context.files.values().map(|(path, _)| path);
    for path in [&context.program, &context.folder, &context.kernel, &context.disk].into_iter().chain(given) {
        // Templates put paths into JSON strings and into QEMU's comma-separated options.
        if path.contains(|c: char| c.is_control() || matches!(c, ',' | '"' | '\\')) {
            bail!(Code::UnfitPath.says(format!(
                "engine {}: the path {path:?} holds a comma, a quote, a backslash or a control character: move it",
                engine.name
            )));
        }
    }
    let renderer = renderer();
    let data = context.to_json();
    let text = |place: &str, template: &str| {
        renderer
            .render_template(template, &data)
            .with_context(|| Code::BadDescription.says(format!("engine {}: {place} cannot be rendered", engine.name)))
    };
    let mut root = None;
    if let Some(jail) = &engine.jail
        && !text("jail.when", &jail.when)?.is_empty()
    {
        root = Some(PathBuf::from(text("jail.root", &jail.root)?));
    }
    let (argv, place) = match (&engine.jail, &root) {
        (Some(jail), Some(_)) => (&jail.argv, "jail.argv"),
        _ => (&engine.command.argv, "command.argv"),
    };
    let argv = (argv.iter().enumerate())
        .map(|(n, template)| text(&format!("{place}[{n}]"), template))
        .collect::<anyhow::Result<Vec<_>>>()?;
    // What the VMM itself is told are paths as it sees them.
    let data = match &root {
        Some(_) => {
            let (kernel, disk) = (JAILED_KERNEL.to_owned(), JAILED_DISK.to_owned());
            Context { kernel, disk, folder: String::new(), ..context.clone() }.to_json()
        }
        None => data,
    };
    let text = |place: &str, template: &str| {
        renderer
            .render_template(template, &data)
            .with_context(|| Code::BadDescription.says(format!("engine {}: {place} cannot be rendered", engine.name)))
    };
    let files = (engine.files.iter())
        .map(|file| Ok((file.name.clone(), text(&format!("the file {}", file.name), &file.content)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut api = engine.api.as_ref().map(|api| render_api(engine, api, &text)).transpose()?;
    if let (Some(api), Some(root)) = (&mut api, &root) {
        api.socket = format!("{}{}", root.display(), api.socket);
    }
    Ok(Launch { argv, files, api, root })
}

/// Renders the argument vector that prints the version of `program`.
///
/// # Errors
/// As [`render`].
pub fn version_argv(engine: &Engine, program: &str) -> anyhow::Result<Vec<String>> {
    let data = serde_json::json!({ "program": program });
    (engine.version.argv.iter())
        .map(|template| Ok(renderer().render_template(template, &data)?))
        .collect::<anyhow::Result<_>>()
        .with_context(|| format!("engine {}: version.argv cannot be rendered", engine.name))
}

fn render_api(
    engine: &Engine,
    api: &Api,
    text: &dyn Fn(&str, &str) -> anyhow::Result<String>,
) -> anyhow::Result<LaunchApi> {
    let calls =
        (api.calls.iter())
            .filter_map(|call| match &call.when {
                None => Some(Ok(call)),
                Some(when) => match text(&format!("the condition of {}", call.path), when) {
                    Ok(rendered) => (!rendered.is_empty()).then_some(Ok(call)),
                    Err(error) => Some(Err(error)),
                },
            })
            .map(|call| {
                let call = call?;
                let body = text(&call.path, &call.body)?;
                if let Err(error) = serde_json::from_str::<serde_json::Value>(&body) {
                    bail!(Code::BadDescription.says(format!(
                        "engine {}: the body of {} is no JSON ({error}): {body}",
                        engine.name, call.path
                    )));
                }
                Ok(LaunchCall { method: call.method.clone(), path: call.path.clone(), body, boots: call.boots })
            })
            .collect::<anyhow::Result<_>>()?;
    Ok(LaunchApi { socket: text("api.socket", &api.socket)?, calls })
}

/// Strict, so that a missing name is an error, and without HTML escapes: either would corrupt a command line silently.
fn renderer() -> Handlebars<'static> {
    let mut renderer = Handlebars::new();
    renderer.set_strict_mode(true);
    renderer.register_escape_fn(handlebars::no_escape);
    renderer
}
