"""A directory with the credentials of a model: one file each, as Kubernetes mounts a secret."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from evalhub_sidecar import logs

CA_CERT = "ca_cert"
LARGEST_BYTES = 1 << 20
"""What Kubernetes allows a secret."""


def read_secret_dir(path: str) -> Mapping[str, str]:
    """File name → content without the whitespace around it. What cannot be read is left out and named in the log."""
    if not path:
        return {}
    secrets: dict[str, str] = {}
    try:
        files = [
            file for file in sorted(Path(path).iterdir()) if not file.name.startswith(".") and file.is_file()
        ]
    except OSError as error:
        logs.warning("model credentials cannot be read", path=path, error=error.strerror)
        return {}
    for file in files:
        try:
            with file.open("rb") as stream:
                secrets[file.name] = stream.read(LARGEST_BYTES).decode().strip()
        except (OSError, UnicodeDecodeError) as error:
            logs.warning("a model credential cannot be read", path=str(file), error=str(error))
    return secrets
