"""Self-signed certificates, created with the program ``openssl``."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """A self-signed certificate and its key, as PEM files."""

    crt: Path
    key: Path


def certificate(
    folder: Path, name: str = "localhost", subjects: str = "DNS:localhost,IP:127.0.0.1"
) -> Certificate:
    """Create ``name.crt`` for ``subjects`` and ``name.key``, an RSA key."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificate(folder / f"{name}.crt", folder / f"{name}.key")
    words = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -addext subjectAltName={subjects}"
    files = ["-keyout", str(made.key), "-out", str(made.crt)]
    subprocess.run([*words.split(), *files], check=True, capture_output=True)
    return made
