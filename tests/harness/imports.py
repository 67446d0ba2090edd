"""Modules that code imports, determined in a new interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping


def loaded_by(code: str, *flags: str, env: Mapping[str, str] | None = None) -> set[str]:
    """All modules that are loaded after ``code``, which must print nothing.

    Runs without coverage, which imports modules itself.
    """
    inherited = os.environ if env is None else env
    env = {name: value for name, value in inherited.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, *flags, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
    return set(run.stdout.split())
