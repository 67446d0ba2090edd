"""Service for the exports of jobs: validation, retries at the request of clients, and runs of deleted jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack

import msgspec

from evalhub_server.domain import problems
from evalhub_server.domain.oci_coordinates import coordinates_fault
from evalhub_server.domain.outbox import retried
from evalhub_server.domain.record import JobRecord, OutboxEntry
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.open_runs import OpenRuns
from evalhub_server.engine.outbox_targets import ExportTargets
from evalhub_server.errors import StorageError
from evalhub_server.models.job import JobRequest
from evalhub_server.plugins.sections import readable
from evalhub_server.plugins.tracking import Tracker

KIND = "evaluation job"


class ExportService:
    """Raises :class:`ApiError`. ``requests`` are the types of ``exports.<name>`` by exporter.

    ``is_target(kind, name)``: whether a tracker or exporter is selected.
    """

    def __init__(
        self,
        store: JobStore,
        requests: Mapping[str, type[msgspec.Struct]],
        is_target: Callable[[str, str], bool],
        open_runs: OpenRuns,
    ) -> None:
        self._store = store
        self._requests = requests
        self._is_target = is_target
        self._open_runs = open_runs

    def check(self, request: JobRequest) -> None:
        """Validate what a job requests: OCI coordinates, and what exporters declare a type for."""
        oci = request.exports.oci if request.exports else None
        if oci and oci.coordinates and (fault := coordinates_fault(oci.coordinates)):
            raise problems.validation_failed(fault)
        for name, value in (request.exports.others if request.exports else {}).items():
            if (type_ := self._requests.get(name)) is None:
                continue
            try:
                msgspec.convert(value, type_)
            except msgspec.ValidationError as error:
                raise problems.validation_failed(readable(str(error), f"exports.{name}")) from None

    async def retry(self, job_id: str, identity: Identity) -> Sequence[OutboxEntry]:
        """Send failed exports again; returns all that are pending now."""

        def again(job: JobRecord) -> JobRecord:
            after = retried(job, self._is_target)
            unfinished = [entry for entry in after.progress.outbox if entry.state != "succeeded"]
            if unfinished and all(entry.state == "failed" for entry in unfinished):
                raise problems.exports_not_retried(job_id, unfinished[0].kind, unfinished[0].name)
            return after

        try:
            job = await self._store.update(job_id, identity.scope, again, with_exports=False)
        except StorageError as error:
            raise problems.from_storage(KIND, job_id, error) from error
        return [entry for entry in job.progress.outbox if entry.state == "pending"]

    async def end_runs(self, job: JobRecord) -> None:
        """End the runs of a job that is being deleted, or leave that to the background."""
        await self._open_runs.end(job)


def open_exports(
    stack: AsyncExitStack,
    store: JobStore,
    requests: Mapping[str, type[msgspec.Struct]],
    targets: ExportTargets,
    trackers: Sequence[Tracker],
) -> ExportService:
    """The service of a server, whose background tasks end with ``stack``."""
    open_runs = OpenRuns(trackers)
    stack.push_async_callback(open_runs.close)
    return ExportService(store, requests, targets.selected, open_runs)
