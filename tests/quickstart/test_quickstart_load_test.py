"""The load test as a process, against deterministic endpoints that stream, and its statistics."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from evalhub_common.adapter.errors import JobInvalid
from evalhub_quickstart.answers import Generated, stream
from evalhub_quickstart.endpoint import DemoEndpoint
from evalhub_quickstart.load.options import read_load_options
from evalhub_quickstart.load.prompts import load_prompt
from evalhub_quickstart.stats import mean_stderr, quantile_interval, ratio, t_quantile
from evalhub_server.domain.statistics.distributions import t_quantile as exact_t_quantile
from harness import Config, RunningServer
from harness.answering import AnsweringServer, Reply, Request
from harness.model_server import MODEL, ModelServer
from harness.quickstart import CallbackServer, JobDirectory, chat_answer, error_answer, is_probe

PROVIDER = Path(__file__).parents[2] / "config" / "providers" / "quickstart.yaml"
STORY = "Once upon a time an apple met a river near the old stone bridge"
TOKEN_DELAY_S = 0.002


@pytest.fixture
def model() -> Iterator[ModelServer]:
    with ModelServer(answers={"story": STORY}, token_delay_s=TOKEN_DELAY_S) as server:
        yield server


def run_load_test(job: JobDirectory, url: str, **parameters: Any) -> str:
    """Run the load test; returns its log."""
    job.use(url, "load_test", **{"concurrency": 2, "requests": 6, "warmup": 0, **parameters})
    job.document["model"]["name"] = MODEL
    finished = job.run()
    assert finished.status == 0, finished
    return finished.output


def warning(callback: CallbackServer) -> str:
    return callback.last["warning_message"]["message"]


def in_flight(samples: list[dict[str, Any]], at_s: float) -> int:
    spans = [(each["metadata"]["started_s"], each["metadata"]["ended_s"]) for each in samples]
    return sum(start <= at_s < end for start, end in spans)


def test_each_level_sends_its_requests_over_one_connection_per_worker(
    job: JobDirectory, callback: CallbackServer, model: ModelServer
) -> None:
    output = run_load_test(job, model.base, concurrency=[3, 1], warmup=1, output_tokens=10)
    measured = [request for request in model.requests if not is_probe(request)]
    assert len(measured) == (1 + 3) + 2 * 6
    assert len({request.client_port for request in measured}) == 1 + 3
    assert {request.document["max_tokens"] for request in measured} == {10}
    assert all(request.document["stream_options"] == {"include_usage": True} for request in measured)
    assert output.index("concurrency 1: 6 requests, 0 errors") < output.index("concurrency 3: 6 requests")

    assert {sample["sample_id"] for sample in job.samples} == {
        f"c{c}-{i:05}" for c in (1, 3) for i in range(6)
    }
    assert len({sample["input"] for sample in job.samples}) == 12
    for level in (1, 3):
        samples = [sample for sample in job.samples if sample["group"] == f"concurrency {level}"]
        assert all(in_flight(samples, sample["metadata"]["started_s"]) <= level for sample in samples)


def test_samples_have_the_times_of_tokens(
    job: JobDirectory, callback: CallbackServer, model: ModelServer
) -> None:
    run_load_test(job, model.base, output_tokens=10)
    for sample in job.samples:
        metrics = sample["metrics"]
        assert metrics["success_rate"] == 1
        assert (
            metrics["output_tokens"] == sample["usage"]["output_tokens"] == sample["metadata"]["pieces"] == 10
        )
        assert metrics["ttft_ms"] >= TOKEN_DELAY_S * 1000
        assert metrics["latency_ms"] >= 10 * TOKEN_DELAY_S * 1000
        assert 0 < metrics["ttft_ms"] + 9 * metrics["itl_ms"] <= metrics["latency_ms"]
        assert sample["latency_s"] * 1000 == pytest.approx(metrics["latency_ms"])
        assert sample["output"] == "Once upon a time an apple met a river near"


def test_metrics_are_of_the_highest_level_and_of_each(
    job: JobDirectory, callback: CallbackServer, model: ModelServer
) -> None:
    run_load_test(job, model.base, concurrency=[1, 2], output_tokens=10)
    metrics = callback.last["metrics"]
    assert (metrics["success_rate"], metrics["num_samples"], metrics["num_errors"]) == (1, 12, 0)
    assert metrics["mean_output_tokens"] == 10
    for end in ("", "_c1", "_c2"):
        assert metrics[f"output_tokens_per_second{end}"] == pytest.approx(
            10 * metrics[f"requests_per_second{end}"]
        )
    for name in ("mean_ttft_ms", "mean_itl_ms", "mean_latency_ms", "requests_per_second"):
        assert metrics[name] == metrics[f"{name}_c2"]
    rates = (metrics["output_tokens_per_second_c1"], metrics["output_tokens_per_second_c2"])
    assert metrics["max_output_tokens_per_second"] == max(rates)
    for name in ("ttft_ms", "itl_ms", "latency_ms"):
        ordered = [metrics[f"p{each}_{name}"] for each in (50, 90, 95, 99)]
        assert ordered == sorted(ordered)
    highest = [each["metrics"] for each in job.samples if each["group"] == "concurrency 2"]
    assert metrics["mean_itl_ms"] == pytest.approx(sum(each["itl_ms"] for each in highest) / 6)
    assert "warning_message" not in callback.last
    assert [event["progress"]["done"] for event in callback.events if "progress" in event] == [0, 12, 12]

    info = callback.last["additional_info"]
    assert (info["load"], info["streamed"]) == ("closed loop", True)
    assert [level["concurrency"] for level in info["levels"]] == [1, 2]
    for level in info["levels"]:
        times = level["ttft_ms"]
        assert times["mean"]["low"] <= times["mean"]["value"] <= times["mean"]["high"]
        assert times["p50"]["low"] <= times["p50"]["value"] <= times["p50"]["high"]
        assert set(times["p99"]) == {"value", "low"}  # six values have no upper limit of it


def test_num_examples_limits_each_level(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.document["num_examples"] = 2
    run_load_test(job, demo.url, concurrency=[1, 4], warm_up=3)
    assert len(job.samples) == 4
    assert warning(callback) == "parameters unknown to this benchmark were ignored: warm_up"


def test_a_level_may_end_by_time(job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint) -> None:
    run_load_test(job, demo.url, requests=None, duration_s=1)
    assert callback.last["metrics"]["num_samples"] == len(job.samples) > 0
    assert callback.last["additional_info"]["levels"][0]["duration_s"] >= 1
    # A request that was permitted in time may start later, on a busy machine; each of the two workers has one at most.
    assert sum(sample["metadata"]["started_s"] > 1 for sample in job.samples) <= 2
    assert [event["progress"] for event in callback.events if "progress" in event] == [
        {"done": done, "total": 1} for done in (0, 1, 1)
    ]


def story(request: Request, *, usage: bool) -> list[bytes]:
    """A stream of three pieces, in six events with the number of tokens and the end."""
    generated = Generated(
        model=MODEL, prompt="", pieces=["a ", "b ", "c"], finish_reason="stop", prompt_tokens=1
    )
    return list(stream(generated, chat=True, usage=usage))


def events(*parts: bytes) -> Reply:
    return Reply(200, parts, {"Content-Type": "text/event-stream; charset=utf-8"})


def refuses_options(request: Request) -> Reply:
    if "stream_options" in request.document:
        return error_answer(400, "unknown field stream_options")
    return events(*story(request, usage=False))


def refuses_streams(request: Request) -> Reply:
    if "stream" in request.document:
        return error_answer(422, "streaming is not supported")
    return chat_answer("a b c", tokens=3)


def ignores_streams(request: Request) -> Reply:
    return chat_answer("a b c")


NO_TIMES = "streams, so there are no times of tokens"
FALLBACKS = {
    refuses_options: (
        "the endpoint reports no numbers of tokens, so each piece of a stream was counted as one token",
        3,
        True,
    ),
    refuses_streams: (f"the endpoint refuses {NO_TIMES}", 3, False),
    ignores_streams: (
        f"the endpoint does not send {NO_TIMES}, and reports no numbers of tokens, so there is no rate of tokens",
        None,
        False,
    ),
}


@pytest.mark.parametrize("script", FALLBACKS, ids=lambda script: script.__name__)
def test_what_an_endpoint_lacks_is_named(script: Any, job: JobDirectory, callback: CallbackServer) -> None:
    note, tokens, streamed = FALLBACKS[script]
    with AnsweringServer(script) as model:
        run_load_test(job, model.url)
    metrics = callback.last["metrics"]
    assert warning(callback) == note
    assert metrics.get("mean_output_tokens") == tokens
    assert ("output_tokens_per_second" in metrics) == (tokens is not None)
    assert ("mean_ttft_ms" in metrics) == ("mean_itl_ms" in metrics) == streamed
    assert callback.last["additional_info"]["streamed"] == streamed
    assert metrics["mean_latency_ms"] > 0
    assert metrics["success_rate"] == 1


def test_failed_requests_are_counted_by_cause(job: JobDirectory, callback: CallbackServer) -> None:
    def script(request: Request) -> Reply | None:
        whole = story(request, usage=True)
        replies = {
            1: error_answer(503, "overloaded"),
            2: events(*whole[:2]),
            3: events(whole[0], b'data: {"error": {"message": "out of memory"}}\n\n'),
            4: events(b"data: [1]\n\n", b": comment\n\n", b"data: {\n\n", b"data: [DONE]\n\n"),
            5: Reply(200, b"hello"),
        }
        return replies.get(request.number, events(*whole))

    with AnsweringServer(script) as model:
        run_load_test(job, model.url, concurrency=1)
    samples = sorted(job.samples, key=lambda sample: sample["sample_id"])
    assert [sample.get("error") for sample in samples] == [
        "it answered 503: overloaded",
        "the stream ended before the answer was complete",
        "the stream ended with an error: out of memory",
        None,
        "it answered 200, but not with a chat completion (no choices[0].message): hello",
        None,
    ]
    assert samples[0]["metrics"] == {"success_rate": 0}
    assert samples[0]["metadata"]["failure"] == "status 503"
    assert samples[0]["error_kind"] == "infrastructure"
    assert "ttft_ms" not in samples[3]["metrics"]  # an empty answer
    metrics = callback.last["metrics"]
    assert (metrics["num_errors"], metrics["success_rate"]) == (4, pytest.approx(1 / 3))
    assert warning(callback) == "4 of 6 requests failed; the first one: it answered 503: overloaded"


def test_the_benchmark_fails_if_all_requests_fail(job: JobDirectory, callback: CallbackServer) -> None:
    def script(request: Request) -> Reply:
        return error_answer(500, "no memory") if request.number else events(*story(request, usage=True))

    with AnsweringServer(script) as model:
        job.use(model.url, "load_test", concurrency=2, requests=2)
        assert job.run().status == 1
    assert "all 2 requests failed; the first one: it answered 500: no memory" in callback.error["message"]
    assert callback.error["message_code"] == "all_samples_failed"


def test_an_unusable_endpoint_is_found_before_the_load(job: JobDirectory, callback: CallbackServer) -> None:
    with AnsweringServer(lambda _: error_answer(401, "Incorrect API key provided")) as model:
        job.use(model.url, "load_test")
        assert job.run().status == 1
    assert len(model.requests) == 1
    assert "it answered 401: Incorrect API key provided. Check the credentials" in callback.error["message"]


@pytest.mark.parametrize(
    ("parameters", "fragment"),
    [
        ({"concurrency": value}, "concurrency is")
        for value in (0, 257, [], [1, 1], [1, "2"], "1,2", True, 1.5, list(range(1, 18)))
    ]
    + [
        ({"requests": 0}, "requests is 0"),
        ({"duration_s": 0.5}, "duration_s is 0.5"),
        ({"warmup": -1}, "warmup is -1"),
        ({"prompt_tokens": 4}, "prompt_tokens is 4"),
        ({"output_tokens": 0}, "output_tokens is 0"),
        ({"ignore_eos": 1}, "ignore_eos is 1"),
    ],
)
def test_invalid_parameters_name_the_allowed_values(parameters: dict[str, Any], fragment: str) -> None:
    with pytest.raises(JobInvalid, match=f"parameters.{fragment}.* it must be "):
        read_load_options(parameters, None)


def test_parameters_are_sent_to_the_model(job: JobDirectory, callback: CallbackServer) -> None:
    with AnsweringServer(lambda request: events(*story(request, usage=True))) as model:
        job.document["model"]["parameters"] = {"max_completion_tokens": 5, "top_p": 0.5}
        run_load_test(job, model.url, ignore_eos=True, temperature=1, max_tokens=7, requests=1)
    sent = model.requests[-1].document
    assert {
        name: sent.get(name) for name in ("max_completion_tokens", "ignore_eos", "temperature", "top_p")
    } == {
        "max_completion_tokens": 7,
        "ignore_eos": True,
        "temperature": 1,
        "top_p": 0.5,
    }
    assert "max_tokens" not in sent


def test_prompts_differ_from_their_beginning_and_are_the_same_in_every_run() -> None:
    prompts = [load_prompt(f"8 {number}", 64, seed=0) for number in range(50)]
    assert prompts == [load_prompt(f"8 {number}", 64, seed=0) for number in range(50)]
    assert len({prompt[:40] for prompt in prompts}) == len({prompt.split(".")[0] for prompt in prompts}) == 50
    assert {len(prompt.split()) for prompt in prompts} == {62}
    assert load_prompt("8 1", 64, seed=1) != prompts[1]


@pytest.mark.parametrize(
    ("count", "share", "ranks"),
    [
        # Tables of the sign test: H. A. David, H. N. Nagaraja, "Order Statistics".
        (5, 0.5, (None, None)),
        (6, 0.5, (1, 6)),
        (20, 0.5, (6, 15)),
        (100, 0.5, (40, 61)),
        (20, 0.99, (19, None)),
        (100, 0.9, (84, 96)),
        (10_000, 0.5, (4902, 5099)),
    ],
)
def test_the_interval_of_a_quantile_is_between_order_statistics(
    count: int, share: float, ranks: tuple[int | None, int | None]
) -> None:
    assert quantile_interval([float(rank) for rank in range(count, 0, -1)], share) == ranks


def test_the_quantile_of_students_distribution_is_right_to_three_decimals() -> None:
    for df in (*range(1, 30), 100, 9999):
        assert t_quantile(df) == pytest.approx(exact_t_quantile(0.05, df), abs=6e-4)


def test_a_ratio_of_equal_weights_is_a_mean() -> None:
    values = [1.0, 2.0, 4.0]
    assert ratio(values, [1, 1, 1]) == (pytest.approx(7 / 3), pytest.approx(mean_stderr(values)))
    assert ratio([10.0], [4]) == (2.5, None)
    assert ratio([10.0, 30.0], [1, 3])[0:2] == (10.0, 0.0)


def test_the_load_test_runs_on_a_local_server(model: ModelServer, tmp_path: Path) -> None:
    config = Config(tmp_path / "config")
    shutil.copy(PROVIDER, config.folder / "providers")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        parameters = {"concurrency": [1, 2], "requests": 3, "output_tokens": 4}
        job_id = server.submit(
            benchmarks=[{"id": "load_test", "provider_id": "quickstart", "parameters": parameters}],
            model={"url": model.base, "name": MODEL},
        )
        job = server.finished(job_id)
    assert job["status"]["state"] == "completed", json.dumps(job, indent=1)
    (benchmark,) = job["results"]["benchmarks"]
    assert benchmark["metrics"]["num_samples"] == 6
    assert benchmark["metrics"]["mean_output_tokens"] == 4
    assert benchmark["metrics"]["mean_ttft_ms"] == benchmark["metrics"]["mean_ttft_ms_c2"]
    assert [level["concurrency"] for level in benchmark["additional_info"]["levels"]] == [1, 2]
