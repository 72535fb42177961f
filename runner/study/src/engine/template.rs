//! Handlebars templates, in strict mode and without HTML escapes.

use std::sync::{LazyLock, Mutex, PoisonError};

use handlebars::{Context, Handlebars, RenderError, Template};
use serde::Serialize;

/// Compiled templates, named by their text. Compiling takes much longer than rendering, and all VMs of an engine share
/// their templates.
static COMPILED: LazyLock<Mutex<Handlebars<'static>>> = LazyLock::new(|| {
    let mut renderer = Handlebars::new();
    // Ignoring a missing name, or escaping as in HTML, would silently corrupt a command line.
    renderer.set_strict_mode(true);
    renderer.register_escape_fn(handlebars::no_escape);
    Mutex::new(renderer)
});

/// The data that templates are rendered with, converted once for many templates.
#[derive(Debug)]
pub struct Data(Context);

impl Data {
    /// Converts `value`.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn new(value: impl Serialize) -> Result<Self, RenderError> {
        Context::wraps(value).map(Self)
    }
}

impl From<serde_json::Value> for Data {
    fn from(value: serde_json::Value) -> Self {
        Self(Context::from(value))
    }
}

/// Renders `template` with `data`.
///
/// # Errors
/// A syntax error, or a name that `data` does not have.
pub fn render(template: &str, data: &Data) -> Result<String, RenderError> {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if !compiled.has_template(template) {
        compiled.register_template(template, Template::compile(template)?);
    }
    // The name is the whole text of the template, which would hide the message.
    compiled.render_with_context(template, &data.0).map_err(|mut error| {
        error.template_name = None;
        error
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Data, RenderError};

    fn render(template: &str, data: serde_json::Value) -> Result<String, RenderError> {
        super::render(template, &Data::new(data)?)
    }

    #[test]
    fn a_template_is_rendered_with_the_data_of_each_call() {
        for word in ["a", "<b>", "\"c\""] {
            assert_eq!(render("x={{x}}", json!({ "x": word })).unwrap(), format!("x={word}"));
        }
    }

    #[test]
    fn an_error_names_the_missing_name_without_the_template() {
        let text = render("long text {{x}}", json!({ "y": 1 })).unwrap_err().to_string();
        assert!(text.contains("\"x\"") && !text.contains("long text"), "{text}");
        assert!(render("{{", json!({})).is_err());
    }
}
