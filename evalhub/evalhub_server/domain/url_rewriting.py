"""Adapters that talk through a sidecar put its address into their messages; people want the real ones."""

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
"""What lets a job's adapters in; not for people."""


class SidecarUrls:
    """``base_url`` is the sidecar's, the others are whom it stands for; empty where there is nobody."""

    def __init__(self, base_url: str, eval_hub_url: str = "", mlflow_url: str = "") -> None:
        self.base_url = base_url.rstrip("/")
        self._eval_hub_url = eval_hub_url
        self._mlflow_url = mlflow_url

    @cached_property
    def _found(self) -> re.Pattern[str]:
        return re.compile(re.escape(self.base_url) + r"(?!\d)(?P<path>/[^\s'\"<>()\[\]{},;]*)?")

    def replaced(self, event: BenchmarkEvent, job: JobRecord) -> BenchmarkEvent:
        """The event with real addresses in its error and its warning; the same object if there is nothing to do."""
        error, warning = self._message(event.error_message, job), self._message(event.warning_message, job)
        if error is event.error_message and warning is event.warning_message:
            return event
        return replace(event, error_message=error, warning_message=warning)

    def _message(self, message: Message | None, job: JobRecord) -> Message | None:
        if message is None or self.base_url not in message.message:
            return message
        text = self._found.sub(lambda match: self._real(match["path"] or "", job), message.message)
        return replace(message, message=text)

    def _real(self, path: str, job: JobRecord) -> str:
        """Where the sidecar sends this path; the path alone if nobody knows."""
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
