"""The directory of a model's credentials: one file each, as Kubernetes mounts a secret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evalhub_sidecar import logs

CA_CERT = "ca_cert"
MAX_BYTES = 1 << 20
"""The limit of Kubernetes for a secret."""


def read_secret_dir(path: str) -> Mapping[str, str]:
    """Content by file name, stripped. Unreadable files are skipped, with a warning in the log."""
    if not path:
        return {}
    secrets: dict[str, str] = {}
    try:
        files = [
            file for file in sorted(Path(path).iterdir()) if not file.name.startswith(".") and file.is_file()
        ]
    except OSError as error:
        logs.warning("Model credentials cannot be read", path=path, error=error.strerror)
        return {}
    for file in files:
        try:
            with file.open("rb") as stream:
                secrets[file.name] = stream.read(MAX_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            logs.warning("Model credential cannot be read", path=str(file), error=str(error))
    return secrets
