"""Failures of the model endpoint, the job specification and the environment."""

from __future__ import annotations

import json
import signal
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from evalhub_quickstart.endpoint import DemoEndpoint
from harness.answering import AnsweringServer, Reply, Request
from harness.quickstart import (
    CallbackServer,
    JobDirectory,
    chat_answer,
    error_answer,
    finish,
    is_probe,
    prompt_of,
    start_adapter,
)
from harness.waiting import free_port


@pytest.mark.parametrize(
    "trouble", [error_answer(429, "slow down", Retry_After="0"), error_answer(503, "loading"), None]
)
def test_passing_trouble_is_retried(
    trouble: Reply | None, job: JobDirectory, callback: CallbackServer
) -> None:
    def script(received: Request) -> Reply | None:
        return trouble if received.number in (1, 2) else chat_answer("Answer: 122")

    with AnsweringServer(script) as model:
        job.use(model.url, concurrency=1)
        job.document["num_examples"] = 2
        finished = job.run()
    assert finished.status == 0, finished
    assert [sample["metadata"]["attempts"] for sample in job.samples] == [3, 1]
    assert callback.last["metrics"]["num_errors"] == 0
    assert callback.last["additional_info"]["retries"] == 2


def test_an_endpoint_that_is_busy_at_first_is_probed_again(
    job: JobDirectory, callback: CallbackServer
) -> None:
    def script(received: Request) -> Reply:
        return error_answer(503, "model is loading") if received.number < 3 else chat_answer("Answer: 122")

    with AnsweringServer(script) as model:
        job.use(model.url)
        assert job.run().status == 0
    assert callback.last["status"] == "completed"


def test_a_sample_that_fails_scores_zero_and_is_counted(job: JobDirectory, callback: CallbackServer) -> None:
    def script(received: Request) -> Reply:
        if "35 percent" in prompt_of(received):
            return error_answer(400, "percent signs only")
        return chat_answer("Answer: 122")

    with AnsweringServer(script) as model:
        job.use(model.url, max_retries=0)
        job.document["num_examples"] = 10
        assert job.run().status == 0
    metrics = callback.last["metrics"]
    assert (metrics["num_samples"], metrics["num_errors"]) == (10, 1)
    assert (metrics["accuracy"], metrics["answer_rate"]) == (0.1, 0.9)
    assert "1 of 10 samples failed" in callback.last["warning_message"]["message"]
    failed = job.samples[9]
    assert failed["error"] == "it answered 400: percent signs only"
    assert "output" not in failed
    assert failed["error_kind"] == "infrastructure"
    assert (failed["metrics"], failed["metadata"]["attempts"]) == ({"accuracy": 0}, 1)


@pytest.mark.parametrize("benchmark_id", ["instruction_following", "json_format", "latency"])
def test_failed_samples_count_against_every_benchmark(
    benchmark_id: str, job: JobDirectory, callback: CallbackServer
) -> None:
    def script(received: Request) -> Reply:
        return error_answer(400, "no") if received.number == 1 else chat_answer("{}")

    with AnsweringServer(script) as model:
        job.use(model.url, benchmark_id, concurrency=1)
        job.document["num_examples"] = 4
        assert job.run().status == 0
    assert callback.last["metrics"]["num_errors"] == 1
    assert set(job.samples[0]["metrics"].values()) == {0}
    if benchmark_id == "latency":
        assert callback.last["metrics"]["success_rate"] == 0.75


def test_a_benchmark_fails_if_every_sample_fails(job: JobDirectory, callback: CallbackServer) -> None:
    def script(received: Request) -> Reply:
        return chat_answer("ready") if is_probe(received) else error_answer(500, "out of memory")

    with AnsweringServer(script) as model:
        job.use(model.url, max_retries=1)
        job.document["num_examples"] = 3
        finished = job.run()
    assert finished.status == 1
    assert callback.error["message_code"] == "all_samples_failed"
    assert "all 3 samples failed; the first one: it answered 500: out of memory" in callback.error["message"]
    assert [sample["metadata"]["attempts"] for sample in job.samples] == [2, 2, 2]
    assert "metrics" not in callback.last


