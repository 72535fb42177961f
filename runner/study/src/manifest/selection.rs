//! Cells by the levels that they have: what bars, claims, profiles and reference values name.

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::selection::Selection;

use super::axes::{unknown_axis, unknown_level};
use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::quote;
use super::raw;
use super::read::written;
use super::study::Variant;

/// The name by which a selection asks for cells of an engine; no axis can have it.
pub(super) const ENGINE: &str = "engine";

/// The matrix's axes, and the engine as one more.
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

/// The selection with every name and level looked up on `axes`; those in error are left out. Without `axes` (they are in
/// error) it is empty.
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
            match axis.levels.iter().find(|known| same(known, &level.value)) {
                Some(known) if found.contains(known) => {
                    let message = format!("{} stands twice for {}", written(&level.value), quote(&name.value));
                    errors.push(ManifestError::new(Code::Twice, level.span.clone(), message));
                }
                Some(known) => found.push(known.clone()),
                None => errors.push(unknown_level(axis, level)),
            }
        }
        selection.insert(name.value.clone(), found);
    }
    selection
}

/// True when the cell has one of the levels on every axis that is named.
pub(crate) fn has(selection: &Selection, cell: &Cell) -> bool {
    selection.iter().all(|(axis, levels)| {
        if axis == ENGINE {
            return levels.iter().any(|level| matches!(level, Level::Text(engine) if *engine == cell.engine));
        }
        cell.levels.get(axis).is_some_and(|level| levels.contains(level))
    })
}

/// A level of an axis as another manifest value may write it: `1` and `1.0` are the same.
#[expect(clippy::cast_precision_loss, reason = "a level that is compared with a fraction")]
pub(super) fn same(a: &Level, b: &Level) -> bool {
    match (a, b) {
        (Level::Float(a), Level::Int(b)) => *a == *b as f64,
        _ => a == b,
    }
}
