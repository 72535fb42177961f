//! Axes of the matrix and lines of `exclude` and `include`: looks up every name and level.
//!
//! The result refers to levels by their position on their axis, which is all that [`matrix`](super::matrix) needs.

use std::collections::HashMap;
use std::ops::Range;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::code::Code;

use super::MAX_CELLS;
use super::diagnostic::{Diagnostics, ManifestError};
use super::keys;
use super::nearest::{list_valid, quote, suggest};
use super::raw::{self, RawAxis};
use super::read::{At, format_level};
use super::renamed;
use super::settings::{Catalog, guest, guest_names};
use super::study::Variant;

/// An axis whose levels are all valid.
pub(super) struct Levels {
    pub(super) axis: Axis,
    /// Number of levels in the product. Later levels are those that `include` adds.
    pub(super) product: usize,
    /// The place of each level in the manifest; an empty range for the default level.
    pub(super) spans: Vec<Range<usize>>,
    at: HashMap<String, usize>,
}

/// A line of `exclude` or `include`.
pub(super) struct Line {
    pub(super) span: Range<usize>,
    /// For each axis, the positions of the named levels; `None` for every level of the product.
    pub(super) levels: Vec<Option<Vec<usize>>>,
    pub(super) trials: Option<u32>,
}

/// The axes and lines of a matrix, all valid.
pub(super) struct Axes {
    pub(super) axes: Vec<Levels>,
    pub(super) exclude: Vec<Line>,
    pub(super) include: Vec<Line>,
}

/// A text that is equal for equal levels, also for `1` and `1.0`.
fn value_key(level: &Level) -> String {
    match level {
        Level::Bool(value) => format!("b{value}"),
        Level::Int(value) => format!("n{value}"),
        Level::Float(value) => format!("n{value}"),
        Level::Text(value) => format!("t{value}"),
    }
}

impl Levels {
    fn new(name: &str, levels: Vec<At<Level>>, errors: &mut Diagnostics) -> Self {
        let axis = Axis { name: name.into(), levels: Vec::new() };
        let mut this = Self { axis, product: 0, spans: Vec::new(), at: HashMap::new() };
        let mut first: HashMap<String, Range<usize>> = HashMap::new();
        for level in levels {
            if let Some(before) = first.insert(value_key(&level.value), level.span.clone()) {
                let message = format!("{} is listed twice on axis {}", format_level(&level.value), quote(name));
                errors.push(ManifestError::new(Code::Duplicate, level.span, message).related(before, "the first"));
            } else {
                this.add(level.value, level.span);
            }
        }
        this.product = this.axis.levels.len();
        this
    }

    /// The position of the level. A new level is added.
    fn add(&mut self, level: Level, span: Range<usize>) -> usize {
        let next = self.axis.levels.len();
        let at = *self.at.entry(value_key(&level)).or_insert(next);
        if at == next {
            self.axis.levels.push(level);
            self.spans.push(span);
        }
        at
    }

    pub(super) fn find(&self, level: &Level) -> Option<usize> {
        self.at.get(&value_key(level)).copied()
    }
}

/// The error that a level is not on its axis.
pub(super) fn unknown_level(axis: &Axis, level: &At<Level>) -> ManifestError {
    let message = format!("{} is not a level of axis {}", format_level(&level.value), quote(&axis.name));
    let valid: Vec<String> = axis.levels.iter().map(ToString::to_string).collect();
    let kind = format!("levels of {}", quote(&axis.name));
    let valid = valid.iter().map(String::as_str);
    ManifestError::new(Code::UnknownLevel, level.span.clone(), message).help(match &level.value {
        Level::Text(text) => suggest(text, &kind, valid),
        Level::Bool(_) | Level::Int(_) | Level::Float(_) => list_valid(&kind, valid),
    })
}

