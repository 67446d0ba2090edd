"""Virtual environments of programs that tests need, created once and kept in pytest's cache."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path


def installed(cache: Path, name: str, *requirements: str) -> Path:
    """The environment ``name`` below ``cache`` with ``requirements`` installed; an earlier or parallel run may have created it."""
    folder = cache / f"{name}-python{sys.version_info.major}.{sys.version_info.minor}"
    complete = folder / "complete"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
            subprocess.run([*pip, "install", "--quiet", *requirements], check=True)
            complete.touch()
    return folder
