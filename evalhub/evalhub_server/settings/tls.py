"""The server's certificate, looked at before anything starts."""

from __future__ import annotations

from pathlib import Path

from evalhub_server.errors import SettingsError
from evalhub_server.settings.schema import ServiceSettings


def check_tls(service: ServiceSettings) -> None:
    """Raises :class:`SettingsError` unless there is no certificate at all, or a readable one with its key."""
    if bool(service.tls_cert_file) != bool(service.tls_key_file):
        missing = "tls_key_file" if service.tls_cert_file else "tls_cert_file"
        present = "tls_cert_file" if service.tls_cert_file else "tls_key_file"
        raise SettingsError(
            f"service.{present}: service.{missing} is not set. Set both, or neither for plain HTTP."
        )
    if not service.tls_cert_file:
        return
    for key in ("tls_cert_file", "tls_key_file"):
        file = Path(getattr(service, key))
        try:
            file.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"service.{key}: {file} cannot be read: {error.strerror}. Name a readable PEM file."
            ) from None
    _load(service)


def _load(service: ServiceSettings) -> None:
    import ssl  # only now, for those who want TLS

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A password is never asked for at a terminal that may not be there.
        context.load_cert_chain(service.tls_cert_file, service.tls_key_file, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"service.tls_key_file: {service.tls_key_file} is not the key of {service.tls_cert_file}. "
                "Give the two files that belong together."
            ) from None
        raise SettingsError(
            f"service.tls_cert_file: {service.tls_cert_file} and {service.tls_key_file} cannot be used "
            f"({error.reason or error}). They must be PEM files: the certificate, followed by those of its issuers, and "
            "its key without a password."
        ) from None