/// Looks up the names of the matrix. `None` if an axis has an error, which makes its lines meaningless.
pub(super) fn check(
    manifest: &raw::Manifest,
    variants: &[Variant],
    catalog: &Catalog,
    errors: &mut Diagnostics,
) -> Option<Axes> {
    let before = errors.count();
    let lookup = Lookup { manifest, variants, catalog };
    let raw = &manifest.matrix;
    if !check_product(raw, manifest.variants.len(), errors) {
        return None;
    }
    let chosen = lookup.variants(errors);
    let mut axes = vec![
        Levels::new("variant", chosen, errors),
        Levels::new("concurrency", concurrency(raw.concurrency.as_deref()), errors),
    ];
    for raw in &raw.axes {
        if let Some(levels) = lookup.axis(raw, &axes[0].axis, errors) {
            axes.push(Levels::new(&raw.name.value, levels, errors));
        }
    }
    if raw.broken || errors.count() != before {
        return None;
    }
    let exclude = raw.exclude.iter().filter_map(|line| lookup.exclude(line, &axes, errors)).collect();
    let include = raw.include.iter().filter_map(|line| lookup.include(line, &mut axes, errors)).collect();
    Some(Axes { axes, exclude, include })
}

/// Reports a product with more than [`MAX_CELLS`] combinations, before it is expanded.
fn check_product(raw: &raw::Matrix, variants: usize, errors: &mut Diagnostics) -> bool {
    let variants = raw.variant.as_ref().map_or(variants, Vec::len);
    let lengths = [variants, raw.concurrency.as_ref().map_or(1, Vec::len)];
    let lengths = lengths.into_iter().chain(raw.axes.iter().map(|axis| axis.levels.len().max(1)));
    let product = lengths.fold(1_usize, usize::saturating_mul);
    if product <= MAX_CELLS {
        return true;
    }
    let message = format!("the axes have {product} combinations; the limit is {MAX_CELLS}");
    errors.push(
        ManifestError::new(Code::TooMany, raw.span.clone(), message)
            .help("the limit applies before `exclude`: remove levels, or split the study"),
    );
    false
}

fn concurrency(levels: Option<&[At<i64>]>) -> Vec<At<Level>> {
    levels.map_or_else(
        || vec![At { value: Level::Int(1), span: 0..0 }],
        |levels| levels.iter().map(|at| At { value: Level::Int(at.value), span: at.span.clone() }).collect(),
    )
}

struct Lookup<'a> {
    manifest: &'a raw::Manifest,
    variants: &'a [Variant],
    catalog: &'a Catalog,
}

