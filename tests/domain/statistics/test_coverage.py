"""Simulated coverage and error rates of the intervals and gates, with fixed seeds; each bound allows for four standard
errors of the simulation.
"""

from __future__ import annotations

import math
import random

import pytest

from evalhub_server.domain.statistics.clusters import cluster_robust_mean
from evalhub_server.domain.statistics.distributions import mean_and_sd, t_quantile
from evalhub_server.domain.statistics.evidence import BinaryPairs, BoundedPairs
from evalhub_server.domain.statistics.intervals import bounded_mean_interval, t_limits, wilson
from evalhub_server.domain.statistics.mover import mover
from evalhub_server.domain.statistics.multiplicity import holm
from evalhub_server.domain.statistics.paired_binary import mcnemar, tango
from evalhub_server.domain.statistics.planning import n_for_margin, n_for_superiority

pytestmark = pytest.mark.slow


def sampler(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311


def slack(rate: float, replicates: int) -> float:
    return 4 * math.sqrt(rate * (1 - rate) / replicates)


def table(rng: random.Random, n: int, fixed: float, broken: float) -> tuple[int, int]:
    """Numbers of fixed and broken answers of ``n`` pairs."""
    b = (
        rng.binomialvariate(n, fixed)
        if hasattr(rng, "binomialvariate")
        else sum(rng.random() < fixed for _ in range(n))
    )
    rest = broken / (1 - fixed)
    return b, sum(rng.random() < rest for _ in range(n - b))


@pytest.mark.parametrize(
    ("n", "average", "least"), [(20, 0.954, 0.92), (50, 0.950, 0.91), (200, 0.950, 0.93)]
)
def test_wilson_covers_by_enumeration(n: int, average: float, least: float) -> None:
    limits = [wilson(x, n) for x in range(n + 1)]
    coverage = []
    for percent in range(1, 100):
        p = percent / 100
        probability = [math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(n + 1)]
        coverage.append(
            sum(q for q, (low, high) in zip(probability, limits, strict=True) if low <= p <= high)
        )
    assert sum(coverage) / 99 == pytest.approx(average, abs=0.001)
    assert min(coverage) >= least


@pytest.mark.parametrize("n", [20, 50, 200])
@pytest.mark.parametrize(
    ("fixed", "broken"), [(0.005, 0.005), (0.05, 0.05), (0.1, 0.02), (0.2, 0.2), (0.2, 0.05)]
)
def test_tango_covers(n: int, fixed: float, broken: float) -> None:
    rng, replicates, hits = sampler(n), 4000, 0
    known: dict[tuple[int, int], tuple[float, float]] = {}
    for _ in range(replicates):
        counts = table(rng, n, fixed, broken)
        if counts not in known:
            known[counts] = tango(*counts, n)
        low, high = known[counts]
        hits += low <= fixed - broken <= high
    assert hits / replicates >= 0.939 - slack(0.94, replicates)


@pytest.mark.parametrize("n", [20, 50, 200])
def test_the_guarded_interval_covers_scores_near_the_ceiling(n: int) -> None:
    for share in (0.9, 0.98):
        rng, replicates, hits, plain = sampler(n), 1500, 0, 0
        truth = share + (1 - share) / 2
        for _ in range(replicates):
            values = [1.0 if rng.random() < share else rng.random() for _ in range(n)]
            low, high, _ = bounded_mean_interval(values, 0.0, 1.0)
            hits += low <= truth <= high
            low, high = t_limits(n, *mean_and_sd(values), 0.05)
            plain += low <= truth <= high
        assert hits / replicates >= 0.94 - slack(0.94, replicates)
        assert plain <= hits


@pytest.mark.parametrize(("n", "allowed"), [(50, 0.001), (100, 0.001), (200, 0.001)])
def test_a_gate_on_rare_large_losses_does_not_pass_at_the_margin(n: int, allowed: float) -> None:
    """Losses of 1 in 1 % of the items, and a margin equal to the true loss: t alone passes up to 61 %."""
    rng, replicates, passed, t_passed = sampler(n), 1000, 0, 0
    for _ in range(replicates):
        values = [(-1.0 if rng.random() < 0.01 else 0.0) + rng.gauss(0, 0.01) for _ in range(n)]
        mean, sd = mean_and_sd(values)
        passed += BoundedPairs(n=n, mean=mean, sd=sd, width=1.0).limits(0.05)[0] > -0.01
        t_passed += t_limits(n, mean, sd, 0.05)[0] > -0.01
    assert passed / replicates <= allowed + slack(0.001, replicates)
    assert t_passed / replicates > 0.08


@pytest.mark.parametrize(("n", "discordance", "margin"), [(164, 0.08, 0.05), (200, 0.04, 0.02)])
def test_a_gate_at_the_margin_passes_in_at_most_2_5_percent(
    n: int, discordance: float, margin: float
) -> None:
    rng, replicates, passed = sampler(1), 6000, 0
    for _ in range(replicates):
        b, c = table(rng, n, (discordance - margin) / 2, (discordance + margin) / 2)
        passed += tango(b, c, n)[0] > -margin
    assert passed / replicates <= 0.025 + slack(0.025, replicates)


@pytest.mark.parametrize("discordance", [0.05, 0.1])
def test_the_test_of_no_difference_rejects_at_most_5_percent(discordance: float) -> None:
    rng, replicates, rejected = sampler(2), 6000, 0
    for _ in range(replicates):
        rejected += mcnemar(*table(rng, 200, discordance / 2, discordance / 2)).p <= 0.05
    assert rejected / replicates <= 0.05 + slack(0.05, replicates)


def test_planned_numbers_of_items_have_the_planned_power() -> None:
    rng, replicates = sampler(3), 1500
    n = n_for_superiority(0.2, 0.05)
    found = sum(mcnemar(*table(rng, n, 0.125, 0.075)).p <= 0.05 for _ in range(replicates))
    assert found / replicates == pytest.approx(0.8, abs=0.01 + slack(0.8, replicates))
    n = n_for_margin(0.1, 0.05)
    kept = sum(tango(*table(rng, n, 0.05, 0.05), n)[0] > -0.05 for _ in range(replicates))
    assert kept / replicates == pytest.approx(0.79, abs=0.01 + slack(0.8, replicates))


def test_clusters_of_unequal_size_are_covered() -> None:
    rng, replicates, hits, naive = sampler(4), 2000, 0, 0
    sizes = [1, 2, 4, 8, 12, 18, 25, 35, 45, 60]
    clusters = [group for group, size in enumerate(sizes) for _ in range(size)]
    for _ in range(replicates):
        effects = [rng.gauss(0, 0.1**0.5) for _ in sizes]
        values = [effects[group] + rng.gauss(0, 0.9**0.5) for group in clusters]
        result = cluster_robust_mean(values, clusters)
        hits += abs(result.mean) <= t_quantile(0.05, result.df) * result.cr2_se
        naive += abs(result.mean) <= 1.96 * result.naive_se
    assert hits / replicates >= 0.92 - slack(0.93, replicates)
    assert naive / replicates < 0.7


def test_the_suite_covers() -> None:
    rng, replicates, hits = sampler(5), 3000, 0
    truths = (0.6, 0.8, 0.95)
    for _ in range(replicates):
        rights = [sum(rng.random() < p for _ in range(100)) for p in truths]
        _, low, high = mover([1 / 3] * 3, [x / 100 for x in rights], [wilson(x, 100) for x in rights])
        hits += low <= sum(truths) / 3 <= high
    assert hits / replicates == pytest.approx(0.95, abs=0.005 + slack(0.95, replicates))


def test_holm_over_ten_benchmarks_claims_falsely_in_at_most_5_percent() -> None:
    rng, replicates, false = sampler(6), 800, 0
    for _ in range(replicates):
        p_values = {str(i): mcnemar(*table(rng, 200, 0.1, 0.1)).p for i in range(10)}
        false += min(holm(p_values).values()) <= 0.05
    assert false / replicates <= 0.05 + slack(0.05, replicates)


def test_rejection_implies_an_interval_without_zero_by_enumeration() -> None:
    """p <= alpha implies that Tango's interval excludes 0; the reverse fails only in borderline tables."""
    borderline = 0
    for b in range(60):
        for c in range(b):
            if b + c == 0:
                continue
            each = BinaryPairs(n=300, fixed=b, broken=c)
            excludes = each.limits(0.05)[0] > 0
            assert excludes or each.p > 0.05, (b, c)
            borderline += excludes and each.p > 0.05
    assert borderline <= 20
