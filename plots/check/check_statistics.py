"""Compares the statistics of a run with SciPy: summary, comparisons and claims.

The samples, tables and comparisons are those that `microbench query` and `microbench compare` print. Everything else is
computed here from the samples. The exit code is 1 if a number differs or a verdict disagrees.
"""

import argparse
import functools
import itertools
import json
import math
import pathlib
import subprocess
import sys
from collections import defaultdict

import numpy as np
from scipy import stats

LEVEL = 0.95
ALPHA = 0.05
INFINITY = math.inf
# Relative to the number, except for intervals from random resamples: those are relative to the width.
TOLERANCE = 1e-9
RESAMPLED_TOLERANCE = 0.08
EXACT_UP_TO = 25
MEAN_INTERVAL_FROM = 100
# The reason of samples of trials that an imported table does not have for the cell.
ABSENT = "not in the imported table"
PERCENTILES = {"median": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


class Report:
    """Counts the numbers that agree, and collects those that do not and the rows that are not checked."""

    def __init__(self):
        self.agreeing = defaultdict(int)
        self.wrong = []
        self.unchecked = defaultdict(int)

    def number(self, kind, place, found, expected, tolerance=TOLERANCE, scale=None):
        """`None` is no number; an infinite number is printed as none."""
        expected = None if expected is None or not math.isfinite(expected) else expected
        if None in (found, expected):
            same = found is expected
        else:
            same = abs(found - expected) <= tolerance * max(scale if scale is not None else abs(expected), 1e-12)
        self.outcome(kind, place, found, expected, same)

    def equal(self, kind, place, found, expected):
        self.outcome(kind, place, found, expected, found == expected)

    def outcome(self, kind, place, found, expected, same):
        if same:
            self.agreeing[kind] += 1
        else:
            self.wrong.append(f"{kind}: {place}: microbench {found}, SciPy {expected}")


class Program:
    """The tables and comparisons of runs, as the program prints them."""

    def __init__(self, path):
        self.path = path

    def json(self, *arguments):
        done = subprocess.run([self.path, *arguments], capture_output=True, text=True, check=False, timeout=600)
        if done.returncode != 0:
            sys.exit(f"`microbench {' '.join(arguments)}` fails: {done.stderr.strip()}")
        return json.loads(done.stdout)


class Row:
    """The trials of a cell and metric: a list of `(trial, block, repetition, machine)` with the values of its VMs."""

    def __init__(self):
        self.values = defaultdict(list)
        self.failed = defaultdict(int)
        self.missing = defaultdict(int)
        # VMs of each trial that were expected to have a value and have none.
        self.without = defaultdict(int)

    def add(self, sample):
        place = (sample["trial"], sample["block"], sample["repetition"], sample["machine"])
        if sample["status"] == "ok":
            self.values[place].append(sample["value"])
        elif sample["status"] == "censored":
            self.values[place].append(INFINITY)
        if sample["reason"] == ABSENT:
            return
        if sample["status"] in ("failed", "not-available"):
            self.failed[place] += 1
        if sample["status"] != "ok":
            self.missing[sample["status"]] += 1
        if sample["host"] and sample["status"] not in ("not-applicable", "beyond-limit"):
            self.without[place] += sample["status"] != "ok"

    def places(self):
        return sorted(self.values)

    def medians(self):
        return np.array([median(self.values[place]) for place in self.places()])

    def means(self):
        if self.missing["censored"] + self.missing["failed"] > 0:
            return np.array([])
        return np.array([np.mean(self.values[place]) for place in self.places()])

    def unknown(self):
        return self.missing["failed"] + self.missing["not-available"]

    def clusters(self, is_known):
        """The values of the VMs of each trial and the number of those without one; with `is_known` only trials with a value."""
        places = sorted(self.values if is_known else {*self.values, *self.failed})
        return [(self.values.get(place, []), self.failed.get(place, 0)) for place in places]

    def is_repeated(self):
        return len({repetition for _, _, repetition, _ in self.values}) > 1

    def repetition_medians(self):
        """The median of each repetition by its number."""
        found = defaultdict(list)
        for place in self.places():
            found[place[2]].append(median(self.values[place]))
        return {repetition: median(values) for repetition, values in found.items()}

    def with_failures(self, value):
        """The median of each trial, in which each failed VM has this value."""
        found = {place: median(values) for place, values in self.values.items()}
        for place, failures in self.failed.items():
            found[place] = median(self.values.get(place, []) + [value] * failures)
        return found


def median(values):
    """The median; an infinite value is larger than all others."""
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if low == high else (low + high) / 2


def percentile(values, p):
    """The quantile by linear interpolation, as `numpy.quantile`, also with infinite values."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * p
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    return low if low == high or position == math.floor(position) else low + (high - low) * (position % 1)


@functools.cache
def order_statistics(n, p, level=LEVEL):
    """Ranks (from 1) and coverage of the interval of a quantile: the fewest ranks that cover enough; None if too few."""
    if n == 0 or 1 - p**n - (1 - p) ** n < level:
        return None
    if p == 0.5 and level == LEVEL:
        low = max(k for k in range(1, n // 2 + 1) if 1 - 2 * stats.binom.cdf(k - 1, n, p) >= LEVEL)
        return low, n + 1 - low, 1 - 2 * stats.binom.cdf(low - 1, n, p)
    low = min(max(math.floor(n * p), 1), n - 1)
    high = low + 1
    while stats.binom.cdf(high - 1, n, p) - stats.binom.cdf(low - 1, n, p) < level:
        below = stats.binom.pmf(low - 1, n, p) if low > 1 else -1
        above = stats.binom.pmf(high, n, p) if high < n else -1
        low, high = (low - 1, high) if below >= above else (low, high + 1)
    return low, high, stats.binom.cdf(high - 1, n, p) - stats.binom.cdf(low - 1, n, p)


def tail_interval(clusters, p):
    """The interval of a percentile over VMs, with trials as clusters; None if trials have different numbers of VMs."""
    sizes = {len(values) + unknown for values, unknown in clusters}
    if len(sizes) != 1:
        return None, None
    size = sizes.pop()
    rank = min(max(math.ceil(size * p - 1e-9), 1), size)
    lower = (size * p - (rank - 1)) / (size - (rank - 1))
    level = LEVEL if size == 1 else 1 - (1 - LEVEL) / 2
    of_rank = [sorted(values + [-INFINITY] * unknown)[rank - 1] for values, unknown in clusters]
    largest = [max(values + [INFINITY] * unknown) for values, unknown in clusters]
    low, _, _ = quantile_interval(of_rank, lower, level)
    _, high, _ = quantile_interval(largest, p, level)
    return (None, None) if low is None or high is None else (low, high)


def tail_lower_bound(clusters, p):
    """The largest order statistic that is a lower bound of a percentile, for too few trials; None without one."""
    sizes = {len(values) + unknown for values, unknown in clusters}
    if len(sizes) != 1:
        return None
    size = sizes.pop()
    rank = min(max(math.ceil(size * p - 1e-9), 1), size)
    lower = (size * p - (rank - 1)) / (size - (rank - 1))
    wrong = (1 - LEVEL) if size == 1 else (1 - LEVEL) / 2
    ordered = sorted(sorted(values + [-INFINITY] * unknown)[rank - 1] for values, unknown in clusters)
    ranks = [k for k in range(1, len(ordered) + 1) if stats.binom.cdf(k - 1, len(ordered), lower) <= wrong]
    return ordered[ranks[-1] - 1] if ranks else None


def quantile_interval(values, p, level=LEVEL):
    ranks = order_statistics(len(values), p, level)
    if ranks is None:
        return None, None, None
    ordered = sorted(values)
    return ordered[ranks[0] - 1], ordered[ranks[1] - 1], ranks[2]


def t_interval(values):
    """The t interval of the mean of at least three repetitions."""
    if len(values) < 3 or not np.isfinite(values).all():
        return None, None
    middle, error = np.mean(values), stats.sem(values)
    if error == 0:
        return middle, middle
    return stats.t.interval(LEVEL, len(values) - 1, loc=middle, scale=error)


def check_summary(report, rows, table):
    for found in table:
        row = rows[found["cell"], found["metric"]]
        medians, means = row.medians(), row.means()
        finite = medians[np.isfinite(medians)]

        def number(column, expected, **more):
            report.number("summary", f"{found['cell']} {found['metric']} {column}", found[column], expected, **more)

        number("n_trials", len(finite))
        number("n_vms", sum(math.isfinite(value) for value in itertools.chain(*row.values.values())))
        repeated = row.is_repeated()
        if repeated:
            of_repetitions = list(row.repetition_medians().values())
            low, high = t_interval(of_repetitions)
            number("median", np.mean(of_repetitions))
            number("median_low", low)
            number("median_high", high)
            report.unchecked["mean over repetitions"] += 1
        else:
            number("median", median(medians) if len(medians) else None)
            low, high, level = quantile_interval(medians, 0.5)
            for column, expected in [("median_low", low), ("median_high", high), ("median_level", level)]:
                number(column, expected)
            check_mean(report, row, found, number)
            number("standard_deviation", np.std(means, ddof=1) if len(means) > 1 else None)
        number("min", min(finite) if len(finite) else None)
        number("max", max(finite) if len(finite) else None)
        for name in ["p90", "p95", "p99"] if not repeated else []:
            low, high = tail_interval(row.clusters(is_known=True), PERCENTILES[name])
            values = list(itertools.chain(*row.values.values()))
            number(name, percentile(values, PERCENTILES[name]) if low is not None else None)
            number(f"{name}_low", low)
            number(f"{name}_high", high)
        check_outliers(number, finite)
        check_drift(number, medians)


def check_mean(report, row, found, number):
    means = row.means()
    number("mean", np.mean(means) if len(means) else None)
    if len(means) < MEAN_INTERVAL_FROM:
        number("mean_low", None)
        number("mean_high", None)
        return
    if np.ptp(means) == 0:
        number("mean_low", means[0])
        return
    interval = stats.bootstrap((means,), np.mean, n_resamples=20_000, method="BCa", rng=1).confidence_interval
    width = interval.high - interval.low
    number("mean_low", interval.low, tolerance=RESAMPLED_TOLERANCE, scale=width)
    number("mean_high", interval.high, tolerance=RESAMPLED_TOLERANCE, scale=width)


def check_outliers(number, finite):
    mild = severe = 0
    if len(finite):
        first, third = np.quantile(finite, [0.25, 0.75])
        beyond = np.maximum(first - finite, finite - third)
        severe = int(np.sum(beyond > 3 * (third - first)))
        mild = int(np.sum(beyond > 1.5 * (third - first))) - severe
    if len(finite) == 0 or np.ptp(finite) > 0:
        number("outliers_mild", mild)
        number("outliers_severe", severe)


def check_drift(number, values):
    if len(values) < 5 or not np.isfinite(values).all() or np.ptp(values) == 0:
        number("drift", None)
        return
    drift = stats.spearmanr(np.arange(len(values)), values)
    number("drift", drift.statistic, tolerance=1e-7, scale=1)
    number("drift_p", drift.pvalue, tolerance=1e-6, scale=1)
    centred = values - np.mean(values)
    number("lag_1", np.sum(centred[1:] * centred[:-1]) / np.sum(centred**2), tolerance=1e-7, scale=1)


@functools.cache
def rank_sum_at_least(count, n, m):
    """The probability that at least `count` of n times m pairs are above zero without an effect."""
    if count <= 0:
        return 1.0
    method = "exact" if max(n, m) <= EXACT_UP_TO else "asymptotic"
    # Samples without ties that have this count: the second sample is moved past values of the first, one after another.
    whole, rest = divmod(count, n)
    first = np.arange(n, dtype=float)
    second = np.array([n + 1.0] * whole + [rest - 0.5] * (whole < m) + [-1.0] * (m - whole - 1))
    second = second + np.linspace(0, 1e-3, m)
    return float(stats.mannwhitneyu(second, first, alternative="greater", method=method).pvalue)


@functools.cache
def signed_rank_at_least(count, n):
    """The probability that at least `count` of n (n + 1) / 2 Walsh averages are above zero without an effect."""
    if count <= 0:
        return 1.0
    if n > EXACT_UP_TO:
        deviation = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return float(stats.norm.sf((count - 0.5 - n * (n + 1) / 4) / deviation))
    signs, left = np.full(n, -1.0), count
    for rank in range(n, 0, -1):
        if rank <= left:
            signs[rank - 1], left = 1.0, left - rank
    return float(stats.wilcoxon(signs * np.arange(1, n + 1), alternative="greater", method="exact").pvalue)


class Effect:
    """The comparisons of two samples: all pairs, or the Walsh averages of blocks. `nan` is undecided."""

    def __init__(self, is_ratio, first, second, paired):
        with np.errstate(divide="ignore", invalid="ignore"):
            self.logarithm = paired and is_ratio
            if paired:
                own = np.log(second / first) if is_ratio else second - first
                own = np.where(np.isnan(own), 0.0, own)
                upper = np.triu_indices(len(own))
                self.comparisons = (own[upper[0]] + own[upper[1]]) / 2
                self.at_least = functools.partial(signed_rank_at_least, n=len(own))
            else:
                outer = np.divide.outer(second, first) if is_ratio else np.subtract.outer(second, first)
                self.comparisons = outer.ravel()
                self.at_least = functools.partial(rank_sum_at_least, n=len(first), m=len(second))
        self.is_ratio = is_ratio
        self.undecided = int(np.isnan(self.comparisons).sum())
        self.decided = np.sort(self.comparisons[~np.isnan(self.comparisons)])
        self.total = len(self.comparisons)

    def scaled(self, effect):
        return math.log(effect) if self.logarithm and effect > 0 else -INFINITY if self.logarithm else effect

    def unscaled(self, comparison):
        return math.exp(comparison) if self.logarithm else comparison

    def padded(self, below):
        """The sorted comparisons; `below` undecided ones are the lowest, and the others the highest."""
        below = min(below, self.undecided)
        # No ratio of times is below zero.
        lowest = 0.0 if self.is_ratio and not self.logarithm else -INFINITY
        return np.concatenate([np.full(below, lowest), self.decided, np.full(self.undecided - below, INFINITY)])

    def estimate(self):
        half = self.undecided // 2
        low = self.padded(self.undecided - half)[(self.total - 1) // 2]
        high = self.padded(half)[self.total // 2]
        low, high = self.unscaled(low), self.unscaled(high)
        if self.is_ratio and 0 < low < high < INFINITY:
            return math.sqrt(low * high)
        return low if low == high else (low + high) / 2

    def interval(self):
        ranks = range(1, self.total // 2 + 1)
        covering = [k for k in ranks if 1 - 2 * self.at_least(self.total + 1 - k) >= LEVEL - 1e-12]
        if not covering:
            return None, None
        rank = max(covering)
        low = self.padded(self.undecided)[rank - 1]
        high = self.padded(0)[self.total - rank]
        return self.unscaled(low), self.unscaled(high)

    def above(self, limit):
        return int(np.sum(self.decided > self.scaled(limit)))

    def below(self, limit):
        return int(np.sum(self.decided < self.scaled(limit)))

    def p(self, finding, least, most):
        if finding == "higher":
            one_sided = self.at_least(self.above(most))
        elif finding == "lower":
            one_sided = self.at_least(self.below(least))
        else:
            at_most = self.at_least(self.total - self.above(most) - self.undecided)
            at_least = self.at_least(self.total - self.below(least) - self.undecided)
            one_sided = max(at_most, at_least)
        return min(1.0, 2 * one_sided)

    def smallest_p(self):
        return min(1.0, 2 * self.at_least(self.total))


def sides_of(first, second, test, failures=None):
    """The values of both sides; by block for the signed-rank test. `failures` is the value of failed VMs in `second`."""
    own = {place: median(values) for place, values in first.values.items()}
    other = {place: median(values) for place, values in second.values.items()}
    if failures is not None:
        other = second.with_failures(failures)
    if test == "signed-rank":
        blocks = {place[1]: [value] for place, value in sorted(own.items(), reverse=True)}
        for place, value in sorted(other.items(), reverse=True):
            if place[1] in blocks:
                blocks[place[1]] = [blocks[place[1]][0], value]
        both = [pair for _, pair in sorted(blocks.items()) if len(pair) == 2]
        return np.array([a for a, _ in both]), np.array([b for _, b in both])
    return np.array([own[place] for place in sorted(own)]), np.array([other[place] for place in sorted(other)])


def ranges(is_ratio, margin, floor, first):
    """The effects that do not matter: for each test whether it is of the ratio, the range, and whether it is declared."""
    if not is_ratio:
        most = max((margin or 0.0) * abs(first or 0.0), floor or 0.0)
        return [(False, -most, most, margin is not None or floor is not None)]
    found = [(False, -floor, floor, True)] if floor is not None else []
    if margin is not None or floor is None:
        most = 1 + (margin or 0.0)
        found.append((True, 1 / most, most, margin is not None))
    return found


def p_of(finding, tests):
    """The p-value of a finding by one test, or by those of the ratio and the difference: `(effect, least, most, declared)`."""
    if finding != "equivalent":
        return max(effect.p(finding, least, most) for effect, least, most, _ in tests)
    within = [effect.p(finding, least, most) for effect, least, most, declared in tests if declared]
    return min(1.0, len(within) * min(within))


def check_comparison(report, found, first, second, gate, margin):
    """Checks a row and returns its p-value and the smallest possible one."""
    place = f"{found['cell']} {found['metric']}"
    if found["test"] == "repetitions":
        check_repetitions(report, found, first, second)
        return found["p"], 0.0
    if found["test"] not in ("rank-sum", "signed-rank") or found.get("hosts"):
        report.unchecked[f"comparison by {found['test']}" if not found.get("hosts") else "comparison within hosts"] += 1
        return None
    a, b = sides_of(first, second, found["test"])
    all_first, all_second = first.medians(), second.medians()
    is_ratio = bool((all_first > 0).all() and (all_second >= 0).all())
    effect = Effect(is_ratio, a, b, found["test"] == "signed-rank")
    low, high = effect.interval()
    names = ("ratio", "interval") if is_ratio else ("difference", "difference_interval")
    interval = found.get(names[1]) or {"low": None, "high": None}

    def number(column, value, expected):
        report.number("comparisons", f"{place} {column}", value, expected)

    number("estimate", found.get(names[0]), effect.estimate())
    number("low", interval["low"], low)
    number("high", interval["high"], high)
    with np.errstate(invalid="ignore", divide="ignore"):
        outer = np.divide.outer(all_second, all_first) if is_ratio else np.subtract.outer(all_second, all_first)
    same = 1.0 if is_ratio else 0.0
    number("a12", found["a12"], 0.5 + (np.sum(outer > same) - np.sum(outer < same)) / (2 * outer.size))
    first_value = median(all_first)
    first_value = first_value if math.isfinite(first_value) else None
    margin = gate.get("margin") if gate.get("margin") is not None else margin

    def tests_with(*worst):
        own = sides_of(first, second, found["test"], *worst)
        paired = found["test"] == "signed-rank"
        return [
            (Effect(by_ratio, *own, paired), least, most, declared)
            for by_ratio, least, most, declared in ranges(is_ratio, margin, gate.get("floor"), first_value)
        ]

    tests = tests_with()
    findings = ["higher", "lower"] + (["equivalent"] if any(declared for *_, declared in tests) else [])
    p, finding = min((p_of(finding, tests), at, finding) for at, finding in enumerate(findings))[::2]
    is_better = (finding, found["better"]) in [("higher", "higher"), ("lower", "lower")]
    if is_better and second.failed:
        worst = 0.0 if found["better"] == "higher" else INFINITY
        p = max(p, p_of(finding, tests_with(worst)))
    number("p", found["p"], p)
    return p, max(effect.smallest_p() for effect, *_ in tests), finding


def check_repetitions(report, found, first, second):
    place = f"{found['cell']} {found['metric']}"
    a, b = (np.array(list(side.repetition_medians().values())) for side in (first, second))
    if found.get("difference") is not None or (a <= 0).any() or (b <= 0).any():
        report.unchecked["difference over repetitions"] += 1
        return
    ratio = math.exp(np.mean(np.log(b)) - np.mean(np.log(a)))
    report.number("comparisons", f"{place} ratio", found["ratio"], ratio)
    intervals = []
    if len(a) == len(b):
        intervals.append(stats.ttest_rel(np.log(b), np.log(a)).confidence_interval(LEVEL))
    intervals.append(stats.ttest_ind(np.log(b), np.log(a), equal_var=False).confidence_interval(LEVEL))
    low, high = found["interval"]["low"], found["interval"]["high"]
    near = [np.allclose([low, high], np.exp([own.low, own.high]), rtol=1e-6) for own in intervals]
    report.outcome("comparisons", f"{place} interval", [low, high], [list(np.exp(own)) for own in intervals], any(near))


def check_comparisons(report, program, plan, rows, runs, baseline, margin):
    """Every row that compares two values, then the adjustment of their p-values and the verdicts."""
    arguments = ["compare", *runs, "--format", "json"]
    arguments += ["--baseline", baseline] if len(runs) == 1 else ["--across-hosts"]
    arguments += ["--margin", str(margin)] if margin is not None else []
    gates = {metric["name"]: metric.get("gate") or {} for metric in plan["metrics"]}
    family = plan.get("family") or [name for name, gate in gates.items() if gate]
    cells = {cell["id"]: cell for cell in plan["cells"]}
    tests = []
    for found in program.json(*arguments):
        own = baseline_cell(cells, found["cell"], baseline) if len(runs) == 1 else found["cell"]
        if found["metric"] == "VMs completed":
            report.unchecked["share of completed VMs, which is not in the samples"] += 1
            continue
        if found.get("completed"):
            check_dropped(report, found, rows[0][own, found["metric"]], rows[-1][found["cell"], found["metric"]])
            continue
        if found["p"] is None:
            report.unchecked[f"comparison without a p-value ({found['verdict']})"] += 1
            continue
        second = rows[-1][found["cell"], found["metric"]]
        checked = check_comparison(report, found, rows[0][own, found["metric"]], second, gates[found["metric"]], margin)
        if checked and (not family or found["metric"] in family):
            tests.append((found, *checked))
    check_verdicts(report, tests)


def check_dropped(report, found, first, second):
    """The permutation test of failures with trials as clusters: with one VM in each trial it is Fisher's exact test."""
    place = f"{found['cell']} {found['metric']}"
    for side, row in zip(found["completed"], (first, second), strict=True):
        failures = sum(row.without.values())
        values = sum(math.isfinite(value) for value in itertools.chain(*row.values.values()))
        report.equal("comparisons", f"{place} completed", (side["completed"], side["of"]), (values, values + failures))
    failures = [list(row.without.values()) for row in (first, second)]
    if max(max(own) for own in failures) > 1:
        samples = [np.array(own, dtype=float) for own in failures]
        draws = math.comb(sum(map(len, samples)), len(samples[1]))
        if draws > 200_000:
            report.unchecked["dropped row of many trials of several VMs"] += 1
            return
        more = stats.permutation_test(
            samples, lambda one, two: np.sum(two), alternative="greater", n_resamples=math.inf, vectorized=False
        )
        p = more.pvalue
    else:
        table = [[sum(own), len(own) - sum(own)] for own in failures]
        p = stats.fisher_exact(table, alternative="less").pvalue
    report.number("comparisons", f"{place} p", found["p"], p)


def check_verdicts(report, tests):
    """Holm's adjustment over the tests that can be significant (Tarone), and the verdicts."""
    smallest = [test[2] for test in tests]
    size = next((k for k in range(1, len(tests) + 1) if sum(p <= ALPHA / k for p in smallest) <= k), 1)
    testable = [test for test in tests if test[2] <= ALPHA / size]
    adjusted, largest = {}, 0.0
    for rank, test in enumerate(sorted(testable, key=lambda test: test[1])):
        largest = max(largest, test[1] * (len(testable) - rank))
        adjusted[id(test)] = min(1.0, largest)
    for test in tests:
        found, expected = test[0], adjusted.get(id(test))
        place = f"{found['cell']} {found['metric']}"
        report.number("comparisons", f"{place} adjusted p", found["adjusted_p"], expected)
        if len(test) > 3:
            names = {"equivalent": "equivalent", "higher": "worse", "lower": "better"}
            if found["better"] == "higher":
                names |= {"higher": "better", "lower": "worse"}
            if found["better"] == "neither":
                names |= {"higher": "differs", "lower": "differs"}
            verdict = names[test[3]] if expected is not None and expected <= ALPHA else "inconclusive"
            report.equal("comparisons", f"{place} verdict", found["verdict"], verdict)


def baseline_cell(cells, name, baseline):
    """The cell of the variant `baseline` at the levels of the cell `name`."""
    # A cell that the study excludes has no values.
    if name not in cells:
        return None
    levels = {axis: level for axis, level in cells[name]["levels"].items() if axis != "variant"}
    for other in cells.values():
        own = {axis: level for axis, level in other["levels"].items() if axis != "variant"}
        if other["variant"] == baseline and own == levels:
            return other["id"]
    return None


def selects(selection, cell):
    return all(
        (cell["engine"] if axis == "engine" else cell["levels"].get(axis)) in levels for axis, levels in selection.items()
    )


def statistic_of(name, values):
    if name == "mean":
        return np.mean(values)
    return median(values) if name == "median" else percentile(values, PERCENTILES[name])


def check_claims(report, plan, rows, table):
    """The value of each claim; the verdict and the limits where the interval is exact."""
    for claim, found in zip(plan["claims"], table, strict=True):
        comparison, place = claim["comparison"], claim["name"]
        if found["verdict"] == "not measured" or comparison is None:
            report.unchecked["claim that is not measured"] += 1
            continue
        kind, sides = next(iter(comparison.items()))
        sides = [sides] if isinstance(sides, dict) else sides
        cells = [[cell["id"] for cell in plan["cells"] if selects(side["of"], cell)] for side in sides]
        of = [[rows[cell, side["metric"]] for cell in own] for side, own in zip(sides, cells, strict=True)]
        of = [[row for row in own if row.values] for own in of]
        machines = {place[3] for own in of for row in own for place in row.values}
        if any(row.is_repeated() for own in of for row in own) or len(machines) > 1:
            report.unchecked["claim over repetitions or hosts"] += 1
            continue
        subject, statistic = claim.get("subject") or "statistic", claim["statistic"]
        if isinstance(subject, dict) and "share" in subject:
            check_share(report, claim, found, of[0], subject["share"])
            continue
        if subject == "every-value":
            check_every_value(report, claim, found, of[0])
            continue
        samples = [[row.means() if statistic == "mean" else row.medians() for row in own] for own in of]
        if statistic not in ("median", "mean"):
            if kind == "value" and len(of[0]) == 1:
                check_percentile(report, claim, found, of[0][0])
            else:
                report.unchecked["claim on percentiles of several cells"] += 1
            continue
        if statistic == "median" and any(row.failed for own in of for row in own):
            report.unchecked["claim on a median with failed VMs"] += 1
            continue
        if any(len(values) == 0 for own in samples for values in own):
            report.unchecked["claim on a withheld mean"] += 1
            continue
        values = [np.mean([statistic_of(statistic, values) for values in own]) for own in samples]
        value = values[0] / values[1] if kind == "ratio" and values[1] else values[0]
        value = values[0] - values[1] if kind == "difference" else value
        report.number("claims", f"{place} value", found["value"], value)
        if kind == "value" and len(samples[0]) == 1 and statistic == "median":
            low, high, _ = quantile_interval(samples[0][0], 0.5)
            report.number("claims", f"{place} low", found["low"], low)
            report.number("claims", f"{place} high", found["high"], high)
            if found["verdict"] != "not comparable":
                report.equal("claims", f"{place} verdict", found["verdict"], outcome(claim, low, high))
        elif found["low"] is not None and found["high"] is not None and math.isfinite(value):
            check_resampled(report, claim, found, kind, statistic, of, samples)
        else:
            report.unchecked["claim without an interval, or with a bound"] += 1


def check_percentile(report, claim, found, row):
    """The percentile over VMs; a VM without a value can be anywhere."""
    place, p = claim["name"], PERCENTILES[claim["statistic"]]
    low, high = tail_interval(row.clusters(is_known=False), p)
    values = list(itertools.chain(*row.values.values()))
    known = low is not None and row.unknown() == 0
    if low is None:
        bound = tail_lower_bound(row.clusters(is_known=False), p)
        if bound is not None and outcome(claim, bound, INFINITY) == "contradicted":
            low, high = bound, INFINITY
    report.number("claims", f"{place} value", found["value"], percentile(values, p) if known else None)
    for name, end in [("low", low), ("high", high)]:
        report.number("claims", f"{place} {name}", found[name], end)
    if found["verdict"] != "not comparable":
        report.equal("claims", f"{place} verdict", found["verdict"], outcome(claim, low, high))


def check_resampled(report, claim, found, kind, statistic, of, samples):
    """The percentile interval of resampled medians; trials that are on both sides are resampled together."""
    if statistic == "mean":
        if kind == "value" and len(samples[0]) == 1:
            interval = stats.bootstrap((samples[0][0],), np.mean, n_resamples=20_000, method="BCa", rng=1)
            low, high = interval.confidence_interval
            for name, own in [("low", low), ("high", high)]:
                place = f"{claim['name']} {name}"
                report.number("claims", place, found[name], own, tolerance=RESAMPLED_TOLERANCE, scale=high - low)
        else:
            report.unchecked["interval of a ratio or difference of means"] += 1
        return
    random = np.random.default_rng(1)
    resamples = 4_000

    def resampled(values, drawn):
        own = np.sort(np.asarray(values)[drawn], axis=1)
        if statistic == "median":
            return (own[:, (len(values) - 1) // 2] + own[:, len(values) // 2]) / 2
        return np.quantile(own, PERCENTILES[statistic], axis=1)

    draws = {}
    sides = []
    for own, values in zip(of, samples, strict=True):
        cells = []
        for row, sample in zip(own, values, strict=True):
            # Two metrics of a cell have the same places.
            key = (tuple(row.places()), len(sample))
            if key not in draws:
                draws[key] = random.integers(0, len(sample), (resamples, len(sample)))
            cells.append(resampled(sample, draws[key]))
        sides.append(np.mean(cells, axis=0))
    drawn = sides[0] if kind == "value" else sides[0] / sides[1] if kind == "ratio" else sides[0] - sides[1]
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    scale = max(high - low, abs(found["high"] - found["low"]))
    # Resampled medians are discrete, so that ends differ by one step between two sequences of random numbers.
    report.number("claims", f"{claim['name']} low", found["low"], min(low, found["value"]), tolerance=0.25, scale=scale)
    report.number("claims", f"{claim['name']} high", found["high"], max(high, found["value"]), tolerance=0.25, scale=scale)
    if found["verdict"] != "not comparable":
        report.equal("claims", f"{claim['name']} verdict", found["verdict"], outcome(claim, found["low"], found["high"]))


def check_every_value(report, claim, found, rows):
    """One value outside of the limits contradicts the claim. A VM without a value can be outside."""
    values = [value for row in rows for own in row.values.values() for value in own]
    unknown = sum(row.unknown() for row in rows)
    unknown += claim["least"] is not None and not all(map(math.isfinite, values))
    verdict = "contradicted" if not all(within(claim, value) for value in values) else "holds" if unknown == 0 else "inconclusive"
    report.equal("claims", f"{claim['name']} verdict", found["verdict"], verdict)


def check_share(report, claim, found, rows, share):
    trials = [trial for row in rows for trial in row.clusters(is_known=False)]
    if any(not math.isfinite(value) for values, _ in trials for value in values):
        report.unchecked["claim on a share with censored VMs"] += 1
        return

    def rank(size):
        return min(max(math.ceil(size * share - 1e-9), 1), size)

    sizes = [len(values) + unknown for values, unknown in trials]
    met = [sum(within(claim, value) for value in values) for values, _ in trials]
    every = sum(own == size for own, size in zip(met, sizes, strict=True))
    enough = sum(
        own + unknown >= rank(size) for own, (_, unknown), size in zip(met, trials, sizes, strict=True)
    )
    below = max((rank(size) - 1) / size for size in sizes)
    low, high = (
        getattr(stats.binomtest(count, len(trials)).proportion_ci(LEVEL, method="exact"), end)
        for count, end in [(every, "low"), (enough, "high")]
    )
    high = below + (1 - below) * high
    known = sum(len(values) for values, _ in trials)
    report.number("claims", f"{claim['name']} value", found["value"], sum(met) / known)
    report.number("claims", f"{claim['name']} low", found["low"], low)
    report.number("claims", f"{claim['name']} high", found["high"], high)
    verdict = "holds" if low >= share else "contradicted" if high < share else "inconclusive"
    report.equal("claims", f"{claim['name']} verdict", found["verdict"], verdict)


def within(claim, value):
    least, most, strict = claim["least"], claim["most"], claim.get("strict", False)
    above = least is None or value > least or (value == least and not strict)
    return above and (most is None or value < most or (value == most and not strict))


def outcome(claim, low, high):
    """`holds` if the interval is within the limits, `contradicted` if it is outside."""
    if low is None:
        return "inconclusive"
    least, most, strict = claim["least"], claim["most"], claim.get("strict", False)
    if within(claim, low) and within(claim, high):
        return "holds"
    too_low = least is not None and (high < least or (high == least and strict))
    too_high = most is not None and (low > most or (low == most and strict))
    return "contradicted" if too_low or too_high else "inconclusive"


def rows_of(program, run):
    """The samples that count, by cell and metric."""
    rows = defaultdict(Row)
    columns = "cell, metric, trial, block, repetition, machine, value, status, reason, host"
    query = f"select {columns} from samples where not warmup and not superseded"
    for sample in program.json("query", run, query, "--json"):
        rows[sample["cell"], sample["metric"]].add(sample)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run, or two runs to compare")
    parser.add_argument("--microbench", default="microbench", help="the program")
    parser.add_argument("--baseline", help="the variant that others are compared with (default: the first)")
    parser.add_argument("--margin", type=float, help="the equivalence margin")
    arguments = parser.parse_args()
    program, report = Program(arguments.microbench), Report()
    rows = []
    for run in arguments.runs[:2]:
        plan = json.loads((pathlib.Path(run) / "plan.json").read_text(encoding="utf-8"))
        rows.append(rows_of(program, run))
        check_summary(report, rows[-1], program.json("query", run, "select * from summary", "--json"))
        check_claims(report, plan, rows[-1], program.json("query", run, "select * from claims", "--json"))
    baseline = arguments.baseline or plan["cells"][0]["variant"]
    if len(rows) == 2 or len({cell["variant"] for cell in plan["cells"]}) > 1:
        check_comparisons(report, program, plan, rows, arguments.runs[:2], baseline, arguments.margin)
    for kind, count in report.agreeing.items():
        print(f"{kind}: {count} values agree")
    for reason, count in sorted(report.unchecked.items()):
        print(f"not checked: {count} x {reason}")
    for problem in report.wrong:
        print(f"differs: {problem}")
    if not report.agreeing or report.wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
