//! Expands the matrix into cells: the product of the axes, without excluded combinations, plus included ones.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::level_map;
use microbench_formats::level_map::LevelMap;
use microbench_formats::name::is_of_cell;
use microbench_formats::plan::{Exclusion, Limit};
use microbench_formats::shared_string::SharedString;

use super::axes::{Axes, Levels, Line};
use super::diagnostic::{Diagnostics, ManifestError, line_of};
use super::nearest::quote;
use super::raw::{self, Trials};
use super::study::{Included, Places, Variant};
use super::{MAX_CELLS, MAX_TRIALS};

/// An expanded matrix.
pub(super) struct Cells {
    pub(super) axes: Vec<Axis>,
    pub(super) cells: Vec<Cell>,
    pub(super) excluded: Vec<Exclusion>,
    pub(super) places: Places,
}

/// Positions of levels, one for each axis.
type Combination = Arc<[u32]>;

/// Expands a matrix whose axes and lines are valid. `None` after an error that leaves no cell, or too many; after any
/// other error the cells can still be checked.
pub(super) fn expand(
    axes: Axes,
    raw: &raw::Matrix,
    variants: &[Variant],
    source: &str,
    errors: &mut Diagnostics,
) -> Option<Cells> {
    let Axes { axes, exclude, include } = axes;
    let names = cell_names(&axes, raw, errors);
    let id = |combination: &[u32]| {
        let mut id = String::with_capacity(64);
        for (at, names) in combination.iter().zip(&names) {
            id.push_str(if id.is_empty() { "" } else { "/" });
            id.push_str(&names[*at as usize]);
        }
        id
    };
    let trials = TrialTable::read(raw, &axes, &include, errors);

    let before = errors.count();
    let (mut kept, mut excluded) = split_excluded(&axes, &exclude, source, errors);
    if kept.is_empty() && include.is_empty() {
        if errors.count() == before {
            let span = exclude.last().map_or_else(|| raw.span.clone(), |line| line.span.clone());
            let message = "every combination is excluded; nothing would run";
            errors.push(ManifestError::new(Code::NothingLeft, span, message).help("remove a line of `exclude`"));
        }
        return None;
    }
    let mut places = Places::default();
    if !include.is_empty() {
        let mut all: HashSet<Combination> = kept.iter().map(|(combination, _)| combination.clone()).collect();
        for line in &include {
            if all.len().saturating_add(count_combinations(&axes, line)) > MAX_CELLS {
                let message = format!("with this line the study exceeds the limit of {MAX_CELLS} cells");
                errors.push(ManifestError::new(Code::TooMany, line.span.clone(), message));
                return None;
            }
            let at = line_of(source, line.span.start);
            for combination in combinations(&axes, Some(line)) {
                if !all.insert(combination.clone()) {
                    let message = format!("cell {} is in the matrix already", quote(&id(&combination)));
                    errors.push(
                        ManifestError::new(Code::DuplicateCell, line.span.clone(), message)
                            .help("a line of `include` covers every level of each axis that it does not name"),
                    );
                    break;
                }
                let own = line.trials.map(|_| at);
                places.included.insert(id(&combination), Included { line: at, trials: own });
                kept.push((combination, line.trials));
            }
        }
        excluded.retain(|(combination, _)| !all.contains(combination));
    }

    let builder = CellBuilder::new(&axes, variants, &trials);
    let cells: Vec<Cell> =
        kept.into_iter().filter_map(|(combination, own)| builder.cell(id(&combination), combination, own)).collect();
    for (levels, axis) in axes.iter().map(|levels| (levels, &levels.axis.name)) {
        let line = |span: &std::ops::Range<usize>| if span.is_empty() { 0 } else { line_of(source, span.start) };
        places.levels.insert(axis.clone(), levels.spans.iter().map(line).collect());
    }
    if let Some(trials) = &raw.trials {
        let levels = axes[1].axis.levels.iter().filter_map(concurrency);
        places.trials = levels.map(|level| (level, trials.line(level, source))).collect();
    }
    let total: u64 = cells.iter().map(|cell| u64::from(cell.trials)).sum();
    if total > MAX_TRIALS {
        let message = format!("the study has {total} trials; the limit is {MAX_TRIALS}");
        errors.push(ManifestError::new(Code::TooMany, raw.span.clone(), message));
    }
    let excluded =
        excluded.iter().map(|(combination, line)| Exclusion { cell: id(combination), line: *line }).collect();
    let axes = axes.into_iter().map(|levels| levels.axis).collect();
    (!cells.is_empty()).then_some(Cells { axes, cells, excluded, places })
}

fn concurrency(level: &Level) -> Option<u32> {
    match level {
        Level::Int(number) => u32::try_from(*number).ok(),
        _ => None,
    }
}

