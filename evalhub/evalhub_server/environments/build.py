"""Build of a virtual environment from a lock, by uv or by venv and pip."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from msgspec import Struct

from evalhub_server.environments.frameworks import PLATFORMS, PYTHONS
from evalhub_server.environments.lock_file import Lock
from evalhub_server.environments.store import AdaptersError

STOP_GRACE_S = 5.0
_DROPPED = (
    *("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"),
    *(
        "PIP_TARGET",
        "PIP_PREFIX",
        "PIP_USER",
        "PIP_REQUIREMENT",
        "PIP_CONSTRAINT",
        "PIP_DRY_RUN",
        "UV_TARGET",
    ),
    *("UV_PYTHON", "UV_PROJECT_ENVIRONMENT", "UV_CONSTRAINT", "UV_OVERRIDE", "UV_REQUIRE_HASHES"),
)
"""Variables that would let other packages or another directory into the environment."""
_PACKAGE = re.compile(
    r"(?:Collecting (?=\S+==)|Processing (?:\S*/)?| \+ )([A-Za-z0-9._]+(?:-[A-Za-z][A-Za-z0-9._]*)*)"
)
"""A line about one package, from an index or a local file, by pip or by uv."""


class Progress(Protocol):
    """Receives the progress of an install."""

    def step(self, text: str) -> None:
        """A step begins."""
        ...

    def package(self, name: str, done: int, total: int) -> None:
        """``done`` of ``total`` packages have been found, of which ``name`` is the last."""
        ...


class Interpreter(Struct, kw_only=True, frozen=True):
    """A Python interpreter; ``version`` is such as ``3.12.4``."""

    path: str
    version: str


class Builder:
    """Creates environments with ``python``; ``log`` gets the output of the programs that it runs."""

    def __init__(self, python: Interpreter, log: IO[str], progress: Progress, uv: str | None) -> None:
        self._python = python
        self._log = log
        self._progress = progress
        self._uv = uv

    @property
    def name(self) -> str:
        return "uv" if self._uv else "pip"

    def build(self, folder: Path, lock: Lock) -> None:
        """Create the environment ``folder`` with what ``lock`` lists, and nothing else. Raises :class:`AdaptersError`."""
        self._progress.step("Creating the environment")
        if self._uv:
            self._run([self._uv, "venv", "--no-project", "--python", self._python.path, str(folder)])
        else:
            self._run([self._python.path, "-m", "venv", str(folder)])
        self._progress.step("Installing packages")
        tools = folder / "build-requirements.txt"
        if text := lock.build_requirements():
            tools.write_text(text + "\n", "utf-8")
            self._run([*self._installer(folder), "-r", str(tools)])
            tools.unlink()
        self._run([*self._installer(folder), "-r", str(lock.path)], self._counter(len(lock)))

    def _installer(self, folder: Path) -> list[str]:
        python = str(folder / "bin" / "python")
        common = ["--no-deps", "--require-hashes", "--no-build-isolation"]
        if self._uv:
            return [self._uv, "pip", "install", "--python", python, *common]
        pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        return [*pip, "install", "--progress-bar", "off", "--no-compile", *common]

    def _counter(self, total: int) -> Callable[[str], None]:
        found: set[str] = set()

        def count(line: str) -> None:
            match = _PACKAGE.match(line)
            if match is not None and match[1] not in found:
                found.add(match[1])
                self._progress.package(match[1], min(len(found), total), total)
            elif line.startswith("Installing collected packages"):
                self._progress.step("Writing the packages")

        return count

    def _run(self, command: Sequence[str], on_line: Callable[[str], None] | None = None) -> None:
        self._log.write(f"$ {' '.join(command)}\n")
        self._log.flush()
        try:
            process = subprocess.Popen(  # noqa: S603
                command,
                cwd=Path(self._log.name).parent,
                env=clean_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            raise AdaptersError(f"{command[0]} cannot be started: {error.strerror}.") from None
        output: list[str] = []
        assert process.stdout is not None  # noqa: S101
        try:
            with process.stdout:
                for line in process.stdout:
                    output.append(line)
                    self._log.write(line)
                    if on_line is not None:
                        on_line(line)
            status = process.wait()
        except BaseException:
            _stop(process)
            raise
        if status != 0:
            raise AdaptersError(f"{explain(output)} The whole output is in {self._log.name}.")


def explain(output: Sequence[str]) -> str:
    """One sentence about why uv, venv or pip failed, from its output."""
    text = "".join(output)
    lower = text.lower()
    if "no space left on device" in lower or "errno 28" in lower or "disk quota exceeded" in lower:
        return "The disk is full; free space, or set EVALHUB_ADAPTERS_DIR to a directory on another one."
    if "do not match the hashes" in lower or "hash mismatch" in lower:
        found = re.search(r"^\s*(\S+==\S+) from|[Hh]ash mismatch for `([^`]+)`", text, re.MULTILINE)
        package = (found[1] or found[2]) if found else "a package"
        return f"The file of {package} does not match the hash in the lock, so nothing was installed; the package index or a cache returned another file."
    if "ensurepip" in lower:
        return "This Python cannot create virtual environments with pip; install its venv module (on Debian the package python3-venv), or uv."
    offline = (
        *("name resolution", "getaddrinfo", "nodename nor servname", "failed to establish a new connection"),
        *("connection refused", "network is unreachable", "could not connect", "dns error", "timed out"),
        *(
            "max retries exceeded",
            "failed to fetch",
            "newconnectionerror",
            "network connectivity is disabled",
        ),
    )
    if any(sign in lower for sign in offline):
        return "The package index cannot be reached; connect to the network, or set a proxy (HTTPS_PROXY) or an index of your own (PIP_INDEX_URL, UV_DEFAULT_INDEX), and repeat the command."
    if found := re.search(r"No matching distribution found for (\S+)", text):
        return f"The package index has no {found[1]} for this computer; use another version of Python (--python) or another index."
    last = next((line.strip() for line in reversed(output) if line.strip()), "no output")
    return f"The packages cannot be installed: {last.rstrip('.')}."


def find_interpreter(python: str | None) -> Interpreter:
    """Return ``python``, or the first suitable one: this program's, then ``python3.13`` and so on from PATH.

    Raises:
        AdaptersError: there is none of a version that the locks support, or the platform is not supported.
    """
    system, machine = sys.platform, os.uname().machine if hasattr(os, "uname") else ""
    if (system, machine) not in PLATFORMS:
        raise AdaptersError(
            f"Managed environments exist for Linux on x86_64 and aarch64 and for macOS on arm64, not for {system} on "
            f"{machine}; install the framework yourself and name its environment with runtime.local.venv."
        )
    supported = " or ".join(f"{major}.{minor}" for major, minor in PYTHONS)
    if python is not None:
        found = _examine(python)
        if found is None:
            raise AdaptersError(
                f"{python} is not a Python interpreter that can be run; give --python another one."
            )
        if not _is_supported(found):
            raise AdaptersError(f"{python} is Python {found.version}; a framework needs Python {supported}.")
        return found
    names = [f"python{major}.{minor}" for major, minor in reversed(PYTHONS)]
    for candidate in (sys.executable, *names):
        found = _examine(candidate)
        if found is not None and _is_supported(found):
            return found
    version = ".".join(map(str, sys.version_info[:3]))
    raise AdaptersError(
        f"A framework needs Python {supported}, and this server runs on {version}; install one of these, or name its "
        "interpreter with --python."
    )


def clean_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for programs that build or examine an environment."""
    return {name: value for name, value in environ.items() if name not in _DROPPED}


def _examine(python: str) -> Interpreter | None:
    path = shutil.which(python)
    if path is None:
        return None
    code = "import sys; print('.'.join(map(str, sys.version_info[:3])))"
    try:
        done = subprocess.run(  # noqa: S603
            [path, "-I", "-c", code],
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return Interpreter(path=path, version=done.stdout.strip())


def _is_supported(python: Interpreter) -> bool:
    return tuple(python.version.split(".")[:2]) in {(str(major), str(minor)) for major, minor in PYTHONS}


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
