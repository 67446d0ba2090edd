"""Environment of an adapter: a framework's managed one (``environment``), the user's own (``venv``), or none."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import cast

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.plugins import (
    AdaptersError,
    Json,
    Readiness,
    adapter_packages,
    adapters_dir,
    find_environment,
    install_command,
)

_OPT_OUTS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "ANONYMIZED_TELEMETRY": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or litellm downloads a list of prices when it is imported
    "LITELLM_TELEMETRY": "False",
}
"""Variables that keep frameworks from reporting their use; those that the user has set stay."""
MAX_VENVS = 256
"""Venvs whose state is compared for each list of providers."""


class AdapterEnvironment(Struct, kw_only=True, frozen=True):
    """A virtual environment. ``framework`` and ``version`` are those of a managed one, which uses ``packages``."""

    path: Path
    packages: Path | None = None
    framework: str = ""
    version: str = ""

    def variables(self, environ: dict[str, str]) -> dict[str, str]:
        """``environ`` with what runs programs of this environment."""
        path = os.pathsep.join([str(self.path / "bin"), *filter(None, [environ.get("PATH", os.defpath)])])
        own = {"PATH": path, "VIRTUAL_ENV": str(self.path)}
        if self.packages is None:
            kept = environ
        else:
            kept = {**_OPT_OUTS, **environ}
            own["PYTHONPATH"] = str(self.packages)
        return {**{name: value for name, value in kept.items() if name != "PYTHONHOME"}, **own}


def readiness(entry: Json | None, base: Path | None = None) -> Readiness:
    """Whether an adapter can be started with this ``runtime.local`` of a provider; looks at some files.

    ``base`` is the adapters directory, if it is known.
    """
    entry = entry or {}
    command = entry.get("command")
    if not isinstance(command, str) or not command.strip():
        fix = "Set runtime.local.command to a command that starts an adapter."
        return Readiness(reason="its provider has no command for local mode", fix=fix)
    found = find_adapter_environment(entry, base)
    return found if isinstance(found, Readiness) else Readiness()


class ListedEnvironments:
    """The environments that lists of providers depend on: all managed ones, and each ``venv`` of an entry that was checked."""

    def __init__(self) -> None:
        self._venvs: set[Path] = set()
        self._cleared = 0

    @cached_property
    def _base(self) -> Path:
        return adapters_dir()

    def readiness(self, entry: Json | None) -> Readiness:
        """:func:`readiness` of an entry, whose ``venv`` counts for :meth:`state` from now on."""
        if entry and entry.get("environment") is None and entry.get("venv") is not None:
            if len(self._venvs) >= MAX_VENVS:
                self._venvs.clear()
                self._cleared += 1
            self._venvs.add(_programs(_venv_path(str(entry["venv"]))))
        return readiness(entry, self._base)

    def state(self) -> str:
        """A text that changes when an environment is installed or removed, or when there is one more to check."""
        venvs = sorted(f"{path}:{path.is_dir()}" for path in self._venvs)
        cleared = [str(self._cleared)] if self._cleared else []
        return " ".join([*_managed_state(self._base), *venvs, *cleared])


def find_adapter_environment(entry: Json, base: Path | None = None) -> AdapterEnvironment | Readiness | None:
    """The environment that ``runtime.local`` names, None without one, or why it cannot be used. Copies no packages."""
    name, venv = entry.get("environment"), entry.get("venv")
    if name is not None:
        return _managed(str(name), base)
    if venv is not None:
        return _own(str(venv))
    return None


def with_packages(environment: AdapterEnvironment) -> AdapterEnvironment:
    """A managed environment with the directory of the packages that adapters import; raises :class:`AdaptersError`."""
    if not environment.framework:
        return environment
    return replace(environment, packages=adapter_packages())


def _managed_state(base: Path) -> list[str]:
    """The links to managed environments and the directories behind them, without reading a file."""
    try:
        names = sorted(entry.name for entry in os.scandir(base))
    except OSError:
        return []
    state: list[str] = []
    for name in names:
        current = f"{base}/{name}/current"
        try:
            link = os.lstat(current)
        except OSError:
            continue
        try:
            target = os.stat(current).st_ino  # noqa: PTH116  a Path costs more than the call
        except OSError:
            target = 0
        state.append(f"{name}:{link.st_ino}:{link.st_mtime_ns}:{target}")
    return state


def _managed(name: str, base: Path | None) -> AdapterEnvironment | Readiness:
    try:
        found = find_environment(name, base)
    except AdaptersError as error:
        fix = f"Correct that, or run: {install_command(name)}"
        return Readiness(reason=str(error).rstrip("."), fix=fix, job_refused=True)
    if found is None:
        fix = f"Run: {install_command(name)}"
        return Readiness(reason=f"the framework '{name}' is not installed", fix=fix, job_refused=True)
    return AdapterEnvironment(path=found.path, framework=name, version=found.manifest.version)


def _own(venv: str) -> AdapterEnvironment | Readiness:
    path = _venv_path(venv)
    if not _programs(path).is_dir():
        fix = "Create it, or correct runtime.local.venv."
        return Readiness(reason=f"there is no virtual environment at {path}", fix=fix, job_refused=True)
    return AdapterEnvironment(path=path)


def _venv_path(venv: str) -> Path:
    try:
        return Path(venv).expanduser()
    except RuntimeError:  # ~ of an unknown user
        return Path(venv)


def _programs(venv: Path) -> Path:
    return venv / "bin"


def secret_variables(entry: Json, secrets: frozenset[str]) -> list[str]:
    """The server's secrets that ``value_from_env`` names, which no adapter gets."""
    listed = entry.get("env")
    variables = cast("list[object]", listed) if isinstance(listed, list) else []
    named = [cast("Json", each).get("value_from_env") for each in variables if isinstance(each, dict)]
    return [name for name in named if name in secrets]
