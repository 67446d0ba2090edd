"""Loads :class:`Settings` from files, environment and options.

Precedence, lowest to highest: defaults, ``config.yaml``, environment variables, the sections of the file that
``CONFIG_PATH`` names, secret files, command line.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

from msgspec import Struct

from evalhub_server.errors import SettingsError
from evalhub_server.plugins.sections import convert_section, section_errors
from evalhub_server.settings.auth_token import read_token, token_path
from evalhub_server.settings.environment import SECTION as ENV_MAPPINGS
from evalhub_server.settings.environment import apply_environment, log_options
from evalhub_server.settings.layers import Document, Finding, Location
from evalhub_server.settings.lint import PluginSections, unknown_findings, unused_findings
from evalhub_server.settings.locate import as_path, find_config_file
from evalhub_server.settings.s3 import SECRETS as S3_SECRETS
from evalhub_server.settings.s3 import is_s3
from evalhub_server.settings.schema import CORE_SECTIONS, OTHER_SECTIONS
from evalhub_server.settings.secret_files import apply_secrets
from evalhub_server.settings.secrets import find_secrets, with_secret, with_variables
from evalhub_server.settings.settings import Settings
from evalhub_server.settings.validation import section_rule_errors

CONFIG_PATH = "CONFIG_PATH"


class ServerFlags(TypedDict):
    """Command-line options for :func:`load_settings`; None: not given."""

    local: bool
    configdir: Path | None
    data_dir: Path | None
    host: str | None
    port: int | None


def load_settings(
    *,
    local: bool,
    configdir: Path | None = None,
    data_dir: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    environ: Mapping[str, str] = os.environ,
    plugin_sections: PluginSections | None = None,
    errors: list[SettingsError] | None = None,
) -> Settings:
    """Read the configuration.

    ``plugin_sections`` (:meth:`Plugins.sections`) are used to find unknown keys. With ``errors``, all wrong values are
    appended to it and their sections keep the defaults; without, the first one is raised.

    Raises:
        SettingsError: a file is missing or malformed or a value is wrong; the text names file, key path and fix.
    """
    file = find_config_file(configdir, environ)
    document = Document(file)
    log_level, log_format, warnings = log_options(environ)
    try:
        applied = apply_environment(document, environ)
        _overlay(document, as_path(environ.get(CONFIG_PATH)), warnings)
        secret_keys = apply_secrets(document, warnings)
    except SettingsError as error:
        raise document.error(error) from None
    for key, flag, value in (("service.host", "--host", host), ("service.port", "--port", port)):
        if value is not None:
            document.set(key, value, Location(flag))
    secrets = find_secrets(document.values, secret_keys, applied, environ)

    found: list[SettingsError] = []
    values = {
        name: _converted(document.get(name), type_, name, found) for name, type_ in CORE_SECTIONS.items()
    }
    for name, type_ in OTHER_SECTIONS.items():
        if name not in (plugin_sections or {}):  # plugins validate their own
            _converted(document.get(name), type_, name, found)
    validated = ("service", "prometheus", "sidecar", "finalizer", "otel", "retention", "samples")
    found += section_rule_errors(*(values[name] for name in validated))
    found = [document.error(SettingsError(secrets.redact(e.message), e.source, e.line)) for e in found]
    if errors is not None:
        errors += found
    elif found:
        raise found[0]

    for token_file in (values["service"].auth_token_file, values["prometheus"].auth_token_file):
        if token_file and not found:
            secrets = with_secret(secrets, read_token(token_path(token_file)).decode(), environ)
    if is_s3(values["samples"].url):
        secrets = with_variables(secrets, S3_SECRETS, environ)
    data = data_dir or as_path(environ.get("EVALHUB_DATA_DIR"))
    return Settings(
        local=local,
        config_file=file,
        data_dir=data.expanduser().absolute() if data else None,
        log_level=log_level,
        log_format=log_format,
        sections=document.values,
        warnings=(
            *warnings,
            *unknown_findings(document, plugin_sections),
            *unused_findings(document, values["prometheus"], values["otel"]),
        ),
        locations=document.locations(),
        secrets=secrets,
        **values,
    )


def _overlay(document: Document, file: Path | None, warnings: list[Finding]) -> None:
    """Apply ``CONFIG_PATH``: each section of that file replaces the existing one, with what variables have set in it."""
    if file is None:
        return
    try:
        overlay = Document(file)
    except SettingsError as error:
        raise SettingsError(
            f"{error.message} ({CONFIG_PATH} names this file.)", str(file), error.line
        ) from None
    document.overlay(overlay)
    if overlay.get(ENV_MAPPINGS) is not None:
        warnings.append(document.warning(f"{ENV_MAPPINGS}: has no effect in the file of {CONFIG_PATH}"))


def _converted(section: Any, type_: type[Struct], name: str, found: list[SettingsError]) -> Any:
    errors = section_errors(section, type_, name)
    found += errors
    return type_() if errors else convert_section(section, type_, name, strict=False)
