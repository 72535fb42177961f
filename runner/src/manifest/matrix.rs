//! Cells of the matrix: the product of the axes, less what is excluded, and what is included.

use std::collections::{BTreeMap, HashMap, HashSet};

use microbench_plots::record::{Axis, Cell, Exclusion, Level, Limit};

use super::axes::{Axes, Levels, Line};
use super::code::Code;
use super::diagnostic::{Diagnostics, ManifestError, line_of};
use super::nearest::quote;
use super::raw::{self, Trials};
use super::study::{Places, Variant};
use super::{MAX_CELLS, MAX_TRIALS};

/// The cells, and the combinations that are not run.
pub(super) struct Cells {
    pub(super) axes: Vec<Axis>,
    pub(super) cells: Vec<Cell>,
    pub(super) excluded: Vec<Exclusion>,
    pub(super) places: Places,
}

/// A position on every axis.
type Combination = Vec<usize>;

/// Expands a matrix that has no error so far. What is returned on an error is not to be used.
pub(super) fn expand(
    axes: Axes,
    raw: &raw::Matrix,
    variants: &[Variant],
    source: &str,
    errors: &mut Diagnostics,
) -> Cells {
    let Axes { axes, exclude, include } = axes;
    let names = cell_names(&axes, raw, errors);
    let id = |combination: &Combination| {
        let parts: Vec<_> = combination.iter().zip(&names).map(|(at, names)| names[*at].as_str()).collect();
        parts.join("/")
    };
    let trials = TrialTable::read(raw, &axes, &include, errors);

    let (mut kept, mut excluded) = apart(&axes, &exclude, source, errors);
    if kept.is_empty() && include.is_empty() && errors.is_empty() {
        let span = exclude.last().map_or_else(|| raw.span.clone(), |line| line.span.clone());
        errors.push(ManifestError::new(Code::NothingLeft, span, "every combination is excluded; nothing would run"));
    }
    let mut places = Places::default();
    let mut all: HashSet<Combination> = kept.iter().map(|(combination, _)| combination.clone()).collect();
    for line in &include {
        if all.len().saturating_add(size(&axes, line)) > MAX_CELLS {
            let message = format!("with this line the study has more than {MAX_CELLS} cells, which is the limit");
            errors.push(ManifestError::new(Code::TooMany, line.span.clone(), message));
            break;
        }
        for combination in combinations(&axes, Some(line)) {
            if !all.insert(combination.clone()) {
                let message = format!("cell {} is in the matrix already", quote(&id(&combination)));
                errors.push(
                    ManifestError::new(Code::AlreadyThere, line.span.clone(), message)
                        .help("an axis that a line of `include` does not name takes every level of the matrix"),
                );
                break;
            }
            places.included.insert(id(&combination), line_of(source, line.span.start));
            kept.push((combination, line.trials));
        }
    }
    excluded.retain(|(combination, _)| !all.contains(combination));

    let by_key: HashMap<&str, &Variant> = variants.iter().map(|variant| (variant.key.as_str(), variant)).collect();
    let cells: Vec<Cell> = kept
        .iter()
        .filter_map(|(combination, own)| {
            let levels: BTreeMap<String, Level> = combination
                .iter()
                .zip(&axes)
                .map(|(at, levels)| (levels.axis.name.clone(), levels.axis.levels[*at].clone()))
                .collect();
            cell(id(combination), levels, *own, &by_key, &trials)
        })
        .collect();
    for (levels, axis) in axes.iter().map(|levels| (levels, &levels.axis.name)) {
        let line = |span: &std::ops::Range<usize>| if span.is_empty() { 0 } else { line_of(source, span.start) };
        places.levels.insert(axis.clone(), levels.spans.iter().map(line).collect());
    }
    for (cell, (_, own)) in cells.iter().zip(&kept) {
        let line = match (own, places.included.get(&cell.id)) {
            (Some(_), Some(line)) => *line,
            _ => raw.trials.as_ref().map_or(0, |trials| trials.line(cell.concurrency, source)),
        };
        places.trials.insert(cell.id.clone(), line);
    }
    let total: u64 = cells.iter().map(|cell| u64::from(cell.trials)).sum();
    if total > MAX_TRIALS {
        let message = format!("the study has {total} trials; the limit is {MAX_TRIALS}");
        errors.push(ManifestError::new(Code::TooMany, raw.span.clone(), message));
    }
    let excluded =
        excluded.iter().map(|(combination, line)| Exclusion { cell: id(combination), line: *line }).collect();
    Cells { axes: axes.into_iter().map(|levels| levels.axis).collect(), cells, excluded, places }
}

