"""The configuration: files, environment and flags made into one frozen value.

Precedence, weakest first: defaults, ``config.yaml``, environment variables, command line.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml
from msgspec import Struct, field

from evalhub_server.errors import SettingsError
from evalhub_server.plugins.sections import Duration, convert_section, unknown_keys

MIB = 1024 * 1024
MOST_YAML_VALUES = 200_000

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
    "METRICS_PORT": "prometheus.port",
    "METRICS_HOST": "prometheus.host",
}
"""Variables that work with any configuration file; ``env_mappings`` in the file adds others."""

SECRET_VARIABLES = frozenset({"DB_URL", "EVALHUB_TOKEN"})
"""Variables with secrets of the server's own, which no adapter inherits."""


class ServiceSettings(Struct, kw_only=True, frozen=True):
    """``service:`` the HTTP server. Port 0 takes a free one.

    ``allowed_hosts`` and ``allowed_origins``: names that clients may use for this server, and web pages that may use
    it, beside those of this computer. ``auth_token_file``: a file with a token that every request must carry.
    """

    host: str = ""
    port: int = 8080
    tls_cert_file: str = ""
    tls_key_file: str = ""
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    auth_token_file: str = ""
    idle_timeout: Duration = Duration(60)
    max_request_body_bytes: int = 10 * MIB
    max_log_response_bytes: int = 50 * MIB
    log_stream_timeout: Duration = Duration(300)


class PluginSettings(Struct, kw_only=True, frozen=True):
    """``plugins:`` which implementations are used. Empty means: what the mode and the sections suggest."""

    runtime: str = ""
    storage: str = ""
    trackers: tuple[str, ...] = ()
    exporters: tuple[str, ...] = ()


class SupervisorSettings(Struct, kw_only=True, frozen=True):
    """``supervisor:`` how long things may take. 0 switches a deadline off.

    ``exit_grace``: how long a result may still be on its way after the adapter has ended. ``stop_grace``: between
    asking an adapter to end and forcing it. ``start_timeout``: from launch to the first report. ``run_timeout``:
    from launch to the result. ``linger``: how long an adapter may stay alive after it has reported its result.
    """

    exit_grace: Duration = Duration(1)
    stop_grace: Duration = Duration(10)
    start_timeout: Duration = Duration(0)
    run_timeout: Duration = Duration(7 * 24 * 3600)
    linger: Duration = Duration(120)


class Settings(Struct, kw_only=True, frozen=True):
    """Everything that the server was told.

    ``sections`` is the whole parsed configuration, from which each plugin takes its own section. ``warnings`` are
    for the log: the configuration works, but something in it has no effect.
    """

    local: bool
    config_file: Path
    providers_dir: Path
    collections_dir: Path
    data_dir: Path | None = None
    log_level: str = "info"
    service: ServiceSettings = ServiceSettings()
    plugins: PluginSettings = PluginSettings()
    supervisor: SupervisorSettings = SupervisorSettings()
    sections: dict[str, Any] = field(default_factory=dict[str, Any])
    warnings: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Address to bind."""
        return self.service.host or "127.0.0.1"

    def callback_url(self, port: int) -> str:
        """Where adapters on this host reach the server: never a wildcard address."""
        host = self.service.host or "localhost"
        if host in ("0.0.0.0", "::", "[::]"):  # noqa: S104  compared, not bound
            host = "localhost"
        elif ":" in host and not host.startswith("["):
            host = f"[{host}]"
        return f"{'https' if self.service.tls_cert_file else 'http'}://{host}:{port}"


_SECTIONS: Mapping[str, type[Struct]] = {
    "service": ServiceSettings,
    "plugins": PluginSettings,
    "supervisor": SupervisorSettings,
}


def bundled_config_dir() -> Path:
    """The configuration that comes with the distribution: package data, or ``config/`` of a checkout."""
    here = Path(__file__).parent
    packaged = here / "config"
    return packaged if packaged.is_dir() else here.parents[1] / "config"


def load_settings(
    *,
    local: bool,
    configdir: Path | None = None,
    data_dir: Path | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Read the configuration.

    Raises:
        SettingsError: a file is missing or malformed or a value is wrong; the text names file, key path and fix.
    """
    file = _config_file(configdir, environ)
    sections = _read_yaml(file)
    _apply_environment(sections, environ, file)
    warnings: list[str] = []
    values: dict[str, Any] = {}
    try:
        for name, type_ in _SECTIONS.items():
            values[name] = convert_section(sections.get(name), type_, name, strict=False)
            warnings += [
                f"{file}: {key}: unknown key{hint}, ignored" for key, hint in _unknown(sections, name)
            ]
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from None
    _check_service(values["service"], file)
    data = data_dir or _path(environ.get("EVALHUB_DATA_DIR"))
    return Settings(
        local=local,
        config_file=file,
        providers_dir=_folder(file, "providers"),
        collections_dir=_folder(file, "collections"),
        data_dir=data.expanduser().absolute() if data else None,
        log_level=environ.get("LOG_LEVEL", "info").lower(),
        sections=sections,
        warnings=tuple(warnings),
        **values,
    )


