"""``evalhub providers`` and ``evalhub collections``: creating, changing and deleting resources with the SDK's command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import RunningServer
from harness.sdk import Finished, Sdk
from harness.server import API

pytestmark = pytest.mark.slow

Evalhub = Callable[..., str]
BENCHMARK = {"id": "b", "name": "B", "category": "test", "metrics": ["acc"]}


@pytest.fixture(scope="module")
def command(sdk: Sdk, server: RunningServer) -> Iterator[Callable[..., Finished]]:
    def run(*words: str) -> Finished:
        return sdk.run("evalhub", *words)

    assert run("config", "set", "base_url", f"http://localhost:{server.port}").status == 0
    yield run
    assert run("config", "unset", "base_url").status == 0


@pytest.fixture(scope="module")
def evalhub(command: Callable[..., Finished]) -> Evalhub:
    """Runs a command, which must succeed; returns its output on both streams."""

    def run(*words: str) -> str:
        done = command(*words)
        assert done.status == 0, done
        return done.output + done.errors

    return run


@pytest.fixture
def file_with(tmp_path: Path) -> Callable[[Any], str]:
    def write(document: Any) -> str:
        file = tmp_path / "spec.yaml"
        file.write_text(yaml.safe_dump(document), "utf-8")
        return str(file)

    return write


def created(output: str) -> str:
    match = re.search(r"(?:Provider|Collection) created: (\S+)", output)
    assert match, output
    return match[1]


def test_a_provider_is_created_changed_shown_and_deleted(
    evalhub: Evalhub, server: RunningServer, file_with: Callable[[Any], str]
):
    spec = {"name": "mine", "runtime": {"local": {"command": "true"}}, "benchmarks": [BENCHMARK]}
    provider_id = created(evalhub("providers", "create", "--file", file_with(spec)))
    path = f"{API}/providers/{provider_id}"
    assert server.get(path)["runtime"] == spec["runtime"]
    evalhub("providers", "patch", provider_id, "--file", file_with({"title": "T", "tags": ["x"]}))
    patched = server.get(path)
    assert (patched["name"], patched["title"], patched["tags"]) == ("mine", "T", ["x"])
    evalhub("providers", "update", provider_id, "--file", file_with({**spec, "name": "renamed"}))
    assert "tags" not in server.get(path)
    assert "renamed" in evalhub("providers", "describe", provider_id)
    assert provider_id in evalhub("providers", "list", "--format", "json")
    evalhub("providers", "delete", provider_id, "--yes")
    assert server.call("GET", path).status == 404


def test_a_collection_is_created_changed_run_and_deleted(
    evalhub: Evalhub, server: RunningServer, file_with: Callable[[Any], str]
):
    member = {"id": "b", "provider_id": "quick", "weight": 2.0}
    spec = {"name": "mine", "category": "test", "benchmarks": [member]}
    collection_id = created(evalhub("collections", "create", "--file", file_with(spec)))
    path = f"{API}/collections/{collection_id}"
    assert server.get(path)["benchmarks"] == [{**member, "url": "http://example.test/b"}]
    patch = {"description": "d", "pass_criteria": {"threshold": 0.7}}
    evalhub("collections", "patch", collection_id, "--file", file_with(patch))
    assert server.get(path)["pass_criteria"] == {"threshold": 0.7}
    words = ("--model-url", "http://model.test/v1", "--model-name", "m", "--wait", "--poll-interval", "0.05")
    output = evalhub("collections", "run", collection_id, *words)
    assert "completed" in output
    assert server.get(path)["status"] == {"run_count": 1}
    evalhub("collections", "update", collection_id, "--file", file_with({**spec, "name": "renamed"}))
    assert "description" not in server.get(path)
    assert "renamed" in evalhub("collections", "describe", collection_id)
    evalhub("collections", "delete", collection_id, "--yes")
    assert server.call("GET", path).status == 404


@pytest.mark.parametrize("words", [("delete", "quick", "--yes"), ("patch", "quick", "--file")])
def test_a_refusal_has_the_servers_text(
    command: Callable[..., Finished], file_with: Callable[[Any], str], words: tuple[str, ...]
):
    arguments = (*words, file_with({"title": "T"})) if words[-1] == "--file" else words
    done = command("providers", *arguments)
    assert done.status == 1
    assert "Provider 'quick' cannot be modified or deleted." in done.errors
    assert "{" not in done.errors
