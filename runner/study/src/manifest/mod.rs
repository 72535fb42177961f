//! From a TOML manifest to a [`Study`], or to every error in it with its line and column.
//!
//! Three layers, each of which knows nothing of the next: the walker (`read`) knows TOML, `raw` the shape of a manifest,
//! and `variants`, `axes`, `matrix`, `metrics`, `figures`, `claims`, `profiles` and `reference` what names mean. All errors of a layer are collected; only
//! cells are not expanded from a matrix that is known to be wrong. Nothing here writes a file or starts a process, and
//! every list and text that a manifest can hold has a limit, so that no manifest can hang or exhaust the machine.

mod axes;
mod claims;
mod diagnostic;
mod figure_forms;
mod figures;
pub mod keys;
pub mod mapping;
mod matrix;
mod metrics;
pub mod nearest;
mod precision;
mod profiles;
pub mod protocol;
mod raw;
mod read;
mod reference;
pub mod renamed;
pub mod schema;
mod selection;
mod settings;
mod size;
mod study;
pub mod template;
mod variants;
mod word;
pub mod works;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

use self::diagnostic::Diagnostics;
use self::read::Table;

/// Trials in a row in which no VM completed after which a cell is given up, where a manifest does not say.
const MAX_CONSECUTIVE_FAILURES: u32 = 5;

pub use self::diagnostic::{MOST_KEPT, ManifestError, ManifestErrors};
pub use self::metrics::{BUILT_IN, BuiltIn};
pub use self::profiles::{FULL, Profile};
pub(crate) use self::selection::has;
pub use self::settings::{Catalog, DefaultLevel, EngineSpec, GUEST, GuestSetting, Kind, SettingSpec, guest};
pub use self::study::{Origin, Places, Study, Variant};
pub use self::works::work_definition;
pub use microbench_formats::code::Code;

/// Longest manifest, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;
/// Most combinations of a matrix's axes, and most cells of a study.
pub const MAX_CELLS: usize = 1_000_000;
/// Most trials of a study.
pub const MAX_TRIALS: u64 = 1_000_000;

/// The study of the manifest at `path`.
///
/// # Errors
/// Everything that is wrong with the manifest.
pub fn load(path: &Path, catalog: &Catalog) -> Result<Study, ManifestErrors> {
    let name = path.display().to_string();
    let fail = |error| Err(ManifestErrors::of_file(&name, "", error));
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return fail(ManifestError::of_file(Code::Unreadable, format!("the manifest cannot be read: {error}")));
    }
    match String::from_utf8(bytes) {
        Ok(text) => parse(&name, &text, catalog),
        Err(error) if error.as_bytes().len() as u64 > MAX_BYTES => fail(too_long()),
        Err(error) => {
            let at = error.utf8_error().valid_up_to();
            let wide = matches!(error.as_bytes(), [0xff, 0xfe, ..] | [0xfe, 0xff, ..]);
            let help = if wide { "it looks like UTF-16; save it as UTF-8" } else { "save the file as UTF-8" };
            let source = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let replacement = at..at + char::REPLACEMENT_CHARACTER.len_utf8();
            let error = ManifestError::new(Code::NotUtf8, replacement, "the manifest is not UTF-8 text")
                .label("no UTF-8 from here on")
                .help(help);
            Err(ManifestErrors::of_file(&name, &source, error))
        }
    }
}

fn too_long() -> ManifestError {
    ManifestError::of_file(Code::TooLong, format!("the manifest is longer than {MAX_BYTES} bytes, which is the limit"))
}

/// The study of a manifest's text; `name` is its path, for errors and for the files that it names relative to itself.
///
/// # Errors
/// Everything that is wrong with the manifest.
pub fn parse(name: &str, source: &str, catalog: &Catalog) -> Result<Study, ManifestErrors> {
    if source.len() as u64 > MAX_BYTES {
        return Err(ManifestErrors::of_file(name, "", too_long()));
    }
    let (original, source) = (source, source.strip_prefix('\u{feff}').unwrap_or(source));
    let mut errors = Diagnostics::default();
    let (root, syntax) = DeTable::parse_recoverable(source);
    if !syntax.is_empty() {
        for error in syntax {
            let span = error.span().unwrap_or(0..0);
            errors.push(ManifestError::new(Code::Syntax, span, one_line(error.message())));
        }
        return Err(errors.into_errors(name, source));
    }
    let root = Table::new("the manifest", root.span(), root.get_ref());
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    let manifest = raw::read(root, folder, &mut errors);
    match check(&manifest, source, catalog, &mut errors) {
        Some(study) if errors.is_empty() => Ok(Study { source: original.into(), ..study }),
        _ => Err(errors.into_errors(name, source)),
    }
}

fn one_line(message: &str) -> String {
    message.replace(char::is_control, " ")
}

/// `None` means that an error was reported.
fn check(manifest: &raw::Manifest, source: &str, catalog: &Catalog, errors: &mut Diagnostics) -> Option<Study> {
    let preset = protocol::check(&manifest.study, errors);
    let variants = variants::check(manifest, preset, catalog, source, errors);
    let (metrics, workloads) = metrics::check(manifest, preset, errors);
    let axes = axes::check(manifest, &variants, catalog, errors);
    let known = axes.as_ref().map(|axes| {
        let axes: Vec<_> = axes.axes.iter().map(|levels| levels.axis.clone()).collect();
        selection::with_engine(&axes, &variants)
    });
    let known = known.as_deref();
    let profiles = profiles::check(manifest, known, errors);
    let figures = figures::check(manifest, known, &metrics, errors);
    let claims = claims::check(manifest, known, &metrics, errors);
    let reference = reference::check(manifest, known, &metrics, errors);
    let (precision, family) = (precision::check(manifest, &metrics, errors), precision::family(manifest, errors));
    let axes = axes.filter(|_| errors.is_empty())?;
    let matrix::Cells { axes, cells, excluded, places } =
        matrix::expand(axes, &manifest.matrix, &variants, source, errors);
    if !errors.is_empty() {
        return None;
    }
    metrics::check_cells(manifest, &metrics, &cells, errors);
    metrics::check_disks(manifest, &workloads, &cells, errors);
    let profiles = profiles::cover(manifest, profiles, &axes, &cells, source, errors);
    figures::check_bars(manifest, &figures, &axes, &cells, errors);
    claims::check_cells(manifest, &claims, &cells, errors);
    let limit = matrix::limit(&manifest.matrix, &cells, errors);
    if let Some(reference) = &reference {
        reference::check_cells(reference, &cells, errors);
    }
    let instrument_trials = manifest.matrix.instrument_trials.unwrap_or(1);
    Some(Study {
        name: manifest.study.name.clone(),
        title: manifest.study.title.clone(),
        description: manifest.study.description.clone(),
        protocol: preset.protocol,
        seed: manifest.study.seed,
        variants,
        axes,
        cells,
        excluded,
        warmup: manifest.matrix.warmup.unwrap_or(true),
        max_consecutive_failures: manifest
            .matrix
            .max_consecutive_failures
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(MAX_CONSECUTIVE_FAILURES),
        profiles,
        instrument_trials: u32::try_from(instrument_trials).unwrap_or(1),
        metrics,
        workloads,
        precision,
        limit,
        family,
        figures,
        claims,
        reference: reference.map(|checked| checked.reference),
        source: source.into(),
        places,
    })
}
