"""The adapter as a process, against the demo endpoint and a recording callback server."""

from __future__ import annotations

import json
import math
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from evalhub_quickstart.endpoint import DemoEndpoint
from evalhub_quickstart.options import LOAD_TEST
from harness.answering import AnsweringServer, Reply, Request
from harness.quickstart import (
    DEADLINE_S,
    CallbackServer,
    JobDirectory,
    chat_answer,
    is_probe,
    prompt_of,
)

CONFIG = Path(__file__).parents[2] / "config"
PROVIDER = yaml.safe_load((CONFIG / "providers" / "quickstart.yaml").read_text(encoding="utf-8"))
BENCHMARKS = {benchmark["id"]: benchmark for benchmark in PROVIDER["benchmarks"]}
PHASES = ["initializing", "loading_data", "running_evaluation", "post_processing", "persisting_artifacts"]


def assert_valid_event(event: dict[str, Any]) -> None:
    """The server's rules for an event."""
    assert event["provider_id"] == "quickstart"
    assert event["benchmark_index"] == 3
    for key in ("started_at", "completed_at"):
        if key in event:
            assert datetime.fromisoformat(event[key]).utcoffset() is not None
    names = [entry["name"] for entry in event.get("metrics_schema", [])]
    assert len(names) == len(set(names))
    assert set(names) == set(event.get("metrics", {}))
    assert {entry["type"] for entry in event.get("metrics_schema", [])} <= {"numeric"}
    assert all(math.isfinite(value) for value in event.get("metrics", {}).values())


