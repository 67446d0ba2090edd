"""Metrics and samples in the form that EvalHub reports, from rows as the framework writes them."""

from __future__ import annotations

import math
from typing import Any

import pytest

from evalhub_adapters.lm_eval_adapter.results import mean_scores, read_scores, sample_lines
from evalhub_common.adapter.declared import declared_filters


def test_the_filter_none_is_not_part_of_the_name() -> None:
    scores = read_scores(
        {
            "alias": "t",
            "sample_len": 4,
            "acc,none": 0.5,
            "acc_stderr,none": 0.1,
            "f1,none": 1,
            "f1_stderr,none": "N/A",
        }
    )
    assert scores.metrics == {"acc": 0.5, "acc_stderr": 0.1, "f1": 1.0}
    assert scores.filters == {"acc": "none", "f1": "none"}


def test_other_filters_are_named_and_the_flexible_one_counts() -> None:
    scores = read_scores(
        {
            "exact_match,strict-match": 0.0,
            "exact_match_stderr,strict-match": 0.0,
            "exact_match,flexible-extract": 0.75,
            "exact_match_stderr,flexible-extract": 0.25,
            "bleu,only": math.nan,
        }
    )
    assert scores.metrics == {
        "exact_match": 0.75,
        "exact_match_stderr": 0.25,
        "exact_match,strict-match": 0.0,
        "exact_match,strict-match_stderr": 0.0,
        "exact_match,flexible-extract": 0.75,
        "exact_match,flexible-extract_stderr": 0.25,
    }
    assert scores.filters == {"exact_match": "flexible-extract"}
    assert read_scores({"m,b": 1.0, "m,a": 0.0}).metrics == {"m": 1.0, "m,b": 1.0, "m,a": 0.0}


def test_the_filter_that_the_provider_declares_counts() -> None:
    properties = [{"metric": "exact_match", "filter": "strict-match"}, {"metric": "acc"}, "none"]
    declared = declared_filters({"metric_properties": properties})
    assert declared == {"exact_match": "strict-match"}
    row = {"exact_match,strict-match": 0.0, "exact_match,flexible-extract": 0.75}
    assert read_scores(row, declared).metrics["exact_match"] == 0.0
    common = {"doc_id": 0, "arguments": [("p", {})], "resps": [["It is 2"]], "metrics": ["exact_match"]}
    rows = [
        {**common, "filter": "flexible-extract", "filtered_resps": ["2"], "exact_match": 1},
        {**common, "filter": "strict-match", "filtered_resps": ["It is 2"], "exact_match": 0},
    ]
    (line,) = lines(rows, declared=declared)
    assert line["metrics"]["exact_match"] == 0.0
    assert line["answer"] is None


def test_tasks_without_a_common_score_have_the_mean() -> None:
    rows = [
        {"acc,none": 0.5, "acc_stderr,none": 0.3, "f1,none": 1.0},
        {"acc,none": 1.0, "acc_stderr,none": 0.4},
    ]
    scores = mean_scores(rows)
    assert scores.metrics == {"acc": 0.75, "acc_stderr": pytest.approx(0.25)}
    assert scores.filters == {"acc": "none"}


class Chat(str):
    """A prompt of messages, as the adapter passes it to the framework."""

    messages: list[dict[str, str]]


def lines(rows: list[dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    options: dict[str, Any] = {
        "sample_id": lambda task, number: f"{task}/{number}",
        "group": None,
        "requests": lambda task, number: [["key", 1.0]],
        **more,
    }
    return list(sample_lines("t", rows, **options))


def test_a_generated_answer_has_one_line_with_the_metrics_of_all_filters() -> None:
    prompt = Chat("[]")
    prompt.messages = [{"role": "user", "content": "1+1?"}]
    common = {"doc_id": 0, "target": "2", "arguments": [(prompt, {"until": []})], "resps": [["It is 2"]]}
    rows = [
        {
            **common,
            "filter": "strict-match",
            "filtered_resps": ["[invalid]"],
            "metrics": ["exact_match"],
            "exact_match": 0,
        },
        {
            **common,
            "filter": "flexible-extract",
            "filtered_resps": ["2"],
            "metrics": ["exact_match"],
            "exact_match": True,
        },
    ]
    (line,) = lines(rows, group="t")
    assert line == {
        "sample_id": "t/0",
        "metrics": {"exact_match": 1.0, "exact_match,strict-match": 0.0, "exact_match,flexible-extract": 1.0},
        "input": [{"role": "user", "content": "1+1?"}],
        "output": "It is 2",
        "target": "2",
        "answer": "2",
        "group": "t",
        "metadata": {"requests": [["key", 1.0]], "filter": "flexible-extract"},
    }


def test_a_choice_is_the_most_likely_one() -> None:
    row = {
        "doc_id": 3,
        "filter": "none",
        "target": 1,
        "arguments": [("Sky?", " red"), ("Sky?", " blue")],
        "resps": [[(-2.0, False)], [(-1.0, True)]],
        "filtered_resps": [(-2.0, False), (-1.0, True)],
        "metrics": ["acc", "levels", "pair"],
        "acc": 1.0,
        "levels": [True, False],
        "pair": ("a", "b"),
    }
    (line,) = lines([row])
    assert (line["input"], line["output"], line["target"], line["answer"]) == ("Sky?", "blue", "blue", None)
    assert line["metrics"] == {"acc": 1.0, "levels": 0.5}
    assert line["metadata"]["choices"] == [" red", " blue"]


def test_other_shapes_are_kept_as_they_are() -> None:
    rows = [
        {
            "doc_id": 0,
            "filter": "none",
            "target": 7,
            "arguments": [("whole text",)],
            "resps": [[-9.0]],
            "metrics": [],
        },
        {"doc_id": 1, "filter": "none", "target": ["a", {1}], "arguments": [], "resps": []},
        {"doc_id": None},
    ]
    first, second = lines(rows)
    assert (first["input"], first["output"], first["target"], first["metrics"]) == ("whole text", None, 7, {})
    assert (second["input"], second["output"], second["target"]) == (None, None, ["a", "{1}"])
