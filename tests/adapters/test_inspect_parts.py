"""The parts of the Inspect adapter that need no framework: names, parameters, failures, metrics and samples."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from evalhub_adapters.inspect_adapter.names import task_names
from evalhub_adapters.inspect_adapter.parameters import read_parameters
from evalhub_adapters.inspect_adapter.problems import explain
from evalhub_adapters.inspect_adapter.results import (
    TaskScores,
    mean_names,
    pooled_scores,
    read_scores,
    sample_metrics,
    score_number,
)
from evalhub_adapters.inspect_adapter.samples import (
    finished_scores,
    previous_sample,
    readable_error,
    sample_line,
    unscored_note,
)
from evalhub_common.adapter.errors import JobInvalid
from harness.packaging import PROJECT


@pytest.mark.parametrize(
    ("benchmark_id", "task"),
    [
        ("inspect_evals/gsm8k", "inspect_evals/gsm8k"),
        ("gsm8k", "inspect_evals/gsm8k"),
        ("inspect/gsm8k", "inspect_evals/gsm8k"),
        ("inspect/swe-bench", "inspect_evals/swe_bench"),
        ("inspect/mmlu", "inspect_evals/mmlu_0_shot"),
        ("my_package/my_task", "my_package/my_task"),
    ],
)
def test_the_task_of_a_benchmark_id(benchmark_id: str, task: str) -> None:
    assert task_names(benchmark_id, ()) == [task]


def test_the_aliases_of_the_bundled_provider_are_what_the_ids_mean() -> None:
    document = yaml.safe_load((PROJECT / "config" / "providers" / "inspect.yaml").read_text("utf-8"))
    aliases = {each["id"]: each["alias_of"] for each in document["benchmarks"] if "alias_of" in each}
    assert "inspect/gsm8k" in aliases
    assert {benchmark_id: task_names(benchmark_id, ())[0] for benchmark_id in aliases} == aliases


def test_tasks_that_the_job_names_take_the_place_of_the_id() -> None:
    assert task_names("inspect/wmdp", ["inspect_evals/wmdp_bio", "wmdp_chem"]) == [
        "inspect_evals/wmdp_bio",
        "inspect_evals/wmdp_chem",
    ]
    with pytest.raises(JobInvalid, match=r"parameters\.tasks"):
        task_names("inspect/custom", ())


def test_parameters_have_inspects_names_too() -> None:
    own = read_parameters({"concurrency": 2, "timeout_s": 9, "num_few_shot": 3, "time_limit_s": 8}, 5)
    other = read_parameters(
        {"max_connections": 2, "attempt_timeout": 9, "num_fewshot": 3, "time_limit": 8}, 5
    )
    assert own == other
    assert (own.limit, own.concurrency, own.timeout_s, own.max_retries, own.fail_on_error) == (
        5,
        2,
        9,
        5,
        False,
    )
    given: dict[str, object] = {
        "limit": 7,
        "temperature": 0,
        "tasks": "gsm8k",
        "task_args": {"a": 1},
        "fewshot": 0,
        "nothing": None,
    }
    found = read_parameters(given, None)
    assert (found.limit, found.generation, found.tasks) == (7, {"temperature": 0}, ("gsm8k",))
    assert (found.task_args, found.rest) == ({"a": 1}, {"fewshot": 0})


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"epochs": 0}, "whole number from 1"),
        ({"tasks": [1]}, "list of names"),
        ({"task_args": []}, "must be an object"),
        ({"sandbox": "chroot"}, "docker, k8s, local"),
        ({"sandbox": "local"}, "confirm_run_unsafe_code"),
        ({"fail_on_error": -1}, "share of samples"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(parameters: dict[str, object], text: str) -> None:
    with pytest.raises(JobInvalid, match=text):
        read_parameters(parameters, None)


def test_model_written_code_runs_without_a_sandbox_if_that_is_confirmed() -> None:
    confirmed = read_parameters(
        {"sandbox": "local", "confirm_run_unsafe_code": True, "fail_on_error": 0.5}, None
    )
    assert (confirmed.sandbox, confirmed.fail_on_error) == ("local", 0.5)


@pytest.mark.parametrize(
    ("error", "code", "fragments"),
    [
        (
            ModuleNotFoundError("No module named 'antlr4'"),
            "framework_missing",
            ["'antlr4'", "install inspect"],
        ),
        (
            RuntimeError("No module named 'x': pip install inspect_evals[math]"),
            "framework_missing",
            ["inspect-evals[math]"],
        ),
        (
            RuntimeError("PrerequisiteError: Docker is not running"),
            "job_invalid",
            ["Docker containers", "compose"],
        ),
        (RuntimeError("you must set OPENAI_API_KEY"), "job_invalid", ["parameters.judge_model"]),
        (ConnectionError("Couldn't reach the Hub"), "data_unavailable", ["could not be downloaded"]),
    ],
)
def test_a_known_cause_is_one_sentence(error: Exception, code: str, fragments: list[str]) -> None:
    failure = explain(error, "inspect_evals/x")
    assert failure is not None
    assert failure.code == code
    assert all(fragment in str(failure) for fragment in ["inspect_evals/x", *fragments]), failure


def test_an_unknown_cause_is_left_alone() -> None:
    assert explain(ValueError("x"), "b") is None


def a_score(name: str, **metrics: float) -> dict[str, Any]:
    return {
        "name": name,
        "scored_samples": 4,
        "metrics": {key: {"value": value} for key, value in metrics.items()},
    }


def test_metrics_are_reported_alone_and_with_their_scorer() -> None:
    results = {
        "scores": [
            a_score("match", accuracy=0.5, stderr=0.25),
            a_score("f1", mean=0.7, accuracy=float("nan")),
        ]
    }
    found = read_scores(results, dashed=False)
    assert found.samples == 4
    assert found.metrics == {
        "accuracy": 0.5,
        "match/accuracy": 0.5,
        "accuracy_stderr": 0.25,
        "match/accuracy_stderr": 0.25,
        "stderr": 0.25,
        "match/stderr": 0.25,
        "mean": 0.7,
        "f1/mean": 0.7,
    }


def test_an_id_with_inspects_prefix_has_the_metrics_that_are_listed_for_it() -> None:
    found = read_scores({"scores": [a_score("match", accuracy=0.5, stderr=0.25)]}, dashed=True)
    assert found.metrics["accuracy/accuracy"] == 0.5
    assert found.metrics["accuracy/stderr"] == 0.25
    assert "accuracy/accuracy" not in read_scores({"scores": [a_score("m", mean=1)]}, dashed=True).metrics


def test_a_reducer_of_epochs_is_part_of_the_name() -> None:
    score = {**a_score("match", accuracy=0.5), "reducer": "mode", "scored_samples": None}
    found = read_scores({"scores": [score], "completed_samples": 3}, dashed=False)
    assert found.metrics == {"accuracy": 0.5, "match/accuracy": 0.5, "match/mode/accuracy": 0.5}
    assert found.samples == 3


def test_several_tasks_have_the_mean_over_all_samples() -> None:
    first = TaskScores({"accuracy": 1.0, "accuracy_stderr": 0.0, "a/accuracy": 1.0}, 30)
    second = TaskScores({"accuracy": 0.5, "accuracy_stderr": 0.2, "b/accuracy": 0.5}, 10)
    assert pooled_scores({"p/t": first}) == first.metrics
    assert pooled_scores({"p/one": first, "p/two": second}) == pytest.approx(
        {
            "accuracy": 0.875,
            "accuracy_stderr": 0.05,
            "one/accuracy": 1.0,
            "one/accuracy_stderr": 0.0,
            "two/accuracy": 0.5,
            "two/accuracy_stderr": 0.2,
        }
    )


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("C", 1),
        ("P", 0.5),
        ("I", 0),
        ("N", 0),
        (True, 1),
        (0.25, 0.25),
        ("yes", 1),
        ("False", 0),
        ("0.5", 0.5),
        ("x", None),
        ("nan", None),
        (float("inf"), None),
        (None, None),
        ([1], None),
    ],
)
def test_a_score_as_a_number(value: object, number: float | None) -> None:
    assert score_number(value) == number


SCORERS = [
    {"name": "match", "metrics": [{"name": "inspect_ai/accuracy"}, {"name": "inspect_ai/stderr"}]},
    {"name": "judge", "metrics": [{"name": "pkg/rate"}]},
]


def test_metrics_of_a_sample_are_named_as_the_means_that_they_are_part_of() -> None:
    means = mean_names(SCORERS)
    assert means == {"match": ["accuracy"], "judge": []}
    scores = {"match": {"value": "C"}, "judge": {"value": {"kind": 0.5, "text": "x"}}}
    assert sample_metrics(scores, means) == {"accuracy": 1, "match/accuracy": 1, "kind": 0.5}


SAMPLE: dict[str, Any] = {
    "id": 7,
    "epoch": 2,
    "input": [{"role": "user", "content": "1 + 1?", "id": "x"}],
    "target": "2",
    "output": {"completion": "It is 2."},
    "messages": [
        {"role": "user", "content": "1 + 1?", "source": "input"},
        {"role": "assistant", "content": "It is 2."},
    ],
    "scores": {"match": {"value": "C", "answer": "2", "explanation": "It is 2.", "history": []}},
    "metadata": {"level": 1},
    "model_usage": {"a": {"input_tokens": 3, "total_cost": None}, "b": {"input_tokens": 2}},
    "working_time": 0.5,
    "completed_at": "2026-03-02T09:30:05+00:00",
}


def test_a_sample_in_the_documented_format() -> None:
    line = sample_line(SAMPLE, mean_names(SCORERS), None)
    assert {name: value for name, value in line.items() if value is not None} == {
        "sample_id": "7",
        "epoch": 1,
        "metrics": {"accuracy": 1, "match/accuracy": 1},
        "input": [{"role": "user", "content": "1 + 1?"}],
        "output": "It is 2.",
        "target": "2",
        "answer": "2",
        "messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "It is 2."}],
        "latency_s": 0.5,
        "ended_at": "2026-03-02T09:30:05+00:00",
        "usage": {"input_tokens": 5},
        "metadata": {"level": 1, "scores": {"match": {"value": "C", "answer": "2"}}},
    }
    assert (sample_line(SAMPLE, {}, "t")["sample_id"], sample_line(SAMPLE, {}, "t")["group"]) == ("t/7", "t")


REFUSED = (
    "ModelGenerateError('\\nRequest:\\n{\\n  \"a\": 1\\n}\\n\\nBadRequestError(\\'Error code: 400 - no\\')')"
)


@pytest.mark.parametrize(
    ("message", "traceback", "shown", "kind"),
    [
        (REFUSED, "", "BadRequestError('Error code: 400 - no')", None),
        ("ReadTimeout()", "openai.APITimeoutError: …", "ReadTimeout()", "infrastructure"),
    ],
)
def test_a_failed_sample_has_no_metrics(message: str, traceback: str, shown: str, kind: str | None) -> None:
    error = {"message": message, "traceback": traceback}
    line = sample_line({**SAMPLE, "error": error, "limit": {"type": "token"}}, {}, None)
    assert (line["error"], line["error_kind"], line["metrics"]) == (shown, kind, None)
    assert line["metadata"]["limit"] == {"type": "token"}  # type: ignore[index]
    assert readable_error("plain") == "plain"


def test_finished_samples_are_those_whose_last_line_has_scores() -> None:
    line = sample_line(SAMPLE, {}, None)
    failed = {**line, "sample_id": "8"}
    unscored = {"sample_id": "9", "metadata": {}}
    no_value = {"sample_id": "10", "metadata": {"scores": {"judge": {"value": None}}}}
    lines = [line, failed, {**failed, "error": "x"}, unscored, no_value, {**line, "epoch": "1"}]
    found = finished_scores(lines)
    assert found == {("7", 2): line}


def test_samples_without_a_score_are_noted_with_what_the_judge_answered() -> None:
    line = sample_line(SAMPLE, {}, None)
    assert unscored_note([line, {**line, "error": "x", "metadata": {}}]) is None
    score = {"value": float("nan"), "explanation": "Grade not found\nin model output: 5."}
    unscored = sample_line({**SAMPLE, "scores": {"judge": score}}, {}, None)
    assert unscored_note([line, unscored]) == (
        "1 of 2 samples have no score; the first one: Grade not found in model output: 5."
    )
    assert unscored_note([{"metadata": {}}]) == "1 of 1 samples have no score"


def test_a_line_becomes_inspects_sample_again() -> None:
    sample = previous_sample(sample_line(SAMPLE, {}, None), 7, 2, "1 + 1?")
    assert sample == {
        "id": 7,
        "epoch": 2,
        "input": "1 + 1?",
        "target": "2",
        "messages": [{"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "It is 2."}],
        "output": {
            "choices": [{"message": {"role": "assistant", "content": "It is 2."}, "stop_reason": "stop"}],
            "completion": "It is 2.",
        },
        "scores": {"match": {"value": "C", "answer": "2"}},
        "metadata": {"level": 1},
        "working_time": 0.5,
    }
