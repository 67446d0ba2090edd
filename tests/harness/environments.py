"""Virtual environments of programs that tests need, created once and kept in pytest's cache."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path


def installed(cache: Path, name: str, *requirements: str, alone: Sequence[str] = ()) -> Path:
    """The environment ``name`` below ``cache`` with ``requirements`` installed; an earlier or parallel run may have created it.

    ``alone`` are installed without what they require, other Python versions included.
    """
    folder = cache / f"{name}-python{sys.version_info.major}.{sys.version_info.minor}"
    complete = folder / "complete"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            # This environment's pip installs into it, and Python compiles what a test imports, not all that is there.
            subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", folder], check=True)
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder]
            install = [*pip, "install", "--quiet", "--no-compile"]
            subprocess.run([*install, *requirements], check=True)
            if alone:
                subprocess.run([*install, "--no-deps", "--ignore-requires-python", *alone], check=True)
            complete.touch()
    return folder
