//! A manifest as it is written: sections and keys of the right shape, every value with its place, no name looked up.
//!
//! Nothing here knows an engine, an axis or a metric; [`variants`](super::variants) and its neighbours turn this into a
//! [`Study`](super::Study).

use std::ops::Range;

use microbench_plots::record::Level;

use super::code::Code;
use super::diagnostic::{Diagnostics, ManifestError};
use super::nearest::{quote, suggest};
use super::read::{At, Entry, Item, Table};

/// Longest name of a study, variant, metric or figure: it becomes part of file names.
const LONGEST_NAME: usize = 64;
/// Most exclude lines, and most include lines.
pub(super) const MOST_LINES: usize = 1000;
/// Most trials of one cell.
pub(super) const MOST_TRIALS: i64 = 100_000;

const SECTIONS: &[&str] = &["study", "guest", "variants", "matrix", "metrics", "figures"];

/// The whole manifest; a section that is missing or broken is empty.
#[derive(Default)]
pub(super) struct Manifest {
    pub(super) study: Head,
    pub(super) guest: Vec<Setting>,
    pub(super) variants: Vec<Variant>,
    pub(super) matrix: Matrix,
    pub(super) metrics: Vec<Metric>,
    pub(super) figures: Vec<Figure>,
}

/// A key and its value that are looked up later.
pub(super) type Setting = (At<String>, At<Level>);

#[derive(Default)]
pub(super) struct Head {
    pub(super) name: String,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) seed: u64,
}

pub(super) struct Variant {
    pub(super) key: At<String>,
    pub(super) label: Option<At<String>>,
    pub(super) engine: Option<At<String>>,
    pub(super) settings: Vec<Setting>,
}

#[derive(Default)]
pub(super) struct Matrix {
    pub(super) span: Range<usize>,
    pub(super) variant: Option<Vec<At<String>>>,
    pub(super) concurrency: Option<Vec<At<i64>>>,
    pub(super) axes: Vec<(At<String>, Vec<At<Level>>)>,
    pub(super) trials: Option<Trials>,
    pub(super) exclude: Vec<Line>,
    pub(super) include: Vec<Line>,
    pub(super) warmup: Option<i64>,
}

/// Trials a cell: one number, or one for each level of concurrency.
pub(super) enum Trials {
    Each(i64),
    ByConcurrency(Vec<(At<String>, i64)>, Range<usize>),
}

/// One element of `exclude` or `include`.
pub(super) struct Line {
    pub(super) span: Range<usize>,
    pub(super) levels: Vec<(At<String>, Vec<At<Level>>)>,
    pub(super) trials: Option<i64>,
}

pub(super) struct Metric {
    pub(super) name: At<String>,
    pub(super) from: Option<At<String>>,
    pub(super) to: Option<At<String>>,
    pub(super) reading: Option<At<String>>,
    pub(super) work: Option<At<RawWork>>,
    pub(super) label: Option<At<String>>,
    pub(super) definition: Option<At<String>>,
    pub(super) probe: Option<At<Level>>,
}

pub(super) struct RawWork {
    pub(super) kind: Option<At<String>>,
    pub(super) bytes: Option<At<Level>>,
    pub(super) rounds: Option<At<i64>>,
}

pub(super) struct Figure {
    pub(super) name: At<String>,
    pub(super) title: Option<At<String>>,
    pub(super) form: Option<At<String>>,
    pub(super) metrics: Vec<At<String>>,
    pub(super) x: Option<At<String>>,
    pub(super) groups: Option<At<String>>,
    pub(super) panels: Option<At<String>>,
    pub(super) only: Vec<Setting>,
    pub(super) statistic: Option<At<String>>,
}

