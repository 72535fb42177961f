//! The comparison of one metric of two cells: estimate, interval and p-value of one statistic.
//!
//! By default this is the Hodges-Lehmann estimate with the rank tests of [`shift`](crate::stats::shift); with
//! [`Statistic::Mean`], the ratio of means with the bootstrap of [`contrast`](crate::stats::contrast). If a side has
//! repetitions, these are the unit, with the t test of [`repetition`](crate::stats::repetition).

use std::collections::BTreeMap;

use microbench_formats::direction::Better;
use microbench_formats::family::ALPHA;
use microbench_formats::host::HostKind;
use microbench_formats::metric::Gate;
use microbench_formats::statistic::Statistic;

use super::missing::vms_with_value;
use super::verdict::{Evidence, Margin, RangeTests, Tolerance};
use super::{Comparison, Settings, Verdict};
use crate::stats::contrast::{Contrast, Kind, MeanTest, Stratum as Cell};
use crate::stats::median::Interval;
use crate::stats::null::Null;
use crate::stats::pairs::{Effect, Stratum};
use crate::stats::repetition::{Design, Refusal, RepetitionComparison, Scale, compare_repetitions};
use crate::stats::shift::{Shift, blocks_matter};
use crate::summary::{LEVEL, Row, Trial, no_shared_machine, shared_machines};

/// The comparison of two rows with the same metric and unit; without the verdict. `gate` is the rule of the metric. The
/// family has `tests` comparisons.
pub(super) fn contrast(
    a: &Row,
    b: &Row,
    better: Better,
    gate: Option<Gate>,
    settings: &Settings,
    tests: usize,
    stream: u64,
) -> Comparison {
    let statistic = settings.statistic;
    let shared = if settings.pooled { vec![String::new()] } else { shared_machines(&[a, b]) };
    let mut comparison = Comparison {
        n: [a.trials.len(), b.trials.len()],
        values: [a, b].map(|row| row.statistic(statistic)),
        with_value: [a, b].map(vms_with_value).map(|side| (side.completed, side.of)),
        ..Comparison::empty(&b.cell, &a.metric, &a.unit, better)
    };
    if shared.is_empty() {
        comparison.remark = no_shared_machine(&[a, b]);
        comparison.verdict = Verdict::NotCompared;
        return comparison;
    }
    let samples = Samples { settings, shared: &shared };
    let strata = samples.strata([(a, &a.trials), (b, &b.trials)]);
    if shared.len() > 1 || shared.iter().any(|machine| !machine.is_empty()) {
        set_values_within_hosts(&mut comparison, [a, b], &strata, &shared, statistic);
    }
    let effect = effect_of(&strata);
    let gate = gate.unwrap_or_default();
    let margin = Margin { share: gate.margin.or(settings.margin), floor: gate.floor };
    (comparison.margin, comparison.floor) = (margin.share, margin.floor);
    let first = comparison.values[0].unwrap_or(0.0);
    // A floor is tested as a difference, whose error rate does not depend on the first side's sample.
    let ranges: Vec<(Effect, Tolerance)> = match (effect, margin.share, margin.floor) {
        (Effect::Difference, ..) => vec![(effect, Tolerance::of_difference(margin, first))],
        (Effect::Ratio, share, None) => vec![(effect, Tolerance::of_ratio(share))],
        (Effect::Ratio, share, floor) => {
            let of_floor = (Effect::Difference, Tolerance::of_difference(Margin { share: None, floor }, first));
            share.map(|_| (effect, Tolerance::of_ratio(share))).into_iter().chain([of_floor]).collect()
        }
    };
    let shift = |effect| samples.shift(effect, [(a, &a.trials), (b, &b.trials)], tests);
    let by_difference = shift(Effect::Difference);
    comparison.shift = by_difference.estimate().filter(|shift| shift.is_finite());
    comparison.shift_interval =
        by_difference.interval(LEVEL).filter(|found| found.low.is_finite() && found.high.is_finite());
    comparison.a12 = Shift::rank_sum(effect, &strata).a12();
    let is_repeated = a.is_repeated() || b.is_repeated();
    let repetitions = |effect, sides| samples.over_repetitions(effect, sides);
    let means = |effect| of_means(effect, &strata, settings.seed, stream);
    let measured = [(a, a.trials.as_slice()), (b, b.trials.as_slice())];
    let own = match statistic {
        _ if is_repeated => match repetitions(effect, measured) {
            Ok(found) => {
                comparison.n = found.repetitions;
                set_effect(&mut comparison, effect, Some(found.estimate()), Some(found.interval(LEVEL)));
                Some(Evidence::Repetitions(found))
            }
            Err(refusal) => {
                comparison.remark = refusal.to_string();
                None
            }
        },
        Statistic::Mean => {
            let (estimate, interval, test) = means(effect);
            set_effect(&mut comparison, effect, estimate, interval);
            test.map(Evidence::Means)
        }
        _ => {
            let own = if effect == Effect::Difference { by_difference.clone() } else { shift(effect) };
            set_effect(&mut comparison, effect, own.estimate(), own.interval(LEVEL));
            Some(Evidence::Ranks(own))
        }
    };
    // A ratio to a censored value is not zero.
    let has_infinite_first = strata.iter().any(|(first, _)| first.iter().any(|value| value.is_infinite()));
    if has_infinite_first && comparison.ratio == Some(0.0) {
        comparison.ratio = None;
    }
    let tests_of = |evidence: &dyn Fn(Effect) -> Option<Evidence>| {
        let found = ranges.iter().map(|(effect, range)| Some((evidence(*effect)?, *range)));
        found.collect::<Option<Vec<_>>>().map(RangeTests)
    };
    let evidence = tests_of(&|of| match statistic {
        _ if of == effect => own.clone(),
        _ if is_repeated => repetitions(of, measured).ok().map(Evidence::Repetitions),
        Statistic::Mean => means(of).2.map(Evidence::Means),
        _ => Some(Evidence::Ranks(by_difference.clone())),
    });
    let Some(evidence) = evidence else { return comparison };
    comparison.smallest_p = Some(evidence.smallest_p());
    let mut decision = evidence.decide();
    if decision.is_better(better) && !b.failed.is_empty() {
        // A VM of the second side without a value must not make this side better, so it has the worst value.
        let worst = b.trials_with_failures(better == Better::Higher);
        let sides = [(a, a.trials.as_slice()), (b, worst.as_slice())];
        let strict = tests_of(&|effect| match is_repeated {
            true => repetitions(effect, sides).ok().map(Evidence::Repetitions),
            false => Some(Evidence::Ranks(samples.shift(effect, sides, tests))),
        });
        let strict = decision.at_most_as_sure_as(strict.as_ref());
        if strict.p > decision.p {
            comparison.add_remark("VMs of B without a value count as the worst in p");
        }
        decision = strict;
    }
    comparison.p = Some(decision.p);
    comparison.test = evidence.0.first().map(|(evidence, _)| evidence.test());
    comparison.decision = Some(decision);
    comparison
}

