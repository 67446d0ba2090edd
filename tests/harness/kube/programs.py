"""Pods whose containers are processes of this computer: the sidecar, and any command as the adapter.

A pod has a network of its own, where every sidecar may have the same port. Here each gets a free one, which replaces
the address in the files that are mounted.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.kube.pods import PodScript
from harness.waiting import free_port

if TYPE_CHECKING:
    from harness.kube.kubelet import Script

JOB_TOKEN = "a-token-of-the-job"
SAMPLES = "/evalhub/samples"
"""Where the volume for samples is mounted."""


def processes(folder: Path, *command: str) -> Script:
    """A script that really runs the sidecar and ``command``; ``folder`` stands for the pods' volumes."""

    async def script(pod: PodScript) -> None:
        here = folder / pod.name
        files = _mounted(here, pod.config_map("job-spec"))
        sidecar = await _start(
            [sys.executable, "-m", "evalhub_sidecar", "-sidecarconfig", str(here / "sidecar_config.json")],
            {
                "JOB_SPEC_PATH": str(here / "job.json"),
                "SERVICE_TOKEN_PATH": str(here / "token"),
                "EVENT_SPOOL_DIR": str(here / "events"),
            },
        )
        try:
            await _healthy(files["base_url"], sidecar)
            pod.runs()
            code = await _adapter(pod, command, here)
        finally:
            # A native sidecar gets SIGTERM after the adapter has exited, and the pod ends with it.
            await _end(sidecar)
        pod.exits(code)

    return script


def _mounted(here: Path, files: dict[str, str]) -> dict[str, str]:
    """Write what the pod sees; returns the sidecar's configuration."""
    (here / "samples").mkdir(parents=True)
    config = json.loads(files["sidecar_config.json"])
    own = f"http://127.0.0.1:{free_port()}"
    for name, text in files.items():
        mounted = text.replace(config["base_url"], own).replace(SAMPLES, str(here / "samples"))
        (here / name).write_text(mounted, "utf-8")
    (here / "token").write_text(JOB_TOKEN, "utf-8")
    return {**config, "base_url": own}


async def _start(
    command: Sequence[str], env: dict[str, str], output: int | None = asyncio.subprocess.DEVNULL
) -> asyncio.subprocess.Process:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("EVALHUB_")}
    return await asyncio.create_subprocess_exec(
        *command, env={**inherited, **env}, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output
    )


async def _healthy(url: str, sidecar: asyncio.subprocess.Process) -> None:
    """The startup probe."""
    while sidecar.returncode is None:
        try:
            await asyncio.to_thread(lambda: urllib.request.urlopen(f"{url}/health", timeout=2).close())
        except (urllib.error.URLError, OSError):
            await asyncio.sleep(0.05)
        else:
            return
    raise AssertionError(f"the sidecar ended with {sidecar.returncode}")


async def _adapter(pod: PodScript, command: Sequence[str], here: Path) -> int:
    env = {
        **{name: value.replace(SAMPLES, str(here / "samples")) for name, value in pod.env.items()},
        "EVALHUB_JOB_SPEC_PATH": str(here / "job.json"),
        "POD_NAMESPACE": pod.namespace,
    }
    process = await _start(command, env, asyncio.subprocess.PIPE)
    terminating = asyncio.create_task(pod.terminating.wait())
    try:
        printing = asyncio.create_task(_print(pod, process))
        ended = asyncio.create_task(process.wait())
        await asyncio.wait((ended, terminating), return_when=asyncio.FIRST_COMPLETED)
        if process.returncode is None:
            process.terminate()
        code = await ended
        await printing
    finally:
        terminating.cancel()
        await _end(process, kill=True)
    return code if code >= 0 else 128 - code


async def _print(pod: PodScript, process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while text := await process.stdout.read(1 << 14):
        pod.prints(text)


async def _end(process: asyncio.subprocess.Process, *, kill: bool = False) -> None:
    if process.returncode is None:
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            await process.wait()
        finally:
            if process.returncode is None:  # the cluster closes meanwhile
                process.kill()
                await process.wait()
