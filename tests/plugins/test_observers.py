"""Observers of a whole server: a plugin of a third party that is only on the path hears of every change."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, wait_until
from harness.site import Site

PLUGIN = """
import json, os
from msgspec import Struct
from evalhub_server.plugins import Descriptor, JobChanged, Observer, hookimpl

class Settings(Struct, kw_only=True, frozen=True):
    label: str = "unset"

class Recorder(Observer):
    def __init__(self, name, settings, context):
        self.name = name
        self.label = settings.label

    def note(self, change):
        states = [str(job.state) if job else None for job in (change.before, change.after)]
        with open(os.environ["OBSERVED"], "a") as file:
            file.write(json.dumps([self.name, (change.after or change.before).id, *states]) + "\\n")

    async def check(self):
        self.kept = {}
        with open(os.environ["OBSERVED"] + ".labels", "a") as file:
            file.write(f"{self.name} {self.label}\\n")

class Plain(Recorder):
    def job_changed(self, change: JobChanged) -> None:
        self.note(change)

class Async(Recorder):
    async def job_changed(self, change: JobChanged) -> None:
        self.note(change)

class Broken(Recorder):
    def job_changed(self, change: JobChanged) -> None:
        raise RuntimeError("a bug")

def descriptor(name, kind):
    return Descriptor(api=1, name=name, factory=lambda settings, context: kind(name, settings, context), settings=Settings)

@hookimpl
def evalhub_observers():
    return [descriptor("plain", Plain), descriptor("coroutine", Async), descriptor("broken", Broken)]
"""


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "site")
    site.install("watcher", PLUGIN)
    return site


def environ_of(site: Site, observed: Path) -> dict[str, str]:
    return {"PYTHONPATH": str(site.folder), "OBSERVED": str(observed)}


def test_every_change_of_a_job_is_observed_in_order_whatever_another_observer_does(
    site: Site, tmp_path: Path
):
    config = Config(tmp_path / "config", plain={"label": "of the settings"})
    config.scripted("running", "completed")
    observed = tmp_path / "observed"

    def seen(kind: str) -> list[list[Any]]:
        lines = observed.read_text("utf-8").splitlines() if observed.exists() else []
        states = [states for observer, _, *states in map(json.loads, lines) if observer == kind]
        return [pair for pair in states if pair[0] != pair[1]]

    with RunningServer(config.folder, env=environ_of(site, observed)) as server:
        job_id = server.submit()
        server.finished(job_id)
        server.call("DELETE", f"/api/v1/evaluations/jobs/{job_id}?hard_delete=true")
        for kind in ("plain", "coroutine"):
            wait_until(
                lambda kind=kind: ["completed", None] in seen(kind), f"the deletion, as {kind} sees it"
            )
            assert seen(kind) == [
                [None, "pending"],
                ["pending", "running"],
                ["running", "completed"],
                ["completed", None],
            ]
        failures = [line for line in server.log_lines() if line["msg"] == "Observer failed"]
        metrics = server.call("GET", "/metrics").body
    assert {(line["observer"], line["error"]) for line in failures} == {("broken", "RuntimeError: a bug")}
    missed = re.search(
        r'evalhub_observer_missed_changes_total\{observer="broken",reason="failed"\} (\d+)', metrics
    )
    assert missed is not None
    assert int(missed[1]) == len(failures)
    labels = Path(f"{observed}.labels").read_text("utf-8").split("\n")
    assert sorted(labels) == ["", "broken unset", "coroutine unset", "plain of the settings"]


def test_the_configuration_selects_observers(site: Site, tmp_path: Path):
    config = Config(tmp_path / "config", plugins={"observers": ["coroutine"]})
    observed = tmp_path / "observed"
    with RunningServer(config.folder, env=environ_of(site, observed)):
        assert Path(f"{observed}.labels").read_text("utf-8") == "coroutine unset\n"


def test_check_finds_an_observer_that_is_selected_and_not_installed(tmp_path: Path):
    config = Config(tmp_path / "config", plugins={"observers": ["nowhere"]})
    command = [sys.executable, "-m", "evalhub_server", "check", "--local", "--configdir", str(config.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert (
        "observer 'nowhere' is selected but no installed plugin provides it. Installed observers: none."
        in done.stdout
    )
