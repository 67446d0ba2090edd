"""The configuration ``sidecar_config.json``, written by the server for a pod, by ``evalhub server start`` for a workstation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import SplitResult, urlsplit

import msgspec
from msgspec import Struct

from evalhub_common.durations import Duration
from evalhub_common.registry_realms import DOCKER_HUB_REALMS
from evalhub_common.urls import split_http_url
from evalhub_sidecar.errors import ConfigError

T = TypeVar("T")

UPSTREAM_TIMEOUT = Duration(30)
MODEL_TIMEOUT = Duration(300)
TOKEN_CACHE = Duration(300)


class Local(Struct, kw_only=True, frozen=True):
    """Cache of the jobs' models: lifetime of an entry, and interval of removing expired ones."""

    job_cache_sweep_interval: Duration = Duration(5400)
    job_cache_entry_ttl: Duration = Duration(7200)


class EvalHub(Struct, kw_only=True, frozen=True):
    """The EvalHub server. ``token``, if given, is sent instead of the pod's own; on a workstation, to look up jobs only."""

    base_url: str = ""
    ca_cert_path: str = ""
    insecure_skip_verify: bool = False
    http_timeout: Duration | None = None
    token: str = ""
    token_cache_timeout: Duration | None = None


class Mlflow(Struct, kw_only=True, frozen=True):
    """The MLflow tracking server."""

    tracking_uri: str = ""
    token_path: str = ""
    ca_cert_path: str = ""
    insecure_skip_verify: bool = False
    http_timeout: Duration | None = None
    token_cache_timeout: Duration | None = None


class Oci(Struct, kw_only=True, frozen=True):
    """The registry that a job exports to; host and repository are in ``job.json``.

    ``allowed_realms`` are hosts of token servers that get its credentials although they are of another domain.
    """

    ca_cert_path: str = ""
    insecure_skip_verify: bool = False
    http_timeout: Duration | None = None
    allowed_realms: tuple[str, ...] = DOCKER_HUB_REALMS


class Model(Struct, kw_only=True, frozen=True):
    """The model under test. ``auth_secret_mount_path`` is the directory with its credentials.

    With ``sa_token_hosts`` (even an empty list), the pod's own token is sent to cluster-local hosts and these hosts only.
    """

    url: str = ""
    auth_secret_mount_path: str = ""
    http_timeout: Duration | None = None
    insecure_skip_verify: bool = False
    sa_token_hosts: tuple[str, ...] | None = None


class InitContainer(Struct, kw_only=True, frozen=True):
    """``is_git_job``: the init program has recorded the commit of its data, which is added to events. Also true for Hugging Face."""

    is_git_job: bool = False


class Samples(Struct, kw_only=True, frozen=True):
    """Where the adapter leaves samples, a file, and artifacts, a directory; and the attempt and tenant of its benchmark."""

    path: str
    artifacts_path: str = ""
    attempt: int = 1
    tenant: str = ""


class SidecarConfig(Struct, kw_only=True, frozen=True):
    """The whole file. ``base_url`` is the sidecar's own URL."""

    base_url: str
    local_mode: bool = False
    local: Local | None = None
    eval_hub: EvalHub | None = None
    mlflow: Mlflow | None = None
    oci: Oci | None = None
    model: Model | None = None
    init_container: InitContainer | None = None
    samples: Samples | None = None

    @property
    def address(self) -> SplitResult:
        """The parts of ``base_url``, host and port included."""
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
    required = "must be an http or https address with a host" + (" and a port" if needs_port else "")
    parts = split_http_url(url)
    if parts is None or (needs_port and parts.port is None):
        raise ConfigError(f"{file}: {key}: {required}, such as http://localhost:8080, is {url!r}")


def _decode(type_: type[Any], value: Any) -> Any:
    if type_ is Duration:
        return Duration.parse(value)
    raise NotImplementedError(type_)
