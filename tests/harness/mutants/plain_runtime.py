"""A good runtime over plain processes, as short as possible: what the mutants of a runtime derive from."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import msgspec
import psutil

from evalhub_server.plugins import (
    BenchmarkRun,
    Exit,
    Handle,
    JobSpec,
    LaunchError,
    LogOptions,
    Runtime,
    SampleFiles,
)
from evalhub_server.testing.processes import is_alive

LEADER = """
import os, signal, sys
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda *_: None)
pid = os.fork()
if not pid:
    os.execv("/bin/sh", ["sh", "-c", sys.argv[1]])
status = os.waitpid(pid, 0)[1]
with open(sys.argv[2] + ".part", "w") as file:
    file.write(str(os.waitstatus_to_exitcode(status)))
os.rename(sys.argv[2] + ".part", sys.argv[2])
"""
"""Survives the signals that end the script, and records its exit."""
MARKER = "PLAIN_RUNTIME_WORKLOAD"
INHERITED = {"PATH": os.environ["PATH"], "EVALHUB_MODE": "local", "EVALHUB_PYTHON": sys.executable}
PAUSE_S = 0.02


class PlainRuntime(Runtime):
    """A folder for each workload; its processes carry the folder in their environment."""

    name = "plain"
    provider_key = "plain"
    hands_over_samples = True

    def __init__(self, directory: Path) -> None:
        self.base = directory / "plain-jobs"
        self.lock = asyncio.Lock()

    async def check(self) -> None:
        self.base.mkdir(mode=0o700, exist_ok=True)

    def folder(self, job_id: str, index: int, attempt: int) -> Path:
        return self.base / job_id / f"{index}-{attempt}"

    def folder_of(self, handle: Handle) -> Path:
        return self.folder(handle["job_id"], handle["benchmark_index"], handle["attempt"])

    def handle(self, run: BenchmarkRun) -> Handle:
        job_id, index, attempt = run.key
        return {"job_id": job_id, "benchmark_index": index, "attempt": attempt}

    def job_spec(self, run: BenchmarkRun, folder: Path) -> JobSpec:
        paths = {"samples_path": str(folder / "samples"), "artifacts_path": str(folder / "artifacts")}
        return msgspec.structs.replace(run.spec, **paths)

    def script(self, run: BenchmarkRun) -> str:
        script = (run.config or {}).get("script")
        if not isinstance(script, str):
            raise LaunchError("runtime.plain.script is not a text. Correct the provider.")
        return script

    def variables(self, run: BenchmarkRun) -> dict[str, str]:
        return dict(run.environment)

    def places(self, folder: Path) -> dict[str, str]:
        return {
            "EVALHUB_SAMPLES_PATH": str(folder / "samples"),
            "EVALHUB_ARTIFACTS_PATH": str(folder / "artifacts"),
        }

    async def launch(self, run: BenchmarkRun) -> Handle:
        script, folder = self.script(run), self.folder(*run.key)
        async with self.lock:
            if not (folder / "pid").exists():
                self.start(run, folder, script)
        return self.handle(run)

    def start(self, run: BenchmarkRun, folder: Path, script: str) -> None:
        (folder / "artifacts").mkdir(parents=True, exist_ok=True)
        (folder / "job.json").write_bytes(msgspec.json.encode(self.job_spec(run, folder)))
        own = {"EVALHUB_JOB_SPEC_PATH": str(folder / "job.json"), MARKER: str(folder)}
        pid = os.posix_spawn(
            sys.executable,
            ["python", "-I", "-S", "-c", LEADER, script, str(folder / "exit")],
            {**INHERITED, **self.places(folder), **self.variables(run), **own},
            file_actions=self.files(folder),
            setsid=True,
        )
        (folder / "pid.part").write_text(json.dumps([pid, psutil.Process(pid).create_time()]))
        (folder / "pid.part").rename(folder / "pid")

    def files(self, folder: Path) -> list[tuple[object, ...]]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        return [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(folder / "log"), flags, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]

    async def find(self, run: BenchmarkRun) -> Handle | None:
        return self.handle(run) if (self.folder(*run.key) / "pid").exists() else None

    def leader(self, folder: Path) -> int:
        """The process id of the leader; 0 if it has ended."""
        try:
            pid, started = json.loads((folder / "pid").read_text())
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            alive = is_alive(pid) and psutil.Process(pid).create_time() == started
        except (OSError, psutil.NoSuchProcess):
            return 0
        return pid if alive else 0

    def recorded_exit(self, folder: Path) -> Exit | None:
        try:
            code = int((folder / "exit").read_text())
        except OSError:
            return None
        return Exit(code=code) if code >= 0 else Exit(signal=signal.Signals(-code).name)

    async def wait(self, handle: Handle) -> Exit:
        folder = self.folder_of(handle)
        while self.leader(folder):
            await asyncio.sleep(PAUSE_S)
        return self.recorded_exit(folder) or Exit(lost=True)

    def members(self, folder: Path) -> list[int]:
        """The living processes of a workload."""
        wanted = f"{MARKER}={folder}\0".encode()
        marked = [pid for pid in psutil.pids() if wanted in _environment(pid) + b"\0" and is_alive(pid)]
        # One that has just been started does not show its environment yet.
        leader = self.leader(folder)
        return [leader, *(pid for pid in marked if pid != leader)] if leader else marked

    async def stop(self, handle: Handle, grace_s: float) -> None:
        folder, clock = self.folder_of(handle), asyncio.get_running_loop().time
        deadline = clock() + grace_s
        signalled: set[int] = set()
        while (members := self.members(folder)) and clock() < deadline:
            self.send(set(members) - signalled, signal.SIGTERM)
            signalled.update(members)
            await asyncio.sleep(PAUSE_S)
        while members := self.members(folder):
            self.send(members, signal.SIGKILL)
            await asyncio.sleep(PAUSE_S)
        self.leader(folder)

    def send(self, pids: set[int] | list[int], number: int) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        try:
            text = (self.folder_of(handle) / "log").read_bytes()
        except OSError:
            return
        if options.tail_lines >= 0:
            text = b"".join(deque(BytesIO(text), maxlen=options.tail_lines))
        if text:
            yield text

    async def sample_files(self, handle: Handle) -> SampleFiles | None:
        folder = self.folder_of(handle)
        return SampleFiles(samples=folder / "samples", artifacts=folder / "artifacts")

    async def remove(self, job_id: str, tenant: str) -> None:
        shutil.rmtree(self.base / job_id, ignore_errors=True)


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it has ended, or belongs to another user
        return b""
