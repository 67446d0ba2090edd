"""A process in the role of a server, to be killed; run with an action, the jobs directory and JSON.

``launch``: launch the run, print its handle, wait for ever. ``crash``: the same, but killed right after the spawn, before
anything is recorded; prints the process id. ``stop``: stop the handle. ``stop-as-other-user``: the same without the right to signal it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import msgspec

from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_runtime_local.settings import LocalSettings
from evalhub_runtime_local.shim import Launch, Shim
from evalhub_server.plugins import BenchmarkRun, PluginContext


class LastShim(Shim):
    async def start(self, launch: Launch) -> int:
        print(await super().start(launch), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


async def main(action: str, jobs_dir: str, argument: str) -> None:
    runtime = LocalRuntime(LocalSettings(jobs_dir=jobs_dir), PluginContext())
    if action == "stop-as-other-user":
        # Whatever is imported on first use may be out of this user's reach.
        await asyncio.to_thread(sys.stdout.flush)
        os.setuid(65534)
    if action.startswith("stop"):
        await runtime.stop(msgspec.json.decode(argument), 0.5)
        print("stopped", flush=True)
        return
    if action == "crash":
        runtime._launcher._shim = LastShim()
    if action == "launch":
        await runtime.check()
    handle = await runtime.launch(msgspec.json.decode(argument, type=BenchmarkRun))
    # structlog writes to stdout as well, so the handle gets a prefix.
    print("handle " + msgspec.json.encode(handle).decode(), flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
