//! Profiles: other numbers of trials for the same study, and fewer cells of it.

use std::collections::BTreeMap;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::selection::Selection;

use super::diagnostic::{Diagnostics, ManifestError, line_of};
use super::nearest::quote;
use super::raw::{self, Trials};
use super::selection;

/// Name of the profile that `[matrix]` itself is.
pub const FULL: &str = "full";

/// Trials in place of the matrix's own.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// Key in the manifest.
    pub name: String,
    /// The cells that it keeps; empty for all.
    pub only: Selection,
    /// Trials of a cell by its concurrency; every one that is kept is there.
    pub trials: BTreeMap<u32, u32>,
    /// Rounds of every work at most; `None` for the metrics' own.
    pub rounds: Option<u32>,
    /// The manifest's line that has its name.
    pub line: u32,
    /// The manifest's line of each number of trials, by concurrency.
    pub lines: BTreeMap<u32, u32>,
}

impl Profile {
    /// True when the profile runs the cell.
    #[must_use]
    pub fn keeps(&self, cell: &Cell) -> bool {
        selection::has(&self.only, cell)
    }
}

/// The selections of the manifest's profiles, looked up.
pub(super) fn check(manifest: &raw::Manifest, axes: Option<&[Axis]>, errors: &mut Diagnostics) -> Vec<Selection> {
    let check = |raw: &raw::Profile| {
        if raw.name.value == FULL {
            errors.push(
                ManifestError::new(Code::Conflict, raw.name.span.clone(), "the profile `full` is `trials` of [matrix]")
                    .related(manifest.matrix.span.clone(), "here")
                    .help("give the profile another name"),
            );
        }
        selection::check(&raw.selection, axes, errors)
    };
    manifest.profiles.iter().map(check).collect()
}

/// The profiles over the study's cells, with a number of trials for each concurrency that is kept.
pub(super) fn cover(
    manifest: &raw::Manifest,
    selections: Vec<Selection>,
    axes: &[Axis],
    cells: &[Cell],
    source: &str,
    errors: &mut Diagnostics,
) -> Vec<Profile> {
    let known = axes.iter().find(|axis| axis.name == "concurrency").map_or(&[][..], |axis| &axis.levels);
    let mut profiles = Vec::new();
    for (raw, only) in manifest.profiles.iter().zip(selections) {
        let mut profile = Profile {
            name: raw.name.value.clone(),
            only,
            trials: BTreeMap::new(),
            rounds: raw.rounds.as_ref().and_then(|rounds| u32::try_from(rounds.value).ok()),
            line: line_of(source, raw.name.span.start),
            lines: BTreeMap::new(),
        };
        let kept: Vec<u32> = cells.iter().filter(|cell| profile.keeps(cell)).map(|cell| cell.concurrency).collect();
        if kept.is_empty() {
            let message = format!("profile {} keeps no cell", quote(&profile.name));
            errors.push(
                ManifestError::new(Code::NoCells, raw.name.span.clone(), message)
                    .help("no cell has all the levels that `where` asks for"),
            );
        }
        match &raw.trials {
            None => {}
            Some(Trials::Each(trials, _)) => {
                let trials = u32::try_from(*trials).unwrap_or(u32::MAX);
                profile.trials.extend(kept.iter().map(|concurrency| (*concurrency, trials)));
            }
            Some(Trials::ByConcurrency(entries, span)) => {
                for (key, trials) in entries {
                    let level = key.value.parse::<u32>().ok();
                    let Some(level) = level.filter(|level| known.contains(&Level::Int(i64::from(*level)))) else {
                        let levels: Vec<_> = known.iter().map(ToString::to_string).collect();
                        let message = format!("{} is not a level of `concurrency`", quote(&key.value));
                        errors.push(
                            ManifestError::new(Code::TrialsUnused, key.span.clone(), message)
                                .help(format!("the levels are {}", levels.join(", "))),
                        );
                        continue;
                    };
                    if profile.trials.insert(level, u32::try_from(*trials).unwrap_or(u32::MAX)).is_some() {
                        let message = format!("`trials` names concurrency {level} twice");
                        errors.push(ManifestError::new(Code::Twice, key.span.clone(), message));
                    }
                }
                let mut missing: Vec<u32> =
                    kept.into_iter().filter(|concurrency| !profile.trials.contains_key(concurrency)).collect();
                missing.sort_unstable();
                missing.dedup();
                if !missing.is_empty() {
                    let listed = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    let help = missing.iter().map(|level| format!("{level} = 1")).collect::<Vec<_>>().join(", ");
                    let message = format!(
                        "profile {} does not say how many trials concurrency {listed} has",
                        quote(&raw.name.value)
                    );
                    errors.push(ManifestError::new(Code::TrialsNotCovered, span.clone(), message).help(format!(
                        "add for instance `{help}`, or leave the levels out: `where = {{ concurrency = [...] }}`"
                    )));
                }
            }
        }
        if let Some(trials) = &raw.trials {
            profile.lines = profile.trials.keys().map(|level| (*level, trials.line(*level, source))).collect();
        }
        profiles.push(profile);
    }
    profiles
}
