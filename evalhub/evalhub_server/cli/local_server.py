"""The temporary server of a data directory, which commands without a server of their own share.

The first command starts it as a process of its own, so that an interrupt of the command does not reach it; its address
is in a file of the data directory, where other commands find it. The last command stops it, unless jobs are unfinished:
then the server goes on, and a later command stops it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import psutil

from evalhub_common.private_paths import UnsafePath, open_private
from evalhub_server.cli.data_dir import prepare_data_dir
from evalhub_server.client import Client, ClientError, Job
from evalhub_server.client.resources import benchmark_statuses, sample_state
from evalhub_server.errors import StartupError
from evalhub_server.settings import ENVIRONMENT, bundled_config_dir

ADDRESS_FILE = "temporary-server.json"
LOCK_FILE = "temporary-server.lock"
START_FILE = "temporary-server.start"
LOG_FILE = "temporary-server.log"
HOST = "127.0.0.1"
START_S = 60.0
STOP_S = 30.0
SAMPLES_S = 10.0
POLL_S = 0.05
PROBE_S = 5.0
STARTED = "API Server starting"
# Those of a server that the user runs elsewhere; this one listens on a free port of this computer, on its own database.
_NOT_INHERITED = {
    name for name, key in ENVIRONMENT.items() if key.split(".")[0] in ("service", "database", "prometheus")
}


class _Address(msgspec.Struct, frozen=True):
    """The address of a temporary server. ``started_at`` tells its process from a later one with the same id."""

    url: str
    pid: int
    started_at: float


class _LogLine(msgspec.Struct, frozen=True):
    msg: str = ""
    url: str = ""


@contextlib.contextmanager
def local_server(data_dir: Path, say: Callable[[str], None]) -> Generator[str, None, None]:
    """The URL of the temporary server of ``data_dir``, which is started if it does not run.

    Raises:
        ClientError: it cannot be started.
    """
    try:
        prepare_data_dir(data_dir, shared=False)
        lock = _lock(data_dir)
    except (StartupError, UnsafePath, OSError) as error:
        raise ClientError(f"no server can be started on {data_dir}: {error} {_ADVICE}") from None
    try:
        with _alone(data_dir):
            address = _running(data_dir) or _start(data_dir, say)
        try:
            yield address.url
        finally:
            _leave(data_dir, address, lock, say)
    finally:
        os.close(lock)


_ADVICE = (
    "EVALHUB_BASE_URL or --server selects a server that runs already, EVALHUB_DATA_DIR another directory."
)


def _lock(data_dir: Path) -> int:
    """A file that every command using the server has locked together with the others."""
    import fcntl

    fd = open_private(data_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    fcntl.flock(fd, fcntl.LOCK_SH)
    return fd


@contextlib.contextmanager
def _alone(data_dir: Path) -> Generator[None, None, None]:
    """One command at a time: of several that find no server, the first starts one and the others use it."""
    import fcntl

    fd = open_private(data_dir / START_FILE, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _is_last(lock: int) -> bool:
    """Whether no other command has the lock; none can take it until this one has closed the file."""
    import fcntl

    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _running(data_dir: Path) -> _Address | None:
    """The server that a command has started, if it answers."""
    address = _last(data_dir)
    if address is None or _process(address) is None:
        return None
    return address if Client(address.url, timeout_s=PROBE_S).is_healthy() else None


def _last(data_dir: Path) -> _Address | None:
    """The server that a command has started last, unless it was stopped by one."""
    try:
        fd = open_private(data_dir / ADDRESS_FILE, os.O_RDONLY)
        with os.fdopen(fd, "rb") as file:
            return msgspec.json.decode(file.read(), type=_Address)
    except (OSError, UnsafePath, msgspec.MsgspecError):
        return None


def _port(data_dir: Path) -> int:
    """The port of the last server if that has crashed, because its adapters report there; else 0, for any free one."""
    address = _last(data_dir)
    port = urlsplit(address.url).port if address is not None else None
    try:
        with socket.create_server((HOST, port or 0)):
            return port or 0
    except OSError:
        return 0  # another program has it


def _process(address: _Address) -> psutil.Process | None:
    try:
        process = psutil.Process(address.pid)
        return process if process.create_time() == address.started_at else None
    except psutil.Error:
        return None


def _start(data_dir: Path, say: Callable[[str], None]) -> _Address:
    say(f"No server is running; starting one with the data directory {data_dir}")
    log_path = data_dir / LOG_FILE
    command = [sys.executable, "-m", "evalhub_server", "serve", "--local", "--data-dir", str(data_dir)]
    command += ["--host", HOST, "--port", str(_port(data_dir))]
    if not os.environ.get("EVAL_HUB_CONFIG_DIR"):
        command += ["--configdir", str(bundled_config_dir())]
    environ = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    environ |= {"LOG_LEVEL": "info", "LOG_FORMAT": "json"}
    with os.fdopen(open_private(log_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as log:
        process = subprocess.Popen(  # noqa: S603  this program
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        ended = process.poll() is not None
        if url := _url_in(log_path):
            address = _Address(url, process.pid, psutil.Process(process.pid).create_time())
            if Client(url, timeout_s=PROBE_S).is_healthy():
                _write(data_dir / ADDRESS_FILE, address)
                return address
        if ended:
            break
        time.sleep(POLL_S)
    else:
        process.terminate()
        raise ClientError(f"the server does not answer after {START_S:.0f} s; see {log_path}.")
    lines = log_path.read_text("utf-8", "replace").splitlines()
    raise ClientError(f"no server can be started: {lines[-1] if lines else 'see ' + str(log_path)} {_ADVICE}")


def _url_in(log_path: Path) -> str:
    for line in log_path.read_bytes().splitlines():
        with contextlib.suppress(msgspec.MsgspecError):
            entry = msgspec.json.decode(line, type=_LogLine)
            if entry.msg == STARTED:
                return entry.url
    return ""


def _write(path: Path, address: _Address) -> None:
    temporary = path.with_suffix(f".{os.getpid()}")
    with os.fdopen(open_private(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
        file.write(msgspec.json.encode(address))
    temporary.replace(path)


def _leave(data_dir: Path, address: _Address, lock: int, say: Callable[[str], None]) -> None:
    """Stop the server, unless another command uses it or jobs are unfinished."""
    if not _is_last(lock) or (process := _process(address)) is None:
        return
    if _has_unfinished_jobs(address.url):
        say(
            f"The server goes on at {address.url}, because jobs are unfinished. Follow them with "
            "'eval-hub-server jobs'; the first command after their end stops the server."
        )
        return
    _wait_for_samples(address.url)
    with contextlib.suppress(OSError):
        (data_dir / ADDRESS_FILE).unlink()
    with contextlib.suppress(psutil.Error):
        process.terminate()
        process.wait(STOP_S)


def _wait_for_samples(url: str) -> None:
    """Wait until the server has stored the samples of jobs that have just ended. Their results come before their exits."""
    deadline = time.monotonic() + SAMPLES_S
    client = Client(url, timeout_s=PROBE_S)
    with contextlib.suppress(ClientError):
        while time.monotonic() < deadline and any(map(_lacks_samples, client.jobs.list(limit=20)["items"])):
            time.sleep(POLL_S)


def _lacks_samples(job: Job) -> bool:
    changed_at = datetime.fromisoformat(job["resource"].get("updated_at", "1970-01-01T00:00:00Z"))
    if (datetime.now(UTC) - changed_at).total_seconds() > SAMPLES_S:
        return False
    return any(
        each["status"] == "completed" and sample_state(each) in ("", "pending")
        for each in benchmark_statuses(job)
    )


def _has_unfinished_jobs(url: str) -> bool:
    try:
        return bool(Client(url, timeout_s=PROBE_S).jobs.list(limit=1, status="pending|running")["items"])
    except ClientError:
        return False
