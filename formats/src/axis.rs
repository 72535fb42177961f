//! Axes of a matrix and their levels.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One axis of the matrix.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    pub name: String,
    /// The levels in the order of the manifest, which is also the order of bars in a figure.
    pub levels: Vec<Level>,
}

/// A level of an axis, or the value of a setting.
///
/// ```
/// use microbench_formats::axis::Level;
///
/// let levels: Vec<Level> = serde_json::from_str(r#"[true, 128, 0.5, "host"]"#)?;
/// assert_eq!(levels, [Level::Bool(true), Level::Int(128), Level::Float(0.5), Level::Text("host".to_owned())]);
/// assert_eq!(levels[1].to_string(), "128");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Level {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Text(value) => f.write_str(value),
        }
    }
}
