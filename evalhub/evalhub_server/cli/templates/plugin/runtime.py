"""A runtime for EvalHub Server: adapters are processes of this host that outlive the server.

Each workload has a directory with its job specification, its log and its exit. A small process, the keeper, starts the
adapter, waits for it and writes the exit, so that nothing is lost when the server is killed.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Annotated

import psutil
from msgspec import Meta, Struct
from msgspec import json as msgspec_json

from evalhub_server.plugins import (
    BenchmarkRun,
    Descriptor,
    Exit,
    Handle,
    LaunchError,
    LogOptions,
    PluginContext,
    Runtime,
    hookimpl,
)

MARKER = "MY_PLUGIN_WORKLOAD"
"""Environment variable of all processes of a workload: its directory. Descendants inherit it."""

POLL_S = 0.05

KEEPER = """
import fcntl, json, os, signal, subprocess, sys, time
folder, command = sys.argv[1], sys.argv[2:]
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, lambda *_: None)
lock = os.open(f"{folder}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
for _ in range(100):  # the server takes the lock for moments, to see whether it is held
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        break
    except BlockingIOError:
        time.sleep(0.01)
else:  # another keeper has it
    sys.exit()
if os.path.exists(f"{folder}/exit.json"):
    sys.exit()
with open(f"{folder}/log", "ab") as log:
    try:
        code = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log).wait()
    except OSError as error:
        log.write(f"{command[0]}: {error.strerror}\\n".encode())
        code = 127
exit = {"code": code} if code >= 0 else {"signal": signal.Signals(-code).name}
with open(f"{folder}/exit.new", "w") as file:
    json.dump(exit, file)
    file.flush()
    os.fsync(file.fileno())
