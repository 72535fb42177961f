//! A manifest as it is written: sections and keys of the right types, every value with its place.
//!
//! Names of engines, axes and metrics are not looked up here: the modules next to this one do that.

mod claim;
mod figure;
mod matrix;
mod reference;

use std::ops::Range;
use std::path::{Path, PathBuf};

use microbench_formats::axis::Level;
use microbench_formats::code::Code;
use microbench_formats::metric::Gate;
use microbench_formats::name::{self, NameKind};

use super::diagnostic::{Diagnostics, ManifestError};
use super::keys::{self, Key};
use super::nearest::{quote, suggest};
use super::read::{At, Entry, Item, Table};
use super::renamed;

pub(super) use self::claim::{Claim, MOST_CLAIMS, Side, Sides};
pub(super) use self::figure::Figure;
pub(super) use self::matrix::{Line, MOST_LINES, MOST_TRIALS, Matrix, RawAxis, Trials};
pub(super) use self::reference::{Reference, reference};

/// Characters of names of a study, variant, metric and so on. The first and the additional later ones are regular
/// expression classes; the last text describes all of them.
pub(super) fn name_characters(noun: &str) -> (&'static str, &'static str, &'static str) {
    match noun {
        "study" => ("a-z0-9", "-", "a-z, 0-9 and `-`"),
        "variant" => ("A-Za-z0-9", "._-", "A-Z, a-z, 0-9, `-`, `_` and `.`"),
        _ => ("a-z0-9", "_-", "a-z, 0-9, `-` and `_`"),
    }
}

/// Maximum length of names of studies, variants, metrics and figures, which become parts of file names.
pub(super) const LONGEST_NAME: usize = name::LONGEST;

/// Maximum length of a claim's text in bytes.
pub(super) const LONGEST_TEXT: usize = 1024;

/// A manifest. A missing or invalid section is empty.
#[derive(Default)]
pub(super) struct Manifest {
    /// The folder of the manifest: paths in it are relative to this folder.
    pub(super) folder: PathBuf,
    pub(super) study: StudySection,
    pub(super) guest: Vec<Setting>,
    pub(super) variants: Vec<Variant>,
    /// Every setting of `guest` and `variants` could be read.
    pub(super) settings_complete: bool,
    pub(super) matrix: Matrix,
    pub(super) metrics: Vec<Metric>,
    pub(super) profiles: Vec<Profile>,
    pub(super) figures: Vec<Figure>,
    pub(super) claims: Vec<Claim>,
}

/// Axes, each with its selected levels.
pub(super) type Levels = Vec<(At<String>, Vec<At<Level>>)>;

/// A setting's name and value, not checked yet.
pub(super) type Setting = (At<String>, At<Level>);

#[derive(Default)]
pub(super) struct StudySection {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) description: Option<String>,
    pub(super) authors: Vec<At<String>>,
    pub(super) license: Option<At<String>>,
    pub(super) doi: Option<At<String>>,
    pub(super) seed: u64,
    pub(super) protocol: Option<At<String>>,
    pub(super) reference: Option<At<String>>,
    pub(super) family: Vec<At<String>>,
    pub(super) across_host_cpus: bool,
}

#[derive(Default)]
pub(super) struct Variant {
    pub(super) key: At<String>,
    pub(super) label: Option<At<String>>,
    pub(super) engine: Option<At<String>>,
    /// Place of the table if it has no `engine` at all.
    pub(super) without_engine: Option<Range<usize>>,
    pub(super) settings: Vec<Setting>,
}

#[derive(Default)]
pub(super) struct Metric {
    pub(super) name: At<String>,
    /// A part of it could not be read; missing parts must not be reported then.
    pub(super) broken: bool,
    pub(super) from: Option<At<String>>,
    pub(super) to: Option<At<String>>,
    pub(super) reading: Option<At<String>>,
    pub(super) workload: Option<At<RawWorkload>>,
    pub(super) label: Option<At<String>>,
    pub(super) definition: Option<At<String>>,
    pub(super) better: Option<At<String>>,
    pub(super) gate: Option<Gate>,
    pub(super) probe: Option<At<Level>>,
}

pub(super) struct RawWorkload {
    pub(super) kind: Option<At<String>>,
    pub(super) bytes: Option<At<Level>>,
    pub(super) rounds: Option<At<i64>>,
    pub(super) warmup: Option<At<i64>>,
    pub(super) value: Option<At<String>>,
    pub(super) block: Option<At<Level>>,
    pub(super) direct: Option<At<bool>>,
    pub(super) order: Option<At<String>>,
    pub(super) connections: Option<At<i64>>,
}

