//! Renders an engine's description for one VM: pure, so that the argv and the calls can be tested without a VMM.

use anyhow::{Context as _, bail};
use handlebars::Handlebars;

use super::context::Context;
use super::description::{Api, Engine};

/// What it takes to start one VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// Argument vector, program first.
    pub argv: Vec<String>,
    /// Files to write into the VM's folder: name and content.
    pub files: Vec<(String, String)>,
    /// The calls to make, if any.
    pub api: Option<LaunchApi>,
}

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
            bail!(
                "engine {}: the path {path:?} holds a comma, a quote, a backslash or a control character: move it",
                engine.name
            );
        }
    }
    let renderer = renderer();
    let data = context.to_json();
    let text = |place: &str, template: &str| {
        renderer
            .render_template(template, &data)
            .with_context(|| format!("engine {}: {place} cannot be rendered", engine.name))
    };
    let argv = (engine.command.argv.iter().enumerate())
        .map(|(n, template)| text(&format!("command.argv[{n}]"), template))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let files = (engine.files.iter())
        .map(|file| Ok((file.name.clone(), text(&format!("the file {}", file.name), &file.content)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let api = engine.api.as_ref().map(|api| render_api(engine, api, &text)).transpose()?;
    Ok(Launch { argv, files, api })
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
    let calls = (api.calls.iter())
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
                bail!("engine {}: the body of {} is no JSON ({error}): {body}", engine.name, call.path);
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
