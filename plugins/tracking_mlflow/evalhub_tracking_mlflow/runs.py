"""The MLflow run of a finished job. It is found again by its tags, so recording it is idempotent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import structlog
from msgspec import Struct

from evalhub_tracking_mlflow.client import API, Client, MlflowError
from evalhub_tracking_mlflow.content import JOB_ID, RunContent

T = TypeVar("T")

log = structlog.get_logger()

ARTIFACTS = "/api/2.0/mlflow-artifacts/artifacts"
PROXIED = "mlflow-artifacts"
UPLOAD = "/ajax-api/2.0/mlflow/upload-artifact"
"""The endpoint of MLflow's user interface: the server writes the file to the run's artifact store."""

PARENT = "mlflow.parentRunId"
BATCH = 100
"""MLflow's limit for params and tags in one request; for metrics it is ten times as high."""
MAX_FOUND = 10


class RunInfo(Struct):
    """The part of MLflow's run info that is read; ``start_time`` is in milliseconds."""

    run_id: str
    artifact_uri: str = ""
    status: str = ""
    start_time: int = 0


class _Run(Struct):
    info: RunInfo


class _Created(Struct):
    run: _Run


class _Found(Struct):
    runs: list[_Run] = []


class Runs:
    """Creates and updates the runs of finished jobs."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def record(
        self,
        experiment_id: str,
        content: RunContent,
        key_tags: dict[str, str],
        files: dict[str, bytes],
        workspace: str,
        known: str = "",
    ) -> str:
        """Create the run, or update the existing one, and return its id. Raises :class:`MlflowError`.

        ``known`` is the id of the run of an earlier recording.
        """
        run = await self._find(experiment_id, content, key_tags, workspace, known)
        if run is None:
            created = await self._create(experiment_id, content, key_tags, workspace)
            run = await self._find(experiment_id, content, key_tags, workspace, known) or created
        await self._log(run.run_id, content, workspace)
        for name, data in files.items():
            await self._upload(run, name, data, workspace)
        for adapter_run in content.adapter_runs:
            await self._adopt(run.run_id, adapter_run, workspace)
        # Last, so that a run with an end is complete.
        end = {
            "run_id": run.run_id,
            "status": content.status,
            "end_time": content.end_ms,
            "run_name": content.name,
        }
        await self._post("runs/update", end, dict[str, Any], workspace)
        return run.run_id

    async def settle(
        self, experiment_id: str, content: RunContent, key_tags: dict[str, str], workspace: str, known: str
    ) -> None:
        """Delete the runs of the job besides ``known``. Raises :class:`MlflowError`."""
        await self._find(experiment_id, content, key_tags, workspace, known)

    async def end(
        self, experiment_id: str, content: RunContent, key_tags: dict[str, str], workspace: str
    ) -> None:
        """End the run of a deleted job, incomplete as it is, if there is one and it is open. Raises :class:`MlflowError`."""
        run = await self._find(experiment_id, content, key_tags, workspace)
        if run is not None and run.status == "RUNNING":
            end = {"run_id": run.run_id, "status": "KILLED", "end_time": content.end_ms}
            await self._post("runs/update", end, dict[str, Any], workspace)
            log.info("MLflow run of a deleted job ended", job_id=key_tags[JOB_ID], run_id=run.run_id)

    async def _find(
        self,
        experiment_id: str,
        content: RunContent,
        key_tags: dict[str, str],
        workspace: str,
        known: str = "",
    ) -> RunInfo | None:
        """The run of the job. There are duplicates if MLflow executed a create request after the client's timeout or
        death: the ``known`` one, or that with the earliest start, remains, and the others are deleted."""
        # Ids and constants, without quotes.
        terms = [f"tags.`{key}` = '{value}'" for key, value in key_tags.items()]
        query = {
            "experiment_ids": [experiment_id],
            "filter": " and ".join(terms),
            "max_results": MAX_FOUND,
            "order_by": ["attributes.start_time ASC"],
        }
        found = [run.info for run in (await self._post("runs/search", query, _Found, workspace)).runs]
        if not found:
            return None
        kept = next((run for run in found if run.run_id == known), found[0])
        for run in found:
            if (
                run is not kept and run.start_time == content.start_ms
            ):  # created here, and not a copy by a user
                await self._post("runs/delete", {"run_id": run.run_id}, dict[str, Any], workspace)
                log.warning("Duplicate MLflow run deleted", run_id=run.run_id, kept=kept.run_id)
        return kept

    async def _create(
        self, experiment_id: str, content: RunContent, key_tags: dict[str, str], workspace: str
    ) -> RunInfo:
        body = {
            "experiment_id": experiment_id,
            "run_name": content.name,
            "start_time": content.start_ms,
            "tags": _pairs(key_tags.items()),
        }
        created = await self._post("runs/create", body, _Created, workspace)
        log.info("MLflow run created", job_id=key_tags[JOB_ID], run_id=created.run.info.run_id)
        return created.run.info

    async def _log(self, run_id: str, content: RunContent, workspace: str) -> None:
        metrics = [
            {"key": key, "value": value, "timestamp": content.end_ms, "step": 0}
            for key, value in content.metrics.items()
        ]
        for kind, items, size in (
            ("params", _pairs(content.params.items()), BATCH),
            ("tags", _pairs(content.tags.items()), BATCH),
            ("metrics", metrics, 10 * BATCH),
        ):
            for batch in _batches(items, size):
                await self._post("runs/log-batch", {"run_id": run_id, kind: batch}, dict[str, Any], workspace)

    async def _upload(self, run: RunInfo, name: str, data: bytes, workspace: str) -> None:
        uri = urlsplit(run.artifact_uri)
        if uri.scheme == PROXIED:
            folder = uri.path.partition(ARTIFACTS)[2] if ARTIFACTS in uri.path else uri.path
            path = f"{ARTIFACTS}/{quote(folder.strip('/'))}/{quote(name)}"
            await self._client.upload("PUT", path, data, {}, workspace=workspace)
        else:
            query = {"run_uuid": run.run_id, "path": name}
            await self._client.upload("POST", UPLOAD, data, query, workspace=workspace)

    async def _adopt(self, run_id: str, adapter_run: str, workspace: str) -> None:
        """Link an adapter's run to the job's as its child. The id may be invalid, or of another tracking server."""
        if adapter_run == run_id:
            return
        try:
            tag = {"run_id": adapter_run, "key": PARENT, "value": run_id}
            await self._post("runs/set-tag", tag, dict[str, Any], workspace)
        except MlflowError as error:
            if error.status == 0 or error.status >= 500:
                raise
            log.info("Run of an adapter not linked", run_id=adapter_run, error=str(error))

    async def _post(self, path: str, body: dict[str, Any], type_: type[T], workspace: str) -> T:
        return await self._client.post(f"{API}/{path}", body, type_, workspace=workspace)


def _pairs(items: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value} for key, value in items]


def _batches(items: list[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
