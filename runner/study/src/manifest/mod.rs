//! Parses a TOML manifest into a [`Study`], or into all errors of the manifest with their lines and columns.
//!
//! There are three layers, each independent of the next. `read` walks TOML. `raw` reads the keys of a manifest.
//! `variants`, `axes`, `matrix`, `metrics`, `figures`, `claims`, `profiles` and `reference` look names up.
//!
//! The errors of all layers are collected in one pass. Two kinds of errors hide others: a TOML syntax error hides
//! everything else, and an invalid matrix or variant hides the checks of cells.
//!
//! Every list and text of a manifest has a limit, so that no manifest can hang the program or exhaust memory.

mod attribution;
mod axes;
mod choice;
mod claims;
mod diagnostic;
mod expectation;
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

pub mod workloads;

use microbench_formats::input;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

use self::diagnostic::Diagnostics;
use self::read::Table;

/// Default of `max_consecutive_failures`.
const MAX_CONSECUTIVE_FAILURES: u32 = 5;

pub use self::diagnostic::{MOST_KEPT, ManifestError, ManifestErrors};
pub use self::metrics::{BUILT_IN, BuiltIn};
pub use self::profiles::{FULL, Profile};
pub use self::settings::{Catalog, DefaultLevel, EngineSpec, GUEST, GuestSetting, Kind, SettingSpec, guest};
pub use self::study::{Origin, Places, Study, Variant};
pub use self::workloads::workload_definition;
pub use microbench_formats::code::Code;

/// Maximum length of a manifest in bytes.
pub const MAX_BYTES: u64 = 1 << 20;
/// Maximum number of combinations of a matrix's axes, and of cells of a study.
pub const MAX_CELLS: usize = 1_000_000;
/// Maximum number of trials of a study.
pub const MAX_TRIALS: u64 = 1_000_000;

/// Reads and checks the manifest at `path` against the engines, kernels and root file systems of `catalog`.
///
/// # Errors
/// All errors of the manifest.
pub fn load(path: &Path, catalog: &Catalog) -> Result<Study, ManifestErrors> {
    let name = path.display().to_string();
    let fail = |error| Err(ManifestErrors::of_file(&name, "", error));
    let mut bytes = Vec::new();
    let read = input::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if let Err(error) = read {
        return fail(ManifestError::of_file(Code::Unreadable, format!("cannot read the manifest: {error}")));
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
                .label("not UTF-8 from here on")
                .help(help);
            Err(ManifestErrors::of_file(&name, &source, error))
        }
    }
}

fn too_long() -> ManifestError {
    ManifestError::of_file(Code::TooLong, format!("the manifest is longer than the limit of {MAX_BYTES} bytes"))
}

/// Checks a manifest's text. `name` is its path, which errors show and which the files that it names are relative to.
///
/// # Errors
/// All errors of the manifest.
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
            errors.push(ManifestError::new(Code::Syntax, span, without_control_characters(error.message())));
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

fn without_control_characters(message: &str) -> String {
    message.replace(char::is_control, " ")
}

/// The study; `None` means that an error was reported.
///
/// Cells are expanded and checked if the matrix and the variants are valid, even after errors elsewhere, so that all
/// errors are reported at once.
fn check(manifest: &raw::Manifest, source: &str, catalog: &Catalog, errors: &mut Diagnostics) -> Option<Study> {
    let preset = protocol::check(&manifest.study, errors);
    let attribution = attribution::check(&manifest.study, errors);
    let before = errors.count();
    let variants = variants::check(manifest, preset, catalog, source, errors);
    let settings_known = manifest.settings_complete && errors.count() == before;
    let (metrics, workloads) = metrics::check(manifest, preset, errors);
    let before = errors.count();
    let axes = axes::check(manifest, &variants, catalog, errors);
    let cells_known = manifest.matrix.complete && errors.count() == before && variants.len() == manifest.variants.len();
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
    let axes = axes.filter(|_| cells_known)?;
    let matrix::Cells { axes, cells, excluded, places } =
        matrix::expand(axes, &manifest.matrix, &variants, source, errors)?;
    metrics::check_cells(manifest, &metrics, &cells, errors);
    if settings_known {
        metrics::check_disks(manifest, &workloads, &cells, errors);
    }
    let profiles = profiles::cover(manifest, profiles, &axes, &cells, source, errors);
    figures::check_bars(&figures, &axes, &cells, errors);
    claims::check_cells(&claims, &cells, manifest.study.across_host_cpus, errors);
    let limit = matrix::check_limit(&manifest.matrix, &cells, settings_known, errors);
    if let Some(reference) = &reference {
        reference::check_cells(reference, &cells, errors);
    }
    let instrument_trials = manifest.matrix.instrument_trials.unwrap_or(1);
    let shares = |name: &str| catalog.engines.get(name).is_some_and(|engine| engine.shares_kernel);
    let engines = cells.iter().map(|cell| &*cell.engine).filter(|engine| shares(engine));
    let shared_kernel = engines.map(str::to_owned).collect();
    Some(Study {
        name: manifest.study.name.clone(),
        title: manifest.study.title.clone(),
        description: manifest.study.description.clone(),
        attribution,
        protocol: preset.protocol,
        seed: manifest.study.seed,
        shared_kernel,
        variants,
        axes,
        cells,
        excluded,
        repetitions: manifest.matrix.repetitions.and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
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
        across_host_cpus: manifest.study.across_host_cpus,
        figures: figures.into_iter().map(|(_, figure)| figure).collect(),
        claims: claims.into_iter().map(|(_, claim)| claim).collect(),
        reference: reference.map(|checked| checked.reference),
        source: source.into(),
        places,
    })
}
