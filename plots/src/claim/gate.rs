//! The gate of claims with `gate = true`, for example limits for the percentiles of a service.

use std::fmt::Write as _;

use microbench_formats::terminal::OutputWidth;

use super::{Outcome, Verdict, render};
use crate::compare::markdown::{escaped, message, property};

/// The verdicts on the claims that a gate judges.
///
/// A claim that is contradicted or not measured fails the gate, and one that is inconclusive because VMs have no value.
/// Another inconclusive one passes with a message. One whose limits are for the wall clock is not judged in virtual time.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimGate<'a> {
    verdicts: Vec<&'a Verdict>,
    allow_missing: bool,
}

impl<'a> ClaimGate<'a> {
    /// The gate of the claims among `verdicts` that have one. With `allow_missing`, a claim may lack data.
    #[must_use]
    pub fn new(verdicts: &'a [Verdict], allow_missing: bool) -> Self {
        Self { verdicts: verdicts.iter().filter(|verdict| verdict.claim.gate).collect(), allow_missing }
    }

    /// The verdicts on the claims with a gate, in plan order.
    #[must_use]
    pub fn verdicts(&self) -> &[&'a Verdict] {
        &self.verdicts
    }

    /// Whether no claim is contradicted and, unless allowed, each claim was measured and no missing value leaves it open.
    #[must_use]
    pub fn passes(&self) -> bool {
        let fails = |verdict: &&Verdict| match verdict.outcome {
            Outcome::Contradicted => true,
            Outcome::NotMeasured => !self.allow_missing,
            Outcome::Inconclusive => !self.allow_missing && verdict.unknown > 0,
            Outcome::Holds | Outcome::NotComparable => false,
        };
        !self.verdicts.iter().any(fails)
    }

    /// Whether no claim holds or is contradicted or inconclusive, in which case a passing gate means nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verdicts.iter().all(|verdict| matches!(verdict.outcome, Outcome::NotComparable | Outcome::NotMeasured))
    }

    /// One line for each claim that does not hold: its name, its verdict and the reason.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let describe = |verdict: &Verdict| {
            let Verdict { claim, outcome, remark, .. } = verdict;
            let measured = verdict.against_expectation().map_or_else(String::new, |measured| format!(": {measured}"));
            let why = if remark.is_empty() { String::new() } else { format!(" ({remark})") };
            format!("claim {} is {outcome}{measured}{why}", claim.name)
        };
        self.unmet().map(describe).collect()
    }

    /// The verdicts on the claims that do not hold.
    fn unmet(&self) -> impl Iterator<Item = &'a Verdict> {
        self.verdicts.iter().copied().filter(|verdict| verdict.outcome != Outcome::Holds)
    }

    /// The verdicts as text for `width`, with a heading.
    #[must_use]
    pub fn render(&self, width: OutputWidth) -> String {
        format!("claims with a gate:\n{}", render(self.verdicts.iter().copied(), width))
    }

    /// The verdicts as a table in Markdown.
    #[must_use]
    pub fn render_markdown(&self) -> String {
        let mut out = "| claim | verdict | measured | expected |\n| --- | --- | --- | --- |\n".to_owned();
        for verdict in &self.verdicts {
            let cells =
                [&verdict.claim.text, &verdict.outcome.to_string(), &verdict.measured(), &verdict.expectation()];
            let _ = writeln!(out, "| {} |", cells.map(|cell| escaped(cell)).join(" | "));
        }
        out
    }

    /// The workflow commands of GitHub Actions: an error for each claim that is contradicted, and a warning for each other
    /// one that does not hold.
    #[must_use]
    pub fn render_annotations(&self) -> String {
        let mut out = String::new();
        for verdict in self.unmet() {
            let level = if verdict.outcome == Outcome::Contradicted { "error" } else { "warning" };
            let title = property(&format!("{}: {}", verdict.claim.name, verdict.outcome));
            let what = verdict.against_expectation().unwrap_or_else(|| verdict.remark.clone());
            let _ = writeln!(out, "::{level} title={title}::{}", message(&what));
        }
        out
    }
}
