"""The comparison of two runs of one benchmark: verdicts, refusals, failures, repeats, clusters."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.statistics.compare import compare_runs
from evalhub_server.domain.statistics.evidence import BinaryPairs, ClusteredPairs
from evalhub_server.domain.statistics.inputs import CompareOptions, MetricRules
from evalhub_server.domain.statistics.results import BenchmarkComparison
from harness.evaluation_runs import SHARE, a_run, binary_pair

LOWER = MetricRules(metric="loss", low=0.0, high=1.0, lower_is_better=True)
UNBOUNDED = MetricRules(metric="seconds", lower_is_better=True)


def compare_counts(*counts: int, **options: Any) -> BenchmarkComparison:
    baseline, candidate = binary_pair(*counts)
    return compare_runs(a_run(baseline), a_run(candidate), CompareOptions(**options))


def codes(result: BenchmarkComparison) -> set[str]:
    return {each.code for each in result.reasons}


@pytest.mark.parametrize(
    ("counts", "options", "verdict", "wording"),
    [
        (
            (900, 60, 36, 323),
            {},
            "better",
            "better by 1.8 points (95 % interval 0.4 to 3.3; 1319 paired items; 60 fixed, 36 broken)",
        ),
        (
            (300, 5, 40, 155),
            {},
            "worse",
            "worse by 7.0 points (95 % interval -9.8 to -4.6; 500 paired items; 5 fixed, 40 broken)",
        ),
        (
            (300, 5, 40, 155),
            {"margin": 0.02},
            "worse_beyond_margin",
            "worse by more than 2 points (95 % interval -9.8 to -4.6; 500 paired items; 5 fixed, 40 broken)",
        ),
        (
            (300, 10, 30, 660),
            {"margin": 0.05},
            "worse_within_margin",
            "worse by 2.0 points, but by less than 5 points (95 % interval -3.4 to -0.8; 1000 paired items; 10 fixed, 30 broken)",
        ),
        (
            (600, 20, 22, 358),
            {},
            "inconclusive",
            (
                "no difference shown; differences beyond -1.5 … +1.1 points are ruled out (95 % interval -1.5 to 1.1; 1000 paired "
                "items; 20 fixed, 22 broken)"
            ),
        ),
        (
            (600, 20, 22, 358),
            {"margin": 0.01},
            "inconclusive",
            (
                "inconclusive: the interval reaches -1.5, the margin is -1.0; about 3400 items needed (95 % interval -1.5 to 1.1; "
                "1000 paired items; 20 fixed, 22 broken)"
            ),
        ),
        (
            (600, 20, 22, 358),
            {"margin": 0.02},
            "equivalent",
            "within ±2 points (95 % interval -1.5 to 1.1; 1000 paired items; 20 fixed, 22 broken)",
        ),
        (
            (600, 40, 30, 330),
            {"margin": 0.015},
            "not_worse",
            "not worse by more than 1.5 points (95 % interval -0.7 to 2.7; 1000 paired items; 40 fixed, 30 broken)",
        ),
        (
            (150, 3, 0, 47),
            {},
            "inconclusive",
            (
                "no difference shown; differences beyond -0.4 … +4.3 points are ruled out; too few changed answers to tell: 3 (95 % "
                "interval -0.4 to 4.3; 200 paired items; 3 fixed, 0 broken)"
            ),
        ),
    ],
)
def test_a_verdict_and_its_sentence(
    counts: tuple[int, ...], options: dict[str, Any], verdict: str, wording: str
) -> None:
    result = compare_counts(*counts, **options)
    assert result.wording.replace("\N{MINUS SIGN}", "-") == wording
    assert result.verdict == verdict


def test_identical_runs_are_not_equal_and_have_an_interval_of_some_width() -> None:
    scores, _ = binary_pair(8, 0, 0, 2)
    result = compare_runs(a_run(scores), a_run(scores), CompareOptions(margin=0.02))
    assert result.verdict == "inconclusive"
    assert result.difference is not None
    assert result.difference.interval.high == pytest.approx(0.27753279986288926)
    assert result.precision is not None
    assert result.precision.smallest_margin == pytest.approx(0.27753279986288926)


def test_lower_is_better_turns_the_difference() -> None:
    baseline, candidate = binary_pair(300, 5, 40, 155)
    result = compare_runs(a_run(baseline, rules=LOWER), a_run(candidate, rules=LOWER))
    assert result.verdict == "better"
    assert result.flips is not None
    assert (result.flips.fixed, result.flips.broken) == (40, 5)


def test_flips_name_the_samples() -> None:
    result = compare_runs(a_run([1, 0, 1, 0]), a_run([1, 1, 0, 0]))
    assert result.flips is not None
    assert result.flips.fixed_ids == ("s0001",)
    assert result.flips.broken_ids == ("s0002",)
    assert result.flips.discordance == 0.5


def test_the_largest_changes_come_first_and_lists_are_limited() -> None:
    result = compare_runs(a_run([0.5, 0.5, 0.5]), a_run([0.4, 0.1, 0.3]), CompareOptions(max_sample_ids=2))
    assert result.flips is not None
    assert result.flips.broken == 3
    assert result.flips.broken_ids == ("s0001", "s0002")


def test_equal_scores_of_different_arithmetic_are_no_change() -> None:
    result = compare_runs(a_run([0.1 + 0.2] * 30), a_run([0.3] * 30))
    assert result.flips is not None
    assert (result.flips.fixed, result.flips.broken) == (0, 0)
    assert result.difference is not None
    assert result.difference.p == 1


@pytest.mark.parametrize(
    ("baseline", "candidate", "code"),
    [
        ({"benchmark_id": "c"}, {}, "other_benchmark"),
        ({"rules": MetricRules(metric="f1", low=0, high=1)}, {}, "other_metric"),
        ({"rules": MetricRules(metric="acc")}, {}, "other_range"),
        ({"rules": MetricRules(metric="acc", low=0, high=1, lower_is_better=True)}, {}, "other_direction"),
        ({"scorer": "judge-a"}, {"scorer": "judge-b"}, "other_scorer"),
        ({"dataset_revision": "a"}, {"dataset_revision": "b"}, "other_dataset"),
        ({"parameters": {"num_few_shot": 0}}, {"parameters": {"num_few_shot": 5}}, "other_parameters"),
        ({"parameters": {"temperature": 0.7}}, {}, "other_parameters"),
        ({"num_examples": 4}, {}, "other_num_examples"),
        ({"key_hashes": ["a", "b", "c", "d"]}, {"key_hashes": ["a", "b", "x", "d"]}, "other_prompts"),
        ({"ids": ["a", "b", "c", "d"]}, {"ids": ["a", "b", "c", "e"]}, "other_items"),
        ({"ids": ["a", "b", "c", "c"]}, {"ids": ["a", "b", "c", "d"]}, "duplicate_samples"),
        (
            {"ids": ["a"] * 4, "epochs": [0, 1, 2, 2]},
            {"ids": ["a"] * 4, "epochs": [0, 1, 2, 3]},
            "duplicate_samples",
        ),
        (
            {"rules": MetricRules(metric="acc", low=0, high=0.5)},
            {"rules": MetricRules(metric="acc", low=0, high=0.5)},
            "out_of_range",
        ),
        (
            {"rules": MetricRules(metric="acc", low=1, high=1)},
            {"rules": MetricRules(metric="acc", low=1, high=1)},
            "bad_range",
        ),
    ],
)
def test_runs_that_differ_are_not_comparable(
    baseline: dict[str, Any], candidate: dict[str, Any], code: str
) -> None:
    scores = [1.0, 0.0, 1.0, 1.0]
    result = compare_runs(a_run(scores, **baseline), a_run(scores, **candidate))
    assert result.verdict == "not_comparable"
    assert result.difference is None
    assert code in codes(result)
    assert result.wording.startswith("not comparable: ")


@pytest.mark.parametrize(
    ("baseline", "candidate", "options", "warning"),
    [
        ({"parameters": {"temperature": 0.7}}, {}, {"allow_parameters": ("temperature",)}, "confounder"),
        (
            {"key_hashes": ["a", "b", "c", "d"]},
            {"key_hashes": ["x", "b", "c", "d"]},
            {"allow_prompt_change": True},
            "prompt_under_test",
        ),
        ({"num_examples": 4}, {}, {"allow_subset": True}, "subset"),
        ({"dataset_revision": "a"}, {}, {}, "unknown_dataset"),
    ],
)
def test_a_permitted_difference_is_a_warning(
    baseline: dict[str, Any], candidate: dict[str, Any], options: dict[str, Any], warning: str
) -> None:
    scores = [1.0, 0.0, 1.0, 1.0]
    result = compare_runs(a_run(scores, **baseline), a_run(scores, **candidate), CompareOptions(**options))
    assert result.difference is not None
    assert warning in {each.code for each in result.warnings}


@pytest.mark.parametrize("name", ["model", "base_url", "api_key", "num_concurrent", "timeout"])
def test_parameters_of_the_model_and_of_speed_may_differ(name: str) -> None:
    one, two = a_run([1, 0], parameters={name: 1}), a_run([1, 0], parameters={name: 2})
    assert compare_runs(one, two).verdict == "inconclusive"


def test_a_subset_is_compared_on_common_items_without_missing_data() -> None:
    full = a_run([1.0, 0.0] * 100)
    part = a_run([1.0, 0.0] * 20, num_examples=40)
    result = compare_runs(full, part, CompareOptions(allow_subset=True))
    assert result.n_matched == 40
    assert result.missing is None


def test_failures_that_could_change_the_verdict_leave_it_open() -> None:
    baseline, candidate = binary_pair(400, 14, 2, 84)
    complete = compare_runs(a_run(baseline), a_run(candidate))
    assert complete.verdict == "better"
    cut = [*candidate[:-14], *[None] * 14]
    result = compare_runs(a_run(baseline), a_run(cut, statuses=["ok"] * 486 + ["missing"] * 14))
    assert result.verdict == "better"  # at worst these were wrong, as they are counted
    cut = [None] * 14 + candidate[14:]
    result = compare_runs(a_run(baseline), a_run(cut, statuses=["missing"] * 14 + ["ok"] * 486))
    assert result.verdict == "inconclusive"
    assert codes(result) == {"missing_data"}
    assert result.wording.startswith("inconclusive (missing data): 14 ")
    assert result.missing is not None
    assert result.missing.worst is not None
    assert result.missing.worst.estimate == pytest.approx((12 - 14) / 500)


def test_expected_samples_without_a_record_count_as_missing() -> None:
    baseline, candidate = binary_pair(400, 14, 2, 84)
    one, two = a_run(baseline, n_expected=520), a_run(candidate, n_expected=520)
    result = compare_runs(one, two)
    assert result.missing is not None
    assert result.missing.n == 20
    assert result.verdict == "inconclusive"
    assert result.baseline is not None
    assert (result.baseline.n_expected, result.baseline.n_missing) == (520, 20)


def test_too_many_excluded_failures_give_no_verdict() -> None:
    baseline, candidate = binary_pair(100, 40, 0, 60)
    cut = [None, None, None, *candidate[3:]]
    statuses = ["infrastructure_error"] * 3 + ["ok"] * 197
    result = compare_runs(a_run(baseline), a_run(cut, statuses=statuses))  # type: ignore[arg-type]
    assert result.verdict == "incomplete"
    assert codes(result) == {"too_many_excluded"}
    assert result.difference is not None  # shown, without a verdict


def test_the_policy_refuse_gives_no_verdict() -> None:
    baseline, candidate = binary_pair(100, 40, 0, 60)
    run = a_run([None, *candidate[1:]], statuses=["model_error"] + ["ok"] * 199)
    result = compare_runs(a_run(baseline), run, CompareOptions(model_errors="refuse"))
    assert result.verdict == "incomplete"
    assert codes(result) == {"failures_refused"}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300])
def test_a_score_that_is_no_number_counts_as_a_failure(value: float) -> None:
    result = compare_runs(a_run([1.0] * 200), a_run([value, *[1.0] * 199]))
    assert result.candidate is not None
    assert (result.candidate.n_scored, result.candidate.n_error) == (199, 1)
    assert result.n_matched == 199
    msgspec.json.encode(result)


def test_repeats_are_averaged_first() -> None:
    ids = [f"s{i}" for i in range(50) for _ in range(4)]
    epochs = [0, 1, 2, 3] * 50
    baseline = a_run([1.0, 0.0, 1.0, 0.0] * 50, ids=ids, epochs=epochs)
    candidate = a_run([1.0, 1.0, 1.0, 0.0] * 50, ids=ids, epochs=epochs)
    result = compare_runs(baseline, candidate)
    assert result.n_matched == 50
    assert result.difference is not None
    assert result.difference.estimate == pytest.approx(0.25)
    assert result.candidate is not None
    assert result.candidate.repeats is not None
    assert result.candidate.repeats.max_repeats == 4


def test_different_numbers_of_repeats_are_named() -> None:
    baseline = a_run([1.0] * 20)
    candidate = a_run([1.0] * 40, ids=[f"s{i // 2:04}" for i in range(40)], epochs=[0, 1] * 20)
    result = compare_runs(baseline, candidate)
    assert "other_repeats" in {each.code for each in result.warnings}
    assert result.n_matched == 20


def clustered(groups: int) -> tuple[MetricRules, list[str]]:
    rules = msgspec.structs.replace(SHARE, groups="clusters")
    return rules, [f"c{i * groups // 200}" for i in range(200)]


def test_one_run_per_item_at_a_temperature_is_named() -> None:
    one = a_run([1.0, 0.0] * 20, parameters={"temperature": 0.7})
    assert [each.code for each in compare_runs(one, one).warnings] == ["one_repeat"]


def test_missing_data_of_a_metric_without_a_range_leaves_the_verdict_open() -> None:
    baseline = [float(i) for i in range(200)]
    candidate = [x - 1 - (i % 17) / 10 for i, x in enumerate(baseline)]
    run = a_run([None, *candidate[1:]], rules=UNBOUNDED)
    result = compare_runs(a_run(baseline, rules=UNBOUNDED), run)
    assert result.missing is not None
    assert result.missing.worst is None
    assert codes(result) == {"missing_data"}


def test_missing_data_is_judged_with_clusters() -> None:
    rules, clusters = clustered(40)
    baseline, candidate = binary_pair(100, 20, 5, 75)
    one = a_run(baseline, rules=rules, clusters=clusters, n_expected=201)
    two = a_run([None, *candidate[1:]], rules=rules, clusters=clusters)
    result = compare_runs(one, two)
    assert result.missing is not None
    assert result.missing.n == 2
    assert isinstance(result.missing.worst and result.missing.worst.evidence, ClusteredPairs)


def test_one_cluster_gives_no_verdict() -> None:
    rules, _ = clustered(1)
    run = a_run([1.0, 0.0] * 20, rules=rules, clusters=["c"] * 40)
    assert codes(compare_runs(run, run)) == {"too_few_clusters"}


def test_one_common_item_gives_no_verdict() -> None:
    result = compare_runs(a_run([1.0]), a_run([0.0]))
    assert result.verdict == "inconclusive"
    assert codes(result) == {"too_few_items"}


def test_real_valued_samples_without_ids_are_compared_unpaired() -> None:
    ids = [""] * 60
    one = a_run([0.3 + i / 600 for i in range(60)], ids=ids)
    two = a_run([0.8 + i / 600 for i in range(60)], ids=ids)
    result = compare_runs(one, two)
    assert result.difference is not None
    assert result.difference.interval.method == "guarded Welch t, unpaired"
    assert result.verdict == "better"
    assert compare_runs(a_run([1.0], ids=[""]), a_run([1.0], ids=[""])).verdict == "incomplete"


def test_samples_on_one_side_only_are_compared_by_standard_errors() -> None:
    baseline, _ = binary_pair(500, 0, 0, 500)
    result = compare_runs(a_run(baseline), a_run(None, reported_value=0.7, reported_stderr=0.015))
    assert result.verdict == "better"
    assert result.difference is not None
    assert "unpaired" in result.difference.test


def test_clusters_widen_the_interval() -> None:
    rules, clusters = clustered(40)
    baseline, candidate = binary_pair(100, 20, 5, 75)
    plain = compare_runs(a_run(baseline), a_run(candidate))
    result = compare_runs(
        a_run(baseline, rules=rules, clusters=clusters), a_run(candidate, rules=rules, clusters=clusters)
    )
    assert isinstance(plain.evidence, BinaryPairs)
    assert isinstance(result.evidence, ClusteredPairs)
    assert plain.difference is not None
    assert result.difference is not None
    assert result.difference.interval.low < plain.difference.interval.low
    assert plain.verdict == "better"
    assert result.verdict == "inconclusive"


def test_too_few_clusters_give_no_verdict() -> None:
    rules, clusters = clustered(5)
    baseline, candidate = binary_pair(100, 60, 0, 40)
    result = compare_runs(
        a_run(baseline, rules=rules, clusters=clusters), a_run(candidate, rules=rules, clusters=clusters)
    )
    assert result.verdict == "inconclusive"
    assert result.wording.startswith("inconclusive (too few clusters): 5 clusters")


def test_strata_do_not_widen_the_interval() -> None:
    _, clusters = clustered(5)
    baseline, candidate = binary_pair(100, 20, 5, 75)
    rules = msgspec.structs.replace(SHARE, groups="strata")
    result = compare_runs(
        a_run(baseline, rules=rules, clusters=clusters), a_run(candidate, rules=rules, clusters=clusters)
    )
    assert isinstance(result.evidence, BinaryPairs)


def test_unbounded_metrics_need_differences_of_their_own() -> None:
    baseline = [float(i) for i in range(100)]
    result = compare_runs(a_run(baseline, rules=UNBOUNDED), a_run([x - 1 for x in baseline], rules=UNBOUNDED))
    assert result.verdict == "inconclusive"
    assert codes(result) == {"too_few_values"}
    varied = [x - 1 - (i % 17) / 10 for i, x in enumerate(baseline)]
    result = compare_runs(a_run(baseline, rules=UNBOUNDED), a_run(varied, rules=UNBOUNDED))
    assert result.verdict == "better"


def test_the_range_is_never_inferred() -> None:
    rules = MetricRules(metric="f1")
    scores = [0.5 + i / 1000 for i in range(100)]
    result = compare_runs(a_run(scores, rules=rules), a_run([x + 0.01 for x in scores], rules=rules))
    assert result.value_range is None
    assert result.verdict == "inconclusive"


def test_without_samples_the_comparison_is_unpaired() -> None:
    one = a_run(None, reported_value=0.6512, reported_stderr=0.004)
    two = a_run(None, reported_value=0.6427, reported_stderr=0.0041)
    result = compare_runs(two, one)
    assert not result.paired
    assert result.difference is not None
    assert result.difference.p == pytest.approx(0.1378253203)
    assert "unpaired" in {each.code for each in result.warnings}
    assert result.wording.startswith("unpaired: no difference shown")


def test_without_samples_and_standard_errors_there_is_no_verdict() -> None:
    result = compare_runs(a_run(None, reported_value=0.6), a_run(None, reported_value=0.7))
    assert result.verdict == "incomplete"
    assert "0.6 and 0.7" in result.wording


def test_samples_without_ids_are_compared_unpaired() -> None:
    baseline, candidate = binary_pair(50, 30, 0, 20)
    ids = [""] * 100
    result = compare_runs(a_run(baseline, ids=ids), a_run(candidate, ids=ids))
    assert result.verdict == "better"
    assert not result.paired


def test_a_reported_score_that_the_samples_do_not_explain_gives_no_verdict() -> None:
    baseline, candidate = binary_pair(50, 30, 0, 20)
    result = compare_runs(a_run(baseline), a_run(candidate, reported_value=0.9))
    assert result.verdict == "incomplete"
    assert codes(result) == {"score_differs"}
    assert result.candidate is not None
    assert result.candidate.value == 0.9
    assert result.candidate.interval is None


def test_an_answer_survives_encoding() -> None:
    baseline, candidate = binary_pair(50, 30, 5, 15)
    result = compare_runs(a_run(baseline, n_expected=101), a_run(candidate), CompareOptions(margin=0.05))
    assert msgspec.json.decode(msgspec.json.encode(result), type=BenchmarkComparison) == result


def test_columns_of_different_lengths_are_an_error() -> None:
    with pytest.raises(ValueError, match="column 'epochs' has 1 rows, 'sample_ids' has 2"):
        compare_runs(a_run([1, 0], epochs=[0]), a_run([1, 0]))


def test_runs_without_common_samples_have_examples_of_both_ids() -> None:
    result = compare_runs(a_run([1.0, 0.0], ids=["q-1", "q-2"]), a_run([1.0, 0.0], ids=["1", "2"]))
    assert result.verdict == "not_comparable"
    assert "the ids are 'q-1', 'q-2' in the baseline and '1', '2' in the candidate" in result.wording