/// Builds cells that share their common parts: a study may have a million of them.
struct CellBuilder {
    /// By position on the axis `variant`.
    variants: Vec<Option<Shared>>,
    /// By position on the axis `concurrency`: concurrency and trials of a cell.
    concurrency: Vec<(Option<u32>, u32)>,
    /// All axes, and the axes that vary a setting.
    levels: Arc<level_map::Axes>,
    settings: Arc<level_map::Axes>,
    none: Arc<BTreeMap<String, Level>>,
}

/// The parts that all cells of a variant share.
struct Shared {
    key: SharedString,
    label: SharedString,
    engine: SharedString,
    settings: Arc<BTreeMap<String, Level>>,
}

impl CellBuilder {
    fn new(axes: &[Levels], variants: &[Variant], trials: &TrialTable) -> Self {
        let by_key: HashMap<&str, &Variant> = variants.iter().map(|variant| (variant.key.as_str(), variant)).collect();
        let shared = |level: &Level| match level {
            Level::Text(key) => by_key.get(key.as_str()).map(|variant| Shared {
                key: key.as_str().into(),
                label: variant.label.as_str().into(),
                engine: variant.engine.as_str().into(),
                settings: Arc::new(variant.settings.clone()),
            }),
            _ => None,
        };
        let at_once = |level: &Level| match level {
            Level::Int(number) => (concurrency(level), trials.trials_for(*number)),
            _ => (None, 1),
        };
        let all: Vec<Axis> = axes.iter().map(|levels| levels.axis.clone()).collect();
        let varied = |name: &str| name != "variant" && name != "concurrency";
        Self {
            variants: axes[0].axis.levels.iter().map(shared).collect(),
            concurrency: axes[1].axis.levels.iter().map(at_once).collect(),
            levels: Arc::new(level_map::Axes::filtered(&all, |_| true)),
            settings: Arc::new(level_map::Axes::filtered(&all, varied)),
            none: Arc::default(),
        }
    }

    /// The cell at the positions `at`. `None` after an error, when a level has no variant or no concurrency.
    fn cell(&self, id: String, at: Combination, own: Option<u32>) -> Option<Cell> {
        let variant = self.variants[at[0] as usize].as_ref()?;
        let (concurrency, trials) = self.concurrency[at[1] as usize];
        Some(Cell {
            id: id.into(),
            variant: variant.key.clone(),
            label: variant.label.clone(),
            engine: variant.engine.clone(),
            concurrency: concurrency?,
            trials: own.unwrap_or(trials),
            levels: LevelMap::from_positions(self.none.clone(), self.levels.clone(), at.clone()),
            settings: LevelMap::from_positions(variant.settings.clone(), self.settings.clone(), at),
        })
    }
}

/// The matrix's limit. Reports a limit that has no effect: one of a single level, or one of memory that is not read.
///
/// Without `settings_known`, settings that are in error are not in the cells, and the second check is left out.
pub(super) fn check_limit(
    raw: &raw::Matrix,
    cells: &[Cell],
    settings_known: bool,
    errors: &mut Diagnostics,
) -> Option<Limit> {
    let limit = raw.limit.as_ref()?;
    let wrong = |message: &str| ManifestError::new(Code::LimitUnmet, limit.span.clone(), message);
    if cells.iter().all(|cell| cell.concurrency == cells[0].concurrency) {
        errors.push(
            wrong("`limit` ends a sweep of concurrency, but all cells have the same concurrency")
                .help("use several levels, for instance `concurrency = [1, 2, 4, 8, 16]`"),
        );
    }
    let held = |cell: &Cell| cell.number("hold_s").is_some_and(|seconds| seconds > 0);
    if settings_known && let Some(cell) = cells.iter().find(|cell| limit.value.memory_mib.is_some() && !held(cell)) {
        let message =
            format!("the limit `memory_mib` needs VMs that are held, but `hold_s` of {} is 0", quote(&cell.id));
        errors
            .push(wrong(&message).help("set `hold_s = 5` in [guest], so that all VMs of a trial run at the same time"));
    }
    Some(limit.value)
}

