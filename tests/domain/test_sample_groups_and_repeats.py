"""Repeats of samples, and scores of groups."""

from __future__ import annotations

import json
from typing import Any

from evalhub_server.domain.group_differences import group_differences
from evalhub_server.domain.group_scores import MAX_GROUPS, group_scores, scores_by
from evalhub_server.domain.sample_index import IndexBuilder, SampleIndex
from evalhub_server.domain.sample_repeats import has_repeats, mean_of, one_row_per_sample, repeats_of
from evalhub_server.domain.samples import parse_sample
from evalhub_server.domain.statistics.inputs import CompareOptions, MetricRules, Run, RunHeader, RunItems


def index_of(*samples: dict[str, Any]) -> SampleIndex:
    builder = IndexBuilder()
    for sample in samples:
        builder.add(parse_sample(json.dumps(sample).encode()))
    return builder.build()


def run_of(clusters: list[str | None], scores: list[float], **rules: Any) -> Run:
    return Run(
        header=RunHeader(provider_id="p", benchmark_id="b", reported_value=0.1, n_expected=1000),
        rules=MetricRules(metric="acc", low=0, high=1, **rules),
        items=RunItems(sample_ids=[str(n) for n in range(len(clusters))], scores=scores, clusters=clusters),
    )


def test_repeats_are_found_by_sample_in_the_order_of_epochs():
    index = index_of(
        {"sample_id": "a", "epoch": 1, "passed": True, "metrics": {"m": 1}},
        {"sample_id": "b", "passed": False, "metrics": {"m": 1e308}},
        {"sample_id": "a", "epoch": 0, "passed": False},
        {"sample_id": "b", "epoch": 1, "passed": False, "metrics": {"m": 1e308}},
    )
    assert has_repeats(index)
    assert one_row_per_sample(index, [3, 2, 1, 0]) == [3, 2]
    found = repeats_of(index, {"a", "b"})
    assert (found["a"].rows, found["a"].passed, found["a"].count) == ([2, 0], 1, 2)
    assert found["b"].passed == 0
    assert repeats_of(index, {"a"}) == {"a": found["a"]}
    assert repeats_of(index, {"none"})["none"].count == 0
    assert mean_of(index.metrics["m"], found["a"].rows) == 1.0
    assert mean_of(index.metrics["m"], [2]) is None
    assert mean_of(index.metrics["m"], found["b"].rows) is None, "the sum is no number"


def test_each_group_has_its_score_and_interval():
    scored = group_scores(run_of(["law", "code", None, "law"], [1, 0, 1, 1]))
    assert [(each.group, each.summary.value, each.summary.n) for each in scored] == [
        ("", 1.0, 1),
        ("code", 0.0, 1),
        ("law", 1.0, 2),
    ]
    assert all(each.summary.interval for each in scored)


def test_repeats_within_a_group_are_averaged():
    run = run_of(["x", "x", "y"], [1, 0, 1])
    items = RunItems(
        sample_ids=["a", "a", "b"],
        epochs=[0, 1, 0],
        scores=[1, 0, 1],
        clusters=["x", "x", "y"],
        statuses=["ok"] * 3,
    )
    first, second = group_scores(Run(header=run.header, rules=run.rules, items=items))
    assert (first.summary.value, first.summary.n) == (0.5, 1)
    assert second.summary.value == 1.0


def test_clusters_one_group_and_very_many_groups_have_no_scores():
    assert group_scores(run_of(["x", "y"], [1, 0], groups="clusters")) == ()
    assert group_scores(run_of(["x", "x"], [1, 0])) == ()
    many = [str(n) for n in range(MAX_GROUPS + 1)]
    assert group_scores(run_of([*many], [1.0] * len(many))) == ()
    assert (
        group_scores(Run(header=RunHeader(provider_id="p", benchmark_id="b"), rules=MetricRules(metric="m")))
        == ()
    )


def test_clusters_within_a_part_widen_its_interval():
    labels = ["x"] * 8 + ["y"] * 8
    clusters: list[str | None] = [str(n // 4) for n in range(16)]
    scores = [1.0, 1, 1, 1, 0, 0, 0, 0] * 2
    clustered, _ = scores_by(run_of(clusters, scores, groups="clusters"), labels)
    plain, _ = scores_by(run_of(clusters, scores), labels)
    assert clustered.summary.clustering is not None
    assert plain.summary.clustering is None
    assert (
        scores_by(Run(header=RunHeader(provider_id="p", benchmark_id="b"), rules=MetricRules(metric="m")), [])
        == ()
    )


def test_samples_are_paired_within_the_groups_of_the_baseline():
    groups: list[str | None] = ["law"] * 40 + ["code"] * 40 + [None]
    baseline = run_of(groups, [1.0] * 81)
    candidate = run_of(["other"] * 81, [0.0] * 20 + [1.0] * 61)
    found = {each.name: each for each in group_differences(baseline, candidate, CompareOptions())}
    assert list(found) == ["", "code", "law"]
    assert (found["law"].n_matched, found["code"].n_matched) == (40, 40)
    law = found["law"].difference
    assert law is not None
    assert law.estimate == -0.5
    assert law.p_adjusted == 3 * law.p
    assert (found["law"].verdict, found["code"].verdict) == ("worse", "inconclusive")


def test_runs_without_groups_have_no_differences_by_group():
    baseline = run_of(["law", "code"] * 20, [1.0, 0.0] * 20)
    options = CompareOptions()
    assert group_differences(None, baseline, options) == ()
    assert group_differences(baseline, run_of(["law"] * 40, [1.0] * 40, groups="clusters"), options) == ()
    assert group_differences(run_of(["law"] * 40, [1.0] * 40), baseline, options) == ()
    many: list[str | None] = [str(number) for number in range(MAX_GROUPS + 1)]
    assert group_differences(run_of(many, [1.0] * len(many)), run_of(many, [0.0] * len(many)), options) == ()