/// A table of `[profiles]`.
#[derive(Default)]
pub(super) struct Profile {
    pub(super) name: At<String>,
    /// A part of it could not be read; its cells are not known then.
    pub(super) broken: bool,
    pub(super) trials: Option<Trials>,
    pub(super) selection: Levels,
    pub(super) rounds: Option<At<i64>>,
}

/// Reads the sections of a manifest.
pub(super) fn read(mut root: Table<'_>, folder: &Path, errors: &mut Diagnostics) -> Manifest {
    let mut manifest = Manifest { folder: folder.to_path_buf(), ..Manifest::default() };
    for (section, help) in [
        ("study", "add `[study]` with a name and a title"),
        ("variants", "define what is compared, for instance `[variants.fc]` with `engine = \"firecracker\"`"),
        ("matrix", "set the number of trials, for instance `[matrix]` with `trials = 10`"),
        ("metrics", "list the metrics, for instance `[metrics]` with `kernel_boot_time = {}`"),
    ] {
        if !root.has(section) && !root.has_typo_of(section) {
            let message = format!("the manifest has no section `[{section}]`");
            errors.push(ManifestError::of_file(Code::Missing, message).help(help));
        }
    }
    if let Some(table) = section(&mut root, "study", errors) {
        manifest.study = study_section(table, errors);
    }
    let before = errors.count();
    if let Some(table) = section(&mut root, "guest", errors) {
        manifest.guest = settings(table, keys::GUEST_KEYS, errors);
    }
    if let Some(table) = section(&mut root, "variants", errors) {
        manifest.variants = named_tables(table, "variants", "variant", errors, variant);
    }
    manifest.settings_complete = errors.count() == before;
    manifest.matrix = match section(&mut root, "matrix", errors) {
        Some(table) => matrix::matrix(table, errors),
        None => Matrix { broken: true, ..Matrix::default() },
    };
    if let Some(table) = section(&mut root, "metrics", errors) {
        manifest.metrics = named_tables(table, "metrics", "metric", errors, metric);
    }
    if let Some(table) = section(&mut root, "figures", errors) {
        manifest.figures = named_tables(table, "figures", "figure", errors, figure::figure);
    }
    if let Some(table) = section(&mut root, "profiles", errors) {
        manifest.profiles = named_tables(table, "profiles", "profile", errors, profile);
    }
    if let Some(entry) = root.take("claims") {
        manifest.claims = claim::claims(&entry, errors);
    }
    for entry in root.rest(keys::MANIFEST) {
        errors.push_with(|| {
            let message = format!("there is no section {}", quote(entry.key()));
            let help = suggest(entry.key(), "sections", keys::MANIFEST.iter().map(|key| key.name));
            ManifestError::new(Code::UnknownSection, entry.key_span(), message).help(help)
        });
    }
    manifest
}

fn section<'a>(root: &mut Table<'a>, name: &str, errors: &mut Diagnostics) -> Option<Table<'a>> {
    root.take(name)?.table(format!("[{name}]"), errors)
}

/// Reads a section of named tables, which must not be empty. An entry that is not a table keeps its name, so that
/// references to it are not reported too.
fn named_tables<'a, T>(
    section: Table<'a>,
    name: &str,
    noun: &str,
    errors: &mut Diagnostics,
    read: fn(At<String>, Option<Table<'a>>, &mut Diagnostics) -> T,
) -> Vec<T> {
    let span = section.span.clone();
    let entries = section.rest(&[]);
    if entries.is_empty() {
        errors.push(ManifestError::new(Code::Empty, span, format!("[{name}] has no {noun}")));
    }
    let mut all = Vec::new();
    for entry in entries {
        check_name(&entry.name(), noun, errors);
        let table = entry.table(format!("[{name}.{}]", entry.key().escape_debug()), errors);
        all.push(read(entry.name(), table, errors));
    }
    all
}

/// Reports a name that could not be a part of file names and of the ids of cells.
fn check_name(name: &At<String>, noun: &str, errors: &mut Diagnostics) {
    let kind = match noun {
        "study" => NameKind::Study,
        "variant" => NameKind::Variant,
        _ => NameKind::Other,
    };
    let text = &name.value;
    let (_, _, allowed) = name_characters(noun);
    if !kind.accepts(text) {
        errors.push(
            ManifestError::new(Code::BadName, name.span.clone(), format!("{} is not a name for a {noun}", quote(text)))
                .help(format!(
                    "the name of a {noun} has at most {LONGEST_NAME} characters, begins with a letter or digit and \
                 consists of {allowed}"
                )),
        );
    }
}

