"""Processes that run ``python -m`` of a program without its start: forks of a process that has imported the program.

Imports are most of the processor time of a command or a short server, and freeing them at its end takes as long again. A fork is a
process like any other, with arguments, environment and standard streams of its own; it shares nothing with its siblings but what
was imported. Tests of the start itself, such as those of imports and early signals, start the interpreter instead.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

IMPORTED = {
    "evalhub_server": (
        "asyncpg",
        "click._textwrap",
        "encodings.idna",
        "evalhub_exporter_oci.plugin",
        "evalhub_notify_webhook.plugin",
        "evalhub_runtime_k8s.runtime",
        "evalhub_runtime_local.runtime",
        "evalhub_server.cli.adapters",
        "evalhub_server.cli.assembly",
        "evalhub_server.cli.engine",
        "evalhub_server.cli.run",
        "evalhub_server.cli.serve",
        "evalhub_server.cli.show",
        "evalhub_server.viewer.app",
        "evalhub_server.web.app",
        "evalhub_storage_postgres.plugin",
        "evalhub_storage_sqlite.storage",
        "evalhub_tracking_mlflow.plugin",
        "psutil",
        "uvicorn.protocols.http.httptools_impl",
        "uvloop",
    ),
    "evalhub_sidecar": ("evalhub_sidecar.app", "evalhub_sidecar.logs"),
}
"""What is imported before the forks of a program."""
ROOM = "_" * 32_768
"""Reserves memory for the arguments and the environment of the forks, which ``/proc`` shows."""
_READ_AT_THE_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC_", "COVERAGE")
"""Variables that an interpreter, its libraries or its coverage read before the first line of a program."""
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""That of the process that forks, from before any test; without what the tests unset, too."""
ARGUMENTS, ENVIRONMENT = 48, 50
"""Fields of ``/proc/self/stat``, from 1: the addresses of both."""


class _Request(NamedTuple):
    arguments: list[str]
    environment: dict[str, str]
    folder: str


class Forked:
    """A process, with the methods of :class:`subprocess.Popen` that the tests use."""

    def __init__(self, arguments: Sequence[str], pid: int, status: int) -> None:
        self.args = arguments
        self.pid = pid
        self.returncode: int | None = None
        self._status = status

    def poll(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(os.read(self._status, 16))
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class ForkServer:
    """The process that forks; it exits with the one that started it."""

    def __init__(self, program: str) -> None:
        self._program = program
        self._socket, theirs = socket.socketpair()
        self._requesting = threading.Lock()
        command = [sys.executable, __file__, program, str(theirs.fileno()), ROOM]
        environment = {**_ENVIRONMENT, "ROOM": ROOM}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()]
        )
        theirs.close()

    def start(self, arguments: Sequence[str], env: Mapping[str, str], stdout: int, stderr: int) -> Forked:
        """``arguments`` are those of the program; its standard input is empty."""
        status, theirs = os.pipe()
        request = json.dumps(_Request(list(arguments), dict(env), str(Path.cwd()))).encode()
        try:
            with self._requesting:  # tests start several servers at once, in threads
                socket.send_fds(self._socket, [len(request).to_bytes(4)], [stdout, stderr, theirs])
                self._socket.sendall(request)
                pid = int.from_bytes(_received(self._socket, 4))
        finally:
            os.close(theirs)
        return Forked((self._program, *arguments), pid, status)

    @property
    def pid(self) -> int:
        return self._process.pid

    def close(self) -> None:
        self._socket.close()
        self._process.wait(30)


_servers: dict[str, ForkServer] = {}
_starting = threading.Lock()


def can_fork(env: Mapping[str, str]) -> bool:
    """Whether a fork behaves as a new interpreter with the environment ``env`` does."""
    names = {name for name in {*env, *_ENVIRONMENT} if name.startswith(_READ_AT_THE_START)} - {"PYTHONPATH"}
    customized = any(Path(folder, "sitecustomize.py").exists() for folder in _python_path(env))
    same = all(env.get(name) == _ENVIRONMENT.get(name) for name in names)
    return sys.platform == "linux" and same and not customized


