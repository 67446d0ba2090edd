"""Rewrite the locks of the managed environments with the newest versions of the frameworks.

Needs uv, which it installs from the package index into a scratch environment. One lock serves all platforms and versions of
Python that :mod:`evalhub_server.environments.frameworks` lists: markers select what differs.

Usage: python scripts/refresh_locks.py [--only NAME]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from evalhub_server.environments.frameworks import FRAMEWORKS, PLATFORMS, PYTHONS, Framework
from evalhub_server.environments.lock_file import BUILD_REQUIREMENT, Lock

HEADER = """\
# Managed environment of {title}: every distribution with its hashes.
# Written by scripts/refresh_locks.py from: {requirements}
"""
_PLATFORM = "(sys_platform == '{}' and platform_machine == '{}')"
_EVERYWHERE = (
    "platform_machine == 'arm64' and sys_platform == 'darwin' or "
    "(platform_machine == 'aarch64' or platform_machine == 'x86_64') and sys_platform == 'linux'"
)
"""The marker, as uv writes it, of what all platforms need."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=sorted(FRAMEWORKS), help="refresh this lock alone")
    only: str | None = parser.parse_args().only
    with tempfile.TemporaryDirectory() as scratch:
        uv = installed_uv(Path(scratch))
        for framework in FRAMEWORKS.values():
            if only in (None, framework.name):
                text = resolve(framework, uv, Path(scratch))
                framework.lock.write_text(text, "utf-8")
                sys.stdout.write(f"{framework.lock.name}: {len(Lock(framework.lock))} distributions\n")


def installed_uv(scratch: Path) -> Path:
    venv.create(scratch / "uv", with_pip=True)
    subprocess.run([scratch / "uv" / "bin" / "python", "-m", "pip", "install", "-q", "uv"], check=True)  # noqa: S603
    return scratch / "uv" / "bin" / "uv"


def resolve(framework: Framework, uv: Path, scratch: Path) -> str:
    """The text of a lock."""
    folder = scratch / framework.name
    folder.mkdir()
    environments = ", ".join(f'"{_PLATFORM.format(*platform)}"' for platform in PLATFORMS)
    (folder / "pyproject.toml").write_text(f"[tool.uv]\nenvironments = [{environments}]\n", "utf-8")
    (folder / "requirements.in").write_text("\n".join((*framework.requirements, BUILD_REQUIREMENT)), "utf-8")
    never = "".join(f"{name} ; sys_platform == 'never'\n" for name in framework.excluded)
    (folder / "overrides.txt").write_text(never, "utf-8")
    command = [
        *(str(uv), "pip", "compile", "--quiet", "--universal", "--generate-hashes"),
        *("--python-version", ".".join(map(str, PYTHONS[0]))),
        *("--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links"),
        *("--override", "overrides.txt", "requirements.in"),
    ]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603
    requirements = ", ".join((*framework.requirements, BUILD_REQUIREMENT))
    excluded = f", without {', '.join(framework.excluded)}" if framework.excluded else ""
    return HEADER.format(title=framework.title, requirements=requirements + excluded) + simplified(
        done.stdout
    )


def simplified(text: str) -> str:
    """Remove the markers that hold on every platform."""
    return text.replace(f" ; {_EVERYWHERE} \\", " \\")


if __name__ == "__main__":
    main()
