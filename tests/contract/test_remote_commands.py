"""Commands that clients put into providers, with and without access from other computers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.server import API

PROVIDERS = f"{API}/providers"
HARMLESS = {"name": "p", "runtime": {"k8s": {"image": "x"}}, "benchmarks": [{"id": "b"}]}
EVERYWHERE = {"API_HOST": "0.0.0.0"}


def harmful(marker: Path) -> dict[str, Any]:
    return {**HARMLESS, "runtime": {"local": {"command": f"touch '{marker}'"}}}


def test_on_other_addresses_providers_with_commands_are_refused(tmp_path: Path):
    config = Config(tmp_path / "config")
    config.scripted("completed")
    marker = tmp_path / "was-here"
    local = {"command": f"touch '{marker}'"}
    with RunningServer(config.folder, env=EVERYWHERE) as server:
        created = server.call("POST", PROVIDERS, HARMLESS)
        assert created.status == 201
        one = f"{PROVIDERS}/{created.body['resource']['id']}"
        runtime = {"Local": local}
        environment = {"LOCAL": {"env": [{"name": "BASH_ENV"}]}}
        for method, path, body in [
            ("POST", PROVIDERS, {**HARMLESS, "runtime": runtime}),
            ("PUT", one, {**HARMLESS, "runtime": runtime}),
            ("PATCH", one, [{"op": "replace", "path": "/runtime", "value": runtime}]),
            ("PATCH", one, [{"op": "replace", "path": "/runtime", "value": environment}]),
            ("PATCH", one, {"runtime": runtime}),
        ]:
            answer = server.call(method, path, body)
            assert answer.refusal == (403, "remote_commands_not_allowed"), body
        assert server.call("PATCH", one, {"title": "t"}).body["runtime"] == created.body["runtime"]
        # What comes from the provider files runs as ever.
        assert server.finished(server.submit())["status"]["state"] == "completed"
    assert not marker.exists()


def test_a_provider_with_a_command_can_be_renamed_but_its_command_not_changed(tmp_path: Path):
    config = Config(tmp_path / "config")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        one = f"{PROVIDERS}/{server.call('POST', PROVIDERS, harmful(tmp_path / 'x')).body['resource']['id']}"
    with RunningServer(config.folder, data_dir=tmp_path / "data", env=EVERYWHERE) as server:
        assert server.call("PATCH", one, {"name": "renamed"}).status == 200
        assert server.call("PUT", one, harmful(tmp_path / "y")).status == 403
        assert server.call("PUT", one, HARMLESS).status == 200
        assert server.call("PUT", one, harmful(tmp_path / "x")).status == 403


@pytest.mark.parametrize(
    ("env", "local"),
    [({}, {}), (EVERYWHERE, {"allow_remote_commands": True})],
)
def test_on_loopback_or_if_allowed_commands_run(tmp_path: Path, env: dict[str, str], local: dict[str, Any]):
    config = Config(tmp_path / "config", local=local)
    marker = tmp_path / "was-here"
    with RunningServer(config.folder, env=env) as server:
        created = server.call("POST", PROVIDERS, harmful(marker))
        assert created.status == 201
        server.finished(server.submit(provider=created.body["resource"]["id"]))
    assert marker.exists()
