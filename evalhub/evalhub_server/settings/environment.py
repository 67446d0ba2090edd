"""Environment variables that configure the server: built-in ones, and ``env_mappings`` of the file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from evalhub_common.json_log import level_number
from evalhub_server.errors import SettingsError
from evalhub_server.settings.layers import Document, Finding, Location

SECTION = "env_mappings"

ENVIRONMENT: Mapping[str, str] = {
    "PORT": "service.port",
    "API_HOST": "service.host",
    "TLS_CERT_FILE": "service.tls_cert_file",
    "TLS_KEY_FILE": "service.tls_key_file",
    "DB_DRIVER": "database.driver",
    "DB_URL": "database.url",
    "MLFLOW_TRACKING_URI": "mlflow.tracking_uri",
    "MLFLOW_CA_CERT_PATH": "mlflow.ca_cert_path",
    "MLFLOW_TOKEN_PATH": "mlflow.token_path",
    "MLFLOW_WORKSPACE": "mlflow.workspace",
    "MLFLOW_TOKEN_CACHE_TIMEOUT": "sidecar.mlflow.token_cache_timeout",
    "EVALHUB_CA_CERT_PATH": "sidecar.eval_hub.ca_cert_path",
    "EVALHUB_INSECURE_SKIP_VERIFY": "sidecar.eval_hub.insecure_skip_verify",
    "EVALHUB_TOKEN_CACHE_TIMEOUT": "sidecar.eval_hub.token_cache_timeout",
    "OCI_AUTH_CONFIG_PATH": "oci.auth_config_path",
    "OCI_INSECURE": "oci.insecure",
    "METRICS_PORT": "prometheus.port",
    "METRICS_HOST": "prometheus.host",
    "OTEL_METRIC_EXPORT_INTERVAL": "otel.metric_export_interval",
}
"""Variables that work with any configuration file; ``env_mappings`` in the file adds others."""


LOG_LEVEL = "LOG_LEVEL"
LOG_FORMAT = "LOG_FORMAT"
LOG_FORMATS = {"auto": "auto", "console": "console", "json": "json", "text": "console"}
"""Accepted value → format of :func:`evalhub_server.logs.configure_logs`."""


def mappings(document: Document) -> dict[str, str]:
    """Variable → dotted key. Raises :class:`SettingsError` for a malformed ``env_mappings``."""
    own: Any = document.get(SECTION) or {}
    if not isinstance(own, dict):
        raise SettingsError(f"{SECTION}: expected a map of variable to key, such as PORT: service.port.")
    found = dict(ENVIRONMENT)
    for variable, key in cast("dict[Any, Any]", own).items():
        if not isinstance(key, str) or not key.strip(". "):
            raise SettingsError(f"{SECTION}.{variable}: expected a dotted key such as service.port.")
        found[str(variable).upper()] = key
    return found


def log_options(environ: Mapping[str, str]) -> tuple[str, str, list[Finding]]:
    """``LOG_LEVEL`` and ``LOG_FORMAT``, and a warning for each that has an unknown value, which is replaced by the default.

    Not errors, because adapters inherit both variables, and other programs have other levels.
    """
    warnings: list[Finding] = []
    level = environ.get(LOG_LEVEL) or "info"
    if level_number(level) is None:
        text = f"{level!r} is not a log level; info is used. Set debug, info, warning, error or critical."
        warnings.append(Finding("warning", variable_location(LOG_LEVEL).source, 0, text))
        level = "info"
    given = environ.get(LOG_FORMAT) or "auto"
    log_format = LOG_FORMATS.get(given.strip().lower(), "")
    if not log_format:
        text = f"{given!r} is not a log format; the default is used. Set console or json."
        warnings.append(Finding("warning", variable_location(LOG_FORMAT).source, 0, text))
    return level.strip().lower(), log_format or "auto", warnings


def variable_location(variable: str) -> Location:
    """The location of a value that an environment variable sets."""
    return Location(f"environment variable {variable}")


def apply_environment(document: Document, environ: Mapping[str, str]) -> dict[str, str]:
    """Set every mapped key whose variable is not empty; returns these variables with their keys."""
    applied: dict[str, str] = {}
    for variable, key in mappings(document).items():
        value = environ.get(variable, "")
        if not value:
            continue
        if variable == "OTEL_METRIC_EXPORT_INTERVAL" and value.isdecimal():
            value = f"{value}ms"  # as OpenTelemetry, which reads the same variable, interprets a bare number
        document.set(key, value, variable_location(variable))
        applied[variable] = key
    return applied