/// Reads the manifest's tree.
pub(super) fn read(mut root: Table<'_>, errors: &mut Diagnostics) -> Manifest {
    let mut manifest = Manifest::default();
    for (section, help) in [
        ("study", "a study begins with `[study]`, its name and its title"),
        ("variants", "define what is compared, for instance `[variants.fc]` with `engine = \"firecracker\"`"),
        ("matrix", "say how often each cell is run, for instance `[matrix]` with `trials = 10`"),
        ("metrics", "say what is measured, for instance `[metrics]` with `kernel_boot_time = {}`"),
    ] {
        if !root.has(section) {
            let message = format!("the manifest has no section `[{section}]`");
            errors.push(ManifestError::of_file(Code::Missing, message).help(help));
        }
    }
    if let Some(table) = section(&mut root, "study", errors) {
        manifest.study = head(table, errors);
    }
    if let Some(table) = section(&mut root, "guest", errors) {
        manifest.guest = settings(table, errors);
    }
    if let Some(table) = section(&mut root, "variants", errors) {
        manifest.variants = each(table, "variants", "variant", errors, variant);
    }
    if let Some(table) = section(&mut root, "matrix", errors) {
        manifest.matrix = matrix(table, errors);
    }
    if let Some(table) = section(&mut root, "metrics", errors) {
        manifest.metrics = each(table, "metrics", "metric", errors, metric);
    }
    if root.has("figures")
        && let Some(table) = section(&mut root, "figures", errors)
    {
        manifest.figures = each(table, "figures", "figure", errors, figure);
    }
    for entry in root.rest() {
        let message = format!("there is no section {}", quote(entry.key()));
        let help = suggest(entry.key(), "sections", SECTIONS.iter().copied());
        errors.push(ManifestError::new(Code::UnknownSection, entry.key_span(), message).help(help));
    }
    manifest
}

fn section<'a>(root: &mut Table<'a>, name: &str, errors: &mut Diagnostics) -> Option<Table<'a>> {
    root.take(name)?.table(format!("[{name}]"), errors)
}

/// Reads each table of a section of named tables; an empty section is an error.
fn each<'a, T>(
    section: Table<'a>,
    name: &str,
    noun: &str,
    errors: &mut Diagnostics,
    read: fn(At<String>, Table<'a>, &mut Diagnostics) -> Option<T>,
) -> Vec<T> {
    let span = section.span.clone();
    let entries = section.rest();
    if entries.is_empty() {
        errors.push(ManifestError::new(Code::Empty, span, format!("[{name}] names no {noun}")));
    }
    let mut all = Vec::new();
    for entry in entries {
        check_name(&entry.name(), noun, errors);
        if let Some(table) = entry.table(format!("[{name}.{}]", entry.key().escape_debug()), errors) {
            all.extend(read(entry.name(), table, errors));
        }
    }
    all
}

/// Names become parts of file names and of cells' names.
fn check_name(name: &At<String>, noun: &str, errors: &mut Diagnostics) {
    let upper = noun == "variant";
    let text = &name.value;
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_' && noun != "study";
    let fits = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| good(c) || upper && (c.is_ascii_uppercase() || c == '.'));
    let allowed = match noun {
        "study" => "a-z, 0-9 and `-`",
        "variant" => "A-Z, a-z, 0-9, `-`, `_` and `.`",
        _ => "a-z, 0-9, `-` and `_`",
    };
    if !fits || text.len() > LONGEST_NAME {
        errors.push(
            ManifestError::new(
                Code::BadName,
                name.span.clone(),
                format!("{} is not a name for a {noun}", quote(text)),
            )
            .help(format!(
                "a {noun}'s name has at most {LONGEST_NAME} characters, begins with a letter or digit and holds {allowed}"
            )),
        );
    }
}

