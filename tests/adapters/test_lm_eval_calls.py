"""Calls of a real endpoint: what is sent, what is kept for the next run, and what stops it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evalhub_adapters.lm_eval_adapter.calls import Call, CallLog, CallRunner, Value, finished_calls
from evalhub_adapters.lm_eval_adapter.probe import Probe
from evalhub_adapters.lm_eval_adapter.request_bodies import generation_body, read_text, request_key
from evalhub_common.adapter.errors import ModelUnusable, RequestFailed
from evalhub_common.adapter.model import Model, read_model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.sample_file import SampleFile, read_samples
from harness.answering import AnsweringServer, Reply
from harness.model_server import MODEL, ModelServer
from harness.quickstart import error_answer


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(api_key="some-key") as running:
        yield running


def model_at(server: ModelServer, **fields: str) -> Model:
    return read_model({"name": MODEL, "url": server.base, **fields}, {"OPENAI_API_KEY": "some-key"})


def client_of(model: Model, max_retries: int = 0) -> ModelClient:
    return ModelClient(model, user_agent="test", timeout_s=10, max_retries=max_retries)


def call(model: Model, number: int, question: str) -> Call:
    body = generation_body(model, [{"role": "user", "content": question}], {}, {}, seed=0)
    return Call(
        request=None,
        sample=("t", number),
        key=request_key(body, 0),
        target=model.chat,
        body=lambda: body,
        read=lambda answer: read_text(answer, ()),
    )


def run(
    server: ModelServer, file: Path, calls: list[Call], previous: dict[str, Value], max_retries: int = 0
) -> tuple[list[Value], CallRunner, list[bool]]:
    complete: list[bool] = []
    model = model_at(server)
    with client_of(model, max_retries) as client, SampleFile(file) as samples:
        log = CallLog(samples, lambda sample: f"{sample[0]}/{sample[1]}")
        runner = CallRunner(
            client,
            log,
            concurrency=2,
            previous=previous,
            done=lambda call, value, all_: complete.append(all_),
        )
        values = runner.run(calls)
        assert log.total == len(calls)
        assert len(log.requests(("t", 0))) == 2
    return values, runner, complete


def test_a_later_run_sends_only_what_is_missing(server: ModelServer, tmp_path: Path) -> None:
    model = model_at(server)
    calls = [call(model, 0, "a"), call(model, 0, "b"), call(model, 1, "c")]
    values, runner, complete = run(server, tmp_path / "first", calls, {})
    assert sorted(server.prompts) == ["a", "b", "c"]
    assert (runner.reused, complete.count(True)) == (0, 2)
    lines = list(read_samples(tmp_path / "first"))
    assert {line["sample_id"] for line in lines} == {"t/0", "t/1"}
    server.prompts.clear()
    again, runner, _ = run(server, tmp_path / "second", [*calls, call(model, 2, "d")], finished_calls(lines))
    assert (again[:3], server.prompts, runner.reused) == (values, ["d"], 3)


def test_values_of_all_kinds_are_read_again() -> None:
    records = [
        ["a", "text"],
        ["b", -2],
        ["c", [-1.5, True]],
        ["d", None],
        ["e", True],
        ["f", [1]],
        "g",
        [1, 2],
    ]
    lines = [{"metadata": {"requests": records}}, {"metadata": None}, {}]
    assert finished_calls(json.loads(json.dumps(lines))) == {"a": "text", "b": -2.0, "c": (-1.5, True)}


def test_a_failed_call_ends_the_run_and_leaves_the_finished_ones(server: ModelServer, tmp_path: Path) -> None:
    model = model_at(server)
    calls = [call(model, 0, "a"), call(model, 0, "b")]
    run(server, tmp_path / "first", calls, {})
    server.fail(1, 400, "out of order")
    with pytest.raises(RequestFailed, match="it answered 400: out of order"):
        run(
            server,
            tmp_path / "second",
            [call(model, 1, "c"), *calls],
            finished_calls(read_samples(tmp_path / "first")),
        )
    assert [line["sample_id"] for line in read_samples(tmp_path / "second")] in ([], ["t/0"])


def test_a_busy_endpoint_is_waited_for(server: ModelServer, tmp_path: Path) -> None:
    model = model_at(server)
    server.fail(1, 429, Retry_After="0")
    server.fail(1, 500)
    _, runner, _ = run(server, tmp_path / "f", [call(model, 0, "a"), call(model, 0, "b")], {}, max_retries=3)
    assert runner.retries == 2


def test_an_answer_of_another_form_is_a_failure(tmp_path: Path) -> None:
    with ModelServer() as server:
        model = model_at(server)
        wrong = [call(model, 0, "a"), call(model, 0, "b")]
        server.failures += [Reply(200, b'{"ok": true}')] * 2
        with pytest.raises(RequestFailed, match=r"not with what was requested: .*ok"):
            run(server, tmp_path / "f", wrong, {})


@contextmanager
def probing(server: ModelServer, twin: str | None = "other", **fields: str) -> Iterator[Probe]:
    model = model_at(server, **fields)
    with client_of(model) as client:
        yield Probe(client, model, "task", twin)


def refusal(server: ModelServer, twin: str | None = "other", **fields: str) -> str:
    """Why log-probabilities of prompts cannot be had."""
    with probing(server, twin, **fields) as probe, pytest.raises(ModelUnusable) as refused:
        probe.prompt_logprobs()
    return str(refused.value)


def test_a_usable_endpoint_passes(server: ModelServer) -> None:
    with probing(server) as probe:
        probe.generation("chat")
        probe.generation("completions")
        probe.prompt_logprobs()
    assert [request.path for request in server.requests] == [
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/completions",
    ]


def test_an_endpoint_without_log_probabilities_is_refused_with_the_twin(server: ModelServer) -> None:
    server.kind = "llama.cpp"
    assert "run 'other', which needs only chat, or use an endpoint that does" in refusal(server)
    server.fail(1, 400, "echo is not supported")
    assert "(it answered 400: echo is not supported): use an endpoint" in refusal(server, None)


@pytest.mark.parametrize(
    ("status", "fragment"),
    [(401, "Check the credentials"), (503, "log of the model server"), (429, "limits requests")],
)
def test_another_failure_is_no_lack_of_log_probabilities(
    server: ModelServer, status: int, fragment: str
) -> None:
    server.fail(1, status)
    assert fragment in refusal(server)


def test_a_wrong_model_name_is_named(server: ModelServer) -> None:
    assert "does the endpoint serve a model named 'wrong'" in refusal(server, name="wrong")


def test_something_else_behind_the_address_is_refused() -> None:
    with AnsweringServer(lambda _: Reply(200, b"<html>")) as site:
        model = read_model({"name": "m", "url": site.url}, {})
        with (
            client_of(model) as client,
            pytest.raises(
                ModelUnusable, match=r"but not with a chat completion \(no choices\[0\]\.message\): <html>"
            ),
        ):
            Probe(client, model, "task", None).generation("chat")
        with client_of(model) as client, pytest.raises(ModelUnusable) as found:
            Probe(client, model, "task", "twin").prompt_logprobs()
        assert "not with a completion" in str(found.value)
        assert "twin" not in str(found.value)
        site.reset(lambda _: error_answer(404, "no route"))
        with client_of(model) as client, pytest.raises(ModelUnusable, match="is /v1 missing"):
            Probe(client, model, "task", None).prompt_logprobs()
