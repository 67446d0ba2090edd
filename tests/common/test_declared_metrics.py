"""Names of tasks and metrics that a provider declares in job.json."""

from __future__ import annotations

from typing import Any

import pytest

from evalhub_common.adapter.declared import generating_twin, task_name, with_declared_metrics


@pytest.mark.parametrize(
    ("document", "task", "twin"),
    [
        ({"benchmark_id": "mmlu", "generating_twin": "mmlu_generative"}, "mmlu", "mmlu_generative"),
        ({"benchmark_id": "inspect/gsm8k", "alias_of": "inspect_evals/gsm8k"}, "inspect_evals/gsm8k", None),
        ({"benchmark_id": "a", "alias_of": "", "generating_twin": ""}, "a", None),
        ({"benchmark_id": "a", "alias_of": 1, "generating_twin": []}, "a", None),
    ],
)
def test_the_task_is_the_one_that_an_alias_names(
    document: dict[str, Any], task: str, twin: str | None
) -> None:
    assert (task_name(document), generating_twin(document)) == (task, twin)


def test_metrics_are_reported_under_their_declared_names_too() -> None:
    declared = {
        "metric_properties": [
            {"metric": "acc", "alias_of": "exact_match"},
            {"metric": "exact_match", "filter": "strict"},
            {"metric": "f1", "alias_of": "absent"},
            {"metric": "loss", "alias_of": "exact_match"},
            {"metric": "other", "range": [0, 1]},
            "no object",
            {"metric": 1, "alias_of": "exact_match"},
        ]
    }
    reported = {
        "exact_match": 0.25,
        "exact_match,loose": 0.25,
        "exact_match,strict": 0.5,
        "exact_match,strict_stderr": 0.1,
        "loss": 2.0,
    }
    assert with_declared_metrics(reported, declared) == reported | {
        "exact_match": 0.5,
        "exact_match_stderr": 0.1,
        "acc": 0.5,
        "acc_stderr": 0.1,
    }


@pytest.mark.parametrize("properties", [None, [], {}, "x"])
def test_metrics_without_declarations_are_unchanged(properties: Any) -> None:
    assert with_declared_metrics({"acc": 1.0}, {"metric_properties": properties}) == {"acc": 1.0}