@pytest.mark.parametrize(
    ("url", "fragments"),
    [
        ("http://127.0.0.1:{closed}/v1", ["connection refused", "Is the model server running"]),
        ("http://no-such-host.invalid/v1", ["'no-such-host.invalid' cannot be resolved", "spelling"]),
        ("https://127.0.0.1:{plain}/v1", ["TLS handshake failed", "really https?"]),
        (
            "http://127.0.0.1:{plain}/v2",
            ["it answered 404: Unknown path /v2", "is /v1 missing?", "some-model"],
        ),
    ],
)
def test_an_unusable_endpoint_is_named_with_advice(
    url: str, fragments: list[str], job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    address = url.format(closed=free_port(), plain=demo.port)
    job.use(address)
    finished = job.run()
    assert finished.status == 1
    assert callback.error["message_code"] == "model_unusable"
    assert callback.error["message_origin"] == "adapter"
    for fragment in [*fragments, address.split("/v")[0]]:
        assert fragment in callback.error["message"]
    assert callback.error["message"] in finished.output
    assert not job.samples_file.exists()


REFUSALS: list[tuple[Reply | None, list[str]]] = [
    (error_answer(403, "not yours."), ["it answered 403: not yours. Check the credentials"]),
    (error_answer(400, "no such model"), ["it answered 400: no such model. Check model.url"]),
    (error_answer(429, "quota", Retry_After="0"), ["429: quota. The endpoint limits requests"]),
    (Reply(502, b"<html>bad\ngateway</html>"), ["it answered 502: <html>bad gateway</html>"]),
    (Reply(404, b'{"detail": "Not Found"}'), ["404: Not Found"]),
    (Reply(404, b'{"error": "model not found, pull it"}'), ["404: model not found, pull it"]),
    (Reply(301, headers={"Location": "http://elsewhere/"}), ["it answered 301"]),
    (Reply(200, b'{"status": "ok"}'), ["not with a chat completion"]),
    (Reply(200, b"hello"), ["not with a chat completion", "hello"]),
    (Reply(200, b'{"choices": []}'), ["not with a chat completion"]),
    (None, ["the connection was closed", "Is the model server running"]),
]


@pytest.mark.parametrize(("answer", "fragments"), REFUSALS)
def test_a_refused_probe_fails_the_benchmark(
    answer: Reply | None, fragments: list[str], job: JobDirectory, callback: CallbackServer
) -> None:
    with AnsweringServer(lambda _: answer) as model:
        job.use(model.url, max_retries=1)
        assert job.run().status == 1
        assert all(is_probe(received) for received in model.requests)
    for fragment in [*fragments, model.url]:
        assert fragment in callback.error["message"]


def test_an_endpoint_that_never_answers_times_out(job: JobDirectory, callback: CallbackServer) -> None:
    gate = threading.Event()

    def hang(received: Request) -> Reply:
        gate.wait()
        return chat_answer("late")

    with AnsweringServer(hang) as model:
        try:
            job.use(model.url, timeout_s=0.2)
            assert job.run().status == 1
        finally:
            gate.set()
        assert len(model.until(1)) == 1
    assert "no answer (waited up to 0.2 s)" in callback.error["message"]
    assert "parameters.timeout_s" in callback.error["message"]


@pytest.mark.parametrize(
    ("greeting", "fragment"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", "closed before a complete answer"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", "closed before a complete answer"),
        (b"HTTP/1.0 200 OK\r\n\r\nhello", "not with a chat completion"),
    ],
)
def test_a_port_that_does_not_speak_proper_http_is_reported(
    greeting: bytes, fragment: str, job: JobDirectory, callback: CallbackServer
) -> None:
    def greet(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            request = b""
            while not request.endswith(b"}]}"):  # closing with unread input would reset the connection
                request += connection.recv(65536)
            connection.sendall(greeting)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=greet, args=(listener,))
        server.start()
        job.use(f"http://127.0.0.1:{listener.getsockname()[1]}", max_retries=0)
        assert job.run().status == 1
        server.join()
    assert fragment in callback.error["message"]


def key_demanding(key: str, seen: list[str | None]) -> AnsweringServer:
    def script(received: Request) -> Reply:
        given = received.headers.get("Authorization")
        seen.append(given)
        if given == f"Bearer {key}":
            return chat_answer("Answer: 122")
        return error_answer(401, f"Incorrect API key provided: {given}")

    return AnsweringServer(script)


