"""What the tests of exporters share: flags, the target, an exporter for each test, and the delivery of its exports."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from evalhub_server.domain.outbox import PendingExport, with_pending_exports
from evalhub_server.domain.record import ExportOutcome, JobRecord, OutboxEntry, with_changes
from evalhub_server.models.common import State
from evalhub_server.plugins.export import Exporter
from evalhub_server.testing.builders import a_finished_job
from evalhub_server.testing.contract import Contract

JOB_SECRET = "password-in-the-model-url"  # noqa: S105  of a test
Change = tuple[JobRecord | None, JobRecord]


def before_the_end(job: JobRecord) -> JobRecord:
    """Return the job as it was while it ran."""
    running = tuple(
        msgspec.structs.replace(each, state=State.RUNNING, result=None, completed_at="")
        for each in job.benchmarks
    )
    return with_changes(job, state=State.RUNNING, test=None, benchmarks=running, updated_at=job.created_at)


def with_score(job: JobRecord, score: float) -> JobRecord:
    """Return a finished job with another outcome, as when a result replaces a failure."""
    other = a_finished_job(score=score)
    return with_changes(job, benchmarks=other.benchmarks, test=other.progress.test)


@pytest.mark.asyncio
class ExporterCase(Contract):
    """A base class of ``ExporterContract``."""

    on_request = True
    """False for an exporter that no job requests, such as one of messages about all jobs."""

    at_end_only = True
    """False for an exporter that exports other changes than the end of a job and of its outcome."""

    can_refuse = True
    """False if its target never refuses an export for good; then :meth:`refusing` is not needed."""

    secrets: Sequence[str] = ()
    """What it must not show: the secrets in its settings, in its target and in what it sends to identify itself."""

    def make_exporter(self, directory: Path) -> Exporter:
        """Return an exporter of the test's target. A second call stands for a restart of the server."""
        raise NotImplementedError("return the exporter")

    def requested(self, job: JobRecord) -> JobRecord:
        """Return the job with a request for this export. The default is for exporters without ``on_request``."""
        if self.on_request:
            raise NotImplementedError("return the job with the export in job.request.exports")
        return job

    async def exported(self, job: JobRecord) -> Mapping[str, object]:
        """Return what the target has of the job, by identity: files by path, messages by id, artifacts by tag.

        Values are the contents, in any type that can be compared.
        """
        raise NotImplementedError("return what the target has of the job")

    def unavailable(self) -> AbstractContextManager[object]:
        """Return a context manager within which the target does not respond, or responds with temporary errors."""
        raise NotImplementedError("return a context manager that makes the target unavailable")

    def refusing(self) -> AbstractContextManager[object]:
        """Return a context manager within which the target refuses exports for good."""
        raise NotImplementedError("return a context manager, or set can_refuse = False")

    def change(self) -> Change:
        """Return a change that requires an export, of a new job: before and after. By default the job ends."""
        job = self.requested(a_finished_job(tenant="team-a"))
        return before_the_end(job), job

    @pytest_asyncio.fixture
    async def exporter(self, tmp_path: Path) -> AsyncGenerator[Exporter]:
        exporter = self.make_exporter(tmp_path)
        await self.soon(exporter.check())
        yield exporter
        await self.soon(exporter.close())

    def pending(self, exporter: Exporter, change: Change) -> Sequence[OutboxEntry]:
        """Return what the outbox has to deliver after a change."""
        before, after = change
        events = exporter.events(before, after)
        assert events, "events() returned nothing for a change that requires an export"
        exports = [PendingExport(kind="exporter", name=exporter.name, event=event) for event in events]
        return with_pending_exports(after, exports).progress.outbox

    async def deliver(self, exporter: Exporter, change: Change) -> list[ExportOutcome]:
        """Export as the server does: what the change requires, one after the other."""
        return [await self.soon(exporter.export(change[1], each)) for each in self.pending(exporter, change)]

    async def error_of(self, exporter: Exporter, job: JobRecord, entry: OutboxEntry) -> Exception:
        """Return what an export raises."""
        try:
            outcome = await self.soon(exporter.export(job, entry))
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001  any exception is a failure of the export
            return error
        raise AssertionError(f"export() reported success while it could not succeed: {outcome}")