impl Lookup<'_> {
    /// The levels of the axis `variant`: all variants by default.
    fn variants(&self, errors: &mut Diagnostics) -> Vec<At<Level>> {
        let level = |at: &At<String>| At { value: Level::Text(at.value.clone()), span: at.span.clone() };
        match &self.manifest.matrix.variant {
            None => self.manifest.variants.iter().map(|variant| level(&variant.key)).collect(),
            Some(names) => names.iter().map(level).filter(|level| self.check_variant(level, errors)).collect(),
        }
    }

    fn check_variant(&self, level: &At<Level>, errors: &mut Diagnostics) -> bool {
        let keys = || self.manifest.variants.iter().map(|variant| variant.key.value.as_str());
        let Level::Text(text) = &level.value else {
            let message = format!("{} is not a variant", format_level(&level.value));
            errors.push(
                ManifestError::new(Code::WrongType, level.span.clone(), message).help(list_valid("variants", keys())),
            );
            return false;
        };
        if keys().any(|key| key == text) {
            return true;
        }
        let message = format!("there is no variant {}", quote(text));
        errors.push(ManifestError::new(Code::UnknownVariant, level.span.clone(), message).help(suggest(
            text,
            "variants",
            keys(),
        )));
        false
    }

    /// The levels of an axis that varies a setting.
    fn axis(&self, raw: &RawAxis, variants: &Axis, errors: &mut Diagnostics) -> Option<Vec<At<Level>>> {
        let RawAxis { name, levels, wrong } = raw;
        if guest(&name.value).is_none()
            && !self.catalog.engines.values().any(|engine| engine.settings.contains_key(&name.value))
        {
            errors.push_with(|| self.neither_setting_nor_key(name));
            return None;
        }
        if let Some(wrong) = wrong {
            errors.push(wrong.clone());
            return None;
        }
        let before = errors.count();
        self.check_setting_of_variants(name, &variants.levels, &name.span, errors);
        let count = levels.len();
        let levels: Vec<_> =
            levels.iter().filter_map(|level| self.level(&name.value, level, &variants.levels, errors)).collect();
        (levels.len() == count && errors.count() == before).then_some(levels)
    }

    fn neither_setting_nor_key(&self, name: &At<String>) -> ManifestError {
        let settings = self.catalog.engines.values().flat_map(|engine| engine.settings.keys().map(String::as_str));
        let valid: Vec<_> = keys::MATRIX.iter().map(|key| key.name).chain(guest_names()).chain(settings).collect();
        let message = format!("{} is neither a setting nor a key of [matrix]", quote(&name.value));
        ManifestError::new(Code::UnknownAxis, name.span.clone(), message)
            .help(suggest(&name.value, "names", valid.iter().copied()))
            .help(
                "an axis other than `variant` and `concurrency` is a guest setting or a setting of each variant's \
             engine",
            )
    }

    /// Reports each variant whose engine does not have the setting.
    fn check_setting_of_variants(
        &self,
        name: &At<String>,
        variants: &[Level],
        place: &Range<usize>,
        errors: &mut Diagnostics,
    ) {
        if guest(&name.value).is_some() {
            return;
        }
        for variant in self.named(variants) {
            let Some(spec) = self.catalog.engines.get(&variant.engine) else { continue };
            if spec.settings.contains_key(&name.value) {
                continue;
            }
            let (key, engine) = (quote(&variant.key), quote(&variant.engine));
            let message =
                format!("variant {key} has no setting {}, so the setting cannot be an axis", quote(&name.value));
            let mut error = ManifestError::new(Code::AxisNotOfVariant, place.clone(), message);
            if let Some(raw) = self.manifest.variants.iter().find(|raw| raw.key.value == variant.key)
                && let Some(raw) = &raw.engine
            {
                error = error.related(raw.span.clone(), format!("engine of {key}"));
            }
            let settings = spec.settings.keys().map(String::as_str);
            errors.push(
                error.help(list_valid(&format!("settings of {engine}"), settings)).help(
                    "remove the variant from the matrix, or define one variant for each level instead of an axis",
                ),
            );
        }
    }

    fn named<'b>(&'b self, variants: &'b [Level]) -> impl Iterator<Item = &'b Variant> {
        let is = |variant: &Variant, level: &Level| matches!(level, Level::Text(text) if *text == variant.key);
        self.variants.iter().filter(move |variant| variants.iter().any(|level| is(variant, level)))
    }

    /// The level converted to the type of its setting, and checked for the engine of each variant.
    fn level(&self, name: &str, level: &At<Level>, variants: &[Level], errors: &mut Diagnostics) -> Option<At<Level>> {
        let place = |value| At { value, span: level.span.clone() };
        if let Some(setting) = guest(name) {
            return setting.check(level, self.catalog, errors).map(place);
        }
        let mut engines: Vec<_> = self.named(variants).map(|variant| &variant.engine).collect();
        engines.sort_unstable();
        engines.dedup();
        let mut value = level.value.clone();
        for engine in engines {
            if let Some(spec) = self.catalog.engines.get(engine).and_then(|spec| spec.settings.get(name)) {
                value = spec.check(name, level, &self.manifest.folder, errors)?;
            }
        }
        Some(place(value))
    }

    fn exclude(&self, raw: &raw::Line, axes: &[Levels], errors: &mut Diagnostics) -> Option<Line> {
        let mut line = Line { span: raw.span.clone(), levels: vec![None; axes.len()], trials: None };
        let before = errors.count();
        for (name, levels) in &raw.levels {
            let Some(at) = self.find_axis(name, axes, errors) else { continue };
            let mut positions = Vec::new();
            for level in levels {
                match axes[at].find(&level.value) {
                    Some(position) => positions.push(position),
                    None => errors.push(unknown_level(&axes[at].axis, level)),
                }
            }
            line.levels[at] = Some(positions);
        }
        (errors.count() == before).then_some(line)
    }

    fn include(&self, raw: &raw::Line, axes: &mut [Levels], errors: &mut Diagnostics) -> Option<Line> {
        let trials = raw.trials.and_then(|trials| u32::try_from(trials).ok());
        let mut line = Line { span: raw.span.clone(), levels: vec![None; axes.len()], trials };
        let before = errors.count();
        let named = raw.levels.iter().find(|(name, _)| name.value == "variant").map(|(_, levels)| levels);
        let variants: Vec<Level> = match named {
            Some(levels) => levels.iter().map(|level| level.value.clone()).collect(),
            None => axes[0].axis.levels[..axes[0].product].to_vec(),
        };
        for (name, levels) in &raw.levels {
            let Some(at) = self.find_axis(name, axes, errors) else { continue };
            let mut positions = Vec::new();
            for level in levels {
                if let Some(value) = self.include_level(name, level, &variants, errors) {
                    let position = axes[at].add(value, level.span.clone());
                    if positions.contains(&position) {
                        let message = format!(
                            "{} is listed twice in this line",
                            quote(&axes[at].axis.levels[position].to_string())
                        );
                        errors.push(ManifestError::new(Code::Duplicate, raw.span.clone(), message));
                    }
                    positions.push(position);
                }
                if positions.len() > MAX_CELLS {
                    break;
                }
            }
            line.levels[at] = Some(positions);
        }
        // A variant that only this line adds may not have the setting of an axis.
        if named.is_some() {
            for axis in &self.manifest.matrix.axes {
                self.check_setting_of_variants(&axis.name, &variants, &raw.span, errors);
            }
        }
        (errors.count() == before).then_some(line)
    }

    /// A level of an include line: a level of the axis, or a valid new one.
    fn include_level(
        &self,
        axis: &At<String>,
        level: &At<Level>,
        variants: &[Level],
        errors: &mut Diagnostics,
    ) -> Option<Level> {
        match axis.value.as_str() {
            "variant" => self.check_variant(level, errors).then(|| level.value.clone()),
            "concurrency" => match level.value {
                Level::Int(1..=10_000) => Some(level.value.clone()),
                _ => {
                    let message = "`concurrency` must be an integer between 1 and 10000";
                    errors.push(ManifestError::new(Code::OutOfRange, level.span.clone(), message));
                    None
                }
            },
            name => self.level(name, level, variants, errors).map(|level| level.value),
        }
    }

    fn find_axis(&self, name: &At<String>, axes: &[Levels], errors: &mut Diagnostics) -> Option<usize> {
        let found = axes.iter().position(|levels| levels.axis.name == name.value);
        if found.is_none() {
            errors.push(unknown_axis(name, axes.iter().map(|levels| &levels.axis)));
        }
        found
    }
}

/// The error that the matrix has no axis of this name.
pub(super) fn unknown_axis<'a>(name: &At<String>, axes: impl Iterator<Item = &'a Axis> + Clone) -> ManifestError {
    let message = format!("the matrix has no axis {}", quote(&name.value));
    let error = ManifestError::new(Code::UnknownAxis, name.span.clone(), message).help(suggest(
        &name.value,
        "axes",
        axes.map(|axis| axis.name.as_str()),
    ));
    if let Some(renamed) = renamed::setting(&name.value) {
        error.help(format!("the setting {} was renamed to `{}`", quote(&name.value), renamed.new))
    } else if guest(&name.value).is_some() {
        error.help(format!("to make the setting an axis, list its levels in [matrix]: `{} = [...]`", name.value))
    } else {
        error
    }
}
