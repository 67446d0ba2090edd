"""The runtime: sends requests to the program of :mod:`.on_host`, which runs on this host or, by ssh, on another one."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec

from evalhub_runtime_ssh import Settings
from evalhub_server.plugins import (
    BenchmarkRun,
    Exit,
    Handle,
    LaunchError,
    LogOptions,
    LogPart,
    Runtime,
    RuntimeUnavailable,
    StartupError,
)

PROGRAM = Path(__file__).with_name("on_host.py").read_text("utf-8")
RUN = "import json, sys; scope, request = {}, json.loads(sys.stdin.readline()); exec(request.pop(0), scope); scope['main'](*request)"
"""Reads a line with the program and a request from standard input, which stays open for as long as the server waits."""


class Entry(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """``runtime.ssh`` of a provider file: the command of the adapter."""

    command: list[str]


class SshRuntime(Runtime):
    name = "ssh"
    provider_key = "ssh"

    def __init__(self, settings: Settings, directory: str, secrets: frozenset[str] = frozenset()) -> None:
        """``secrets`` are variables of the server that adapters on this host must not inherit."""
        self.on_this_host = not settings.host
        self._directory = directory
        self._secrets = secrets
        self._command = [sys.executable, "-I", "-S", "-c", RUN]
        if settings.host:
            remote = shlex.join([settings.python, *self._command[1:]])
            self._command = ["ssh", *settings.options, "--", settings.host, remote]
        self._launches: dict[tuple[str, int, int], asyncio.Task[bytes]] = {}
        """Launches go on if they are cancelled."""

    async def check(self) -> None:
        try:
            await self._call("check", "")
        except (RuntimeUnavailable, OSError) as error:
            raise StartupError(f"ssh: {error}. Correct ssh.host, ssh.options or ssh.directory.") from error

    async def launch(self, run: BenchmarkRun) -> Handle:
        try:
            command = msgspec.convert(run.config, Entry).command
        except msgspec.ValidationError as error:
            raise LaunchError(f"runtime.{self.provider_key}: {error}") from error
        job = msgspec.json.encode(run.spec).decode()
        launch = self._launches.get(run.key)
        if launch is None:
            call = self._call(
                "launch", _folder(run), command=command, job=job, environment=dict(run.environment)
            )
            launch = self._launches[run.key] = asyncio.create_task(call)
            launch.add_done_callback(lambda _: self._launches.pop(run.key))
        await asyncio.shield(launch)
        return {"folder": _folder(run)}

    async def find(self, run: BenchmarkRun) -> Handle | None:
        if launch := self._launches.get(run.key):
            await asyncio.wait([launch])
        return {"folder": _folder(run)} if json.loads(await self._call("find", _folder(run))) else None

    async def wait(self, handle: Handle) -> Exit:
        return msgspec.json.decode(await self._call("wait", handle["folder"]), type=Exit)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        await self._call("stop", handle["folder"], grace_s=grace_s)

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        if data := await self._log(handle, tail_lines=options.tail_lines):
            yield data

    async def read_log(self, handle: Handle, offset: int, limit_bytes: int) -> LogPart:
        data = await self._log(handle, offset=offset, limit=limit_bytes)
        return LogPart(data, offset + len(data))

    async def remove(self, job_id: str, tenant: str) -> None:
        await self._call("remove", job_id)

    async def _log(self, handle: Handle, tail_lines: int = -1, offset: int = 0, limit: int = -1) -> bytes:
        return await self._call("log", handle["folder"], tail_lines=tail_lines, offset=offset, limit=limit)

    async def _call(self, verb: str, path: str, **arguments: Any) -> bytes:
        """Send one request and return the output. Raises :class:`RuntimeUnavailable` if it failed."""
        pipe = asyncio.subprocess.PIPE
        environment = {key: value for key, value in os.environ.items() if key not in self._secrets}
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment
        )
        assert process.stdin  # noqa: S101  pipes
        assert process.stdout  # noqa: S101
        assert process.stderr  # noqa: S101
        try:
            process.stdin.write(
                msgspec.json.encode([PROGRAM, verb, self._directory, path, arguments]) + b"\n"
            )
            output, error = await asyncio.gather(process.stdout.read(), process.stderr.read())
            status = await process.wait()
        finally:
            process.stdin.close()
            if process.returncode is None:
                process.kill()
                await process.wait()
        if status != 0:
            lines = error.decode(errors="replace").strip().splitlines() or [f"exit status {status}"]
            raise RuntimeUnavailable(f"{verb} failed: {lines[-1]}")
        return output


def _folder(run: BenchmarkRun) -> str:
    job_id, index, attempt = run.key
    return f"{job_id}/{index}-{attempt}"
