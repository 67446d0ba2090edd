"""Examination of installed environments: whether adapters can run in them, and what to do if not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from evalhub_server.environments.frameworks import Framework, install_command
from evalhub_server.environments.lock_file import Lock
from evalhub_server.environments.packages import COPIED, adapter_packages
from evalhub_server.environments.probe import IMPORT_TIMEOUT_S, differences, probe, run_python
from evalhub_server.environments.store import AdaptersError, ManagedEnvironment, find_environment


class Check(Struct, kw_only=True, frozen=True):
    """The result of one check. ``state`` is ``ok``, ``warning`` (adapters run, with restrictions) or ``error``."""

    check: str
    state: str
    detail: str
    fix: str = ""


def examine(framework: Framework) -> Iterator[Check]:
    """Yield the checks of a framework's environment, each when it is done. Imports take some seconds."""
    install = install_command(framework.name)
    reinstall = f"{install} --force"
    try:
        found = find_environment(framework.name)
    except AdaptersError as error:
        yield Check(check="installed", state="error", detail=str(error))
        return
    if found is None:
        yield Check(check="installed", state="error", detail="not installed, or not completely", fix=install)
        return
    manifest = found.manifest
    text = f"{framework.distribution} {manifest.version}, by {manifest.installer} on {manifest.installed_at}, {found.path}"
    yield Check(check="installed", state="ok", detail=text)
    probed = probe(found.path)
    if isinstance(probed, str):
        yield Check(check="interpreter", state="error", detail=probed, fix=reinstall)
        return
    yield Check(check="interpreter", state="ok", detail=f"Python {probed.python}")
    yield _check("packages", differences(found, probed), f"{len(probed.packages)} as in the lock", reinstall)
    yield _lock(framework, found)
    for module in framework.imports:
        error = run_python(found.path, f"import {module}", IMPORT_TIMEOUT_S).error
        yield _check(f"import {module}", error, "works", reinstall)
    yield _own_packages(found)
    for data in framework.data:
        error = run_python(found.path, data.find, IMPORT_TIMEOUT_S).error
        yield Check(
            check=data.name,
            state="warning" if error else "ok",
            detail=f"missing, needed for {data.needed_for}" if error else "downloaded",
            fix=f"with a network, {install}" if error else "",
        )
    yield Check(check="GPU", state="ok", detail="not needed: models are evaluated over HTTP")
    yield Check(check="size", state="ok", detail=f"{size_bytes(found.path) / 10**6:.0f} MB")


def size_bytes(path: Path) -> int:
    """The space that the files below ``path`` occupy."""
    blocks = {(found.st_dev, found.st_ino): found.st_blocks for found in map(Path.lstat, path.rglob("*"))}
    return sum(blocks.values()) * 512


def _lock(framework: Framework, found: ManagedEnvironment) -> Check:
    lock = Lock(framework.lock)
    if lock.digest == found.manifest.lock:
        return Check(check="lock", state="ok", detail="that of this server")
    return Check(
        check="lock",
        state="warning",
        detail=f"not that of this server, which has {framework.distribution} {lock.version_of(framework.distribution)}",
        fix=f"eval-hub-server adapters update {framework.name}",
    )


def _own_packages(found: ManagedEnvironment) -> Check:
    try:
        path = adapter_packages()
    except AdaptersError as error:
        return Check(check="adapter packages", state="error", detail=str(error))
    names = [name for name in COPIED if (path / name).is_dir()]
    code = f"import sys; sys.path.insert(0, {str(path)!r}); import {', '.join(names)}"
    error = run_python(found.path, code, IMPORT_TIMEOUT_S).error
    return _check("adapter packages", error, str(path), "install eval-hub-server again")


def _check(name: str, error: str, detail: str, fix: str) -> Check:
    if error:
        return Check(check=name, state="error", detail=error, fix=fix)
    return Check(check=name, state="ok", detail=detail)