fn cell(
    id: String,
    levels: BTreeMap<String, Level>,
    own: Option<u32>,
    variants: &HashMap<&str, &Variant>,
    trials: &TrialTable,
) -> Option<Cell> {
    let (Some(Level::Text(key)), Some(Level::Int(concurrency))) = (levels.get("variant"), levels.get("concurrency"))
    else {
        return None;
    };
    let variant = variants.get(key.as_str())?;
    let mut settings = variant.settings.clone();
    let varied = levels.iter().filter(|(name, _)| *name != "variant" && *name != "concurrency");
    settings.extend(varied.map(|(name, level)| (name.clone(), level.clone())));
    Some(Cell {
        id,
        variant: key.clone(),
        label: variant.label.clone(),
        engine: variant.engine.clone(),
        concurrency: u32::try_from(*concurrency).ok()?,
        trials: own.or_else(|| trials.of(*concurrency))?,
        settings,
        levels,
    })
}

/// The matrix's limit. Reports one that nothing can meet: of a single level, or of memory that nobody reads.
pub(super) fn limit(raw: &raw::Matrix, cells: &[Cell], errors: &mut Diagnostics) -> Option<Limit> {
    let limit = raw.limit.as_ref()?;
    let wrong = |message: &str| ManifestError::new(Code::NotMet, limit.span.clone(), message);
    if cells.iter().all(|cell| cell.concurrency == cells[0].concurrency) {
        errors.push(
            wrong("`limit` ends a sweep of concurrency, but all cells have one level of it")
                .help("give several levels, for instance `concurrency = [1, 2, 4, 8, 16]`"),
        );
    }
    let held = |cell: &Cell| cell.number("steady_s").is_some_and(|seconds| seconds > 0);
    if let Some(cell) = cells.iter().find(|cell| limit.value.memory_mib.is_some() && !held(cell)) {
        let message = format!("`memory_mib` is of VMs that are held, but those of {} are not", quote(&cell.id));
        errors
            .push(wrong(&message).help("set `steady_s = 5` in [guest], so that all VMs of a trial are there at once"));
    }
    Some(limit.value)
}

/// The product, apart by whether a line of `exclude` takes the combination out, and with that line's number.
#[expect(clippy::type_complexity, reason = "two lists of pairs, taken apart at once by the one caller")]
fn apart(
    axes: &[Levels],
    exclude: &[Line],
    source: &str,
    errors: &mut Diagnostics,
) -> (Vec<(Combination, Option<u32>)>, Vec<(Combination, u32)>) {
    let masks: Vec<Vec<Option<Vec<bool>>>> = exclude.iter().map(|line| mask(axes, line)).collect();
    let lines: Vec<u32> = exclude.iter().map(|line| line_of(source, line.span.start)).collect();
    let mut taken = vec![false; exclude.len()];
    let (mut kept, mut excluded) = (Vec::new(), Vec::new());
    for combination in combinations(axes, None) {
        let matches = |mask: &Vec<Option<Vec<bool>>>| {
            mask.iter().zip(&combination).all(|(mask, at)| mask.as_ref().is_none_or(|mask| mask[*at]))
        };
        match masks.iter().position(matches) {
            Some(line) => {
                taken[line] = true;
                excluded.push((combination, lines[line]));
            }
            None => kept.push((combination, None)),
        }
    }
    for (line, _) in exclude.iter().zip(taken).filter(|(_, taken)| !taken) {
        errors.push(
            ManifestError::new(
                Code::ExcludesNothing,
                line.span.clone(),
                "this line takes out nothing that is still there",
            )
            .help("an earlier line of `exclude` takes out the same combinations; remove one of them"),
        );
    }
    (kept, excluded)
}

fn mask(axes: &[Levels], line: &Line) -> Vec<Option<Vec<bool>>> {
    let flags = |(levels, positions): (&Levels, &Option<Vec<usize>>)| {
        positions.as_ref().map(|positions| {
            let mut flags = vec![false; levels.axis.levels.len()];
            positions.iter().for_each(|at| flags[*at] = true);
            flags
        })
    };
    axes.iter().zip(&line.levels).map(flags).collect()
}

/// Number of combinations of the line.
fn size(axes: &[Levels], line: &Line) -> usize {
    let lengths = axes.iter().zip(&line.levels);
    lengths.map(|(axis, named)| named.as_ref().map_or(axis.product, Vec::len)).fold(1, usize::saturating_mul)
}

/// Every combination of the product, or of a line; the last axis runs fastest.
fn combinations(axes: &[Levels], line: Option<&Line>) -> Vec<Combination> {
    let mut all: Vec<Combination> = vec![Vec::new()];
    for (at, axis) in axes.iter().enumerate() {
        let named = line.and_then(|line| line.levels[at].clone());
        let positions = named.unwrap_or_else(|| (0..axis.product).collect());
        all = all
            .iter()
            .flat_map(|head| positions.iter().map(|next| head.iter().chain([next]).copied().collect()))
            .collect();
    }
    all
}