fn head(mut table: Table<'_>, errors: &mut Diagnostics) -> Head {
    table.require("name", "the name becomes part of file names, for instance `name = \"quick\"`", errors);
    table.require("title", "the title stands over reports, for instance `title = \"A first look\"`", errors);
    let name = table.string("name", errors);
    if let Some(name) = &name {
        check_name(name, "study", errors);
    }
    let title = table.string("title", errors);
    if let Some(title) = title.as_ref().filter(|title| title.value.trim().is_empty()) {
        errors.push(ManifestError::new(Code::Empty, title.span.clone(), "`title` is empty"));
    }
    let seed = table.integer("seed", (0, i64::MAX), errors).and_then(|seed| u64::try_from(seed.value).ok());
    let description = table.string("description", errors);
    table.deny_rest(&["name", "title", "seed", "description"], errors);
    Head {
        name: text(name).unwrap_or_default(),
        title: text(title).unwrap_or_default(),
        description: text(description).unwrap_or_default(),
        seed: seed.unwrap_or(0),
    }
}

fn text(at: Option<At<String>>) -> Option<String> {
    at.map(|at| at.value)
}

fn settings(table: Table<'_>, errors: &mut Diagnostics) -> Vec<Setting> {
    table.rest().iter().filter_map(|entry| Some((entry.name(), entry.item().level(errors)?))).collect()
}

#[expect(clippy::unnecessary_wraps, reason = "one of the readers that `each` takes")]
fn variant(key: At<String>, mut table: Table<'_>, errors: &mut Diagnostics) -> Option<Variant> {
    table.require("engine", "name the VMM that runs it, for instance `engine = \"firecracker\"`", errors);
    let (label, engine) = (table.string("label", errors), table.string("engine", errors));
    Some(Variant { key, label, engine, settings: settings(table, errors) })
}

fn matrix(mut table: Table<'_>, errors: &mut Diagnostics) -> Matrix {
    table.require("trials", "say how often each cell is run, for instance `trials = 10`", errors);
    Matrix {
        span: table.span.clone(),
        variant: table.take("variant").and_then(|entry| list(&entry, errors, Item::string)),
        concurrency: table
            .take("concurrency")
            .and_then(|entry| list(&entry, errors, |item, errors| item.integer((1, 10_000), errors))),
        trials: table.take("trials").and_then(|entry| trials(&entry, errors)),
        warmup: table.integer("warmup", (0, 1), errors).map(|at| at.value),
        exclude: table.take("exclude").map_or_else(Vec::new, |entry| lines(&entry, false, errors)),
        include: table.take("include").map_or_else(Vec::new, |entry| lines(&entry, true, errors)),
        axes: table.rest().iter().filter_map(|entry| Some((entry.name(), list(entry, errors, Item::level)?))).collect(),
    }
}

/// The elements of a list that has at least one.
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

