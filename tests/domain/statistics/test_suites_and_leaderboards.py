"""Several benchmarks and several models: the suite's difference, adjusted claims, ranges of ranks."""

from __future__ import annotations

import random

import msgspec
import pytest

from evalhub_server.domain.statistics.inputs import (
    CompareOptions,
    MetricRules,
    ModelRuns,
    Run,
    SuiteBenchmark,
)
from evalhub_server.domain.statistics.leaderboard import leaderboard
from evalhub_server.domain.statistics.results import Leaderboard, SuiteComparison
from evalhub_server.domain.statistics.suite import adjust_candidates, compare_suites
from harness.evaluation_runs import SHARE, a_run, binary_pair

FOUR = {
    "bench_a": (300, 60, 20, 120),
    "bench_b": (100, 12, 9, 43),
    "bench_c": (9000, 402, 300, 4340),
    "bench_d": (40, 5, 0, 5),
}


def a_benchmark(name: str, counts: tuple[int, ...], weight: float = 1.0) -> SuiteBenchmark:
    baseline, candidate = binary_pair(*counts)
    return SuiteBenchmark(
        name=name,
        baseline=a_run(baseline, benchmark_id=name),
        candidate=a_run(candidate, benchmark_id=name),
        weight=weight,
    )


def four() -> list[SuiteBenchmark]:
    return [a_benchmark(name, counts) for name, counts in FOUR.items()]


def test_the_suite_comes_first_and_its_benchmarks_are_adjusted() -> None:
    result = compare_suites(four())
    assert result.difference is not None
    assert result.difference.estimate == pytest.approx(0.05138915136)
    assert result.difference.interval.low == pytest.approx(0.02564779714)
    assert result.difference.p == pytest.approx(0.002193186177, rel=1e-5)
    assert result.verdict == "better"
    assert result.wording == ("better by 5.14 points (95 % interval 2.56 to 8.46; 4 benchmarks, 14756 items)")
    by_name = {each.name: each for each in result.benchmarks}
    difference = by_name["bench_d"].difference
    assert difference is not None
    assert difference.p == 0.03125
    assert difference.p_adjusted == 0.0625
    assert by_name["bench_d"].verdict == "inconclusive"  # "better" on its own
    assert by_name["bench_a"].verdict == "better"
    assert msgspec.json.decode(msgspec.json.encode(result), type=SuiteComparison) == result


def test_one_benchmark_is_its_own_suite() -> None:
    result = compare_suites([a_benchmark("a", (300, 60, 20, 120))])
    assert result.difference is not None
    only = result.benchmarks[0].difference
    assert only is not None
    assert result.difference.p == only.p == only.p_adjusted
    assert "; 1 benchmark, 500 items)" in result.wording
    assert result.difference.interval.low == pytest.approx(only.interval.low)


def test_the_interval_names_its_unit_where_no_claim_does() -> None:
    baseline, candidate = binary_pair(50, 5, 5, 40)
    failed = a_run(candidate, benchmark_id="c", statuses=["infrastructure_error"] * 3 + ["ok"] * 97)
    incomplete = SuiteBenchmark(name="c", baseline=a_run(baseline, benchmark_id="c"), candidate=failed)
    result = compare_suites([*four(), incomplete])
    assert result.wording == (
        "incomplete: c is incomplete (95 % interval 1.59 to 7.14 points; 5 benchmarks, 14853 items)"
    )


def test_a_benchmark_that_was_not_run_makes_the_suite_incomplete_and_counts_in_the_adjustment() -> None:
    missing = SuiteBenchmark(name="bench_e", baseline=a_run([1, 0], benchmark_id="bench_e"))
    result = compare_suites([*four(), missing])
    assert result.verdict == "incomplete"
    assert result.benchmarks[-1].wording == "incomplete: the candidate has no result"
    difference = result.benchmarks[3].difference
    assert difference is not None
    assert difference.p_adjusted == pytest.approx(3 * 0.03125)


def test_the_score_of_one_side_is_shown_where_the_other_has_none() -> None:
    run = a_run([1.0, 0.0])
    for baseline, candidate in ((run, None), (None, run)):
        (result,) = compare_suites(
            [SuiteBenchmark(name="b", baseline=baseline, candidate=candidate)]
        ).benchmarks
        values = [each.value if each else None for each in (result.baseline, result.candidate)]
        assert values == [0.5 if baseline else None, 0.5 if candidate else None]
        assert (result.verdict, result.difference) == ("incomplete", None)