fn study_section(mut table: Table<'_>, errors: &mut Diagnostics) -> StudySection {
    table.require("name", "the name becomes part of file names, for instance `name = \"quick\"`", errors);
    table.require("title", "the title is the heading of reports, for instance `title = \"A first look\"`", errors);
    let name = table.string("name", errors);
    if let Some(name) = &name {
        check_name(name, "study", errors);
    }
    let title = table.string("title", errors);
    if let Some(title) = title.as_ref().filter(|title| title.value.trim().is_empty()) {
        errors.push(ManifestError::new(Code::Empty, title.span.clone(), "`title` is empty"));
    }
    let seed = table.integer("seed", keys::STUDY, errors).and_then(|seed| u64::try_from(seed.value).ok());
    let description = table.string("description", errors);
    let protocol = table.string("protocol", errors);
    let reference = table.string("reference", errors);
    let authors = table.take("authors").and_then(|entry| list(&entry, errors, Item::string)).unwrap_or_default();
    let (license, doi) = (table.string("license", errors), table.string("doi", errors));
    let family = table.take("family").and_then(|entry| list(&entry, errors, Item::string)).unwrap_or_default();
    let across_host_cpus = table.take("across_host_cpus").and_then(|entry| entry.item().boolean(errors));
    table.deny_rest(keys::STUDY, errors);
    StudySection {
        authors,
        license,
        doi,
        protocol,
        family,
        across_host_cpus: across_host_cpus.is_some_and(|across| across.value),
        reference,
        name: value_of(name).unwrap_or_default(),
        title: value_of(title).unwrap_or_default(),
        description: value_of(description).filter(|text| !text.is_empty()),
        seed: seed.unwrap_or(0),
    }
}

fn value_of(at: Option<At<String>>) -> Option<String> {
    at.map(|at| at.value)
}

fn settings(table: Table<'_>, keys: &[Key], errors: &mut Diagnostics) -> Vec<Setting> {
    let place = table.place.clone();
    let entries = table.rest(keys);
    let current = without_renamed(&entries, keys, &place, errors);
    current.into_iter().filter_map(|entry| Some((entry.name(), entry.item().level(errors)?))).collect()
}

/// The entries without renamed keys, which are reported. Entries other than `keys` are settings.
fn without_renamed<'a, 'b>(
    entries: &'b [Entry<'a>],
    keys: &[Key],
    place: &str,
    errors: &mut Diagnostics,
) -> Vec<&'b Entry<'a>> {
    let is_current = |entry: &&Entry<'a>| {
        let renamed = renamed::in_table(entry.key(), keys).or_else(|| renamed::setting(entry.key()));
        renamed.is_none_or(|renamed| {
            errors.push_renamed(renamed, &entry.name(), place);
            false
        })
    };
    entries.iter().filter(is_current).collect()
}

/// The levels of a table: one level or a list for each axis. `None` if one could not be read.
fn levels(table: Table<'_>, keys: &[Key], errors: &mut Diagnostics) -> Option<Levels> {
    let place = table.place.clone();
    levels_of(&table.rest(keys), &place, errors)
}

