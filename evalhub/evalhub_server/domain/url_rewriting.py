"""Rewriting of sidecar URLs in adapters' messages to the URLs of the services behind the sidecar."""

from __future__ import annotations

import re
from functools import cached_property
from urllib.parse import urlsplit

from msgspec.structs import replace

from evalhub_server.domain.record import JobRecord
from evalhub_server.models.common import Message
from evalhub_server.models.event import BenchmarkEvent

MLFLOW_PATHS = ("/api/2.0/mlflow", "/api/3.0/mlflow", "/api/2.0/mlflow-artifacts")

_CALLBACK_TOKEN = re.compile(r"\A/callback/[^/]+(?=/api/v1/evaluations/)")
"""The path prefix that authenticates an adapter's callbacks; it must not appear in messages."""


class SidecarUrls:
    """The URLs of a sidecar and of the services behind it; an empty URL means no such service."""

    def __init__(self, base_url: str, eval_hub_url: str = "", mlflow_url: str = "") -> None:
        self.base_url = base_url.rstrip("/")
        self._eval_hub_url = eval_hub_url
        self._mlflow_url = mlflow_url

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.base_url) + r"(?!\d)(?P<path>/[^\s'\"<>()\[\]{},;]*)?")

    def rewrite(self, event: BenchmarkEvent, job: JobRecord) -> BenchmarkEvent:
        """Return the event with rewritten error and warning messages; the same object if nothing changes."""
        error, warning = (
            self._rewritten(event.error_message, job),
            self._rewritten(event.warning_message, job),
        )
        if error is event.error_message and warning is event.warning_message:
            return event
        return replace(event, error_message=error, warning_message=warning)

    def _rewritten(self, message: Message | None, job: JobRecord) -> Message | None:
        if message is None or self.base_url not in message.message:
            return message
        text = self._pattern.sub(lambda match: self._target(match["path"] or "", job), message.message)
        return replace(message, message=text)

    def _target(self, path: str, job: JobRecord) -> str:
        """The URL to which the sidecar forwards ``path``; only the path if that is unknown."""
        path = _CALLBACK_TOKEN.sub("", path)
        if path.startswith("/api/v1/evaluations/"):
            return self._eval_hub_url.rstrip("/") + path
        if any(_below(path, prefix) for prefix in MLFLOW_PATHS):
            return self._mlflow_url.rstrip("/") + path
        oci = job.request.exports.oci if job.request.exports else None
        if oci is not None and oci.coordinates is not None:
            repository = f"/{oci.coordinates.oci_repository.strip('/')}"
            if _below(path, repository) or _below(path, f"/v2{repository}"):
                host = oci.coordinates.oci_host
                return (host.rstrip("/") if "://" in host else f"https://{host}") + path
        path = path.removeprefix(f"/model/{job.id}")
        model = urlsplit(job.request.model.url if job.request.model else "")
        return f"{model.scheme}://{model.netloc.rpartition('@')[2]}{path}" if model.netloc else path


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith((f"{prefix}/", f"{prefix}?"))