@pytest.mark.parametrize("source", ["file", "environment"])
def test_the_api_key_is_sent_but_never_shown(
    source: str, job: JobDirectory, callback: CallbackServer, tmp_path: Path
) -> None:
    secrets = tmp_path / "my secrets"
    secrets.mkdir()
    (secrets / "api-key").write_text("sk-right-5711\n", encoding="utf-8")
    with key_demanding("sk-right-5711", []) as model:
        job.use(model.url)
        if source == "file":
            job.document["model"]["auth"] = {"secret_ref": f"file://{secrets}"}
            finished = job.run(OPENAI_API_KEY="sk-other")
        else:
            finished = job.run(OPENAI_API_KEY="sk-right-5711")
    assert finished.status == 0, finished
    for text in (finished.output, finished.errors, str(callback.events), job.samples_file.read_text()):
        assert "sk-right-5711" not in text


@pytest.mark.parametrize(
    ("environment", "fragment"),
    [
        ({"OPENAI_API_KEY": "sk-wrong-815"}, "the API key came from OPENAI_API_KEY"),
        ({}, "no API key was sent: OPENAI_API_KEY and model.auth are not set"),
    ],
)
def test_the_source_of_a_refused_key_is_named(
    environment: dict[str, str], fragment: str, job: JobDirectory, callback: CallbackServer
) -> None:
    with key_demanding("sk-right", []) as model:
        job.use(model.url)
        finished = job.run(**environment)
    assert finished.status == 1
    message = callback.error["message"]
    assert "it answered 401: Incorrect API key provided" in message
    assert fragment in message
    assert "sk-wrong-815" not in message + finished.output


BAD_JOBS: list[tuple[dict[str, Any], str]] = [
    (
        {"benchmark_id": "arithmetics"},
        "this provider has arithmetic, instruction_following, json_format, latency",
    ),
    ({"num_examples": 0}, "num_examples is 0 (number): it must be a whole number from 1"),
    ({"num_examples": "12"}, 'num_examples is "12" (string)'),
    ({"parameters": []}, "parameters is [] (array): it must be an object"),
    ({"parameters": {"concurrency": 0}}, "concurrency is 0 (number): it must be a whole number from 1 to 64"),
    ({"parameters": {"concurrency": "4"}}, 'parameters.concurrency is "4" (string)'),
    ({"parameters": {"concurrency": True}}, "parameters.concurrency is true (boolean)"),
    ({"parameters": {"max_tokens": 1.5}}, "parameters.max_tokens is 1.5 (number): it must be a whole number"),
    (
        {"parameters": {"seed": 2**31}},
        "seed is 2147483648 (number): it must be a whole number from 0 to 2147483647",
    ),
    ({"parameters": {"temperature": -1}}, "temperature is -1 (number): it must be a number from 0 to 2"),
    ({"parameters": {"timeout_s": 0}}, "parameters.timeout_s is 0 (number): it must be a number from 0.1"),
    ({"parameters": {"max_retries": 99}}, "parameters.max_retries is 99"),
    ({"parameters": {"seed": {}}}, "parameters.seed is {} (object)"),
    ({"benchmark_id": "latency", "parameters": {"requests": 0}}, "parameters.requests is 0"),
    ({"model": None}, "model is null: it must be an object"),
    ({"model": {"url": "http://h"}}, "model.name is null"),
    ({"model": {"name": "m", "url": " "}}, "model.url is"),
    ({"model": {"name": "m", "url": "127.0.0.1:8000"}}, "it must be an absolute URL"),
    ({"model": {"name": "m", "url": "http://me:pw@h/v1"}}, "use model.auth.secret_ref"),
    ({"model": {"name": "m", "url": "http://h:99999/v1"}}, "its port must be"),
    ({"model": {"name": "m", "url": "http://h/a b"}}, "must not contain spaces"),
    ({"model": {"name": "m", "url": "http://h", "parameters": 3}}, "model.parameters is 3"),
    ({"model": {"name": "m", "url": "http://h", "parameters": {"stream": True}}}, "model.parameters.stream"),
    ({"model": {"name": "m", "url": "http://h", "auth": {"secret_ref": "my-secret"}}}, "must be file:///dir"),
    (
        {"model": {"name": "m", "url": "http://h", "auth": {"secret_ref": "file:///nowhere"}}},
        "/nowhere/api-key",
    ),
]