os.replace(f"{folder}/exit.new", f"{folder}/exit.json")
"""


class Settings(Struct, kw_only=True, frozen=True):
    """Section ``my-plugin`` of config.yaml. Descriptions are shown by ``eval-hub-server plugins my-plugin``."""

    directory: Annotated[
        str, Meta(description="Where workloads are kept; by default in the data directory.")
    ] = ""


class Entry(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """``runtime.my-plugin`` of a provider file: the command of the adapter."""

    command: list[str]


class MyPluginRuntime(Runtime):
    name = "my-plugin"
    provider_key = "my-plugin"

    def __init__(self, directory: Path, secrets: frozenset[str] = frozenset()) -> None:
        """``secrets`` are variables of the server that adapters must not inherit."""
        self._directory = directory
        self._secrets = secrets
        self._starting: dict[Path, asyncio.Task[None]] = {}
        """Starts that have not ended: one per workload. They go on if their launch is cancelled."""

    async def check(self) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def launch(self, run: BenchmarkRun) -> Handle:
        try:
            command = msgspec_json.decode(json.dumps(run.config), type=Entry).command
        except ValueError as error:
            raise LaunchError(f"runtime.{self.provider_key}: {error}") from error
        folder = self._folder(run)
        # From here on find() sees a launch that is cancelled, and stop() prevents that it starts anything.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        starting = self._starting.get(folder)
        if starting is None:
            starting = asyncio.create_task(asyncio.to_thread(self._start, folder, command, run))
            self._starting[folder] = starting
            starting.add_done_callback(lambda _: self._starting.pop(folder))
        await asyncio.shield(starting)
        return self._handle(folder)

    async def find(self, run: BenchmarkRun) -> Handle | None:
        folder = self._folder(run)
        return self._handle(folder) if folder.exists() else None

    async def wait(self, handle: Handle) -> Exit:
        folder = self._directory / handle["folder"]
        while (found := _exit(folder)) is None:
            if not _is_kept(folder):
                return _exit(folder) or Exit(lost=True)
            await asyncio.sleep(POLL_S)
        return found

    async def stop(self, handle: Handle, grace_s: float) -> None:
        folder = self._directory / handle["folder"]
        if starting := self._starting.get(folder):
            await asyncio.wait([starting])
        loop = asyncio.get_running_loop()
        until = loop.time() + grace_s
        for process in await asyncio.to_thread(_processes, folder):
            _send(process, signal.SIGTERM)
        while await asyncio.to_thread(_processes, folder) and loop.time() < until:
            await asyncio.sleep(POLL_S)
        while not await asyncio.to_thread(_has_ended, folder):
            for process in await asyncio.to_thread(_processes, folder):
                _send(process, signal.SIGKILL)
            await asyncio.sleep(POLL_S)

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        try:
            data = await asyncio.to_thread((self._directory / handle["folder"] / "log").read_bytes)
        except FileNotFoundError:
            return
        if options.tail_lines >= 0:
            data = b"".join(deque(BytesIO(data), maxlen=options.tail_lines))
        if data:
            yield data

    async def remove(self, job_id: str, tenant: str) -> None:
        await asyncio.to_thread(shutil.rmtree, self._directory / job_id, ignore_errors=True)

    def _folder(self, run: BenchmarkRun) -> Path:
        job_id, index, attempt = run.key
        return self._directory / job_id / f"{index}-{attempt}"

    def _handle(self, folder: Path) -> Handle:
        return {"folder": str(folder.relative_to(self._directory))}

    def _start(self, folder: Path, command: list[str], run: BenchmarkRun) -> None:
        """Start the keeper, and return when it has the lock, or there is an exit."""
        if _exit(folder) is not None or _is_kept(folder):
            return
        spec = folder / "job.json"
        spec.write_bytes(msgspec_json.encode(run.spec))
        environment = {key: value for key, value in os.environ.items() if key not in self._secrets}
        environment |= run.environment
        environment |= {MARKER: str(folder), "EVALHUB_JOB_SPEC_PATH": str(spec)}
        environment |= {"EVALHUB_MODE": "local", "EVALHUB_PYTHON": sys.executable}
        arguments = [sys.executable, "-I", "-S", "-c", KEEPER, str(folder), *command]
        keeper = subprocess.Popen(
            arguments, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        while not _is_kept(folder) and _exit(folder) is None and keeper.poll() is None:
            time.sleep(POLL_S / 10)


def _exit(folder: Path) -> Exit | None:
    try:
        return Exit(**json.loads((folder / "exit.json").read_bytes()))
    except FileNotFoundError:
        return None


def _is_kept(folder: Path) -> bool:
    """Whether a keeper runs: it has the lock."""
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _has_ended(folder: Path) -> bool:
    """Whether nothing of a workload runs, nor can start any more: a keeper starts nothing where there is an exit."""
    if _processes(folder):
        return False
    started = (folder / "lock").exists()
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:  # removed
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not (folder / "exit.json").exists():
            # Without its keeper the exit of a started workload is unknown.
            text = json.dumps({"lost": True} if started else {"signal": "SIGTERM"})
            (folder / "exit.new").write_text(text)
            (folder / "exit.new").replace(folder / "exit.json")
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    # A keeper that has not tried the lock yet, such as one of a killed server, exits now.
    return not _processes(folder, with_keepers=True)


def _processes(folder: Path, with_keepers: bool = False) -> list[psutil.Process]:
    """The processes of a workload, without its keepers by default."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) != str(folder):
                continue
            if with_keepers or KEEPER not in process.cmdline():
                found.append(process)
        except (psutil.Error, OSError):  # it has ended, or belongs to another user
            continue
    return found


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.Error:
        return


@hookimpl
def evalhub_runtimes() -> list[Descriptor[MyPluginRuntime, Settings]]:
    return [
        Descriptor(
            api=1,
            name="my-plugin",
            factory=_make,
            settings=Settings,
            help="adapters as processes of this host",
        )
    ]


def _make(settings: Settings, context: PluginContext) -> MyPluginRuntime:
    if settings.directory:
        directory = Path(settings.directory).absolute()
    elif context.data_dir is not None:
        directory = context.data_dir / "my-plugin"
    else:
        directory = Path(tempfile.gettempdir()) / f"my-plugin-{os.getuid()}"
    return MyPluginRuntime(directory, context.secrets)