def test_weights_of_opposite_sign_are_named() -> None:
    small = a_benchmark("small", (20, 20, 5, 5))
    large = a_benchmark("large", (1000, 20, 120, 860))
    result = compare_suites([small, large], weights="macro")
    assert result.difference is not None
    assert result.difference.estimate > 0
    assert [each.weights for each in result.alternatives] == ["pooled"]
    assert {"sign_depends_on_weights", "opposite_directions"} <= {each.code for each in result.warnings}


def test_declared_weights_are_used_and_zero_counts_as_one() -> None:
    result = compare_suites([a_benchmark("a", (50, 5, 0, 45), 0), a_benchmark("b", (50, 0, 5, 45), 3)])
    assert result.weights == {"a": 0.25, "b": 0.75}
    assert result.difference is not None
    assert result.difference.estimate == pytest.approx(0.25 * 0.05 - 0.75 * 0.05)


def test_suites_refuse_metrics_without_a_range_and_shared_items() -> None:
    values = [float(i) for i in range(100)]
    rules = MetricRules(metric="seconds")
    unbounded = SuiteBenchmark(
        name="latency",
        baseline=a_run(values, rules=rules),
        candidate=a_run([x + 1 + x % 17 for x in values], rules=rules),
    )
    result = compare_suites([*four(), unbounded])
    assert result.difference is None
    assert "has no declared range" in result.wording
    twice = [a_benchmark("a", (50, 5, 0, 45)), a_benchmark("a", (50, 5, 0, 45))]
    with pytest.raises(ValueError, match="different names"):
        compare_suites(twice)
    twice[1] = msgspec.structs.replace(twice[1], name="a again")
    assert compare_suites(twice).difference is None


def test_lower_is_better_contributes_its_complement_to_the_score() -> None:
    rules = msgspec.structs.replace(SHARE, lower_is_better=True)
    baseline, candidate = binary_pair(20, 10, 30, 40)
    toxic = SuiteBenchmark(
        name="toxicity", baseline=a_run(baseline, rules=rules), candidate=a_run(candidate, rules=rules)
    )
    result = compare_suites([toxic])
    assert result.baseline is not None
    assert result.baseline.value == pytest.approx(0.5)
    assert result.candidate is not None
    assert result.candidate.value == pytest.approx(0.7)


def test_missing_data_leaves_the_suite_open() -> None:
    baseline, candidate = binary_pair(400, 16, 2, 82)
    cut = a_run([None] * 16 + candidate[16:], benchmark_id="a")
    result = compare_suites(
        [SuiteBenchmark(name="a", baseline=a_run(baseline, benchmark_id="a"), candidate=cut)]
    )
    assert result.verdict == "inconclusive"
    assert {each.code for each in result.reasons} == {"missing_data"}


def test_the_choice_of_the_best_candidate_is_adjusted() -> None:
    suites = {
        name: compare_suites([a_benchmark("a", (50, b, c, 45))]) for name, b, c in (("x", 9, 1), ("y", 5, 4))
    }
    adjusted = adjust_candidates(suites)
    first = suites["x"].difference
    assert first is not None
    assert adjusted["x"].p_adjusted == pytest.approx(2 * first.p)
    assert adjusted["x"].n_candidates == 2


