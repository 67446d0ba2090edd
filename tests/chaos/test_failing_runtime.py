"""A runtime whose calls raise, such as one with a bug: jobs can be cancelled and deleted nevertheless."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness import Config, RunningServer, wait_until
from harness.server import API
from harness.site import Site

FAILING = """
import asyncio
from pathlib import Path
from evalhub_server.plugins import Descriptor, NoSettings, hookimpl
from evalhub_server.testing import EchoRuntime

class FailingRuntime(EchoRuntime):
    name = "failing"
    provider_key = "local"

    async def launch(self, run):
        return {}

    async def wait(self, handle):
        await asyncio.Event().wait()

    async def stop(self, handle, grace_s):
        if not Path("ALLOWED").exists():
            raise KeyError("a bug in stop")
        Path("STOPPED").touch()

    async def remove(self, job_id, tenant):
        raise KeyError("a bug in remove")

@hookimpl
def evalhub_runtimes():
    return [Descriptor(api=1, name="failing", factory=lambda settings, context: FailingRuntime(), settings=NoSettings)]
"""


@pytest.mark.slow
def test_a_job_that_the_runtime_fails_to_stop_can_be_cancelled_and_deleted(tmp_path: Path):
    site = Site(tmp_path / "site")
    allowed, stopped = tmp_path / "allowed", tmp_path / "stopped"
    site.install("third-failing", FAILING.replace("ALLOWED", str(allowed)).replace("STOPPED", str(stopped)))
    config = Config(tmp_path / "config", plugins={"runtime": "failing"})
    config.provider("true")
    with RunningServer(config.folder, env={"PYTHONPATH": str(site.folder)}) as server:
        job_id = server.submit()
        wait_until(lambda: "Created evaluation job" in server.log_text(), "a launch")
        path = f"{API}/jobs/{job_id}"
        cancel = server.call("DELETE", path)
        assert cancel.status == 500
        assert "is cancelled, but some of its workloads are not stopped yet" in cancel.body["message"]
        assert server.job(job_id)["status"]["state"] == "cancelled"

        assert server.call("DELETE", f"{path}?hard_delete=true").status == 500
        assert server.call("GET", path).status == 200
        assert server.call("DELETE", f"{path}?hard_delete=true&force=true").status == 204
        assert server.call("GET", path).status == 404

        failures = [line for line in server.log_lines() if line.get("plugin") == "runtime failing"]
        assert {line["method"] for line in failures} == {"stop", "remove"}
        assert {line["distribution"] for line in failures} == {"third-failing"}
        assert not stopped.exists()
        allowed.touch()
        wait_until(stopped.exists, "a retry of the stop in the background")