@pytest.mark.parametrize(("change", "fragment"), BAD_JOBS, ids=[fragment for _, fragment in BAD_JOBS])
def test_an_invalid_value_fails_the_benchmark_and_names_the_allowed_ones(
    change: dict[str, Any], fragment: str, job: JobDirectory, callback: CallbackServer
) -> None:
    job.use("http://127.0.0.1:9/v1")
    job.document |= change
    finished = job.run()
    assert finished.status == 1
    assert fragment in callback.error["message"]
    assert callback.error["message_code"] == "job_invalid"
    assert "Traceback" not in finished.output + finished.errors
    assert "pw@" not in finished.output


@pytest.mark.parametrize("key", ["", "sk two words", "sk-ключ", "sk-\x00"])
def test_a_key_that_no_header_can_carry_is_refused_without_showing_it(
    key: str, job: JobDirectory, callback: CallbackServer, tmp_path: Path
) -> None:
    (tmp_path / "api-key").write_text(key, encoding="utf-8")
    job.use("http://127.0.0.1:9/v1")
    job.document["model"]["auth"] = {"secret_ref": tmp_path.as_uri()}
    assert job.run().status == 1
    assert "is empty or contains characters" in callback.error["message"]
    assert "sk-" not in callback.error["message"]


JOB_JSON = {
    "id": "j",
    "provider_id": "quickstart",
    "benchmark_id": "arithmetic",
    "benchmark_index": 0,
    "callback_url": "http://127.0.0.1:9",
}


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        ("", "is not valid JSON"),
        ("{", "is not valid JSON"),
        ('{"id": NaN}', "NaN is not JSON"),
        ('{"id": 1e999}', "too large"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "is not a JSON object"),
        (json.dumps({**JOB_JSON, "id": 7}), "id is 7 (number): it must be a non-empty string"),
        (json.dumps({**JOB_JSON, "benchmark_id": ""}), "benchmark_id is"),
        (json.dumps({**JOB_JSON, "benchmark_index": -1}), "benchmark_index is -1"),
        (json.dumps({**JOB_JSON, "callback_url": None}), "callback_url is null"),
        (json.dumps({**JOB_JSON, "callback_url": "localhost:80"}), "callback_url cannot be used"),
        (None, "No such file or directory"),
    ],
)
def test_an_unusable_job_specification_exits_with_status_2(
    content: str | None, fragment: str, tmp_path: Path
) -> None:
    spec = tmp_path / "job.json"
    if content is not None:
        spec.write_text(content, encoding="utf-8")
    finished = finish(start_adapter(EVALHUB_JOB_SPEC_PATH=str(spec)))
    assert finished.status == 2
    assert fragment in finished.errors
    assert str(spec) in finished.errors
    assert "Traceback" not in finished.errors


def test_a_missing_job_specification_is_explained() -> None:
    finished = finish(start_adapter())
    assert finished.status == 2
    assert "EVALHUB_JOB_SPEC_PATH is not set" in finished.errors


def test_something_unforeseen_is_reported_with_its_traceback_in_the_log(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint
) -> None:
    job.use(demo.url)
    job.directory.mkdir()
    job.samples_file.parent.write_text("not a directory")
    finished = job.run()
    assert finished.status == 1
    assert "Traceback (most recent call last)" in finished.output
    assert callback.error["message_code"] == "adapter_error"
    assert "unexpected FileExistsError" in callback.error["message"]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_the_adapter_without_an_event(
    number: signal.Signals, status: int, job: JobDirectory, callback: CallbackServer
) -> None:
    gate = threading.Event()

    def hang_after_probe(received: Request) -> Reply:
        if not is_probe(received):
            gate.wait()
        return chat_answer("Answer: 1")

    with AnsweringServer(hang_after_probe) as model:
        try:
            job.use(model.url, concurrency=2)
            process = job.start()
            model.until(3)
            process.send_signal(number)
            finished = finish(process)
        finally:
            gate.set()
    assert finished.status == status
    assert finished.errors == ""
    assert finished.output.endswith(f"stopped by {number.name}\n")
    assert callback.last["status"] == "running"
