"""Virtual environments, and the distributions built from this checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "examples"
EXAMPLE = EXAMPLES / "evalhub-runtime-thread"
SDK = "eval-hub-sdk[client,cli,adapter]==1.0.6"

OF_THE_OUTSIDE = ("PYTHON", "VIRTUAL_ENV", "EVALHUB", "EVAL_HUB", "PORT", "API_HOST", "MLFLOW", "DB_")
"""How variables begin that must not reach into an environment under test."""


class Built(NamedTuple):
    """``wheel`` is built from the checkout, ``sdist_wheel`` from ``sdist``."""

    wheel: Path
    sdist: Path
    sdist_wheel: Path


def build_distributions(folder: Path) -> Built:
    command = [sys.executable, "-m", "build", "--no-isolation", str(PROJECT), "--outdir"]
    run([*command, str(folder / "sdist")], folder)
    run([*command, str(folder / "tree"), "--wheel"], folder)
    return Built(
        wheel=only(folder / "tree", "*.whl"),
        sdist=only(folder / "sdist", "*.tar.gz"),
        sdist_wheel=only(folder / "sdist", "*.whl"),
    )


def only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


def run(
    command: list[str], folder: Path, env: Mapping[str, str] | None = None, status: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run in ``folder``; fail with the output if the exit status is another than ``status``."""
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == status, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


class Environment:
    """A virtual environment in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = str(folder / "bin" / "python")

    @classmethod
    def create(cls, folder: Path) -> Environment:
        run([sys.executable, "-m", "venv", str(folder)], folder.parent)
        return cls(folder)

    def clone(self, folder: Path) -> Environment:
        """Copy the environment with hard links, which is fast; safe because pip replaces files and never rewrites them.

        Only ``python`` works in it, and what is installed into it later; other scripts name the original.
        """
        shutil.copytree(self.folder, folder, symlinks=True, copy_function=os.link)
        return Environment(folder)

    def pip(self, *arguments: str) -> str:
        return self.run("python", "-m", "pip", *arguments).stdout

    def run(
        self,
        program: str,
        *arguments: str,
        folder: Path | None = None,
        env: Mapping[str, str] | None = None,
        status: int = 0,
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its programs, by default in its own folder, isolated from the outer environment."""
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_OUTSIDE)}
        own = {"TMPDIR": str(temporary), "EVALHUB_CONFIG": str(self.folder / "no-such-file.yaml")}
        command = [str(self.folder / "bin" / program), *arguments]
        return run(command, folder or self.folder, {**inherited, **own, **(env or {})}, status)
