"""Quality gates: outcomes, exit codes, refused policies, missing data."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evalhub_server.domain.statistics.gate import evaluate_gate
from evalhub_server.domain.statistics.gate_results import GateResult, ScoredBenchmark
from evalhub_server.domain.statistics.inputs import SuiteBenchmark
from evalhub_server.domain.statistics.policy import (
    GateBenchmark,
    GatePolicy,
    PolicyError,
    check_margins,
    check_policy,
)
from evalhub_server.domain.statistics.results import SuiteComparison
from evalhub_server.domain.statistics.score import score_run
from evalhub_server.domain.statistics.suite import compare_suites
from harness.evaluation_runs import SHARE, a_run, binary_pair

SAME = (600, 20, 22, 358)
WORSE = (600, 5, 105, 290)
BETTER = (600, 105, 5, 290)


def a_suite(policy: GatePolicy | None = None, **benchmarks: tuple[int, ...] | None) -> SuiteComparison:
    entries: list[SuiteBenchmark] = []
    for name, counts in benchmarks.items():
        baseline, candidate = binary_pair(*(counts or SAME))
        entries.append(
            SuiteBenchmark(
                name=f"p/{name}",
                baseline=a_run(baseline, benchmark_id=name),
                candidate=a_run(candidate, benchmark_id=name) if counts else None,
            )
        )
    return compare_suites(entries, (policy or GatePolicy()).options())


def a_policy(**fields: Any) -> GatePolicy:
    return msgspec.convert(fields, GatePolicy)


@pytest.mark.parametrize(
    ("policy", "counts", "outcome", "code"),
    [
        ({"margin": 0.02}, SAME, "pass", 0),
        ({"margin": 0.02}, WORSE, "fail", 1),
        ({"margin": 0.01}, SAME, "inconclusive", 2),
        ({"margin": 0.02}, None, "incomplete", 3),
        ({"kind": "superiority"}, BETTER, "pass", 0),
        ({"kind": "superiority"}, WORSE, "fail", 1),
        ({"kind": "superiority"}, SAME, "inconclusive", 2),
        ({"relative_margin": 0.05}, SAME, "pass", 0),
        ({"relative_margin": 0.05}, WORSE, "fail", 1),
        ({"margin": 0.02}, (900, 30, 0, 70), "pass", 0),
    ],
)
def test_an_outcome_and_its_exit_code(
    policy: dict[str, Any], counts: tuple[int, ...] | None, outcome: str, code: int
) -> None:
    result = evaluate_gate(a_policy(**policy), a_suite(b=counts))
    assert (result.outcome, result.exit_code) == (outcome, code)
    assert msgspec.json.decode(msgspec.json.encode(result), type=GateResult) == result


def test_all_required_benchmarks_must_pass() -> None:
    policy = a_policy(margin=0.02)
    assert evaluate_gate(policy, a_suite(a=SAME, b=SAME)).outcome == "pass"
    assert evaluate_gate(policy, a_suite(a=SAME, b=WORSE)).outcome == "fail"
    assert evaluate_gate(policy, a_suite(a=SAME, b=None)).outcome == "incomplete"
    assert evaluate_gate(policy, a_suite(a=WORSE, b=None)).outcome == "fail"


def test_a_benchmark_that_is_not_required_is_shown_and_does_not_decide() -> None:
    policy = a_policy(
        margin=0.02,
        benchmarks=[{"provider_id": "p", "id": "a"}, {"provider_id": "p", "id": "b", "required": False}],
    )
    result = evaluate_gate(policy, a_suite(a=SAME, b=WORSE))
    assert result.outcome == "pass"
    assert [each.outcome for each in result.benchmarks] == ["pass", "fail"]


def test_a_failure_that_the_mean_hides_is_named() -> None:
    result = evaluate_gate(a_policy(margin=0.02), a_suite(a=WORSE, b=BETTER))
    assert result.outcome == "fail"
    assert result.wording == "fail: p/a (1 of 2 required benchmarks)"
    assert {"hidden_by_mean", "opposite_directions"} <= {each.code for each in result.warnings}


def test_failures_are_adjusted_for_the_number_of_benchmarks() -> None:
    borderline = (600, 20, 62, 318)
    policy = a_policy(margin=0.02)
    alone = evaluate_gate(policy, a_suite(a=borderline))
    assert alone.outcome == "fail"
    assert alone.benchmarks[0].p_fail == pytest.approx(alone.benchmarks[0].p_fail_adjusted)
    among = evaluate_gate(policy, a_suite(a=borderline, **{f"b{i}": SAME for i in range(20)}))
    assert among.outcome == "inconclusive"
    assert {each.code for each in among.benchmarks[0].reasons} == {"adjusted"}


def test_missing_data_that_could_change_the_outcome_is_inconclusive() -> None:
    baseline, candidate = binary_pair(*SAME)
    cut = a_run([None] * 10 + candidate[10:])
    suite = compare_suites([SuiteBenchmark(name="p/b", baseline=a_run(baseline), candidate=cut)])
    assert evaluate_gate(a_policy(margin=0.02), suite).outcome == "inconclusive"
    assert evaluate_gate(a_policy(margin=0.04), suite).outcome == "pass"


def test_runs_that_are_not_comparable_are_incomplete() -> None:
    baseline, candidate = binary_pair(*SAME)
    other = a_run(candidate, parameters={"num_few_shot": 5})
    suite = compare_suites([SuiteBenchmark(name="p/b", baseline=a_run(baseline), candidate=other)])
    result = evaluate_gate(a_policy(margin=0.02), suite)
    assert (result.outcome, result.exit_code) == ("incomplete", 3)
    assert "num_few_shot" in result.benchmarks[0].wording


def test_an_unpaired_comparison_passes_only_if_the_policy_allows_it() -> None:
    one = a_run(None, reported_value=0.8, reported_stderr=0.001)
    suite = compare_suites([SuiteBenchmark(name="p/b", baseline=one, candidate=one)])
    assert evaluate_gate(a_policy(margin=0.02), suite).outcome == "incomplete"
    assert evaluate_gate(a_policy(margin=0.02, unpaired="allow"), suite).outcome == "pass"


def test_nothing_evaluated_is_never_a_pass() -> None:
    result = evaluate_gate(a_policy(margin=0.02), compare_suites([]))
    assert (result.outcome, result.exit_code) == ("incomplete", 3)


def test_a_margin_below_the_floor_is_refused_before_any_verdict() -> None:
    suite = a_suite(b=(40, 0, 0, 10))
    with pytest.raises(
        PolicyError, match=r"p/b: 50 items cannot support a margin of 0\.01; use a margin above 0\.072"
    ):
        evaluate_gate(a_policy(margin=0.01), suite)
    assert evaluate_gate(a_policy(margin=0.08), suite).outcome == "pass"


def test_a_share_of_a_baseline_of_zero_is_no_margin() -> None:
    suite = a_suite(b=(0, 5, 0, 495))
    result = evaluate_gate(a_policy(relative_margin=0.05), suite)
    assert result.outcome == "incomplete"
    assert [each.code for each in result.benchmarks[0].reasons] == ["no_margin"]


def test_a_policy_holds_for_every_occurrence_of_a_benchmark() -> None:
    policy = a_policy(benchmarks=[{"provider_id": "p", "id": "b", "threshold": 0.85}])
    scores = [
        msgspec.structs.replace(a_score(right, 1000), name=name, provider_id="p", benchmark_id="b")
        for name, right in (("p/b", 900), ("p/b#2", 700))
    ]
    result = evaluate_gate(policy, None, scores)
    assert [(each.name, each.outcome) for each in result.benchmarks] == [("p/b", "pass"), ("p/b#2", "fail")]


def test_too_few_clusters_are_inconclusive() -> None:
    baseline, candidate = binary_pair(*SAME)
    rules = msgspec.structs.replace(SHARE, groups="clusters")
    clusters = [f"c{i // 200}" for i in range(1000)]
    one, two = (a_run(each, rules=rules, clusters=clusters) for each in (baseline, candidate))
    suite = compare_suites([SuiteBenchmark(name="p/b", baseline=one, candidate=two)])
    result = evaluate_gate(a_policy(margin=0.2), suite)
    assert result.outcome == "inconclusive"
    assert [each.code for each in result.benchmarks[0].reasons] == ["too_few_clusters"]


def test_margins_are_checked_against_numbers_of_items_alone() -> None:
    check_margins(a_policy(margin=0.01), {"p/b": 381})
    with pytest.raises(PolicyError, match=r"380 items cannot support a margin of 0\.01"):
        check_margins(a_policy(margin=0.01), {"p/b": 380})


def a_score(right: int, n: int, **fields: Any) -> ScoredBenchmark:
    run = a_run([1.0] * right + [0.0] * (n - right), **fields)
    return ScoredBenchmark(
        name="p/b", metric="acc", lower_is_better=run.rules.lower_is_better, summary=score_run(run)
    )


@pytest.mark.parametrize(
    ("right", "lower", "threshold", "confidence", "outcome"),
    [
        (900, False, 0.85, "interval", "pass"),
        (900, False, 0.89, "interval", "inconclusive"),
        (900, False, 0.95, "interval", "fail"),
        (900, False, 0.9, "point", "pass"),
        (900, False, 0.901, "point", "fail"),
        (100, True, 0.15, "interval", "pass"),
        (100, True, 0.11, "interval", "inconclusive"),
        (100, True, 0.05, "interval", "fail"),
        (100, True, 0.1, "point", "pass"),
    ],
)
def test_a_threshold_alone(right: int, lower: bool, threshold: float, confidence: str, outcome: str) -> None:
    policy = a_policy(
        benchmarks=[{"provider_id": "p", "id": "b", "threshold": threshold, "confidence": confidence}]
    )
    rules = msgspec.structs.replace(SHARE, lower_is_better=lower)
    result = evaluate_gate(policy, None, [a_score(right, 1000, rules=rules)])
    assert result.outcome == outcome
    assert ("point estimate, no confidence" in result.benchmarks[0].wording) == (confidence == "point")


def test_a_threshold_on_missing_samples_holds_at_both_extremes() -> None:
    policy = a_policy(benchmarks=[{"provider_id": "p", "id": "b", "threshold": 0.87}])
    assert evaluate_gate(policy, None, [a_score(900, 1000)]).outcome == "pass"
    assert evaluate_gate(policy, None, [a_score(900, 1000, n_expected=1040)]).outcome == "inconclusive"


def test_a_threshold_without_a_score_is_incomplete() -> None:
    policy = a_policy(benchmarks=[{"provider_id": "p", "id": "b", "threshold": 0.5}])
    scored = ScoredBenchmark(name="p/b", metric="acc", lower_is_better=False, summary=score_run(a_run(None)))
    assert evaluate_gate(policy, None, [scored]).outcome == "incomplete"


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "margin: non_inferiority needs margin or relative_margin"),
        ({"margin": 0.1, "relative_margin": 0.1}, "margin: give either margin or relative_margin"),
        ({"kind": "threshold"}, "benchmarks: a policy of kind threshold names its benchmarks"),
        ({"benchmarks": [{"provider_id": "p", "id": "x"}], "margin": 0.1}, "there is no benchmark 'p/x'"),
        (
            {"benchmarks": [{"provider_id": "p", "id": "b"}]},
            "benchmarks[0].margin: non_inferiority needs margin",
        ),
        ({"benchmarks": [{"provider_id": "p", "id": "b", "kind": "threshold"}]}, "needs a threshold"),
        (
            {"benchmarks": [{"provider_id": "p", "id": "b", "kind": "superiority", "threshold": 0.5}]},
            "threshold: has no effect with kind superiority",
        ),
        ({"margin": 0.1, "benchmarks": [{"provider_id": "p", "id": "b"}] * 2}, "'p/b' is listed twice"),
        (
            {"margin": 0.1, "benchmarks": [{"provider_id": "p", "id": "b", "required": False}]},
            "none is required",
        ),
        (
            {"benchmarks": [{"provider_id": "p", "id": "b", "margin": 0.1, "relative_margin": 0.1}]},
            "benchmarks[0].margin: give either margin or relative_margin",
        ),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        check_policy(a_policy(**fields), {"p/b"})
    assert any(problem in each for each in caught.value.problems)


@pytest.mark.parametrize(
    "fields",
    [{"margin": 0}, {"margin": -1}, {"alpha": 1}, {"alpha": 1e-320}, {"marign": 0.1}, {"kind": "best"}],
)
def test_a_policy_with_wrong_values_cannot_be_decoded(fields: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        a_policy(**fields)


def test_every_field_of_a_policy_has_a_description() -> None:
    for struct in (GatePolicy, GateBenchmark):
        schema = msgspec.json.schema(struct)["$defs"][struct.__name__]["properties"]
        assert [name for name, each in schema.items() if "description" not in str(each)] == []


def test_a_repeated_attempt_is_named() -> None:
    result = evaluate_gate(a_policy(margin=0.02), a_suite(b=SAME), attempt=3)
    assert result.attempt == 3
    assert {each.code for each in result.warnings} == {"repeated"}
