"""``eval-hub-server adapters``: managed environments of frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalhub_server.cli.install_progress import install_progress
from evalhub_server.cli.output import write
from evalhub_server.cli.tables import print_json, print_lines, print_table
from evalhub_server.environments.doctor import Check, examine
from evalhub_server.environments.frameworks import FRAMEWORKS, Framework, install_command
from evalhub_server.environments.installer import Installer
from evalhub_server.environments.lock_file import Lock
from evalhub_server.environments.store import ManagedEnvironment, find_environment, is_linked

SYMBOLS = {"ok": "ok", "warning": "warning", "error": "ERROR"}


def list_environments(*, as_json: bool) -> int:
    """Print all frameworks with the state of their environments; returns 0."""
    rows = [_listed(framework) for framework in FRAMEWORKS.values()]
    if as_json:
        print_json(rows)
        return 0
    print_table(
        ("NAME", "STATE", "VERSION", "PYTHON", "PATH"),
        [[row[key] for key in ("name", "state", "version", "python", "path")] for row in rows],
    )
    if all(row["state"] == "not installed" for row in rows):
        write(f"\nInstall one with: {install_command('NAME')}\n")
    return 0


def install_environment(
    *, name: str, lock: Path | None, python: str | None, installer: str, force: bool, as_json: bool
) -> int:
    """Install a framework; returns 0. Raises :class:`AdaptersError`."""
    framework = FRAMEWORKS[name]
    with install_progress() as progress:
        chosen = Installer(framework, progress, lock=lock, python=python, use_uv=installer == "auto")
        environment, changed = chosen.install(force=force)
    _report(framework, environment, changed=changed, as_json=as_json)
    return 0


def update_environment(*, name: str, python: str | None, installer: str, as_json: bool) -> int:
    """Update a framework; returns 0. Raises :class:`AdaptersError`."""
    framework = FRAMEWORKS[name]
    with install_progress() as progress:
        chosen = Installer(framework, progress, python=python, use_uv=installer == "auto")
        environment, changed = chosen.update()
    _report(framework, environment, changed=changed, as_json=as_json)
    return 0


def remove_environment(name: str) -> int:
    """Remove a framework; returns 0. Raises :class:`AdaptersError`."""
    with install_progress() as progress:
        existed = Installer(FRAMEWORKS[name], progress).remove()
    write(f"Removed {name}\n" if existed else f"{name} is not installed\n")
    return 0


def check_environments(name: str | None, *, as_json: bool) -> int:
    """Print the checks of one framework, or of all that are installed; returns 1 if one is an error, else 0."""
    chosen = [FRAMEWORKS[name]] if name else [each for each in FRAMEWORKS.values() if is_linked(each.name)]
    reports: list[dict[str, Any]] = []
    for framework in chosen:
        checks: list[Check] = []
        for check in examine(framework):
            checks.append(check)
            if not as_json:
                print_lines(_lines(framework, check))
        ok = all(check.state != "error" for check in checks)
        reports.append({"name": framework.name, "ok": ok, "checks": checks})
    ok = all(report["ok"] for report in reports)
    if as_json:
        print_json({"ok": ok, "environments": reports})
    elif not chosen:
        write(f"No framework is installed; install one with: {install_command('NAME')}\n")
    return 0 if ok else 1


def _listed(framework: Framework) -> dict[str, Any]:
    found = find_environment(framework.name)
    if found is None:
        version, state = Lock(framework.lock).version_of(framework.distribution), "not installed"
        return {
            "name": framework.name,
            "state": state,
            "version": version,
            "python": "",
            "path": "",
            "missing_data": [],
        }
    current = Lock(framework.lock).digest == found.manifest.lock
    return {
        "name": framework.name,
        "state": "installed" if current else "other lock",
        "version": found.manifest.version,
        "python": found.manifest.python,
        "path": str(found.path),
        "missing_data": found.manifest.missing_data,
    }


def _report(framework: Framework, environment: ManagedEnvironment, *, changed: bool, as_json: bool) -> None:
    manifest = environment.manifest
    if as_json:
        print_json(
            {
                "name": manifest.name,
                "version": manifest.version,
                "python": manifest.python,
                "path": str(environment.path),
                "changed": changed,
                "missing_data": manifest.missing_data,
            }
        )
        return
    state = "installed" if changed else "is installed already"
    write(f"{framework.title} {manifest.version} {state} in {environment.path}\n")
    for data in framework.data:
        if data.name in manifest.missing_data:
            write(
                f"Warning: {data.name} could not be downloaded, which {data.needed_for} need; see: eval-hub-server adapters "
                f"doctor {framework.name}\n"
            )


def _lines(framework: Framework, check: Check) -> list[str]:
    lines = [f"{framework.name}: {check.check}: {SYMBOLS[check.state]}: {check.detail}"]
    return [*lines, f"    fix: {check.fix}"] if check.fix else lines
