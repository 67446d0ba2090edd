"""What code imports: asked of an interpreter of its own, since this one has everything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping


def loaded_by(code: str, *flags: str, env: Mapping[str, str] | None = None) -> set[str]:
    """All modules that there are after ``code``, which prints nothing."""
    command = [sys.executable, *flags, "-c", f"{code}\nimport sys; print(*sys.modules)"]
    run = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
    return set(run.stdout.split())
