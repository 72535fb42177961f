//! Selections of cells by their levels: `where` of profiles, figures, bars, claims and published values.

use microbench_formats::axis::{Axis, Level};
use microbench_formats::code::Code;
use microbench_formats::selection::Selection;

use super::axes::{unknown_axis, unknown_level};
use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::quote;
use super::raw;
use super::read::format_level;
use super::study::Variant;

/// The key that selects cells by engine. No axis can have this name.
pub(super) const ENGINE: &str = "engine";

/// The axes of the matrix, and a last axis [`ENGINE`] with the engines of the variants.
pub(super) fn with_engine(axes: &[Axis], variants: &[Variant]) -> Vec<Axis> {
    let mut engines: Vec<Level> = Vec::new();
    for variant in variants {
        let level = Level::Text(variant.engine.clone());
        let key = Level::Text(variant.key.clone());
        if axes.iter().any(|axis| axis.name == "variant" && axis.levels.contains(&key)) && !engines.contains(&level) {
            engines.push(level);
        }
    }
    axes.iter().cloned().chain([Axis { name: ENGINE.into(), levels: engines }]).collect()
}

/// Looks up every name and level of a selection on `axes`, and leaves out those in error. Without `axes` (they are in
/// error) the result is empty.
pub(super) fn check(raw: &raw::Levels, axes: Option<&[Axis]>, errors: &mut Diagnostics) -> Selection {
    let mut selection = Selection::new();
    let Some(axes) = axes else { return selection };
    for (name, levels) in raw {
        let Some(axis) = axes.iter().find(|axis| axis.name == name.value) else {
            errors.push(unknown_axis(name, axes.iter()));
            continue;
        };
        let mut found: Vec<Level> = Vec::new();
        for level in levels {
            match axis.levels.iter().find(|known| same_level(known, &level.value)) {
                Some(known) if found.contains(known) => {
                    let message = format!("{} is listed twice for {}", format_level(&level.value), quote(&name.value));
                    errors.push(ManifestError::new(Code::Duplicate, level.span.clone(), message));
                }
                Some(known) => found.push(known.clone()),
                None => errors.push(unknown_level(axis, level)),
            }
        }
        selection.insert(name.value.clone(), found);
    }
    selection
}

/// True for equal levels. `1` equals a level `1.0`.
#[expect(clippy::cast_precision_loss, reason = "the level is compared with a fraction")]
pub(super) fn same_level(a: &Level, b: &Level) -> bool {
    match (a, b) {
        (Level::Float(a), Level::Int(b)) => *a == *b as f64,
        _ => a == b,
    }
}
