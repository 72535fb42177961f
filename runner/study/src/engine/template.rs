//! Templates: handlebars, strict, without escapes.

use std::sync::{LazyLock, Mutex, PoisonError};

use handlebars::{Context, Handlebars, RenderError, Template};
use serde::Serialize;

/// Every template that was rendered so far, under its own text: to compile one takes far longer than to render it, and each VM of a study
/// has the same ones of its engine.
static COMPILED: LazyLock<Mutex<Handlebars<'static>>> = LazyLock::new(|| {
    let mut renderer = Handlebars::new();
    // A missing name is an error, and nothing is escaped as in HTML: either would corrupt a command line silently.
    renderer.set_strict_mode(true);
    renderer.register_escape_fn(handlebars::no_escape);
    Mutex::new(renderer)
});

/// What templates are rendered over: many over the same, which is taken apart once.
#[derive(Debug)]
pub struct Data(Context);

impl Data {
    /// That of `value`.
    ///
    /// # Errors
    /// A value that cannot be written as JSON.
    pub fn of(value: impl Serialize) -> Result<Self, RenderError> {
        Context::wraps(value).map(Self)
    }
}

impl From<serde_json::Value> for Data {
    fn from(value: serde_json::Value) -> Self {
        Self(Context::from(value))
    }
}

/// Renders `template` over `data`.
///
/// # Errors
/// A template that is none; one that names what `data` does not have.
pub fn render(template: &str, data: &Data) -> Result<String, RenderError> {
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if !compiled.has_template(template) {
        compiled.register_template(template, Template::compile(template)?);
    }
    // The template's name is its text, which whoever reads of the error has no need of.
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
        super::render(template, &Data::of(data)?)
    }

    #[test]
    fn a_template_is_rendered_over_what_it_is_given_each_time() {
        for word in ["a", "<b>", "\"c\""] {
            assert_eq!(render("x={{x}}", json!({ "x": word })).unwrap(), format!("x={word}"));
        }
    }

    #[test]
    fn an_error_says_what_is_missing_and_not_the_whole_template() {
        let text = render("long text {{x}}", json!({ "y": 1 })).unwrap_err().to_string();
        assert!(text.contains("\"x\"") && !text.contains("long text"), "{text}");
        assert!(render("{{", json!({})).is_err());
    }
}
