"""Observers of a whole server: a plugin of a third party that is only on the path hears of every change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from harness import Config, RunningServer, wait_until

PLUGIN = """
import json, os
from evalhub_server.plugins import JobChanged, hookimpl

def note(kind, change):
    states = [str(job.state) if job else None for job in (change.before, change.after)]
    with open(os.environ["OBSERVED"], "a") as file:
        file.write(json.dumps([kind, (change.after or change.before).id, *states]) + "\\n")

class Plain:
    @hookimpl
    def evalhub_job_changed(self, change: JobChanged) -> None:
        note("plain", change)

class Async:
    @hookimpl
    async def evalhub_job_changed(self, change: JobChanged) -> None:
        note("async", change)

class Broken:
    @hookimpl
    def evalhub_job_changed(self, change: JobChanged) -> None:
        raise RuntimeError("a bug")

plain, coroutine, broken = Plain(), Async(), Broken()
"""


def a_distribution(folder: Path) -> None:
    """What pip would unpack for a distribution ``watcher``."""
    (folder / "watcher.py").write_text(PLUGIN, "utf-8")
    info = folder / "watcher-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: watcher\nVersion: 1.0\n", "utf-8")
    points = [f"{name} = watcher:{name}" for name in ("plain", "coroutine", "broken")]
    (info / "entry_points.txt").write_text("\n".join(["[evalhub.plugins]", *points]), "utf-8")


def test_every_change_of_a_job_is_observed_in_order_whatever_another_observer_does(tmp_path: Path):
    a_distribution(tmp_path)
    config = Config(tmp_path / "config")
    config.scripted("running", "completed")
    observed = tmp_path / "observed"
    env = {"PYTHONPATH": str(tmp_path), "OBSERVED": str(observed)}

    def seen(kind: str) -> list[list[Any]]:
        lines = observed.read_text("utf-8").splitlines() if observed.exists() else []
        states = [states for observer, _, *states in map(json.loads, lines) if observer == kind]
        return [pair for pair in states if pair[0] != pair[1]]

    with RunningServer(config.folder, env=env) as server:
        job_id = server.submit()
        server.finished(job_id)
        server.call("DELETE", f"/api/v1/evaluations/jobs/{job_id}?hard_delete=true")
        for kind in ("plain", "async"):
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
    assert {(line["observer"], line["error"]) for line in failures} == {("broken", "RuntimeError: a bug")}