/// Splits the product into kept combinations and excluded ones, these with the number of the line that excludes them.
#[expect(clippy::type_complexity, reason = "two lists of pairs for a single caller")]
fn split_excluded(
    axes: &[Levels],
    exclude: &[Line],
    source: &str,
    errors: &mut Diagnostics,
) -> (Vec<(Combination, Option<u32>)>, Vec<(Combination, u32)>) {
    let masks: Vec<Vec<Option<Vec<bool>>>> = exclude.iter().map(|line| mask(axes, line)).collect();
    let lines: Vec<u32> = exclude.iter().map(|line| line_of(source, line.span.start)).collect();
    let mut used = vec![false; exclude.len()];
    let (mut kept, mut excluded) = (Vec::new(), Vec::new());
    for combination in combinations(axes, None) {
        let matches = |mask: &Vec<Option<Vec<bool>>>| {
            mask.iter().zip(&*combination).all(|(mask, at)| mask.as_ref().is_none_or(|mask| mask[*at as usize]))
        };
        match masks.iter().position(matches) {
            Some(line) => {
                used[line] = true;
                excluded.push((combination, lines[line]));
            }
            None => kept.push((combination, None)),
        }
    }
    for (line, _) in exclude.iter().zip(used).filter(|(_, used)| !used) {
        errors.push(
            ManifestError::new(Code::ExcludesNothing, line.span.clone(), "this line excludes no further combination")
                .help("earlier lines of `exclude` cover all its combinations: remove one of the lines"),
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

/// Number of combinations of a line of `include`.
fn count_combinations(axes: &[Levels], line: &Line) -> usize {
    let lengths = axes.iter().zip(&line.levels);
    lengths.map(|(axis, named)| named.as_ref().map_or(axis.product, Vec::len)).fold(1, usize::saturating_mul)
}

/// Every combination of the product or of a line. The last axis varies fastest.
fn combinations(axes: &[Levels], line: Option<&Line>) -> impl Iterator<Item = Combination> {
    let position = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let of_axis = |(at, axis): (usize, &Levels)| -> Vec<u32> {
        match line.and_then(|line| line.levels[at].as_ref()) {
            Some(named) => named.iter().map(|at| position(*at)).collect(),
            None => (0..position(axis.product)).collect(),
        }
    };
    let positions: Vec<Vec<u32>> = axes.iter().enumerate().map(of_axis).collect();
    let total = positions.iter().map(Vec::len).fold(1, usize::saturating_mul);
    (0..total).map(move |mut rest| {
        let mut combination: Combination = positions.iter().map(|_| 0).collect();
        // The `Arc` has a single owner here, so `make_mut` does not clone.
        for (at, positions) in Arc::make_mut(&mut combination).iter_mut().zip(&positions).rev() {
            *at = positions[rest % positions.len()];
            rest /= positions.len();
        }
        combination
    })
}

/// The part of a cell's id for each level of each axis. Reports levels of an axis with the same part.
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
                let message = format!("levels {a} and {b} would both be {} in the names of cells", quote(name));
                errors.push(
                    ManifestError::new(Code::SameCellName, span, message)
                        .help("in the name of a cell, characters other than A-Z, a-z, 0-9 and `.,:=+-` become `_`"),
                );
            }
        }
        all.push(names);
    }
    all
}

/// The level's part of a cell's id, without a slash, a space or any other special character of shells and file names.
fn cell_name(level: &Level) -> String {
    let text = level.to_string();
    if text.is_empty() {
        return "none".into();
    }
    if text.bytes().all(|byte| byte == b'.') {
        return "_".repeat(text.len());
    }
    text.chars().map(|c| if is_of_cell(c) { c } else { '_' }).collect()
}

/// Number of trials of a cell, by its concurrency.
enum TrialTable {
    Each(u32),
    By(HashMap<i64, u32>),
}

impl TrialTable {
    /// Trials of a cell of this concurrency. 1 for a level without a number, which [`Self::read`] has reported.
    fn trials_for(&self, concurrency: i64) -> u32 {
        match self {
            Self::Each(trials) => *trials,
            Self::By(table) => table.get(&concurrency).copied().unwrap_or(1),
        }
    }

    /// Reads `trials`. Reports levels of concurrency without a number, and numbers of unknown levels.
    fn read(raw: &raw::Matrix, axes: &[Levels], include: &[Line], errors: &mut Diagnostics) -> Self {
        let (entries, span) = match &raw.trials {
            None => {
                // Reached when a similar key counted as a typo of `trials`, but is a valid axis.
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
                errors.push(ManifestError::new(Code::Duplicate, key.span.clone(), message));
            }
        }
        let missing_levels = |positions: &mut dyn Iterator<Item = usize>| -> Vec<String> {
            let levels = positions.map(|at| &axis.axis.levels[at]);
            levels
                .filter(|level| matches!(level, Level::Int(level) if !table.contains_key(level)))
                .map(ToString::to_string)
                .collect()
        };
        let missing = missing_levels(&mut (0..axis.product));
        if !missing.is_empty() {
            let message = format!("`trials` has no number for concurrency {}", missing.join(", "));
            let help = missing.iter().map(|level| format!("{level} = 1")).collect::<Vec<_>>().join(", ");
            errors.push(
                ManifestError::new(Code::TrialsNotCovered, span.clone(), message)
                    .help(format!("add for instance `{help}`, or use one number for all: `trials = 10`")),
            );
        }
        for line in include.iter().filter(|line| line.trials.is_none()) {
            let missing = line.levels[1].as_ref().map_or_else(Vec::new, |named| {
                missing_levels(&mut named.iter().copied().filter(|at| *at >= axis.product))
            });
            if !missing.is_empty() {
                let message = format!("concurrency {} of this line has no number of trials", missing.join(", "));
                errors.push(
                    ManifestError::new(Code::TrialsNotCovered, line.span.clone(), message)
                        .related(span.clone(), "no number here")
                        .help("add `trials = 1` to the line, or add the level to `trials` of the matrix"),
                );
            }
        }
        Self::By(table)
    }
}