def fork(
    arguments: Sequence[str],
    env: Mapping[str, str],
    stdout: int,
    stderr: int,
    program: str = "evalhub_server",
) -> Forked:
    """Start ``python -m`` of a program with ``arguments``."""
    with _starting:
        if program not in _servers:
            _servers[program] = ForkServer(program)
    return _servers[program].start(arguments, env, stdout, stderr)


def pids() -> set[int]:
    """The processes that fork: children of this one, until :func:`close`."""
    return {server.pid for server in _servers.values()}


def close() -> None:
    """End the processes that fork, if there are any; the forks continue."""
    while _servers:
        _servers.popitem()[1].close()


def _python_path(env: Mapping[str, str]) -> list[str]:
    return [folder for folder in env.get("PYTHONPATH", "").split(os.pathsep) if folder]


def _received(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise EOFError("the other side has exited")
        found += part
    return found


def _serve(connection: socket.socket) -> _Request | None:
    """Fork for each request, and report exits. Returns the request in a fork, None when no more can come."""
    children: dict[int, int] = {}
    exits, wakeup = os.pipe()
    os.set_blocking(wakeup, False)
    signal.set_wakeup_fd(wakeup)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([connection, exits], [], [])
        if exits in ready:
            os.read(exits, 4096)
            _report(children)
        if connection in ready:
            size, fds, _, _ = socket.recv_fds(connection, 4, 3)
            if not size:
                return None
            request = _Request(*json.loads(_received(connection, int.from_bytes(size))))
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                connection.detach()
                _become(request, *fds[:2])
                return request
            children[pid] = fds.pop()
            for fd in fds:
                os.close(fd)
            connection.sendall(pid.to_bytes(4))


def _report(children: dict[int, int]) -> None:
    """Write the exit statuses of children that have exited."""
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            break
        with suppress(BrokenPipeError):
            os.write(children[pid], str(os.waitstatus_to_exitcode(status)).encode())
        os.close(children.pop(pid))


def _become(request: _Request, stdout: int, stderr: int) -> None:
    """Give this process what a new interpreter would have."""
    stdin = os.open(os.devnull, os.O_RDONLY)
    for number, fd in enumerate((stdin, stdout, stderr)):
        os.dup2(fd, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    for number, handler in (
        (signal.SIGCHLD, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
    ):
        signal.signal(number, handler)
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    time.tzset()
    tempfile.tempdir = None
    own = [folder for folder in _python_path(request.environment) if folder not in sys.path]
    sys.path[:1] = [request.folder, *own]
    sys.argv = ["", *request.arguments]
    _show([f"{name}={value}" for name, value in request.environment.items()], ENVIRONMENT)


def _show(words: Sequence[str], field: int) -> None:
    """Write arguments or environment where /proc reads them; ``field`` of ``/proc/self/stat`` is the address. Nothing
    else reads that memory: Python has copied the arguments, and the environment is replaced before."""
    fields = Path("/proc/self/stat").read_text("ascii").rpartition(")")[2].split()
    start, end = int(fields[field - 3]), int(fields[field - 2])
    text = b"".join(os.fsencode(word) + b"\0" for word in words)
    ctypes.memmove(start, text[: end - start - 1].ljust(end - start, b"\0"), end - start)


def _run(program: str) -> None:
    """Run a program to its end as the interpreter does, except that modules are not freed: most commands take less time."""
    status = 0
    try:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as exit_:
        if not isinstance(exit_.code, int | None):
            raise
        status = exit_.code or 0
    threading._shutdown()
    atexit._run_exitfuncs()
    gc.collect()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _main(program: str, descriptor: str, *_room: str) -> None:
    connection = socket.socket(fileno=int(descriptor))
    os.set_inheritable(connection.fileno(), False)
    sys.path[0] = str(Path.cwd())
    _show(sys.orig_argv[:-1], ARGUMENTS)
    if program == "evalhub_server":
        # As a server does: without rich, which structlog would import.
        importlib.import_module("evalhub_server.cli.main")._import_structlog()
    for name in IMPORTED[program]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would visit, and so copy, every imported object
    if (request := _serve(connection)) is not None:
        _show([sys.executable, "-m", program, *request.arguments], ARGUMENTS)
        _run(program)


if __name__ == "__main__":
    _main(*sys.argv[1:])