def models(count: int, n: int = 2000, **rules: object) -> list[ModelRuns]:
    draw = random.Random(7).random  # noqa: S311
    difficulty = [draw() for _ in range(n)]
    metric = msgspec.structs.replace(SHARE, **rules)
    result: list[ModelRuns] = []
    for model in range(count):
        skill = 0.4 + 0.1 * (model // 2)
        runs = {
            name: a_run(
                [float(each + 0.3 * (draw() - 0.5) < skill) for each in difficulty],
                rules=metric,
                benchmark_id=name,
                clusters=[f"c{i // 10}" for i in range(n)],
            )
            for name in ("one", "two")
        }
        result.append(ModelRuns(model=f"m{model}", job_id=f"job-{model}", runs=runs))
    return result


@pytest.mark.parametrize("rules", [{}, {"groups": "clusters"}, {"groups": "strata"}])
def test_models_that_cannot_be_told_apart_share_ranks(rules: dict[str, object]) -> None:
    board = leaderboard(models(6, **rules), {"one": 1.0, "two": 1.0})
    assert board.suite is not None
    for ranking in (board.suite, *board.benchmarks):
        assert [each.model for each in ranking.ranks if each.tied_with_best] == [
            each.model for each in ranking.ranks[:2]
        ]
        assert {(each.best_rank, each.worst_rank) for each in ranking.ranks} == {(1, 2), (3, 4), (5, 6)}
        assert len(ranking.pairs) == 15
        assert [set(group) for group in ranking.groups] == [{"m4", "m5"}, {"m2", "m3"}, {"m0", "m1"}]
    assert board.benchmarks[0].n_common == 2000
    assert msgspec.json.decode(msgspec.json.encode(board), type=Leaderboard) == board


def test_the_choice_of_the_best_run_is_adjusted() -> None:
    plain = models(2)
    chosen = [msgspec.structs.replace(each, chosen_of=3) for each in plain]
    (before, after) = (leaderboard(each, {"one": 1.0, "two": 1.0}) for each in (plain, chosen))
    assert before.suite is not None
    assert after.suite is not None
    for first, second in zip(
        (before.suite, *before.benchmarks), (after.suite, *after.benchmarks), strict=True
    ):
        (one,), (two,) = first.pairs, second.pairs
        assert two.p == one.p
        assert two.p_adjusted == pytest.approx(min(1.0, 9 * one.p))
        for narrow, wide in zip(first.ranks, second.ranks, strict=True):
            assert narrow.interval is not None
            assert wide.interval is not None
            assert wide.interval.confidence == pytest.approx(1 - 0.05 / 3)
            assert wide.interval.low < narrow.interval.low < narrow.interval.high < wide.interval.high


def test_lower_scores_rank_first_where_lower_is_better() -> None:
    board = leaderboard(models(4, lower_is_better=True), {"one": 1.0})
    scores = [each.score for each in board.benchmarks[0].ranks]
    assert scores == sorted(scores)
    assert [each.tied_with_best for each in board.benchmarks[0].ranks] == [True, True, False, False]


def test_pairs_of_a_leaderboard_agree_with_the_comparison() -> None:
    entries = models(2, groups="clusters")
    pair = leaderboard(entries, {"one": 1.0}).benchmarks[0].pairs[0]
    suite = compare_suites(
        [SuiteBenchmark(name="one", baseline=entries[1].runs["one"], candidate=entries[0].runs["one"])]
    )
    difference = suite.benchmarks[0].difference
    assert difference is not None
    assert pair.difference == pytest.approx(difference.estimate)
    assert pair.p == pytest.approx(difference.p)


def test_real_valued_scores_are_ranked_on_common_items() -> None:
    draw = random.Random(3).random  # noqa: S311
    base = [draw() * 0.5 for _ in range(300)]
    runs: dict[str, Run] = {
        "good": a_run([x + 0.4 + 0.1 * draw() for x in base]),
        "bad": a_run([x + 0.1 * draw() for x in base]),
        "short": a_run(base[:295]),
    }
    board = leaderboard([ModelRuns(model=name, runs={"b": run}) for name, run in runs.items()], {"b": 1.0})
    ranking = board.benchmarks[0]
    assert ranking.n_common == 295
    assert ranking.ranks[0].model == "good"
    assert ranking.ranks[0].worst_rank == 1
    assert {each.code for each in ranking.warnings} == {"common_items"}


def test_models_without_comparable_results_are_not_ranked_and_named() -> None:
    scores = [1.0, 0.0] * 50
    entries = [
        ModelRuns(model="x", runs={"b": a_run(scores)}),
        ModelRuns(model="y", runs={"b": a_run(scores)}),
        ModelRuns(model="few-shot", runs={"b": a_run(scores, parameters={"num_few_shot": 5})}),
        ModelRuns(model="absent", runs={}),
        ModelRuns(model="bare", runs={"b": a_run(None, reported_value=0.5)}),
        ModelRuns(model="twice", runs={"b": a_run([1.0, 0.0], ids=["a", "a"])}),
        ModelRuns(model="nameless", runs={"b": a_run(scores, ids=[""] * 100)}),
    ]
    ranking = leaderboard(entries, {"b": 1.0}).benchmarks[0]
    assert {each.model for each in ranking.ranks} == {"x", "y"}
    assert {each.code for each in ranking.not_ranked} == {"few-shot", "absent", "bare", "twice", "nameless"}


def test_an_empty_leaderboard_is_empty() -> None:
    board = leaderboard([], {"b": 1.0}, CompareOptions())
    assert board.suite is None
    assert board.benchmarks[0].ranks == ()
