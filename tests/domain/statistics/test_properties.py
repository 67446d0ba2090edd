"""Properties that hold for all data: symmetry, order, nesting, duality of tests and intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.domain.statistics.bootstrap import percentile_bootstrap
from evalhub_server.domain.statistics.clusters import cluster_robust_mean
from evalhub_server.domain.statistics.compare import compare_runs
from evalhub_server.domain.statistics.distributions import (
    beta_cdf,
    binomial_half_cdf,
    find_root,
    mean_and_sd,
    t_lower_tail,
    t_quantile,
    t_two_sided_p,
)
from evalhub_server.domain.statistics.evidence import (
    AggregatesUnpaired,
    BinaryPairs,
    BinaryUnpaired,
    BoundedPairs,
    ClusteredPairs,
    DifferenceEvidence,
    MeansUnpaired,
    UnboundedPairs,
    is_paired,
    spread,
)
from evalhub_server.domain.statistics.inputs import CompareOptions, Run
from evalhub_server.domain.statistics.intervals import bounded_mean_interval, clopper_pearson, wilson
from evalhub_server.domain.statistics.mover import mover, mover_p
from evalhub_server.domain.statistics.multiplicity import holm, holm_step_alphas
from evalhub_server.domain.statistics.paired_binary import mcnemar, tango
from evalhub_server.domain.statistics.paired_real import sign_flip
from evalhub_server.domain.statistics.planning import (
    detectable_difference,
    min_n_for_margin,
    n_for_margin,
    n_for_superiority,
    repeats_variance,
    smallest_margin,
    smoothed_discordance,
)
from evalhub_server.domain.statistics.ranks import rank_ranges
from evalhub_server.domain.statistics.repeats import decompose_repeats, pass_at_k
from evalhub_server.domain.statistics.verdicts import verdict_flags
from harness.evaluation_runs import SHARE, a_run

SCORES = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1).map(lambda value: round(value, 6)))
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=60)
BINARY = st.tuples(st.integers(1, 400), st.integers(0, 400), st.integers(0, 400)).filter(
    lambda counts: counts[1] + counts[2] <= counts[0]
)


@st.composite
def evidence(draw: st.DrawFn) -> DifferenceEvidence:
    """Any kind of evidence."""
    n, fixed, broken = draw(BINARY)
    mean, sd = draw(st.floats(-0.9, 0.9)), draw(st.floats(0, 0.5))
    bounded = BoundedPairs(n=n + 1, mean=mean, sd=sd, width=1.0, paired_t=draw(st.booleans()))
    pairs = draw(
        st.sampled_from(
            [
                BinaryPairs(n=n, fixed=fixed, broken=broken, exact=draw(st.booleans())),
                bounded,
                UnboundedPairs(n=n + 1, mean=mean, sd=sd, nonmodal=20),
            ]
        )
    )
    clustered = ClusteredPairs(pairs=pairs, clusters=12, se=draw(st.floats(0, 0.3)), df=8.5)
    bounds = draw(st.sampled_from([None, (0.0, 1.0)]))
    unpaired = [
        BinaryUnpaired(first_successes=fixed, first_n=n, second_successes=broken, second_n=n + 3),
        MeansUnpaired(first=(n + 1, 0.5 + mean / 2, sd), second=(n + 2, 0.5, sd / 2), bounds=bounds),
        AggregatesUnpaired(difference=mean, se=sd),
    ]
    return draw(st.sampled_from([pairs, clustered, *unpaired]))


def runs(pairs: Sequence[tuple[float, float]]) -> tuple[Run, Run]:
    return a_run([pair[0] for pair in pairs]), a_run([pair[1] for pair in pairs])


@given(evidence(), st.sampled_from([0.5, 0.05, 0.01, 1e-4]))
def test_limits_are_finite_ordered_and_contain_the_estimate(each: DifferenceEvidence, alpha: float) -> None:
    low, high = each.limits(alpha)
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert low - 1e-9 <= each.estimate <= high + 1e-9
    wider = each.limits(alpha / 2)
    assert wider[0] <= low + 1e-9
    assert wider[1] >= high - 1e-9
    assert 0 <= each.p <= 1
    assert each.interval_method
    assert each.test


@given(evidence(), st.sampled_from([0.1, 0.05, 0.01]))
def test_a_rejected_difference_has_an_interval_without_zero(each: DifferenceEvidence, alpha: float) -> None:
    low, high = each.limits(alpha)
    if each.p <= alpha * (1 - 1e-9):
        assert low > -1e-9 or high < 1e-9


@given(evidence(), st.floats(-0.5, 0.5), st.sampled_from([0.1, 0.05]))
def test_one_sided_tests_agree_with_the_upper_limit(
    each: DifferenceEvidence, limit: float, alpha: float
) -> None:
    p = each.lower_p(limit)
    _, high = each.limits(alpha)
    assert -1e-12 <= p <= 1 + 1e-12
    if p < alpha / 2 - 1e-6:
        assert high < limit + 1e-6
    if high < limit - 1e-6:
        assert p < alpha / 2 + 1e-6


@given(evidence())
def test_only_paired_evidence_has_a_spread(each: DifferenceEvidence) -> None:
    variance = spread(each)
    assert (variance is not None) == is_paired(each)
    floor = each.smallest_margin(0.05)
    assert floor is None or 0 < floor <= max(2.0, floor)


@given(PAIRS)
def test_swapping_runs_mirrors_the_comparison(pairs: list[tuple[float, float]]) -> None:
    one, two = runs(pairs)
    there, back = compare_runs(one, two).difference, compare_runs(two, one).difference
    assert there is not None
    assert back is not None
    assert there.estimate == pytest.approx(-back.estimate, abs=1e-12)
    assert there.interval.low == pytest.approx(-back.interval.high, abs=1e-9)
    assert there.p == pytest.approx(back.p, abs=1e-9)


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_records_changes_nothing(pairs: list[tuple[float, float]], random: object) -> None:
    ids = [f"s{number}" for number in range(len(pairs))]
    order = list(range(len(pairs)))
    random.shuffle(order)  # type: ignore[attr-defined]
    one = compare_runs(a_run([p[0] for p in pairs], ids=ids), a_run([p[1] for p in pairs], ids=ids))
    two = compare_runs(
        a_run([pairs[i][0] for i in order], ids=[ids[i] for i in order]),
        a_run([p[1] for p in pairs], ids=ids),
    )
    assert one.difference is not None
    assert two.difference is not None
    assert one.difference.interval == two.difference.interval
    assert one.flips == two.flips


@given(BINARY, st.integers(1, 500))
def test_unchanged_answers_leave_the_test_and_pull_the_interval_to_zero(
    counts: tuple[int, int, int], more: int
) -> None:
    n, fixed, broken = counts
    few, many = (
        BinaryPairs(n=n, fixed=fixed, broken=broken),
        BinaryPairs(n=n + more, fixed=fixed, broken=broken),
    )
    assert few.p == many.p
    outermost = [max(map(abs, each.limits(0.05))) for each in (few, many)]
    assert outermost[1] <= outermost[0] + 1e-9


@given(st.integers(0, 40), st.integers(0, 40))
def test_sign_flips_of_ones_are_the_exact_mcnemar_test(fixed: int, broken: int) -> None:
    differences = [1.0] * fixed + [-1.0] * broken + [0.0] * 5
    assert sign_flip(differences) == pytest.approx(mcnemar(fixed, broken).exact, rel=1e-12)


def test_sign_flips_of_many_different_values_are_sampled_reproducibly() -> None:
    values = [math.sin(number) + 0.2 for number in range(60)]
    p = sign_flip(values, seed=4)
    assert p == sign_flip(values, seed=4)
    assert p == pytest.approx(0.03, abs=0.03)


@given(BINARY, st.floats(0.001, 0.4), st.floats(1, 3))
def test_a_wider_margin_never_loses_a_claim(
    counts: tuple[int, int, int], margin: float, factor: float
) -> None:
    n, fixed, broken = counts
    low, high = tango(fixed, broken, n)
    narrow, wide = (set(verdict_flags(low, high, each)) for each in (margin, margin * factor))
    assert {"non_inferior", "equivalent"} & narrow <= wide


@given(st.lists(SCORES, min_size=2, max_size=40))
def test_clusters_of_one_item_are_no_clusters(values: list[float]) -> None:
    result = cluster_robust_mean(values, range(len(values)))
    assert result.cr2_se == pytest.approx(result.naive_se, abs=1e-12)
    assert result.df == pytest.approx(len(values) - 1)


@given(st.lists(st.lists(SCORES, min_size=3, max_size=3), min_size=2, max_size=12))
def test_equal_clusters_have_equal_errors(groups: list[list[float]]) -> None:
    values = [value for group in groups for value in group]
    result = cluster_robust_mean(values, [index // 3 for index in range(len(values))])
    assert result.cr1_se == pytest.approx(result.cr2_se, abs=1e-12)
    assert result.df == pytest.approx(len(groups) - 1)


@given(evidence())
def test_mover_of_one_part_is_the_part(each: DifferenceEvidence) -> None:
    limits = each.limits(0.05)
    assert mover([1.0], [each.estimate], [limits])[1:] == pytest.approx(limits, abs=1e-12)


def test_mover_inverts_to_one_without_a_difference_and_to_zero_without_a_spread() -> None:
    assert mover_p([1.0], [0.0], [lambda alpha: (-alpha, alpha)]) == 1
    assert mover_p([1.0], [0.5], [lambda alpha: (0.5, 0.5)]) == 0


@given(st.lists(SCORES, min_size=2, max_size=40))
def test_one_repeat_per_item_is_plain(values: list[float]) -> None:
    result = decompose_repeats([[value] for value in values])
    mean, sd = mean_and_sd(values)
    assert result.mean == mean
    assert result.se == pytest.approx(sd / math.sqrt(len(values)))
    assert result.mean_within_variance is None


@given(st.dictionaries(st.text(max_size=4), st.floats(0, 1), max_size=12), st.sampled_from([0.05, 0.2]))
def test_holm_is_monotone_and_its_steps_share_alpha(p_values: dict[str, float], alpha: float) -> None:
    adjusted = holm(p_values)
    assert all(adjusted[name] >= p for name, p in p_values.items())
    levels = holm_step_alphas(p_values, alpha)
    for name, p in p_values.items():
        assert 0 < levels[name] <= alpha
        assert (p <= levels[name] + 1e-15) == (adjusted[name] <= alpha + 1e-15) or adjusted[name] > alpha


@given(st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1), min_size=1), st.data())
def test_a_rank_range_holds_the_observed_rank(scores: dict[str, float], data: st.DataObject) -> None:
    names = list(scores)
    pairs = {(a, b): data.draw(st.floats(0, 1)) for i, a in enumerate(names) for b in names[i + 1 :]}
    ranges, _ = rank_ranges(scores, pairs)
    for name, (best, worst) in ranges.items():
        above = sum(score > scores[name] for score in scores.values())
        below = sum(score < scores[name] for score in scores.values())
        assert 1 <= best <= 1 + above
        assert len(names) - below <= worst <= len(names)


@given(st.integers(1, 300), st.data())
def test_clopper_pearson_contains_wilson_mostly_and_both_contain_the_share(
    n: int, data: st.DataObject
) -> None:
    right = data.draw(st.integers(0, n))
    for low, high in (wilson(right, n), clopper_pearson(right, n)):
        assert 0 <= low <= right / n <= high <= 1


@given(st.lists(SCORES, min_size=2, max_size=60))
def test_an_interval_stays_in_the_range_of_the_metric(values: list[float]) -> None:
    low, high, method = bounded_mean_interval(values, 0.0, 1.0)
    assert 0 <= low <= high <= 1
    assert high > low
    assert method in {"t", "guarded t"}


@given(PAIRS, st.integers(1, 5))
def test_a_claim_with_missing_data_holds_whatever_the_missing_scores_are(
    pairs: list[tuple[float, float]], cut: int
) -> None:
    baseline, candidate = runs(pairs)
    known = [None if row < cut else pair[1] for row, pair in enumerate(pairs)]
    options = CompareOptions(margin=0.3)
    result = compare_runs(baseline, a_run(known), options)
    if result.missing is None or result.difference is None or not result.flags:
        return
    extremes = (result.missing.worst, result.missing.best)
    assert all(each is not None and set(result.flags) <= set(each.flags) for each in extremes)
    full = compare_runs(baseline, candidate, options).difference
    assert full is not None
    worst, best = extremes
    assert worst is not None
    assert best is not None
    assert worst.estimate - 1e-9 <= full.estimate <= best.estimate + 1e-9


@given(st.floats(0.02, 0.4), st.floats(0.3, 1.0))
def test_the_detectable_difference_needs_the_items_at_hand(discordance: float, share: float) -> None:
    n = n_for_superiority(discordance, discordance * share)
    found = detectable_difference(n, discordance).exact
    assert found is not None
    assert found <= discordance * share + 1e-9


def test_impossible_questions_are_errors() -> None:
    with pytest.raises(ValueError, match="impossible"):
        n_for_superiority(0.1, 0.2)
    with pytest.raises(ValueError, match="pass@3"):
        pass_at_k(2, 1, 3)
    with pytest.raises(ValueError, match="two clusters"):
        cluster_robust_mean([1.0, 0.0], ["a", "a"])
    with pytest.raises(ValueError, match="not supported"):
        percentile_bootstrap([1.0], max, 0)
    assert detectable_difference(50, 0.05).exact is None


@pytest.mark.parametrize("margin", [0.0, 1e-300, 1e-30])
def test_margins_too_small_for_any_number_of_items_are_errors(margin: float) -> None:
    for function in (min_n_for_margin, lambda value: n_for_margin(0.1, value)):
        with pytest.raises(ValueError, match="at least 1e-09"):
            function(margin)
    baseline, candidate = runs([(1.0, 0.0)] * 10)
    precision = compare_runs(baseline, candidate, CompareOptions(margin=margin)).precision
    assert precision is not None
    assert precision.n_for_margin is None


def test_planning_with_repeats_and_real_scores() -> None:
    assert repeats_variance(0.02, 0.1, 4, 0.1, 1) == pytest.approx(0.145)
    assert smoothed_discordance(0, 0, 98) == 0.01
    floor = smallest_margin(100, width=1.0)
    assert floor == pytest.approx(-BoundedPairs(n=100, mean=0, sd=0, width=1.0).limits(0.05)[0])


def test_distributions_at_their_ends() -> None:
    assert beta_cdf(2, 3, 0) == 0
    assert beta_cdf(2, 3, 1) == 1
    assert t_two_sided_p(math.inf, 3) == 0
    assert t_lower_tail(0.0, 5) == 0.5
    assert binomial_half_cdf(-1, 5) == 0
    assert binomial_half_cdf(5, 5) == 1
    assert t_quantile(0.05, 1e6) == pytest.approx(1.959966, abs=1e-6)
    assert find_root(lambda x: x + 1, 0, 1) == 0  # no change of sign: the end nearer to a root


@given(PAIRS)
def test_lower_is_better_is_the_mirror_of_higher_is_better(pairs: list[tuple[float, float]]) -> None:
    rules = type(SHARE)(metric="acc", low=0.0, high=1.0, lower_is_better=True)
    one, two = runs(pairs)
    mirrored = [a_run([round(1 - p[side], 6) for p in pairs], rules=rules) for side in (0, 1)]
    plain, other = compare_runs(one, two), compare_runs(mirrored[0], mirrored[1])
    assert plain.difference is not None
    assert other.difference is not None
    assert plain.difference.estimate == pytest.approx(other.difference.estimate, abs=1e-9)
    assert plain.verdict == other.verdict
