//! Profiles: named sets of trial numbers for the same study, which can also leave out cells.

use std::collections::BTreeMap;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::code::Code;
use microbench_formats::selection::Selection;
use microbench_formats::selection::selects;

use super::diagnostic::{Diagnostics, ManifestError, line_of};
use super::nearest::quote;
use super::raw::{self, Trials};
use super::selection;

/// Name of the implicit profile: `[matrix]` itself.
pub const FULL: &str = "full";

/// Numbers of trials that replace those of the matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub name: String,
    /// The cells of the profile; empty for all.
    pub only: Selection,
    /// Trials of a cell by concurrency, for every concurrency of the profile's cells.
    pub trials: BTreeMap<u32, u32>,
    /// Maximum number of rounds of every workload; `None` for no limit.
    pub rounds: Option<u32>,
    /// Line of the profile in the manifest.
    pub line: u32,
    /// Line of each number of trials in the manifest, by concurrency.
    pub lines: BTreeMap<u32, u32>,
}

impl Profile {
    /// True when the profile runs the cell.
    #[must_use]
    pub fn selects(&self, cell: &Cell) -> bool {
        selects(&self.only, cell)
    }
}

/// The selection of each of the manifest's profiles; `None` for a profile in error.
pub(super) fn check(
    manifest: &raw::Manifest,
    axes: Option<&[Axis]>,
    errors: &mut Diagnostics,
) -> Vec<Option<Selection>> {
    let check = |raw: &raw::Profile| {
        if raw.name.value == FULL {
            errors.push(
                ManifestError::new(
                    Code::Conflict,
                    raw.name.span.clone(),
                    "the name `full` is reserved: the profile `full` is [matrix] itself",
                )
                .related(manifest.matrix.span.clone(), "here")
                .help("rename the profile"),
            );
        }
        let before = errors.count();
        let selection = selection::check(&raw.selection, axes, errors);
        (!raw.broken && errors.count() == before).then_some(selection)
    };
    manifest.profiles.iter().map(check).collect()
}

/// Builds the profiles. Reports profiles without a cell, and cells without a number of trials.
pub(super) fn cover(
    manifest: &raw::Manifest,
    selections: Vec<Option<Selection>>,
    axes: &[Axis],
    cells: &[Cell],
    source: &str,
    errors: &mut Diagnostics,
) -> Vec<Profile> {
    let known = axes.iter().find(|axis| axis.name == "concurrency").map_or(&[][..], |axis| &axis.levels);
    let mut profiles = Vec::new();
    for (raw, only) in manifest.profiles.iter().zip(selections) {
        let Some(only) = only else { continue };
        let mut profile = Profile {
            name: raw.name.value.clone(),
            only,
            trials: BTreeMap::new(),
            rounds: raw.rounds.as_ref().and_then(|rounds| u32::try_from(rounds.value).ok()),
            line: line_of(source, raw.name.span.start),
            lines: BTreeMap::new(),
        };
        let kept: Vec<u32> = cells.iter().filter(|cell| profile.selects(cell)).map(|cell| cell.concurrency).collect();
        if kept.is_empty() {
            let message = format!("profile {} has no cell", quote(&profile.name));
            errors.push(
                ManifestError::new(Code::NoCells, raw.name.span.clone(), message)
                    .help("no cell has all the levels of `where`"),
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
                        errors.push(ManifestError::new(Code::Duplicate, key.span.clone(), message));
                    }
                }
                let mut missing: Vec<u32> =
                    kept.into_iter().filter(|concurrency| !profile.trials.contains_key(concurrency)).collect();
                missing.sort_unstable();
                missing.dedup();
                if !missing.is_empty() {
                    let listed = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    let help = missing.iter().map(|level| format!("{level} = 1")).collect::<Vec<_>>().join(", ");
                    let message =
                        format!("profile {} has no number of trials for concurrency {listed}", quote(&raw.name.value));
                    errors.push(ManifestError::new(Code::TrialsNotCovered, span.clone(), message).help(format!(
                        "add for instance `{help}`, or exclude the levels: `where = {{ concurrency = [...] }}`"
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
