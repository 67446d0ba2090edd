"""Examination of an environment by its own interpreter: version, distributions, and files that are missing."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path

import msgspec
from msgspec import Struct

from evalhub_server.environments.build import clean_environment
from evalhub_server.environments.lock_file import normalized
from evalhub_server.environments.store import ManagedEnvironment

PROBE_TIMEOUT_S = 120.0
IMPORT_TIMEOUT_S = 300.0
SHOWN = 5
"""Names of distributions in a message."""
_PROBE = """\
import json, platform, sys
from importlib import metadata
packages, missing = {}, {}
for each in metadata.distributions():
    name = each.metadata["Name"]
    packages[name] = each.version
    lost = [f for f in each.files or () if not f.name.endswith(".pyc") and not f.locate().exists()]
    if lost or each.files is None:
        missing[name] = len(lost)
print(json.dumps({"python": platform.python_version(), "packages": packages, "missing": missing}))
"""


class Probed(Struct, kw_only=True, frozen=True):
    """``packages`` are versions by name; ``missing`` the number of files that distributions have lost."""

    python: str
    packages: dict[str, str]
    missing: dict[str, int]


def probe(path: Path) -> Probed | str:
    """Examine the environment at ``path``; returns an error text if its interpreter does not work."""
    output = run_python(path, _PROBE, PROBE_TIMEOUT_S)
    try:
        found = msgspec.json.decode(output.stdout, type=Probed)
    except msgspec.MsgspecError:
        return output.error or "the interpreter printed nothing"
    packages = {normalized(name): version for name, version in found.packages.items()}
    missing = {normalized(name): count for name, count in found.missing.items()}
    return Probed(python=found.python, packages=packages, missing=missing)


def damage_of(environment: ManagedEnvironment) -> str:
    """Why an environment is not as it was installed; empty if it is."""
    found = probe(environment.path)
    return found if isinstance(found, str) else differences(environment, found)


def differences(environment: ManagedEnvironment, found: Probed) -> str:
    """How the distributions in an environment differ from those that were installed; empty if they do not."""
    expected, present = environment.manifest.packages, found.packages
    differing = [name for name in expected.keys() | present.keys() if expected.get(name) != present.get(name)]
    if differing:
        return f"not as installed: {_listed(differing)}"
    return f"files are missing in {_listed(found.missing)}" if found.missing else ""


def _listed(names: Collection[str]) -> str:
    first = ", ".join(sorted(names)[:SHOWN])
    return f"{first} and {len(names) - SHOWN} more" if len(names) > SHOWN else first


class Output(Struct, kw_only=True, frozen=True):
    """``error`` is empty if the statements succeeded, else the last line of their output."""

    stdout: str
    error: str = ""


def run_python(path: Path, code: str, timeout_s: float) -> Output:
    """Run Python statements in the environment at ``path``, isolated from variables and the working directory."""
    command = [str(path / "bin" / "python"), "-I", "-c", code]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=path,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Output(stdout="", error=f"no result within {timeout_s:.0f} s")
    except OSError as error:
        return Output(stdout="", error=f"cannot be started: {error.strerror}")
    if done.returncode == 0:
        return Output(stdout=done.stdout)
    last = next((line.strip() for line in reversed(done.stderr.splitlines()) if line.strip()), "")
    return Output(stdout="", error=last or f"exit status {done.returncode}")
