"""The pages of the server's own state, over HTTP."""

from __future__ import annotations

import base64
import html
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from harness import Config, RunningServer, wait_until
from harness.disk import full_disk, needs_a_full_disk
from harness.postgres import PASSWORD, RunningPostgres, needs_postgres
from harness.raw import raw_request
from harness.receiver import Receiver
from harness.running import call
from harness.server import API
from harness.site import Site
from harness.viewer_data import ViewerServer

TOKEN = "0123456789abcdef0123456789abcdef"


def rows(server: RunningServer, **headers: str) -> dict[str, dict[str, Any]]:
    """The rows of the page by the name of the part."""
    answer = call(server.port, "GET", "/ui/health.json", None, headers)
    assert answer.status == 200, answer
    return {row["name"]: row for row in answer.body["items"]}


def text_of(server: RunningServer, path: str = "/ui/health") -> str:
    answer = call(server.port, "GET", path)
    assert answer.status == 200
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", answer.body.decode())).split())


def checked(server: RunningServer, **headers: str) -> dict[str, dict[str, Any]]:
    """The rows after the first check."""
    return wait_until(
        lambda: (found := rows(server, **headers))["Storage"]["state"] != "unknown" and found, "a check"
    )


def test_parts_of_a_server_that_works(viewer: ViewerServer):
    found = checked(viewer)
    assert {row["state"] for row in found.values()} == {"ok"}
    assert found["Server"]["value"].endswith(f", local mode, http://localhost:{viewer.port}")
    assert found["Storage"]["value"].startswith("SQLite file ")
    assert ", durable" in found["Storage"]["value"]
    assert re.search(r", \d+(\.\d)? .iB of \d+(\.\d)? .iB free$", found["Data directory"]["value"])
    assert re.fullmatch(r"\d+ benchmarks running, \d+ waiting, the first for .+", found["Queue"]["value"])
    assert found["Queue"]["hint"] == "At most 64 in total, 6 per model"
    text = text_of(viewer)
    assert "Health All good" in text
    assert "Server ✓ ok version" in text
    assert "Plugins · API documentation · Readiness · Metrics" in text


@pytest.mark.slow
@needs_a_full_disk
def test_a_storage_that_cannot_be_written(tmp_path: Path):
    config = Config(tmp_path / "config")
    config.provider("sleep 600 # waits for the test's own events")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        job_id = server.submit()
        wait_until(lambda: len(list(config.jobs_dir.rglob("*.pid"))) == 1, "the adapter's start")
        assert checked(server)["Storage"]["state"] == "ok"
        with full_disk(server.pid):
            assert server.report(job_id, "running", phase="loading_data").status == 503
            found = wait_until(
                lambda: (now := rows(server))["Storage"]["state"] == "unavailable" and now, "the state"
            )
            assert found["Storage"]["at_label"] == "last worked"
            assert found["Storage"]["at"]
            assert "1 thing needs attention" in text_of(server)
        wait_until(lambda: rows(server)["Storage"]["state"] == "ok", "the storage to recover")
        assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204


@pytest.mark.slow
@needs_postgres
def test_a_database_that_does_not_answer_delays_no_page(tmp_path: Path):
    with RunningPostgres() as postgres:
        config = Config(tmp_path / "config", database={"driver": "pgx", "url": postgres.url()})
        with RunningServer(config.folder) as server:
            assert checked(server)["Storage"]["state"] == "ok"
            postgres.freeze()
            try:
                found = wait_until(
                    lambda: (now := rows(server))["Storage"]["state"] == "unavailable" and now, "the state"
                )
                assert found["Storage"]["at_label"] == "last worked"
                assert PASSWORD not in text_of(server)
            finally:
                postgres.thaw()
            wait_until(lambda: rows(server)["Storage"]["state"] == "ok", "the database to recover")


@pytest.mark.slow
def test_exports_have_their_last_attempt(tmp_path: Path):
    secret = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()
    with Receiver() as receiver:
        config = Config(
            tmp_path / "config",
            webhook={
                "url": receiver.hook,
                "events": ["job.completed"],
                "allow_private_addresses": True,
                "secret": secret,
            },
        )
        config.scripted("completed")
        with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
            assert rows(server)["Exporter webhook"]["value"] == "0 jobs pending"
            server.finished(server.submit())
            found = wait_until(lambda: (row := rows(server)["Exporter webhook"]).get("at") and row, "success")
            assert (found["state"], found["at_label"]) == ("ok", "last export")
            receiver.status = 500
            server.finished(server.submit())
            found = wait_until(
                lambda: (row := rows(server)["Exporter webhook"])["state"] == "attention" and row, "failure"
            )
            assert found["value"] == "1 job pending; the last attempt failed"
            assert "500" in found["hint"]
            assert secret not in call(server.port, "GET", "/ui/health").body.decode()


def test_a_server_with_a_token(tmp_path: Path):
    token = tmp_path / "token"
    token.write_text(f"{TOKEN}\n")
    config = Config(tmp_path / "config", service={"auth_token_file": str(token)})
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        assert raw_request(server.port, "GET", "/ui/health").status == 303
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert checked(server, **headers)["Authentication"]["value"] == "by token"
        page = call(server.port, "GET", "/ui/health", None, headers).body.decode()
        assert TOKEN not in page
        assert "/metrics" not in page  # which the login of pages does not open


def test_an_unchanged_state_is_not_sent_again(viewer: ViewerServer):
    tag = call(viewer.port, "GET", "/ui/plugins").headers["etag"]
    assert call(viewer.port, "GET", "/ui/plugins", None, {"If-None-Match": tag}).status == 304


TALKATIVE = """
from evalhub_server.plugins import hookimpl

print("licence in /srv")

@hookimpl
def evalhub_exporters():
    return []
"""


def test_plugins_are_those_that_the_command_lists(tmp_path: Path):
    site = Site(tmp_path / "site")
    site.install("unhappy", 'raise RuntimeError("no licence\\nof the second line")')
    site.install("talkative", TALKATIVE)
    environ = {"PYTHONPATH": str(site.folder)}
    config = Config(tmp_path / "config")
    with RunningServer(config.folder, env=environ) as server:
        listed = call(server.port, "GET", "/ui/plugins.json").body["items"]
        text = text_of(server, "/ui/plugins")
        # A check that takes longer than its limit, on a busy machine, is repeated.
        wait_until(lambda: "--data-dir" in str(rows(server)["Storage"]), "a check in time")
        health = checked(server)
        summary = text_of(server)
        for suffix in ("", ".json", ".csv", ".md"):
            answer = call(server.port, "GET", f"/ui/plugins{suffix}", None, {"X-Tenant": "team-a"})
            assert "licence" not in str(answer.body)
            assert "see the server's log" in html.unescape(str(answer.body))
    command = [sys.executable, "-m", "evalhub_server", "plugins", "--json"]
    printed = subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environ}).stdout
    assert [item["plugin"] for item in listed] == msgspec.json.decode(printed)
    selected = {(item["plugin"]["kind"], item["plugin"]["name"]) for item in listed if item["selected"]}
    assert selected == {("runtime", "local"), ("storage", "sqlite"), ("exporter", "oci")}
    assert "runtime local ✓ yes ✓ available eval-hub-server" in text
    assert "unhappy no ✕ broken unhappy 0.1 – not reported RuntimeError: no licence " in text
    assert "of the second line" not in text
    assert "Warning: its plugin printed while it was imported: 'licence in /srv'" in text
    assert health["Plugins"]["hint"] == "See the page of plugins: unhappy"
    assert health["Data directory"]["state"] == "off"
    assert "Health 2 things need attention" in summary
