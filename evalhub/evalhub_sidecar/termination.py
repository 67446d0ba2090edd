"""The text that Kubernetes shows as the reason of a container's end."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "TERMINATION_MESSAGE_PATH"
SIDECAR_FILE = "/data/termination-log"
LARGEST_BYTES = 4096
"""What the kubelet reads of it."""


def leave_behind(
    text: str, environ: Mapping[str, str], *, in_pod: bool = False, default: str = SIDECAR_FILE
) -> None:
    """Write it where the kubelet looks. Outside of a pod only where the variable says so."""
    named = environ.get(VARIABLE, "")
    if named or in_pod or environ.get("KUBERNETES_SERVICE_HOST"):
        with contextlib.suppress(OSError):
            Path(named or default).write_bytes(text.encode("utf-8", "replace")[:LARGEST_BYTES])