/// For each axis the part of a cell's id that each level makes.
fn cell_names(axes: &[Levels], raw: &raw::Matrix, errors: &mut Diagnostics) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for levels in axes {
        let names: Vec<String> = levels.axis.levels.iter().map(cell_name).collect();
        let mut first: HashMap<&str, usize> = HashMap::new();
        for (at, name) in names.iter().enumerate() {
            if let Some(before) = first.insert(name, at) {
                let [a, b] = [before, at].map(|at| quote(&levels.axis.levels[at].to_string()));
                let axis = raw.axes.iter().find(|axis| axis.name.value == levels.axis.name);
                let span = axis.map_or_else(|| raw.span.clone(), |axis| axis.name.span.clone());
                let message = format!("levels {a} and {b} would both be called {} in cells' names", quote(name));
                errors.push(
                    ManifestError::new(Code::SameCellName, span, message)
                        .help("in a cell's name a character other than A-Z, a-z, 0-9 and `.,:=+-` becomes `_`"),
                );
            }
        }
        all.push(names);
    }
    all
}

/// The level's part of a cell's id: no slash, no space, nothing that a shell or a file name would trip over.
fn cell_name(level: &Level) -> String {
    let text = level.to_string();
    if text.is_empty() {
        return "none".into();
    }
    if text.bytes().all(|byte| byte == b'.') {
        return "_".repeat(text.len());
    }
    text.chars().map(|c| if c.is_ascii_alphanumeric() || ".,:=+-_".contains(c) { c } else { '_' }).collect()
}

/// Trials by concurrency.
enum TrialTable {
    Each(u32),
    By(HashMap<i64, u32>),
}

impl TrialTable {
    fn of(&self, concurrency: i64) -> Option<u32> {
        match self {
            Self::Each(trials) => Some(*trials),
            Self::By(table) => table.get(&concurrency).copied(),
        }
    }

    /// Reads the table and reports levels that it lacks and levels that nothing has.
    fn read(raw: &raw::Matrix, axes: &[Levels], include: &[Line], errors: &mut Diagnostics) -> Self {
        let (entries, span) = match &raw.trials {
            None => {
                // Only when the reader took another key for a slip of this one, and it turned out to be an axis.
                errors.push(ManifestError::new(Code::Missing, raw.span.clone(), "[matrix] has no `trials`"));
                return Self::Each(1);
            }
            Some(Trials::Each(trials, _)) => return Self::Each(u32::try_from(*trials).unwrap_or(u32::MAX)),
            Some(Trials::ByConcurrency(entries, span)) => (entries, span),
        };
        let axis = &axes[1];
        let mut table = HashMap::new();
        for (key, trials) in entries {
            let level = key.value.parse::<i64>().ok().filter(|level| axis.find(&Level::Int(*level)).is_some());
            let Some(level) = level else {
                let levels: Vec<_> = axis.axis.levels.iter().map(ToString::to_string).collect();
                let message = format!("{} is not a level of `concurrency`", quote(&key.value));
                errors.push(
                    ManifestError::new(Code::TrialsUnused, key.span.clone(), message)
                        .help(format!("the levels are {}", levels.join(", "))),
                );
                continue;
            };
            if table.insert(level, u32::try_from(*trials).unwrap_or(u32::MAX)).is_some() {
                let message = format!("`trials` names concurrency {level} twice");
                errors.push(ManifestError::new(Code::Twice, key.span.clone(), message));
            }
        }
        let lacking = |positions: &mut dyn Iterator<Item = usize>| -> Vec<String> {
            let levels = positions.map(|at| &axis.axis.levels[at]);
            levels
                .filter(|level| matches!(level, Level::Int(level) if !table.contains_key(level)))
                .map(ToString::to_string)
                .collect()
        };
        let missing = lacking(&mut (0..axis.product));
        if !missing.is_empty() {
            let message = format!("`trials` does not say how many trials concurrency {} has", missing.join(", "));
            let help = missing.iter().map(|level| format!("{level} = 1")).collect::<Vec<_>>().join(", ");
            errors.push(
                ManifestError::new(Code::TrialsNotCovered, span.clone(), message)
                    .help(format!("add for instance `{help}`, or give one number for all: `trials = 10`")),
            );
        }
        for line in include.iter().filter(|line| line.trials.is_none()) {
            let missing = line.levels[1]
                .as_ref()
                .map_or_else(Vec::new, |named| lacking(&mut named.iter().copied().filter(|at| *at >= axis.product)));
            if !missing.is_empty() {
                let message =
                    format!("nothing says how many trials concurrency {} of this line has", missing.join(", "));
                errors.push(
                    ManifestError::new(Code::TrialsNotCovered, line.span.clone(), message)
                        .related(span.clone(), "not here")
                        .help("add `trials = 1` to the line, or the level to the `trials` of the matrix"),
                );
            }
        }
        Self::By(table)
    }
}
