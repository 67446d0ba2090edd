"""The program that starts, watches and stops workloads on the host that runs them. Needs Linux and Python 3.9, nothing else.

The server sends this file to the host with every request, so nothing of the plugin is installed there. A workload is a
directory: ``job.json``, ``log``, ``lock`` and, after its end, ``exit.json``. A process of its own, the keeper, has the lock while
the adapter runs, and writes its exit. So nothing is lost when the server or the connection ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

MARKER = "EVALHUB_WORKLOAD"
"""Environment variable of all processes of a workload: its directory. Descendants inherit it."""
POLL_S = 0.05


def check(root: Path) -> None:
    """Create the directory of all workloads. Its owner decides what runs, so that must be this user alone."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = root.stat()
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{root}: other users can write to it")


def launch(folder: Path, command: list[str], job: str, environment: dict[str, str]) -> None:
    """Start the keeper, and return when it has the lock."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (folder / "log").exists():
        return
    spec = folder / "job.json"
    spec.with_suffix(f".{os.getpid()}").write_text(job, "utf-8")
    spec.with_suffix(f".{os.getpid()}").replace(spec)
    own = {
        "EVALHUB_MODE": "local",
        "EVALHUB_PYTHON": sys.executable,
        "EVALHUB_JOB_SPEC_PATH": str(spec),
        MARKER: str(folder),
    }
    ready, report = os.pipe()
    if os.fork() == 0:
        os.close(ready)
        os.setsid()
        keep(folder, command, {**os.environ, **environment, **own}, report)
    os.close(report)
    os.read(ready, 1)


def keep(folder: Path, command: list[str], environment: dict[str, str], report: int) -> None:
    """Run the adapter, and write its exit. Closes ``report`` when it has the lock."""
    code = 127
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)  # the connection ends when its last user has closed it
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, go_on)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        with open(folder / "log", "xb") as log:  # noqa: PTH123  only one keeper can create it
            os.close(report)
            try:
                code = subprocess.Popen(  # noqa: S603  what the provider says
                    command, cwd=folder, env=environment, stdin=nothing, stdout=log, stderr=log
                ).wait()
            except OSError as error:
                log.write(f"{command[0]}: {error.strerror}\n".encode())
        write_exit(folder, {"code": code} if code >= 0 else {"signal": signal.Signals(-code).name})
    finally:
        os._exit(0)


def go_on(number: int, frame: object) -> None:
    """Handle a signal by nothing. Unlike an ignored signal, the adapter does not inherit this."""


def write_exit(folder: Path, found: dict[str, Any]) -> None:
    part = folder / "exit.new"
    with part.open("w", encoding="utf-8") as file:
        json.dump(found, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / "exit.json")


def find(folder: Path) -> bool:
    return folder.exists()


def wait(folder: Path) -> dict[str, Any]:
    """Return the exit when the keeper has released the lock."""
    threading.Thread(target=end_with_the_connection, daemon=True).start()
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_SH)
        return json.loads((folder / "exit.json").read_bytes())
    except FileNotFoundError:
        return {"lost": True}


def end_with_the_connection() -> None:
    """End this process when the server has closed its standard input: nothing is left of a cancelled wait."""
    os.read(0, 1)
    os._exit(1)


def stop(folder: Path, grace_s: float) -> None:
    """Terminate what runs of the workload. Returns when nothing does, nor can be started any more."""
    until = time.monotonic() + grace_s
    send(folder, signal.SIGTERM)
    while processes(folder) and time.monotonic() < until:
        time.sleep(POLL_S)
    while not has_ended(folder):
        send(folder, signal.SIGKILL)
        time.sleep(POLL_S)


def has_ended(folder: Path) -> bool:
    if processes(folder):
        return False
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # removed
        return True
    except BlockingIOError:
        return False
    if not (folder / "exit.json").exists():  # its keeper was killed, or has not started anything
        write_exit(folder, {"lost": True} if (folder / "log").exists() else {"signal": "SIGTERM"})
        (folder / "log").touch()  # prevents a start
    return True


def processes(folder: Path) -> list[int]:
    """The processes of a workload without its keeper."""
    marker = os.fsencode(f"{MARKER}={folder}")
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def send(folder: Path, number: int) -> None:
    for pid in processes(folder):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def log(folder: Path, tail_lines: int, offset: int, limit: int) -> None:
    """Write the last lines, or for -1 all, from a byte on, to standard output."""
    try:
        with (folder / "log").open("rb") as file:
            file.seek(offset)
            output = sys.stdout.buffer
            if tail_lines >= 0:
                output.writelines(deque(file, maxlen=tail_lines))
            elif limit >= 0:
                output.write(file.read(limit))
            else:
                shutil.copyfileobj(file, output)
    except FileNotFoundError:
        return


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def main(verb: str, root: str, path: str, arguments: dict[str, Any]) -> None:
    """Do what the server requests, and print the result as JSON."""
    verbs = (check, launch, find, wait, stop, log, remove)
    (function,) = [each for each in verbs if each.__name__ == verb]
    result = function(Path(root).expanduser() / path, **arguments)
    if result is not None:
        sys.stdout.write(json.dumps(result))
