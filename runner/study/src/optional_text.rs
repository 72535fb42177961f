//! Texts of descriptions that may be absent: an empty one counts as absent, because earlier descriptions say "none" so.

use serde::{Deserialize, Deserializer};

/// For `#[serde(deserialize_with)]`: the text; `None` for an empty one.
///
/// # Errors
/// Those of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}
