"""Contract tests for what arrives in an exporter's target; a part of ``ExporterContract``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from evalhub_server.domain.record import with_changes
from evalhub_server.errors import ExportRefused
from evalhub_server.models.common import State
from evalhub_server.models.job import Exports
from evalhub_server.plugins.export import Exporter
from evalhub_server.testing.builders import a_finished_job
from evalhub_server.testing.contract import TURNS
from evalhub_server.testing.exporter_case import ExporterCase, before_the_end, with_score


@pytest.mark.asyncio
class ExporterOutcomeContract(ExporterCase):
    """A base class of ``ExporterContract``."""

    async def test_it_can_be_closed_before_it_was_checked(self, tmp_path: Path) -> None:
        """The server closes it after a check that failed."""
        await self.soon(self.make_exporter(tmp_path).close())

    async def test_requests_of_other_exporters_are_ignored(self, exporter: Exporter) -> None:
        if not self.on_request:
            pytest.skip("on_request = False: no job requests it")
        job = a_finished_job()
        request = msgspec.structs.replace(job.request, exports=Exports(others={"no-such-exporter": {}}))
        job = with_changes(job, request=request)
        requested = exporter.is_requested(job)
        assert requested is False, "is_requested() for a job that requests another exporter only"

    async def test_nothing_is_exported_before_the_end(self, exporter: Exporter) -> None:
        if not self.at_end_only:
            pytest.skip("at_end_only = False: it exports other changes, too")
        ended = self.requested(a_finished_job())
        running = before_the_end(ended)
        pending = with_changes(running, state=State.PENDING)
        for before, after in (
            (None, pending),
            (pending, running),
            (running, with_changes(running, pinned=True)),
        ):
            events = list(exporter.events(before, after))
            assert not events, (
                f"events of a job that is {after.state} and has no results: {events}; set at_end_only = False if intended"
            )

    async def test_every_ended_job_is_exported(self, exporter: Exporter) -> None:
        """Also one that failed, was cancelled, or has no results."""
        before, finished = self.change()
        if exporter.events(before, finished) != exporter.events(
            before, with_changes(finished, state=State.FAILED)
        ):
            pytest.skip("its events depend on the state")
        without = tuple(msgspec.structs.replace(each, result=None) for each in finished.benchmarks)
        for state in (State.FAILED, State.CANCELLED, State.PARTIALLY_FAILED):
            before, after = self.change()
            for benchmarks in (after.benchmarks, without):
                job = with_changes(after, state=state, benchmarks=benchmarks, test=None)
                try:
                    for entry in self.pending(exporter, (before, after)):
                        await self.soon(exporter.export(job, entry))
                except Exception as error:
                    raise AssertionError(f"the export of a job that is {state} raised {error!r}") from error
                assert await self.soon(self.exported(job)), f"nothing has arrived of a job that is {state}"

    async def test_concurrent_exports_are_not_mixed_up(self, exporter: Exporter) -> None:
        changes = [
            (before, with_score(after, n / 8))
            for n, (before, after) in enumerate(self.change() for _ in range(5))
        ]
        await asyncio.gather(*(self.deliver(exporter, change) for change in changes))
        together = [dict(await self.soon(self.exported(after))) for _, after in changes]
        for change in changes:
            await self.deliver(exporter, change)
        alone = [dict(await self.soon(self.exported(after))) for _, after in changes]
        assert together == alone, "exports of concurrent jobs differ from those that are repeated one by one"

    async def test_a_small_change_of_a_score_arrives(self, exporter: Exporter) -> None:
        before, after = self.change()
        await self.deliver(exporter, (before, with_score(after, 0.75)))
        earlier = dict(await self.soon(self.exported(after)))
        for entry in self.pending(exporter, (before, after)):
            again = msgspec.structs.replace(entry, revision=entry.revision + 1)
            await self.soon(exporter.export(with_score(after, 0.7500001), again))
        found = dict(await self.soon(self.exported(after)))
        assert found != earlier, "the target has a score of 0.75 after it had changed to 0.7500001"

    async def test_an_outage_during_an_export_leaves_no_half(self, exporter: Exporter) -> None:
        for turns in TURNS:
            change = self.change()
            (entry, *_) = self.pending(exporter, change)
            task = asyncio.ensure_future(self.soon(exporter.export(change[1], entry)))
            for _ in range(turns):
                await asyncio.sleep(0)
            with self.unavailable():
                (result,) = await asyncio.gather(task, return_exceptions=True)
            refused = isinstance(result, ExportRefused)
            assert not refused, f"refused for good while the target was down after {turns} turns: {result}"
            found = dict(await self.soon(self.exported(change[1])))
            await self.deliver(exporter, change)
            complete = dict(await self.soon(self.exported(change[1])))
            if not isinstance(result, BaseException):
                assert found == complete, (
                    f"export() reported success during an outage after {turns} turns: {found}"
                )
            assert complete, f"a retry after an outage after {turns} turns did not arrive"

    async def test_the_deletion_of_a_job_leaves_the_exports_of_others(self, exporter: Exporter) -> None:
        change = self.change()
        await self.deliver(exporter, change)
        once = dict(await self.soon(self.exported(change[1])))
        await self.soon(exporter.job_deleted(self.change()[1]))
        found = dict(await self.soon(self.exported(change[1])))
        assert found == once, "job_deleted() has changed the export of another job"