/// The ratio, if it is defined for every pair of values, else the difference.
fn effect_of(strata: &[Stratum]) -> Effect {
    let positive =
        |(first, second): &Stratum| first.iter().all(|value| *value > 0.0) && second.iter().all(|value| *value >= 0.0);
    if strata.iter().all(positive) { Effect::Ratio } else { Effect::Difference }
}

/// The ratio or difference of means, its interval and test.
fn of_means(
    effect: Effect,
    strata: &[Stratum],
    seed: u64,
    stream: u64,
) -> (Option<f64>, Option<Interval>, Option<MeanTest>) {
    let second = strata.iter().map(|host| Cell { first: host.1.clone(), second: Vec::new() });
    let first = strata.iter().map(|host| Cell { first: Vec::new(), second: host.0.clone() });
    let kind = if effect == Effect::Ratio { Kind::Ratio } else { Kind::Difference };
    let contrast = Contrast { kind, statistic: Statistic::Mean, strata: second.chain(first).collect() };
    let interval = contrast.interval(LEVEL, seed, stream).map(|(interval, _)| interval);
    (contrast.estimate(), interval, contrast.mean_test(seed, stream))
}

/// Sets the estimate and its interval. A value that is infinite is censored and has no estimate.
fn set_effect(comparison: &mut Comparison, effect: Effect, estimate: Option<f64>, interval: Option<Interval>) {
    let estimate = estimate.filter(|estimate| estimate.is_finite());
    match effect {
        Effect::Ratio => (comparison.ratio, comparison.interval) = (estimate, interval),
        Effect::Difference => {
            (comparison.difference, comparison.difference_interval) = (estimate, interval);
        }
    }
}