fn levels_of(entries: &[Entry<'_>], place: &str, errors: &mut Diagnostics) -> Option<Levels> {
    let count = entries.len();
    let levels: Levels = without_renamed(entries, &[], place, errors)
        .into_iter()
        .filter_map(|entry| {
            let levels = if entry.item().is_list() {
                list(entry, errors, Item::level)?
            } else {
                vec![entry.item().level(errors)?]
            };
            Some((entry.name(), levels))
        })
        .collect();
    (levels.len() == count).then_some(levels)
}

/// The selection of cells of `key`. Empty if the key is missing or invalid.
fn read_selection(table: &mut Table<'_>, key: &str, errors: &mut Diagnostics) -> Levels {
    let inner = table.take(key).and_then(|entry| entry.table(quote(key), errors));
    inner.and_then(|inner| levels(inner, keys::WHERE, errors)).unwrap_or_default()
}

fn profile(name: At<String>, table: Option<Table<'_>>, errors: &mut Diagnostics) -> Profile {
    let Some(mut table) = table else { return Profile { name, broken: true, ..Profile::default() } };
    let before = errors.count();
    table.require("trials", "set the number of trials of each cell, for instance `trials = 3`", errors);
    let trials = table.take("trials").and_then(|entry| matrix::trials(&entry, errors));
    let selection = read_selection(&mut table, "where", errors);
    let rounds = table.integer("rounds", keys::PROFILE, errors);
    table.deny_rest(keys::PROFILE, errors);
    Profile { name, broken: errors.count() != before, trials, selection, rounds }
}

fn variant(key: At<String>, table: Option<Table<'_>>, errors: &mut Diagnostics) -> Variant {
    let Some(mut table) = table else { return Variant { key, ..Variant::default() } };
    let without_engine = (!table.has("engine")).then(|| table.span.clone());
    let (label, engine) = (table.string("label", errors), table.string("engine", errors));
    Variant { key, label, engine, without_engine, settings: settings(table, keys::VARIANT, errors) }
}

/// The elements of a list, which must not be empty. `None` if one could not be read.
fn list<'a, T>(
    entry: &Entry<'a>,
    errors: &mut Diagnostics,
    read: impl Fn(&Item<'a>, &mut Diagnostics) -> Option<At<T>>,
) -> Option<Vec<At<T>>> {
    let items = entry.list(errors)?;
    if items.value.is_empty() {
        errors.push(ManifestError::new(Code::Empty, items.span, format!("{} is empty", quote(entry.key()))));
        return None;
    }
    let count = items.value.len();
    let all: Vec<_> = items.value.iter().filter_map(|item| read(item, errors)).collect();
    (all.len() == count).then_some(all)
}

fn metric(name: At<String>, table: Option<Table<'_>>, errors: &mut Diagnostics) -> Metric {
    let Some(mut table) = table else { return Metric { name, broken: true, ..Metric::default() } };
    let before = errors.count();
    let metric = Metric {
        name,
        broken: false,
        from: table.string("from", errors),
        to: table.string("to", errors),
        reading: table.string("reading", errors),
        workload: table.take("workload").and_then(|entry| workload(&entry, errors)),
        label: table.string("label", errors),
        definition: table.string("definition", errors),
        better: table.string("better", errors),
        gate: table.take("gate").and_then(|entry| gate(&entry, errors)),
        probe: table.take("probe").and_then(|entry| entry.item().level(errors)),
    };
    let broken =
        errors.count() != before || ["from", "to", "reading", "workload"].iter().any(|key| table.has_typo_of(key));
    table.deny_rest(keys::METRIC, errors);
    Metric { broken, ..metric }
}

/// `gate` of a metric, which must have at least one key.
fn gate(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<Gate> {
    const FORM: &str = "a gate is a table such as `{ margin = 0.02, floor = 1.0, both_ways = true }`";
    let mut table = entry.table("`gate`", errors)?;
    let span = table.span.clone();
    let before = errors.count();
    let mut number = |key: &str, most: f64| {
        let number = table.take(key)?.item().number(errors)?;
        if !(0.0..=most).contains(&number.value) {
            let message = format!("`{key}` is {}, which is not between 0 and {most}", number.value);
            errors.push(ManifestError::new(Code::OutOfRange, number.span, message).help(FORM));
            return None;
        }
        Some(number.value)
    };
    let (margin, floor) = (number("margin", 1.0), number("floor", 1e12));
    let both_ways = table.take("both_ways").and_then(|entry| entry.item().boolean(errors)).is_some_and(|at| at.value);
    table.deny_rest(keys::GATE, errors);
    let value = Gate { margin, floor, both_ways };
    if value == Gate::default() && errors.count() == before {
        errors.push(ManifestError::new(Code::Empty, span, "`gate` is empty").help(FORM));
    }
    Some(value)
}

fn workload(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<At<RawWorkload>> {
    let mut table = entry.table("`workload`", errors)?;
    let span = table.span.clone();
    let help = "a workload is a table such as `{ kind = \"sha256\", bytes = \"1 MB\", rounds = 100 }`";
    for key in ["kind", "bytes", "rounds"] {
        table.require(key, help, errors);
    }
    let value = RawWorkload {
        kind: table.string("kind", errors),
        bytes: table.take("bytes").and_then(|entry| entry.item().level(errors)),
        rounds: table.integer("rounds", keys::WORKLOAD, errors),
        warmup: table.integer("warmup", keys::WORKLOAD, errors),
        value: table.string("value", errors),
        block: table.take("block").and_then(|entry| entry.item().level(errors)),
        direct: table.take("direct").and_then(|entry| entry.item().boolean(errors)),
        order: table.string("order", errors),
        connections: table.integer("connections", keys::WORKLOAD, errors),
    };
    table.deny_rest(keys::WORKLOAD, errors);
    Some(At { value, span })
}
