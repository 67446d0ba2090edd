"""Certificate authorities for connections to a collector."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

from evalhub_server.errors import StartupError

SIGNALS = ("TRACES_", "METRICS_", "LOGS_")
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # file names of OpenSSL's certificate directories


def has_custom_authority(environ: Mapping[str, str] = os.environ) -> bool:
    """Does a standard variable such as ``OTEL_EXPORTER_OTLP_CERTIFICATE`` name a file with authorities?

    The exporters read it themselves. Raises :class:`StartupError` if the file is missing or has no certificates.
    """
    names = [f"OTEL_EXPORTER_OTLP_{signal}CERTIFICATE" for signal in ("", *SIGNALS)]
    given = {name: environ[name] for name in names if environ.get(name)}
    for name, file in given.items():
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:  # ssl.SSLError is one, too
            raise StartupError(
                f"{name}: {file} cannot be used: {error.strerror or error}. It must be a file with the certificates of "
                "the authorities to trust, as PEM."
            ) from None
    return bool(given)


def system_authorities() -> Path | None:
    """File or directory with the authorities of the system, or of ``SSL_CERT_FILE`` and ``SSL_CERT_DIR``."""
    paths = ssl.get_default_verify_paths()
    found = paths.cafile or paths.capath
    return Path(found) if found else None


def pem_of(authorities: Path) -> bytes:
    """All certificates of a file or directory, as PEM."""
    if authorities.is_file():
        return authorities.read_bytes()
    files = sorted(file for file in authorities.iterdir() if _HASHED.fullmatch(file.name))
    return b"\n".join(file.read_bytes() for file in files)
