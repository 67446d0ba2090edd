"""The demo endpoint, in process and as a program."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from evalhub_quickstart.benchmarks import select_benchmark
from evalhub_quickstart.demo import reply_to
from evalhub_quickstart.endpoint import DemoEndpoint
from harness.quickstart import PACKAGE_ROOT, finish

CHAT = "/v1/chat/completions"


@pytest.fixture
def connection(demo: DemoEndpoint) -> Iterator[http.client.HTTPConnection]:
    client = http.client.HTTPConnection("127.0.0.1", demo.port, timeout=30)
    yield client
    client.close()


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None, **headers: str
) -> tuple[int, http.client.HTTPMessage, dict[str, Any]]:
    content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    connection.request(method, path, content, headers)
    response = connection.getresponse()
    text = response.read()
    assert response.headers["Content-Type"] == "application/json"
    return response.status, response.headers, json.loads(text) if text else {}


def chat(text: str, **more: object) -> dict[str, object]:
    return {"model": "any", "messages": [{"role": "user", "content": text}], **more}


def test_a_chat_completion_has_openais_shape(connection: http.client.HTTPConnection) -> None:
    status, _, answer = ask(connection, "POST", CHAT, chat("Name one use of a paper clip."))
    assert status == 200
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "any"
    choice = answer["choices"][0]
    assert (choice["index"], choice["message"]["role"], choice["finish_reason"]) == (0, "assistant", "stop")
    words = len(choice["message"]["content"].split())
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": words, "total_tokens": 7 + words}


def test_equal_prompts_get_equal_answers_on_one_connection(connection: http.client.HTTPConnection) -> None:
    answers: list[str] = []
    sockets: set[int] = set()
    for _ in range(3):
        answers.append(
            ask(connection, "POST", CHAT, chat("What is 3 + 4?"))[2]["choices"][0]["message"]["content"]
        )
        assert connection.sock is not None
        sockets.add(connection.sock.getsockname()[1])
    assert len(set(answers)) == len(sockets) == 1


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_answers_are_cut_at_the_limit(limit: str, connection: http.client.HTTPConnection) -> None:
    answer = ask(connection, "POST", CHAT, chat("Say something.", **{limit: 3}))[2]
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3


def test_models_and_health(connection: http.client.HTTPConnection) -> None:
    status, _, models = ask(connection, "GET", "/v1/models")
    assert (status, models["object"]) == (200, "list")
    assert models["data"][0]["id"] == "quickstart-demo"
    assert ask(connection, "GET", "/health?x=1")[::2] == (200, {"status": "ok"})
    assert ask(connection, "HEAD", "/health")[0] == 200


def test_a_prompt_is_continued_as_it_is_answered_in_a_chat(connection: http.client.HTTPConnection) -> None:
    body = {"model": "m", "prompt": "Tell me a story.", "max_tokens": 5}
    _, _, answer = ask(connection, "POST", "/v1/completions", body)
    in_chat = ask(connection, "POST", CHAT, chat("Tell me a story.", max_tokens=5))[2]
    assert answer["object"] == "text_completion"
    assert answer["choices"][0]["text"] == in_chat["choices"][0]["message"]["content"]
    assert (answer["choices"][0]["finish_reason"], answer["usage"]) == ("length", in_chat["usage"])


@pytest.mark.parametrize("usage", [True, False])
@pytest.mark.parametrize(
    ("path", "body"),
    [(CHAT, chat("Tell me a story.")), ("/v1/completions", {"model": "m", "prompt": "Tell me a story."})],
)
def test_an_answer_can_be_streamed(
    path: str, body: dict[str, object], usage: bool, connection: http.client.HTTPConnection
) -> None:
    _, _, whole = ask(connection, "POST", path, body)
    options = {"stream_options": {"include_usage": True}} if usage else {}
    connection.request("POST", path, json.dumps({**body, "stream": True, **options}))
    response = connection.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    events = [line.removeprefix(b"data: ") for line in response.read().split(b"\n\n")]
    assert events[-2:] == [b"[DONE]", b""]
    parts = [json.loads(event) for event in events[:-2]]
    choices = [choice for part in parts for choice in part["choices"]]
    texts = [choice["delta"].get("content", "") if path == CHAT else choice["text"] for choice in choices]
    complete = whole["choices"][0]
    assert "".join(texts) == (complete["message"]["content"] if path == CHAT else complete["text"])
    assert [choice["finish_reason"] for choice in choices if choice["finish_reason"]] == ["stop"]
    assert [part["usage"] for part in parts if "usage" in part] == ([whole["usage"]] if usage else [])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "fragment"),
    [
        ("POST", CHAT, b"{", 400, "not valid JSON"),
        ("POST", CHAT, b"", 400, "not valid JSON"),
        ("POST", CHAT, [], 400, "must be a JSON object"),
        ("POST", CHAT, {"messages": []}, 400, "model is null"),
        ("POST", CHAT, {"model": "m"}, 400, "messages must be a list"),
        ("POST", CHAT, {"model": "m", "messages": [{"role": "system", "content": "x"}]}, 400, "user message"),
        ("POST", CHAT, chat("x", max_tokens=0), 400, "max_tokens is 0"),
        ("POST", "/v1/completions", {"model": "m", "prompt": ["x"]}, 400, "prompt is"),
        ("POST", "/v1/embeddings", chat("x"), 404, "Unknown path /v1/embeddings"),
        ("GET", "/", None, 404, "Unknown path /"),
        ("GET", CHAT, None, 405, "takes POST, not GET"),
        ("DELETE", "/v1/models", None, 405, "takes GET, not DELETE"),
        ("BREW", "/health", None, 501, "Unsupported method"),
    ],
)
def test_a_bad_request_gets_an_error_in_openais_shape(
    method: str, path: str, body: object, status: int, fragment: str, connection: http.client.HTTPConnection
) -> None:
    got, headers, answer = ask(connection, method, path, body)
    assert got == status
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert fragment in answer["error"]["message"]
    if status == 405:
        assert headers["Allow"] in ("GET", "POST")
    assert ask(connection, "GET", "/health")[0] == 200  # the connection, or a new one, goes on working


@pytest.mark.parametrize("length", ["99999999999", "-1", "many"])
def test_a_body_of_unusable_length_is_refused(length: str, connection: http.client.HTTPConnection) -> None:
    connection.putrequest("POST", CHAT)
    connection.putheader("Content-Length", length)
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 400
    assert "Content-Length" in response.read().decode()


def test_close_ends_idle_and_broken_connections() -> None:
    with DemoEndpoint() as endpoint:
        idle = socket.create_connection(("127.0.0.1", endpoint.port), timeout=30)
        half = socket.create_connection(("127.0.0.1", endpoint.port), timeout=30)
        half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        probe = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=30)
        assert ask(probe, "GET", "/health")[0] == 200
    assert idle.recv(1) == b""
    for client in (idle, half, probe):
        client.close()


def test_a_taken_port_is_an_error() -> None:
    with DemoEndpoint() as endpoint, pytest.raises(OSError, match="in use"):
        DemoEndpoint(port=endpoint.port)


@pytest.mark.parametrize(
    "prompt",
    [
        'Write 1 line. Avoid the word "i". Avoid the word "o". Avoid the word "e".',
        "Write exactly 99999999999999 lines of text. Write at least 999999999999999 words.",
        "Answer: <number> for 1 / 0 and 2 ** 3 and " + "(" * 2000 + "9" * 6000,
        "average of nothing? Answer: <number>",
        "JSON please",
        "",
    ],
)
def test_the_demo_answers_anything(prompt: str) -> None:
    assert reply_to(prompt, None) == reply_to(prompt, None)


def test_the_demo_solves_by_the_prompt_not_by_the_data() -> None:
    benchmark = select_benchmark("arithmetic")
    question = benchmark.samples(None)[24].prompt
    altered = [question.replace("97", str(number)) for number in range(20, 40)]
    answers = [reply_to(prompt, None).text.rsplit(" ", 1)[1] for prompt in altered]
    right = [str(6 * 24 - number) for number in range(20, 40)]
    assert sum(given == wanted for given, wanted in zip(answers, right, strict=True)) >= 14


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_a_program_it_prints_its_url_and_stops_on_a_signal(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "evalhub_quickstart.endpoint", "--port", "0"],
        env={"PYTHONPATH": PACKAGE_ROOT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:")
    client = http.client.HTTPConnection("127.0.0.1", int(url.split(":")[2].removesuffix("/v1")), timeout=30)
    assert ask(client, "GET", "/v1/models")[0] == 200
    process.send_signal(number)
    finished = finish(process)
    client.close()
    assert (finished.status, finished.errors) == (0, "")


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
def test_a_bad_port_is_a_usage_error(port: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "evalhub_quickstart.endpoint", f"--port={port}"],
        env={"PYTHONPATH": PACKAGE_ROOT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    finished = finish(process)
    assert finished.status == 2
    assert "Traceback" not in finished.errors
