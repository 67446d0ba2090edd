"""The score of one run: method, interval, failures, repeats, clusters; and the words of results."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.statistics.gate import evaluate_gate
from evalhub_server.domain.statistics.gate_results import ScoredBenchmark
from evalhub_server.domain.statistics.inputs import CompareOptions, MetricRules, Run
from evalhub_server.domain.statistics.policy import GatePolicy
from evalhub_server.domain.statistics.results import Flag, ScoreSummary
from evalhub_server.domain.statistics.score import score_run
from evalhub_server.domain.statistics.score_evidence import (
    BoundedMean,
    ClusteredScores,
    Proportion,
    ReportedScore,
    ScoreEvidence,
    UnboundedMean,
)
from evalhub_server.domain.statistics.wording import flag_wording, number, p_text, round_items, size
from harness.evaluation_runs import SHARE, a_run

CLUSTERS = msgspec.structs.replace(SHARE, groups="clusters")
UNBOUNDED = MetricRules(metric="seconds")
REAL = [round(0.3 + 0.4 * math.sin(i) ** 2, 3) for i in range(200)]


def notes(summary: ScoreSummary) -> set[str]:
    return {each.code for each in summary.notes}


@pytest.mark.parametrize(
    ("run", "method", "codes"),
    [
        (a_run([1.0, 0.0] * 20), "Wilson", set[str]()),
        (a_run([True, False] * 20), "Wilson", set[str]()),
        (a_run(REAL), "t", set[str]()),
        (a_run([1.0] * 50 + [0.5]), "guarded t", set[str]()),
        (a_run(REAL, rules=UNBOUNDED), "t", set[str]()),
        (a_run(REAL[:20], rules=UNBOUNDED), "t", {"small_unbounded"}),
        (
            a_run(REAL, rules=CLUSTERS, clusters=[f"c{i // 4}" for i in range(200)]),
            "cluster-robust t (CR2), at least t",
            set[str](),
        ),
        (
            a_run(REAL, rules=CLUSTERS, clusters=[f"c{i // 10}" for i in range(200)]),
            "cluster-robust t (CR2), at least t",
            {"few_clusters"},
        ),
        (
            a_run([1.0, 0.0] * 20, rules=CLUSTERS, clusters=[None] * 40),
            "cluster-robust t (CR2), at least Wilson",
            set[str](),
        ),
        (
            a_run(None, reported_value=0.5, reported_stderr=0.1),
            "z from the harness's standard error",
            {"no_samples"},
        ),
    ],
)
def test_a_method(run: Run, method: str, codes: set[str]) -> None:
    summary = score_run(run)
    assert summary.interval is not None
    assert summary.interval.method == method
    assert summary.interval.confidence == pytest.approx(0.95)
    assert notes(summary) == codes
    assert msgspec.json.decode(msgspec.json.encode(summary), type=ScoreSummary) == summary


@pytest.mark.parametrize(
    ("run", "value", "codes"),
    [
        (a_run([]), None, set[str]()),
        (a_run([0.5]), 0.5, {"too_few_items"}),
        (a_run([1.0, 0.0], rules=CLUSTERS, clusters=["a", "a"]), 0.5, {"too_few_clusters"}),
        (a_run([1.0, 0.0], reported_value=0.7), 0.7, {"score_differs"}),
        (a_run([1.0, 0.0], ids=["a", "a"], reported_value=0.5), 0.5, {"duplicate_samples"}),
        (a_run([1.0, 2.0]), 1.5, {"out_of_range"}),
        (
            a_run([1.0, 0.0], rules=MetricRules(metric="f1", aggregation="other"), reported_value=0.4),
            0.4,
            {"not_a_mean"},
        ),
        (a_run(None, reported_value=0.5), 0.5, {"no_samples"}),
        (a_run(None, reported_value=math.nan, reported_stderr=0.1), None, {"no_samples"}),
        (a_run(None, reported_value=0.5, reported_stderr=0.0), 0.5, {"no_samples"}),
    ],
)
def test_a_score_without_an_interval_has_a_reason(run: Run, value: float | None, codes: set[str]) -> None:
    summary = score_run(run)
    assert summary.interval is None
    assert summary.value == value
    assert notes(summary) == codes


def test_failures_are_counted_and_their_envelope_is_shown() -> None:
    scores = [1.0] * 70 + [0.0] * 25 + [None] * 5
    run = a_run(scores, statuses=["ok"] * 95 + ["model_error"] * 3 + ["missing"] * 2)
    summary = score_run(run)
    assert (summary.n_expected, summary.n_scored, summary.n_error, summary.n_missing) == (100, 95, 3, 2)
    assert summary.n == 98
    assert summary.value == pytest.approx(70 / 98)
    assert summary.envelope == pytest.approx((0.6041514537, 0.8245478864))
    assert notes(summary) == {"failed_samples", "missing_samples"}
    wrong = score_run(run, CompareOptions(infrastructure_errors="wrong"))
    assert wrong.value == pytest.approx(0.7)


def test_an_absurd_number_of_expected_samples_gives_the_whole_range() -> None:
    summary = score_run(a_run([1.0, 0.0] * 20, n_expected=10**15))
    assert summary.envelope == (0.0, 1.0)


@pytest.mark.parametrize("reported", [70 / 95, 0.7])
def test_a_reported_score_may_leave_failures_out_or_count_them_as_wrong(reported: float) -> None:
    scores = [1.0] * 70 + [0.0] * 25 + [None] * 5
    run = a_run(scores, statuses=["ok"] * 95 + ["model_error"] * 5, reported_value=reported)
    assert "score_differs" not in notes(score_run(run))


def test_failures_of_a_metric_without_a_range_are_left_out() -> None:
    run = a_run([*REAL, None], rules=UNBOUNDED, statuses=["ok"] * 200 + ["model_error"])
    summary = score_run(run)
    assert summary.n == 200
    assert summary.envelope is None


def test_failed_repeats_are_counted_by_the_policy() -> None:
    ids = [f"s{i // 4}" for i in range(80)]
    scores: list[float | None] = [1.0, 1.0, 0.0, None] * 20
    run = a_run(scores, ids=ids, epochs=[0, 1, 2, 3] * 20, statuses=["ok", "ok", "ok", "model_error"] * 20)
    assert score_run(run).value == pytest.approx(0.5)
    excluded = score_run(run, CompareOptions(model_errors="exclude"))
    assert excluded.value == pytest.approx(2 / 3)
    assert excluded.repeats is not None
    assert (excluded.repeats.min_repeats, excluded.repeats.max_repeats) == (3, 3)
    lost = a_run([None] * 4 + [1.0] * 76, ids=ids, epochs=[0, 1, 2, 3] * 20)
    assert score_run(lost).n_missing == 1
    failed = a_run([math.nan] * 4 + [1.0] * 76, ids=ids, epochs=[0, 1, 2, 3] * 20)
    assert score_run(failed).n_error == 1


EVIDENCE: list[ScoreEvidence] = [
    Proportion(n=200, successes=150),
    BoundedMean(n=200, mean=0.75, sd=0.3, low=0.0, high=1.0, nonmodal=100),
    BoundedMean(n=200, mean=0.75, sd=0.3, low=0.0, high=1.0, nonmodal=3),
    UnboundedMean(n=200, mean=0.75, sd=0.3, nonmodal=100),
    ClusteredScores(scores=Proportion(n=200, successes=150), clusters=20, se=0.05, df=15.0),
    ClusteredScores(
        scores=BoundedMean(n=200, mean=0.75, sd=0.3, low=0.0, high=1.0, nonmodal=100),
        clusters=20,
        se=0.0,
        df=15.0,
    ),
    ClusteredScores(
        scores=UnboundedMean(n=200, mean=0.75, sd=0.3, nonmodal=100), clusters=20, se=0.05, df=15.0
    ),
    ReportedScore(value=0.75, stderr=0.03),
]


@pytest.mark.parametrize("evidence", EVIDENCE)
def test_one_sided_tests_agree_with_the_interval_of_a_gate(evidence: ScoreEvidence) -> None:
    low, high = evidence.limits(0.05, gate=True)
    assert evidence.upper_p(low - 1e-6) < 0.025 + 1e-6
    assert evidence.upper_p(low + 1e-4) > 0.025 - 1e-6
    assert evidence.lower_p(high + 1e-6) < 0.025 + 1e-6
    assert evidence.lower_p(high - 1e-4) > 0.025 - 1e-6


def test_thresholds_outside_the_range_are_certain() -> None:
    assert Proportion(n=10, successes=0).upper_p(0.0) == 1
    assert Proportion(n=10, successes=10).upper_p(0.0) == 0
    assert ReportedScore(value=0.5, stderr=0.0).upper_p(0.4) == 0


@pytest.mark.parametrize(
    ("run", "outcome", "code"),
    [
        (a_run([0.5] * 50, rules=UNBOUNDED), "inconclusive", "too_few_values"),
        (
            a_run([0.9, 0.8] * 20, rules=CLUSTERS, clusters=[f"c{i // 10}" for i in range(40)]),
            "inconclusive",
            "too_few_clusters",
        ),
        (a_run([1.0, 0.0], ids=["a", "a"], reported_value=0.5), "incomplete", "duplicate_samples"),
        (a_run(None, reported_value=0.9), "incomplete", "no_interval"),
    ],
)
def test_a_threshold_that_cannot_be_decided(run: Run, outcome: str, code: str) -> None:
    entry: dict[str, Any] = {"provider_id": "p", "id": "b", "threshold": 0.4}
    policy = msgspec.convert({"benchmarks": [entry]}, GatePolicy)
    scored = ScoredBenchmark(name="p/b", metric="acc", lower_is_better=False, summary=score_run(run))
    result = evaluate_gate(policy, None, [scored])
    assert result.outcome == outcome
    assert [each.code for each in result.benchmarks[0].reasons] == [code]


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("improved", "better (95 %)"),
        ("regressed", "worse (95 %)"),
        ("non_inferior", "not worse by more than 1 point"),
        ("inferior_beyond_margin", "worse by more than 1 point"),
        ("equivalent", "within ±1 point"),
    ],
)
def test_the_words_of_a_flag(flag: Flag, text: str) -> None:
    assert flag_wording(flag, 0.95, 0.01, 100.0) == text


def test_numbers_for_readers() -> None:
    assert [p_text(p) for p in (0.0, 0.00099, 0.0309, 0.9999)] == ["<0.001", "<0.001", "0.031", "1"]
    assert number(-0.00001, 100.0, 100) == "0.0"
    assert number(0.01234, 100.0, 2000) == "1.23"
    assert number(1234.5, 1.0) == "1.23e+03"
    assert size(0.5, 1.0) == "0.5"
    assert [round_items(n) for n in (7, 99, 3925)] == [7, 99, 3900]
