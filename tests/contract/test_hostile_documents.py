"""Documents that exhaust or confuse a parser: request bodies, provider and collection files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import pairwise, product
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.server import API

LEVELS = "zabcdefghij"
BOMBS = {
    "aliases": "".join(
        f"{c}: &{c} [{', '.join([f'*{p}'] * 30)}]\n" if p != "z" else f"{c}: &{c} [1]\n"
        for p, c in pairwise(LEVELS)
    ),
    "merges": "".join(
        f"{c}: &{c} {{<<: [{', '.join([f'*{p}'] * 30)}]}}\n" if p != "z" else f"{c}: &{c} {{k: 1}}\n"
        for p, c in pairwise(LEVELS)
    ),
    "itself": "custom: &c {inside: *c}\n",
    "depth": "custom: " + "[" * 100_000 + "\n",
    "code": "custom: !!python/object/apply:os.system [id]\n",
    "digits": "custom: 0x" + "f" * 100_000 + "\n",
}
JOB: dict[str, Any] = {
    "name": "j",
    "model": {"url": "http://m", "name": "m", "parameters": "@"},
    "benchmarks": [{"id": "b", "provider_id": "scripted"}],
}
PROVIDER = {"name": "p", "custom": "@", "benchmarks": [{"id": "b"}]}
COLLECTION = {
    "name": "c",
    "category": "x",
    "custom": "@",
    "benchmarks": [{"id": "b", "provider_id": "scripted"}],
}
EVENT = {
    "benchmark_status_event": {
        "provider_id": "scripted",
        "id": "b",
        "benchmark_index": 0,
        "status": "running",
        "additional_info": "@",
    }
}
WRITES = [
    ("POST", f"{API}/jobs", JOB),
    ("POST", f"{API}/jobs/{{job}}/events", EVENT),
    ("POST", f"{API}/providers", PROVIDER),
    ("PUT", f"{API}/providers/{{provider}}", PROVIDER),
    ("PATCH", f"{API}/providers/{{provider}}", [{"op": "replace", "path": "/custom", "value": "@"}]),
    ("PATCH", f"{API}/providers/{{provider}}", {"custom": "@"}),
    ("POST", f"{API}/collections", COLLECTION),
    ("PUT", f"{API}/collections/{{collection}}", COLLECTION),
    ("PATCH", f"{API}/collections/{{collection}}", [{"op": "add", "path": "/custom", "value": "@"}]),
    ("POST", f"{API}/collections/{{collection}}/clones", {"custom": "@"}),
]
NO_JSON = {
    "deep-lists": b"[" * 100_000 + b"]" * 100_000,
    "deep-maps": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep-unclosed": b"[" * 1_000_000,
    "digits": b"1" * 100_000,
    "exponent": b"1e400",
    "NaN": b"NaN",
    "Infinity": b"-Infinity",
    "half a surrogate": b'{"a": "\\ud800"}',
    "no UTF-8": b'{"a": "\xff"}',
    "a control character": b'{"a": "\x00"}',
    "a comment": b"{/* */}",
    "an early end": b'{"a": ',
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("hostile") / "config")
    config.provider("sleep 600 # waits for the test's own events")
    for name, bomb in BOMBS.items():
        config.write(f"providers/bomb-{name}.yaml", f"id: bomb-{name}\nname: x\n{bomb}")
        config.write(f"collections/bomb-{name}.yaml", f"id: bomb-{name}\nname: x\ncategory: x\n{bomb}")
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture(scope="module")
def ids(server: RunningServer) -> dict[str, str]:
    def made(path: str, body: Any) -> str:
        answer = server.call("POST", f"{API}/{path}", json.loads(json.dumps(body).replace('"@"', "{}")))
        assert answer.status == 201, answer
        return answer.body["resource"]["id"]

    return {
        "job": server.submit(),
        "provider": made("providers", PROVIDER),
        "collection": made("collections", COLLECTION),
    }


@pytest.mark.parametrize("kind", ["provider", "collection"])
@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_would_exhaust_the_parser_is_logged_and_ignored(
    server: RunningServer, kind: str, name: str
):
    listed = {item["resource"]["id"] for item in server.get(f"{API}/{kind}s?limit=1000")["items"]}
    assert f"bomb-{name}" not in listed
    lines = [line for line in server.log_lines() if f"{kind}s/bomb-{name}.yaml" in json.dumps(line)]
    assert [line for line in lines if line["level"] in ("error", "warning")]
    assert max(len(json.dumps(line)) for line in lines) < 2000


def test_a_body_that_is_not_json_is_refused_at_any_size_and_depth(
    subtests: pytest.Subtests, server: RunningServer, ids: dict[str, str]
):
    for (method, path, body), (hostile, document) in product(WRITES, NO_JSON.items()):
        with subtests.test(method=method, path=path, body=hostile):
            for sent in (json.dumps(body).encode().replace(b'"@"', document), document):
                answer = server.call(method, path.format(**ids), sent)
                assert answer.status == 400, answer
                assert answer.body["message_code"] in ("invalid_json_request", "request_validation_failed")
                assert len(answer.body["message"]) < 2000


@pytest.mark.parametrize("write", WRITES[:3], ids=lambda write: f"{write[0]} {write[1].removeprefix(API)}")
def test_a_compressed_body_is_not_decompressed(
    server: RunningServer, ids: dict[str, str], write: tuple[str, str, Any]
):
    method, path, body = write
    packed = gzip.compress(json.dumps(body).encode().replace(b'"@"', b"{}"))
    answer = server.call(method, path.format(**ids), packed, {"Content-Encoding": "gzip"})
    assert answer.refusal == (400, "invalid_json_request")


def test_the_server_is_healthy_afterwards(server: RunningServer, ids: dict[str, str]):
    for path in ("/api/v1/health", f"{API}/jobs/{ids['job']}", f"{API}/providers", f"{API}/collections"):
        assert server.call("GET", path).status == 200
    assert not [line for line in server.log_lines() if line.get("code", 0) >= 500]