@pytest.mark.parametrize("benchmark_id", BENCHMARKS)
def test_a_benchmark_reports_its_phases_and_then_its_metrics(
    benchmark_id: str, job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.use(demo.url, benchmark_id)
    finished = job.run()

    assert finished.status == 0, finished
    assert finished.errors == ""
    assert {received.path for received in callback.requests} == {
        f"/api/v1/evaluations/jobs/{job.document['id']}/events"
    }
    assert [(event["status"], event["phase"]) for event in callback.events] == [
        *(("running", phase) for phase in PHASES),
        ("completed", "completed"),
    ]
    for event in callback.events:
        assert event["id"] == benchmark_id
        assert_valid_event(event)
    assert len({event["started_at"] for event in callback.events}) == 1

    metrics = callback.last["metrics"]
    described = BENCHMARKS[benchmark_id]
    assert list(metrics) == described["metrics"]
    assert metrics["num_samples"] == described["dataset_size"]
    assert metrics["num_errors"] == 0
    assert metrics[described["primary_score"]["metric"]] >= described["pass_criteria"]["threshold"]
    assert "warning_message" not in callback.last


@pytest.mark.parametrize(
    ("benchmark_id", "metric"),
    [
        ("arithmetic", "accuracy"),
        ("instruction_following", "prompt_accuracy"),
        ("json_format", "schema_adherence"),
    ],
)
def test_the_demo_endpoint_is_good_but_not_perfect_and_always_the_same(
    benchmark_id: str, metric: str, job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.use(demo.url, benchmark_id, concurrency=1)
    job.run()
    job.use(demo.url, benchmark_id, concurrency=16)
    job.run()

    first, second = (event for event in callback.events if event["status"] == "completed")
    assert 0.8 <= first["metrics"][metric] <= 0.95
    assert first["metrics"] == second["metrics"]


def test_every_sample_is_recorded_in_order_with_its_answer(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.use(demo.url)
    job.run()

    samples = job.samples
    assert [sample["metadata"]["index"] for sample in samples] == list(range(50))
    assert all(sample["metadata"]["attempts"] == 1 and "error" not in sample for sample in samples)
    assert all(sample["latency_s"] > 0 and sample["output"] for sample in samples)
    assert all(datetime.fromisoformat(sample["ended_at"]).tzinfo is UTC for sample in samples)
    assert (
        sum(sample["metrics"]["accuracy"] for sample in samples) / 50 == callback.last["metrics"]["accuracy"]
    )
    assert samples[0]["input"].startswith("What is 48 + 37 * 2?")
    assert samples[0]["target"] == {"answer": "122"}
    assert callback.last["logs_path"] == callback.last["artifacts"]["samples"] == str(job.samples_file)
    kept = json.loads((job.samples_file.parent / "metrics.json").read_text(encoding="utf-8"))
    assert kept == callback.last["metrics"]


def test_repeated_prompts_are_epochs_of_one_sample(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.use(demo.url, "latency", requests=90, concurrency=8)
    job.run()
    keys = [(sample["sample_id"], sample["epoch"]) for sample in job.samples]
    assert len(set(keys)) == 90


def test_all_right_is_not_without_uncertainty(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.use(demo.url, "latency", requests=40, concurrency=8)
    job.run()
    assert callback.last["metrics"]["success_rate"] == 1
    assert callback.last["metrics"]["success_rate_stderr"] == pytest.approx(0.02235, abs=1e-4)
    (interval,) = callback.last["additional_info"]["confidence_intervals"]
    assert (interval["metric"], interval["high"]) == ("success_rate", 1)
    assert interval["low"] == pytest.approx(0.91237, abs=1e-4)


def test_num_examples_takes_the_first_samples(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.use(demo.url)
    job.document["num_examples"] = 7
    assert job.run().status == 0
    assert callback.last["metrics"]["num_samples"] == 7
    assert [sample["sample_id"] for sample in job.samples] == [f"arithmetic-0{i}" for i in range(1, 8)]


def test_a_single_sample_has_no_standard_error(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    for benchmark_id in BENCHMARKS:
        parameters = {"concurrency": 1} if benchmark_id == LOAD_TEST else {}  # samples are counted per level
        job.use(demo.url, benchmark_id, **parameters)
        job.document["num_examples"] = 1
        assert job.run().status == 0
        assert_valid_event(callback.last)
        assert not [name for name in callback.last["metrics"] if "stderr" in name]


def test_more_examples_than_samples_is_a_warning(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.use(demo.url)
    job.document["num_examples"] = 51
    assert job.run().status == 0
    assert callback.last["metrics"]["num_samples"] == 50
    assert "only 50 samples" in callback.last["warning_message"]["message"]


def test_the_latency_benchmark_sends_the_requested_number(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.use(demo.url, "latency", requests=90, concurrency=8)
    assert job.run().status == 0
    metrics = callback.last["metrics"]
    assert metrics["num_samples"] == 90
    assert metrics["latency_p50_s"] <= metrics["latency_p95_s"]
    assert metrics["requests_per_s"] > 0
    assert metrics["output_tokens_per_s"] > metrics["requests_per_s"]


def test_an_endpoint_that_counts_no_tokens_has_no_token_rate(
    job: JobDirectory, callback: CallbackServer
) -> None:
    with AnsweringServer(lambda _: chat_answer("yes")) as model:
        job.use(model.url, "latency", requests=3)
        assert job.run().status == 0
    assert "output_tokens_per_s" not in callback.last["metrics"]
    assert_valid_event(callback.last)


def test_a_parameter_that_means_nothing_is_a_warning(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.use(demo.url, tokenizer="some/tokenizer", requests=5, seed=None)
    assert job.run().status == 0
    warning = callback.last["warning_message"]
    assert warning["message"] == "parameters unknown to this benchmark were ignored: requests, tokenizer"
    assert warning["message_origin"] == "adapter"
    assert warning["message_code"]


def test_workers_keep_their_connections_and_stay_within_the_concurrency(job: JobDirectory) -> None:
    together = threading.Barrier(3)

    def answer_three_at_a_time(received: Request) -> Reply:
        if not is_probe(received):
            together.wait(DEADLINE_S)  # broken, and the test failed, if there are never three at once
        return chat_answer("Answer: 1")

    with AnsweringServer(answer_three_at_a_time) as model:
        job.use(model.url, concurrency=3)
        job.document["num_examples"] = 30
        assert job.run().status == 0
    assert [sample.get("error") for sample in job.samples] == [None] * 30
    assert len(model.requests) == 31
    # Three workers, and the main thread's connection for the probe.
    assert len({received.client_port for received in model.requests}) == 4


def test_a_connection_that_the_endpoint_closed_is_opened_again(job: JobDirectory) -> None:
    def close_after_every_answer(received: Request) -> Reply:
        return chat_answer("Answer: 1", Connection="close")

    with AnsweringServer(close_after_every_answer) as model:
        job.use(model.url, concurrency=1)
        job.document["num_examples"] = 5
        assert job.run().status == 0
    assert [sample["metadata"]["attempts"] for sample in job.samples] == [1] * 5
    assert len({received.client_port for received in model.requests}) == 6


def test_requests_carry_the_parameters_of_job_and_model(job: JobDirectory) -> None:
    with AnsweringServer(lambda _: chat_answer("Answer: 1")) as model:
        job.use(model.url + "/v1", max_tokens=99, seed=5)
        job.document["model"]["parameters"] = {"top_p": 0.5, "temperature": None, "max_tokens": 7}
        job.document["num_examples"] = 1
        assert job.run().status == 0
    body = model.requests[-1].document
    assert model.requests[-1].path == "/v1/chat/completions"
    assert prompt_of(model.requests[-1]).startswith("What is 48")
    del body["messages"]
    assert body == {"model": "some-model", "max_tokens": 99, "seed": 5, "top_p": 0.5}


def test_a_query_in_the_model_url_is_sent_but_never_shown(
    job: JobDirectory, callback: CallbackServer
) -> None:
    with AnsweringServer(lambda _: chat_answer("Answer: 1")) as model:
        job.use(model.url + "/v1?key=very-secret")
        finished = job.run()
    assert finished.status == 0
    assert {received.path for received in model.requests} == {"/v1/chat/completions?key=very-secret"}
    assert "very-secret" not in finished.output + str(callback.events)


def test_requests_are_reproducible_by_default(job: JobDirectory) -> None:
    with AnsweringServer(lambda _: chat_answer("Answer: 1")) as model:
        job.use(model.url)
        job.document["num_examples"] = 1
        assert job.run().status == 0
    body = model.requests[-1].document
    del body["messages"]
    assert body == {"model": "some-model", "temperature": 0.0, "max_tokens": 512}
    assert "Authorization" not in model.requests[-1].headers


def test_the_reasoning_before_an_answer_is_not_scored(job: JobDirectory, callback: CallbackServer) -> None:
    def reason(received: Request) -> Reply:
        return chat_answer("<think>Answer: 1, no, wait.</think>\nAnswer: 122", tokens=9)

    with AnsweringServer(reason) as model:
        job.use(model.url)
        job.document["num_examples"] = 1
        assert job.run().status == 0
    assert callback.last["metrics"]["accuracy"] == 1


def test_the_probe_comes_first_and_alone(job: JobDirectory) -> None:
    with AnsweringServer(lambda _: chat_answer("ready")) as model:
        job.use(model.url)
        job.document["num_examples"] = 5
        assert job.run().status == 0
    assert [is_probe(received) for received in model.requests] == [True, False, False, False, False, False]