def _config_file(configdir: Path | None, environ: Mapping[str, str]) -> Path:
    explicit = configdir or _path(environ.get("EVAL_HUB_CONFIG_DIR"))
    if explicit is not None:
        file = explicit / "config.yaml"
        if not explicit.is_dir():
            raise SettingsError(
                f"{explicit}: no such directory. Give --configdir a directory with a config.yaml."
            )
        if not file.is_file():
            raise SettingsError(
                f"{explicit}: no config.yaml in this directory. Add one, or leave --configdir out to run with the "
                f"bundled configuration ({bundled_config_dir()})."
            )
        return file
    beside = Path("config/config.yaml").absolute()
    return beside if beside.is_file() else bundled_config_dir() / "config.yaml"


def _read_yaml(file: Path) -> dict[str, Any]:
    parsed = read_yaml(file)
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise SettingsError(f"{file}: expected sections such as 'service:', found a {type(parsed).__name__}.")
    return cast("dict[str, Any]", parsed)


def read_yaml(file: Path) -> Any:
    """Parse a YAML file. Raises :class:`SettingsError` naming the file, the line and what is wrong there."""
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read: {error}") from None
    loader = getattr(
        yaml, "CSafeLoader", yaml.SafeLoader
    )  # the C one is five times as fast, and not everywhere
    try:
        parsed = yaml.load(text, Loader=loader)  # noqa: S506  both are safe loaders
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    _check_values(parsed, file)
    return parsed


def _check_values(parsed: Any, file: Path) -> None:
    """Refuse what JSON cannot say, and documents that a few aliases blow up (or that contain themselves)."""
    waiting: list[Any] = [parsed]
    seen = 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > MOST_YAML_VALUES:
            raise SettingsError(
                f"{file}: more than {MOST_YAML_VALUES} values; do its aliases repeat too much?"
            )
        if isinstance(value, dict):
            waiting.extend(cast("dict[Any, Any]", value).values())
        elif isinstance(value, list):
            waiting.extend(cast("list[Any]", value))
        elif isinstance(value, float) and not math.isfinite(value):
            raise SettingsError(f"{file}: {value} is not a number that JSON has; remove it.")


def _apply_environment(sections: dict[str, Any], environ: Mapping[str, str], file: Path) -> None:
    own: Any = sections.get("env_mappings") or {}
    if not isinstance(own, dict):
        raise SettingsError(
            f"{file}: env_mappings: expected a map of variable to key, such as PORT: service.port."
        )
    mappings = {**ENVIRONMENT, **{str(k).upper(): str(v) for k, v in cast("dict[Any, Any]", own).items()}}
    for variable, key in mappings.items():
        value = environ.get(variable, "")
        if not value:
            continue
        *parents, leaf = key.split(".")
        node: dict[str, Any] = sections
        for parent in parents:
            child: Any = node.get(parent)
            node[parent] = child = cast("dict[str, Any]", child) if isinstance(child, dict) else {}
            node = cast("dict[str, Any]", child)
        node[leaf] = value


def _unknown(sections: dict[str, Any], name: str) -> list[tuple[str, str]]:
    # Keys that the released server has and this one has no use for: not worth a warning.
    known_upstream = {
        "service.termination_file", "service.eval_init_image", "service.local_mode", "service.read_timeout",
        "service.write_timeout", "service.read_header_timeout", "service.max_header_bytes",
    }  # fmt: skip
    found = unknown_keys(sections.get(name), _SECTIONS[name], name)
    return [(key, hint) for key, hint in found if key not in known_upstream]


def _check_service(service: ServiceSettings, file: Path) -> None:
    if not 0 <= service.port <= 65535:
        raise SettingsError(
            f"{file}: service.port: {service.port} is not a port; choose 1 to 65535, or 0 for a free one."
        )
    if bool(service.tls_cert_file) != bool(service.tls_key_file):
        raise SettingsError(f"{file}: service.tls_cert_file and service.tls_key_file: set both, or neither.")


def _folder(file: Path, name: str) -> Path:
    own = file.parent / name
    return own if own.is_dir() else bundled_config_dir() / name


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


__all__ = [
    "ENVIRONMENT",
    "SECRET_VARIABLES",
    "PluginSettings",
    "ServiceSettings",
    "Settings",
    "SupervisorSettings",
    "bundled_config_dir",
    "load_settings",
    "read_yaml",
]
