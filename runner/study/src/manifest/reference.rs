//! Published values: a TOML file that `reference` in `[study]` names, checked against the study. Its errors name its
//! own lines.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use microbench_formats::axis::Axis;
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::input;
use microbench_formats::metric::Metric;
use microbench_formats::reference::{Reference, ReferenceValue};
use microbench_formats::selection::selects;
use toml::de::DeTable;

use super::diagnostic::{Diagnostics, ManifestError};
use super::figures::check_metric;
use super::raw;
use super::read::Table;
use super::{MAX_BYTES, selection, without_control_characters};

/// A valid file of published values.
pub(super) struct Checked {
    pub(super) raw: raw::Reference,
    pub(super) reference: Reference,
    /// Number of its file in [`Diagnostics`].
    file: usize,
}

/// Reads and checks the file that the manifest names. `None` without a file, or after an error.
pub(super) fn check(
    manifest: &raw::Manifest,
    axes: Option<&[Axis]>,
    metrics: &[Metric],
    errors: &mut Diagnostics,
) -> Option<Checked> {
    let name = manifest.study.reference.as_ref()?;
    let path: PathBuf = manifest.folder.join(&name.value);
    let text = match read(&path) {
        Ok(text) => text,
        Err(reason) => {
            let message = format!("cannot read the file of published values {}: {reason}", path.display());
            errors.push(
                ManifestError::new(Code::ReferenceUnreadable, name.span.clone(), message)
                    .help("the path is relative to the manifest's folder"),
            );
            return None;
        }
    };
    let file = errors.open_file(&path.display().to_string(), &text);
    let checked =
        parse(&text, manifest, axes, metrics, errors).map(|(raw, reference)| Checked { raw, reference, file });
    errors.close_file();
    checked
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    input::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(format!("it is longer than {MAX_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".into())
}

fn parse(
    text: &str,
    manifest: &raw::Manifest,
    axes: Option<&[Axis]>,
    metrics: &[Metric],
    errors: &mut Diagnostics,
) -> Option<(raw::Reference, Reference)> {
    let (root, syntax) = DeTable::parse_recoverable(text);
    if !syntax.is_empty() {
        for error in syntax {
            let span = error.span().unwrap_or(0..0);
            errors.push(ManifestError::new(Code::Syntax, span, without_control_characters(error.message())));
        }
        return None;
    }
    let before = errors.count();
    let raw = raw::reference(Table::new("the reference", root.span(), root.get_ref()), errors);
    let mut values = Vec::new();
    for value in &raw.values {
        let of = selection::check(&value.selection, axes, errors);
        let metric = value.metric.as_ref().filter(|metric| check_metric(metric, manifest, errors));
        if let (Some(metric), Some(number)) = (metric, &value.value)
            && metrics.iter().any(|known| known.name == metric.value)
        {
            values.push(ReferenceValue {
                metric: metric.value.clone(),
                label: value.label.as_ref().map(|label| label.value.clone()).unwrap_or_default(),
                of,
                value: number.value,
                n: value.n.as_ref().and_then(|n| u32::try_from(n.value).ok()),
            });
        }
    }
    let text = |at: &Option<super::read::At<String>>| at.as_ref().map(|at| at.value.clone()).unwrap_or_default();
    let reference =
        Reference { label: text(&raw.label), citation: text(&raw.citation), values, left_out: BTreeMap::new() };
    (errors.count() == before).then_some((raw, reference))
}

/// Reports the values that correspond to no cell.
pub(super) fn check_cells(checked: &Checked, cells: &[Cell], errors: &mut Diagnostics) {
    errors.reopen_file(checked.file);
    for (value, raw) in checked.reference.values.iter().zip(&checked.raw.values) {
        if !cells.iter().any(|cell| selects(&value.of, cell)) {
            errors.push(
                ManifestError::new(Code::NoCells, raw.span.clone(), "this published value has no cell")
                    .help("no cell has all the levels of `where`: remove the value, or add the cell to the study"),
            );
        }
    }
    errors.close_file();
}
