"""Local runtime behind a sidecar: adapters report to the sidecar and reach the model through it.

Active with ``sidecar.local_mode: true`` and ``sidecar.base_url``, which ``evalhub server start`` sets. The sidecar
reads the real address of the model from a file in the job directory.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import replace

from evalhub_runtime_local.attempt_files import write_private
from evalhub_server.plugins import (
    JobSpec,
    Model,
    PluginContext,
    SidecarSettings,
    convert_section,
    find_section,
    problems,
)

JOB_INFO = "sidecar-job-info.json"
DEFAULT_MODEL_TIMEOUT_S = 300.0
NANOSECONDS = 1_000_000_000

_NOT_IN_A_URI = re.compile(r"[\x00-\x1f\x7f]|%(?![0-9A-Fa-f]{2})|^:")


class ModelInfo(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """``http_timeout`` is in nanoseconds."""

    url: str
    auth_secret_mount_path: str = ""
    http_timeout: int
    insecure_skip_verify: bool = False


class JobInfo(Struct, kw_only=True, frozen=True):
    """``sidecar-job-info.json``."""

    model: ModelInfo


class LocalSidecar(Struct, kw_only=True, frozen=True):
    """``base_url`` is the sidecar's address without a trailing slash; the rest is how it connects to models."""

    base_url: str
    model_timeout_s: float = DEFAULT_MODEL_TIMEOUT_S
    insecure_skip_verify: bool = False

    def check(self, model: Model | None) -> None:
        """Raise :class:`ApiError` for a credential reference that the sidecar could not read."""
        if model is not None and model.auth is not UNSET:
            secret_dir(model.auth.secret_ref)

    def rewrite(self, spec: JobSpec) -> JobSpec:
        """Return the specification with the addresses of callback and model replaced by the sidecar's."""
        model = spec.model
        if model.url:
            parts = urlsplit(model.url)
            query = f"?{parts.query}" if parts.query else ""
            model = replace(model, url=f"{self.base_url}/model/{spec.id}{parts.path}{query}")
        # The path holds the callback token, which authenticates the job's events where the server requires one.
        callback_url = self.base_url + urlsplit(spec.callback_url).path
        return replace(spec, callback_url=callback_url, model=model)

    def write_job_info(self, directory: Path, model: Model) -> Path:
        """Write the file from which the sidecar reads a job's model. Raises :class:`OSError`."""
        auth = model.auth
        info = ModelInfo(
            url=model.url,
            auth_secret_mount_path=secret_dir(auth.secret_ref) if auth is not UNSET else "",
            http_timeout=round(self.model_timeout_s * NANOSECONDS),
            insecure_skip_verify=self.insecure_skip_verify,
        )
        file = directory / JOB_INFO
        # Benchmarks of a job start concurrently, and the sidecar may be reading: replace the file in one step.
        temporary = file.with_name(f"{JOB_INFO}.{os.urandom(4).hex()}")
        write_private(str(temporary), msgspec.json.format(msgspec.json.encode(JobInfo(model=info)), indent=2))
        temporary.replace(file)
        return file


def local_sidecar(context: PluginContext) -> LocalSidecar | None:
    """Return the configured sidecar, or None."""
    section = find_section(context.sections, "sidecar")
    settings = convert_section(section, SidecarSettings, "sidecar", strict=False)
    if not (settings.local_mode and settings.base_url):
        return None
    timeout_s = settings.model.http_timeout
    return LocalSidecar(
        base_url=settings.base_url.rstrip("/"),
        model_timeout_s=DEFAULT_MODEL_TIMEOUT_S if timeout_s is None else timeout_s,
        insecure_skip_verify=settings.model.insecure_skip_verify,
    )


def secret_dir(secret_ref: str) -> str:
    """Return the path of a ``file:///path`` reference. Raises :class:`ApiError` for anything else."""
    parts = _split(secret_ref)
    path = unquote(parts.path)
    if parts.scheme != "file" or parts.netloc or not path.startswith("/") or "\0" in path:
        raise problems.invalid_secret_ref_uri(secret_ref)
    return path


def _split(secret_ref: str) -> SplitResult:
    found = _NOT_IN_A_URI.search(secret_ref)
    if found is not None:
        raise problems.invalid_secret_ref_uri_parse(secret_ref, f"{found[0]!r} is not allowed in it")
    try:
        return urlsplit(secret_ref)
    except ValueError as error:
        raise problems.invalid_secret_ref_uri_parse(secret_ref, str(error)) from None
