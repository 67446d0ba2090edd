"""The termination message of a container: the text that Kubernetes shows as the reason of its exit."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "TERMINATION_MESSAGE_PATH"
MAX_BYTES = 4096
"""The kubelet reads no more."""


def write_termination_message(
    text: str, environ: Mapping[str, str], *, default: str, in_pod: bool = False
) -> None:
    """Write the message to the file of the environment variable, or to ``default`` in a pod; errors are ignored.

    ``in_pod`` is for containers without the variables of the Kubernetes API.
    """
    path = environ.get(VARIABLE, "")
    if path or in_pod or environ.get("KUBERNETES_SERVICE_HOST"):
        with contextlib.suppress(OSError):
            Path(path or default).write_bytes(text.encode("utf-8", "replace")[:MAX_BYTES])