fn trials(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<Trials> {
    if !entry.item().is_table() {
        return entry.integer((1, MOST_TRIALS), errors).map(|at| Trials::Each(at.value));
    }
    let table = entry.table("`trials`", errors)?;
    let span = table.span.clone();
    let all = table.rest();
    if all.is_empty() {
        errors.push(ManifestError::new(Code::Empty, span, "`trials` is empty"));
        return None;
    }
    let count = all.len();
    let by: Vec<_> =
        all.iter().filter_map(|entry| Some((entry.name(), entry.integer((1, MOST_TRIALS), errors)?.value))).collect();
    (by.len() == count).then_some(Trials::ByConcurrency(by, span))
}

fn lines(entry: &Entry<'_>, with_trials: bool, errors: &mut Diagnostics) -> Vec<Line> {
    let Some(items) = entry.list(errors) else { return Vec::new() };
    if items.value.len() > MOST_LINES {
        let message = format!("{} has {} lines; the limit is {MOST_LINES}", quote(entry.key()), items.value.len());
        errors.push(ManifestError::new(Code::TooMany, items.span, message));
        return Vec::new();
    }
    items.value.iter().filter_map(|item| line(item, entry.key(), with_trials, errors)).collect()
}

fn line(item: &Item<'_>, key: &str, with_trials: bool, errors: &mut Diagnostics) -> Option<Line> {
    let mut table = item.table(format!("a line of `{key}`"), errors)?;
    let span = table.span.clone();
    let trials = if with_trials { table.take("trials") } else { None };
    let trials = trials.and_then(|entry| entry.integer((1, MOST_TRIALS), errors)).map(|at| at.value);
    let entries = table.rest();
    if entries.is_empty() {
        let message = format!("a line of `{key}` names no axis");
        errors.push(
            ManifestError::new(Code::Empty, span, message).help("a line is a table such as `{ concurrency = 20 }`"),
        );
        return None;
    }
    let count = entries.len();
    let levels: Vec<_> = entries
        .iter()
        .filter_map(|entry| {
            let levels = if entry.item().is_list() {
                list(entry, errors, Item::level)?
            } else {
                vec![entry.item().level(errors)?]
            };
            Some((entry.name(), levels))
        })
        .collect();
    (levels.len() == count).then_some(Line { span, levels, trials })
}

fn metric(name: At<String>, mut table: Table<'_>, errors: &mut Diagnostics) -> Option<Metric> {
    let before = errors.count();
    let metric = Metric {
        name,
        from: table.string("from", errors),
        to: table.string("to", errors),
        reading: table.string("reading", errors),
        work: table.take("work").and_then(|entry| work(&entry, errors)),
        label: table.string("label", errors),
        definition: table.string("definition", errors),
        probe: table.take("probe").and_then(|entry| entry.item().level(errors)),
    };
    // What could not be read must not be reported as missing as well.
    let whole = errors.count() == before;
    table.deny_rest(&["from", "to", "reading", "work", "label", "definition", "probe"], errors);
    whole.then_some(metric)
}

fn work(entry: &Entry<'_>, errors: &mut Diagnostics) -> Option<At<RawWork>> {
    let mut table = entry.table("`work`", errors)?;
    let span = table.span.clone();
    let help = "work is a table such as `{ kind = \"sha256\", bytes = \"1 MB\", rounds = 100 }`";
    for key in ["kind", "bytes", "rounds"] {
        table.require(key, help, errors);
    }
    let value = RawWork {
        kind: table.string("kind", errors),
        bytes: table.take("bytes").and_then(|entry| entry.item().level(errors)),
        rounds: table.integer("rounds", (1, 1_000_000), errors),
    };
    table.deny_rest(&["kind", "bytes", "rounds"], errors);
    Some(At { value, span })
}

#[expect(clippy::unnecessary_wraps, reason = "one of the readers that `each` takes")]
fn figure(name: At<String>, mut table: Table<'_>, errors: &mut Diagnostics) -> Option<Figure> {
    table.require("form", "name the form of the chart, for instance `form = \"grouped-bars\"`", errors);
    let (one, several) = (table.take("metric"), table.take("metrics"));
    let metrics = match (one, several) {
        (Some(one), Some(several)) => {
            errors.push(
                ManifestError::new(
                    Code::Conflict,
                    several.key_span(),
                    format!("{} has both `metric` and `metrics`", table.place),
                )
                .related(one.key_span(), "the other")
                .help("keep `metrics`, with every metric in its list"),
            );
            Vec::new()
        }
        (Some(one), None) => one.string(errors).into_iter().collect(),
        (None, Some(several)) => list(&several, errors, Item::string).unwrap_or_default(),
        (None, None) => {
            table.require("metric", "name what is drawn, for instance `metric = \"kernel_boot_time\"`", errors);
            Vec::new()
        }
    };
    let figure = Figure {
        name,
        metrics,
        title: table.string("title", errors),
        form: table.string("form", errors),
        x: table.string("x", errors),
        groups: table.string("groups", errors),
        panels: table.string("panels", errors),
        only: table
            .take("only")
            .and_then(|entry| entry.table("`only`", errors))
            .map_or_else(Vec::new, |only| settings(only, errors)),
        statistic: table.string("statistic", errors),
    };
    let keys = ["form", "metric", "metrics", "x", "groups", "panels", "only", "statistic", "title"];
    table.deny_rest(&keys, errors);
    Some(figure)
}