/// Sets the values of both sides to the means over their common hosts, and the trials on these hosts as n.
fn set_values_within_hosts(
    comparison: &mut Comparison,
    rows: [&Row; 2],
    strata: &[Stratum],
    shared: &[String],
    statistic: Statistic,
) {
    let side = |of: fn(&Stratum) -> &Vec<f64>| Contrast {
        kind: Kind::Value,
        statistic,
        strata: strata.iter().map(|host| Cell { first: of(host).clone(), second: Vec::new() }).collect(),
    };
    let sides = [side(|host| &host.0), side(|host| &host.1)];
    comparison.n = [0, 1].map(|at| sides[at].strata.iter().map(|stratum| stratum.first.len()).sum());
    comparison.values = [sides[0].estimate(), sides[1].estimate()];
    let left_out = rows.iter().map(|row| row.trials.len()).sum::<usize>() - comparison.n.iter().sum::<usize>();
    if left_out > 0 {
        comparison.remark = format!("{left_out} trials of hosts that only one side has are left out");
    }
    comparison.hosts = shared.to_vec();
}

/// The trials of both sides, by host and by block.
struct Samples<'a> {
    settings: &'a Settings,
    /// The hosts of both sides.
    shared: &'a [String],
}

/// A row, and its trials or those with failures.
type Trials<'a> = (&'a Row, &'a [Trial]);

impl Samples<'_> {
    fn value(&self, trial: &Trial) -> Option<f64> {
        if self.settings.statistic == Statistic::Mean { trial.mean } else { Some(trial.median) }
    }

    /// The host of a trial; the same for all if trials are pooled.
    fn machine<'r>(&self, row: &'r Row, trial: &Trial) -> &'r str {
        if self.settings.pooled { "" } else { row.machines.get(trial.machine).map_or("", String::as_str) }
    }

    /// The values of both sides on each of the common hosts.
    fn strata(&self, sides: [Trials<'_>; 2]) -> Vec<Stratum> {
        let values = |(row, trials): Trials<'_>, machine: &str| {
            let own = trials.iter().filter(|trial| self.machine(row, trial) == machine);
            own.filter_map(|trial| self.value(trial)).collect()
        };
        self.shared.iter().map(|machine| (values(sides[0], machine), values(sides[1], machine))).collect()
    }

    /// The comparison of the repetitions of both sides.
    fn over_repetitions(&self, effect: Effect, sides: [Trials<'_>; 2]) -> Result<RepetitionComparison, Refusal> {
        let [first, second] = sides.map(|(_, trials)| {
            let mut found: Vec<Vec<f64>> = Vec::new();
            for trial in trials {
                let repetition = trial.repetition as usize;
                found.resize(found.len().max(repetition + 1), Vec::new());
                found[repetition].extend(self.value(trial));
            }
            found
        });
        let design = if self.settings.alternating { Design::Paired } else { Design::Independent };
        let scale = if effect == Effect::Ratio { Scale::Ratio } else { Scale::Difference };
        compare_repetitions(&first, &second, self.settings.statistic, design, scale)
    }

    /// The value of both sides in each block with one trial of each.
    fn blocks(&self, sides: [Trials<'_>; 2]) -> Vec<(f64, f64)> {
        let mut blocks: BTreeMap<(u32, &str), Stratum> = BTreeMap::new();
        for (second, (row, trials)) in sides.into_iter().enumerate() {
            for trial in trials {
                let machine = self.machine(row, trial);
                if self.shared.iter().any(|name| name == machine) {
                    let block = blocks.entry((trial.block, machine)).or_default();
                    let side = if second == 1 { &mut block.1 } else { &mut block.0 };
                    side.extend(self.value(trial));
                }
            }
        }
        let pair = |(first, second): Stratum| Some((*first.first()?, *second.first()?));
        blocks.into_values().filter_map(pair).collect()
    }

    /// The effect of the second side. Blocks are used if the run randomised them, they explain much of the spread, and
    /// as many pairs can decide within a family of `tests` comparisons.
    fn shift(&self, effect: Effect, sides: [Trials<'_>; 2], tests: usize) -> Shift {
        let randomised = self.settings.blocks && sides.iter().all(|(row, _)| row.host != Some(HostKind::Imported));
        let pairs = if randomised { self.blocks(sides) } else { Vec::new() };
        let can_decide = Null::signed_rank(pairs.len()).smallest_p() * tests as f64 <= ALPHA;
        if can_decide && blocks_matter(effect, &pairs) {
            return Shift::signed_rank(effect, &pairs);
        }
        Shift::rank_sum(effect, &self.strata(sides))
    }
}
