"""``sidecar_config.json``: written by the server for each pod, by ``evalhub server start`` for a workstation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct

from evalhub_sidecar.durations import Duration
from evalhub_sidecar.errors import ConfigError

T = TypeVar("T")

UPSTREAM_TIMEOUT = Duration(30)
MODEL_TIMEOUT = Duration(300)
TOKEN_CACHE = Duration(300)


class Local(Struct, kw_only=True, frozen=True):
    """How long what is known of a job's model is kept, and how often what is older is dropped."""

    job_cache_sweep_interval: Duration = Duration(5400)
    job_cache_entry_ttl: Duration = Duration(7200)


class EvalHub(Struct, kw_only=True, frozen=True):
    """The server. ``token``, if given, is sent instead of the pod's own."""

    base_url: str = ""
    ca_cert_path: str = ""
    insecure_skip_verify: bool = False
    http_timeout: Duration | None = None
    token: str = ""
    token_cache_timeout: Duration | None = None


class Mlflow(Struct, kw_only=True, frozen=True):
    """The tracking server."""

    tracking_uri: str = ""
    token_path: str = ""
    ca_cert_path: str = ""
    insecure_skip_verify: bool = False
    http_timeout: Duration | None = None
    token_cache_timeout: Duration | None = None


class Oci(Struct, kw_only=True, frozen=True):
    """The registry that a job exports to; its host and repository stand in ``job.json``."""

    ca_cert_path: str = ""
    insecure_skip_verify: bool = False
    http_timeout: Duration | None = None


class Model(Struct, kw_only=True, frozen=True):
    """The model under test. ``auth_secret_mount_path`` is the directory with its credentials.

    With ``sa_token_hosts`` (even an empty list), the pod's own token goes to cluster-local hosts and to these only.
    """

    url: str = ""
    auth_secret_mount_path: str = ""
    http_timeout: Duration | None = None
    insecure_skip_verify: bool = False
    sa_token_hosts: tuple[str, ...] | None = None


class InitContainer(Struct, kw_only=True, frozen=True):
    """``is_git_job``: the init program has left the commit of its data, for events to carry. True for Hugging Face, too."""

    is_git_job: bool = False


class SidecarConfig(Struct, kw_only=True, frozen=True):
    """All of it. ``base_url`` is where adapters reach the sidecar."""

    base_url: str
    local_mode: bool = False
    local: Local | None = None
    eval_hub: EvalHub | None = None
    mlflow: Mlflow | None = None
    oci: Oci | None = None
    model: Model | None = None
    init_container: InitContainer | None = None

    @property
    def address(self) -> SplitResult:
        """``base_url`` in its parts; it has a host and a port."""
        return urlsplit(self.base_url)


def read_config(file: Path) -> SidecarConfig:
    """Raises :class:`ConfigError`."""
    try:
        config = decode_json(file.read_bytes(), SidecarConfig)
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read: {error.strerror}. Name the configuration with -sidecarconfig FILE."
        ) from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: {error}") from None
    _check_url(file, "base_url", config.base_url, needs_port=True)
    _check_url(file, "eval_hub.base_url", config.eval_hub.base_url if config.eval_hub else "")
    if config.mlflow and config.mlflow.tracking_uri:
        _check_url(file, "mlflow.tracking_uri", config.mlflow.tracking_uri)
    if config.model and config.model.url:
        _check_url(file, "model.url", config.model.url)
    return config


def decode_json(text: bytes, type_: type[T]) -> T:
    """Raises :class:`msgspec.MsgspecError`."""
    return msgspec.json.decode(text, type=type_, dec_hook=_decode)


def _check_url(file: Path, key: str, url: str, *, needs_port: bool = False) -> None:
    wanted = "must be an http or https address with a host" + (" and a port" if needs_port else "")
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
        good = good and (parts.port is not None or not needs_port)
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"{file}: {key}: {wanted}, such as http://localhost:8080, is {url!r}")


def _decode(type_: type[Any], value: Any) -> Any:
    if type_ is Duration:
        return Duration.parse(value)
    raise NotImplementedError(type_)
