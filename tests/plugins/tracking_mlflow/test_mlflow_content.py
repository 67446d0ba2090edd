"""The content of a job's run in MLflow: params, metrics, tags and status."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_server.domain import transitions
from evalhub_server.domain.record import JobPlan, JobRecord, PlannedBenchmark, with_changes
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.job import CollectionRef, Experiment, ExperimentTag, JobRequest, Model
from evalhub_tracking_mlflow.content import experiment_tags, run_content, run_tags

NOON = datetime(2026, 5, 1, 12, 0, 0, 500_000, tzinfo=UTC)
LATER = datetime(2026, 5, 1, 12, 0, 2, 750_000, tzinfo=UTC)
ACC = PrimaryScore(metric="acc")


def planned(name: str, **fields: Any) -> PlannedBenchmark:
    return PlannedBenchmark(id=name, provider_id="p", **fields)


def a_job(*benchmarks: PlannedBenchmark, **request: Any) -> JobRecord:
    fields: dict[str, Any] = {"name": "nightly", "model": Model(url="http://m", name="m"), **request}
    return transitions.new_job("j", JobRequest(**fields), JobPlan(benchmarks=benchmarks), NOON)


def reported(job: JobRecord, index: int, **fields: Any) -> JobRecord:
    told = {"status": "completed", **fields}
    event = BenchmarkEvent(provider_id="p", id=job.plan.benchmarks[index].id, benchmark_index=index, **told)
    return transitions.apply_event(job, event, LATER)


def test_only_numbers_are_metrics() -> None:
    metrics = {
        "acc": 0.75,
        "n": 3,
        "acc,none": 1.0,
        "label": "good",
        "exact": True,
        "list": [1],
        "huge": 10**400,
        "none": None,
    }
    content = run_content(reported(a_job(planned("b")), 0, metrics=metrics))
    assert content.metrics == {"b/acc": 0.75, "b/n": 3.0, "b/acc_none": 1.0}


def test_a_benchmark_that_repeats_has_its_index_in_its_keys() -> None:
    job = a_job(planned("b"), planned("c"), planned("b"))
    for index in range(3):
        job = reported(job, index, metrics={"acc": index / 10})
    assert run_content(job).metrics == {"b.0/acc": 0.0, "c/acc": 0.1, "b.2/acc": 0.2}


def test_the_overall_test_is_two_metrics_and_a_tag() -> None:
    job = a_job(planned("b", primary_score=ACC, threshold=0.5))
    content = run_content(reported(job, 0, metrics={"acc": 0.75}))
    assert (content.metrics["overall_score"], content.metrics["overall_pass"]) == (0.75, 1.0)
    assert (content.tags["evaluation_job_pass"], content.tags["b/pass"]) == ("true", "true")


def test_params_describe_the_evaluation() -> None:
    parameters = {"num_examples": 3.7, "task": "x", "deep": {"a": [1, None]}, "long": "x" * 9000}
    job = a_job(planned("b", parameters=parameters), collection=CollectionRef(id="c"))
    params = run_content(reported(job, 0)).params
    assert params.pop("b/long").endswith("x…")
    assert params == {
        "model_name": "m",
        "model_url": "http://m",
        "collection_id": "c",
        "b/provider_id": "p",
        "b/num_examples": "3.7",
        "b/task": "x",
        "b/deep": '{"a":[1,null]}',
    }


def test_tags_find_the_run_and_lead_to_the_adapters_runs() -> None:
    experiment = Experiment(
        name="e", tags=(ExperimentTag(key="k", value="v"), ExperimentTag(key="context", value="mine"))
    )
    job = a_job(planned("b"), planned("c"), experiment=experiment, description="why", tags=("x", "y"))
    job = with_changes(job, owner="ada")
    job = reported(job, 0, mlflow_run_id="r1")
    job = reported(job, 1, status="failed")
    content = run_content(job)
    assert run_tags(job) == {"evaluation_job_id": "j", "context": "eval-hub"}
    assert content.tags == {
        **run_tags(job),
        "k": "v",
        "evaluation_job_name": "nightly",
        "evaluation_job_state": "partially_failed",
        "evaluation_job_tags": "x,y",
        "mlflow.note.content": "why",
        "mlflow.user": "ada",
        "b/state": "completed",
        "b/mlflow_run_id": "r1",
        "c/state": "failed",
    }
    assert content.adapter_runs == ("r1",)


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (["completed", "completed"], "FINISHED"),
        (["completed", "failed"], "FAILED"),
        (["failed", "failed"], "FAILED"),
        ([], "KILLED"),
    ],
)
def test_the_status_of_the_run_is_that_of_the_job(ends: list[str], status: str) -> None:
    job = a_job(planned("b"), planned("c"))
    for index, end in enumerate(ends):
        job = reported(job, index, status=end)
    content = run_content(job if ends else transitions.cancel(job, LATER))
    assert content.status == status
    assert (content.start_ms, content.end_ms) == (1777636800500, 1777636802750)


def test_an_experiment_has_the_tags_of_the_job_and_of_the_user() -> None:
    experiment = Experiment(name="e", tags=(ExperimentTag(key="k", value="v"),))
    request = JobRequest(name="n", experiment=experiment)
    tags = {"k": "v", "context": "eval-hub", "evaluation_job_name": "n", "evaluation_job_id": "j"}
    assert experiment_tags(request, "j") == tags
    described = replace(request, description="d")
    assert experiment_tags(described, "j") == {**tags, "evaluation_job_description": "d"}


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("mmlu|5", "mmlu_5"),
        ("inspect/petri-x", "inspect/petri-x"),
        ("../up", "_/up"),
        ("a//b/", "a/b"),
        ("a:b@c", "a_b_c"),
        ("grüße.v1 x", "grüße.v1 x"),
    ],
)
def test_keys_are_valid_for_mlflow(name: str, key: str) -> None:
    content = run_content(reported(a_job(planned(name)), 0, metrics={"acc": 1}))
    assert content.metrics == {f"{key}/acc": 1.0}


def test_equal_keys_get_numbers() -> None:
    content = run_content(reported(a_job(planned("b")), 0, metrics={"a@b": 1, "a#b": 2, "a_b": 3}))
    assert content.metrics == {"b/a_b": 1.0, "b/a_b_2": 2.0, "b/a_b_3": 3.0}
    metrics = {"x" * 300: 1, "x" * 301: 2}
    long = run_content(reported(a_job(planned("b")), 0, metrics=metrics)).metrics
    assert [len(key) for key in long] == [250, 250]


def test_a_run_has_no_secrets() -> None:
    parameters = {"openai_api_key": "s3cr3t", "max_tokens": 5, "env": {"HF_TOKEN": "s3cr3t"}}
    experiment = Experiment(name="e", tags=(ExperimentTag(key="token", value="s3cr3t"),))
    job = a_job(
        planned("b", parameters=parameters),
        model=Model(url="https://me:s3cr3t@host/v1?key=s3cr3t", name="m"),
        experiment=experiment,
        description="see https://me:s3cr3t@host",
    )
    content = run_content(job)
    assert "s3cr3t" not in str(content)
    assert "s3cr3t" not in str(experiment_tags(job.request, "j"))
    assert content.params["model_url"] == "https://***@host/v1?key=***"
    assert content.params["b/openai_api_key"] == "***"
    assert content.params["b/max_tokens"] == "5"
    assert content.params["b/env"] == '{"HF_TOKEN":"***"}'
