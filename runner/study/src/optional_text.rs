//! Optional texts of descriptions. An empty text counts as absent, as in descriptions of earlier versions.

use serde::{Deserialize, Deserializer};

/// Function for `#[serde(deserialize_with)]`: `None` for an empty text.
///
/// # Errors
/// The errors of the deserializer.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}
