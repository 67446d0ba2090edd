"""The contract suite for exporters.

Subclass :class:`ExporterContract` in a test module, and define how to create the exporter and how to look into its target::

    class TestMyExporter(ExporterContract):
        secrets = ("token-of-the-target",)

        def make_exporter(self, directory: Path) -> Exporter:
            return MyExporter(self.target.url)

        def requested(self, job: JobRecord) -> JobRecord:
            return with_changes(job, request=replace(job.request, exports=Exports(others={"mine": {}})))

        ...

The target should be a real one, or a small server that behaves like it; start it in a fixture of the class. Requires pytest
and pytest-asyncio (in any mode).
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from structlog.testing import capture_logs

from evalhub_server.domain.record import ExportOutcome, with_changes
from evalhub_server.errors import ExportRefused
from evalhub_server.models.common import State
from evalhub_server.models.job import Model
from evalhub_server.plugins.export import Exporter
from evalhub_server.testing.builders import a_finished_job, a_job
from evalhub_server.testing.contract import TURNS, check_hidden
from evalhub_server.testing.exporter_case import JOB_SECRET, before_the_end, with_score
from evalhub_server.testing.exporter_outcome_contract import ExporterOutcomeContract
from evalhub_server.testing.filled_record import a_filled_job


@pytest.mark.asyncio
class ExporterContract(ExporterOutcomeContract):
    """The tests of an exporter. Subclass it under a name that pytest collects (``Test…``)."""

    # --- attributes, check and close

    async def test_it_has_a_name(self, exporter: Exporter) -> None:
        assert exporter.name, "its attribute name is empty"

    async def test_it_starts_while_the_target_is_unavailable(self, tmp_path: Path) -> None:
        exporter = self.make_exporter(tmp_path)
        with self.unavailable():
            try:
                await self.soon(exporter.check())
            except Exception as error:
                raise AssertionError(
                    f"check() failed although only the target is unavailable: {error!r}"
                ) from error
        await self.soon(exporter.close())

    async def test_closing_is_idempotent(self, exporter: Exporter) -> None:
        await self.deliver(exporter, self.change())
        await self.soon(exporter.close())
        await self.soon(exporter.close())

    # --- which changes require an export

    async def test_a_job_that_does_not_request_the_export_is_not_exported(self, exporter: Exporter) -> None:
        if not self.on_request:
            pytest.skip("on_request = False: no job requests it")
        job = a_finished_job()
        assert exporter.is_requested(self.requested(job)) is True
        assert exporter.is_requested(job) is False, "is_requested() for a job without this export"
        assert list(exporter.events(before_the_end(job), job)) == [], "events() of a job without this export"

    async def test_a_change_that_requires_an_export_has_events(self, exporter: Exporter) -> None:
        before, after = self.change()
        events = exporter.events(before, after)
        assert all(event and isinstance(cast("object", event), str) for event in events), f"events: {events}"
        assert len(set(events)) == len(events) > 0, f"events must be unique, and at least one: {events}"

    async def test_events_are_a_pure_function_of_the_change(self, exporter: Exporter) -> None:
        before, after = self.change()
        first, second = list(exporter.events(before, after)), list(exporter.events(before, after))
        assert first == second, "two calls of events() with the same change"
        assert list(exporter.events(after, after)) == [], "events() for a change of nothing"

    async def test_events_accept_every_change_of_every_job(self, exporter: Exporter) -> None:
        for job in (a_job(), self.requested(a_job(size=3)), a_finished_job(), a_filled_job()):
            for state in State:
                after = with_changes(job, state=state)
                for before in (None, job, after):
                    requested: object = exporter.is_requested(after)
                    events = exporter.events(before, after)
                    assert isinstance(requested, bool), f"is_requested() returned {requested!r}"
                    listed = isinstance(events, list | tuple)
                    assert listed, f"events() returned {events!r}, not a list or tuple"

    # --- export

    async def test_an_export_arrives(self, exporter: Exporter) -> None:
        change = self.change()
        assert await self.soon(self.exported(change[1])) == {}, "the target has an export of a new job"
        await self.deliver(exporter, change)
        assert len(await self.soon(self.exported(change[1]))) > 0, "export() returned and nothing has arrived"

    async def test_an_outcome_can_be_stored(self, exporter: Exporter) -> None:
        for outcome in await self.deliver(exporter, self.change()):
            stored = msgspec.json.decode(msgspec.json.encode(outcome), type=ExportOutcome)
            assert stored == outcome, "an outcome differs after it was stored as JSON"

    async def test_exporting_twice_leaves_one_export(self, exporter: Exporter) -> None:
        change = self.change()
        first = await self.deliver(exporter, change)
        once = await self.soon(self.exported(change[1]))
        second = await self.deliver(exporter, change)
        assert await self.soon(self.exported(change[1])) == once, "a repeated export changed the target"
        assert [each.reference for each in second] == [each.reference for each in first]

    async def test_settling_an_export_leaves_it(self, exporter: Exporter) -> None:
        change = self.change()
        outcomes = await self.deliver(exporter, change)
        once = await self.soon(self.exported(change[1]))
        for entry, outcome in zip(self.pending(exporter, change), outcomes, strict=True):
            done = msgspec.structs.replace(entry, state="succeeded", outcome=outcome)
            await self.soon(exporter.settle(with_changes(change[1], outbox=(done,)), done))
        assert await self.soon(self.exported(change[1])) == once, "settle() changed what was exported"

    async def test_an_export_that_another_server_repeats_leaves_one_export(
        self, exporter: Exporter, tmp_path: Path
    ) -> None:
        change = self.change()
        first = await self.deliver(exporter, change)
        once = await self.soon(self.exported(change[1]))
        await self.soon(exporter.close())
        restarted = self.make_exporter(tmp_path)
        await self.soon(restarted.check())
        try:
            second = await self.deliver(restarted, change)
        finally:
            await self.soon(restarted.close())
        assert await self.soon(self.exported(change[1])) == once, "an export that is repeated after a restart"
        assert [each.reference for each in second] == [each.reference for each in first]

    async def test_an_export_without_the_earlier_outcome_leaves_one_export(self, exporter: Exporter) -> None:
        """A server can crash between an export and the record of its success."""
        change = self.change()
        pending = self.pending(exporter, change)
        outcomes = await self.deliver(exporter, change)
        once = await self.soon(self.exported(change[1]))
        for entry, outcome in zip(pending, outcomes, strict=True):
            await self.soon(exporter.export(change[1], msgspec.structs.replace(entry, outcome=outcome)))
        assert await self.soon(self.exported(change[1])) == once, "an export that knows the earlier outcome"

    async def test_a_cancelled_export_can_be_repeated(self, exporter: Exporter) -> None:
        for turns in TURNS:
            change = self.change()
            pending = self.pending(exporter, change)
            for entry in pending:
                await self.cancelled_after(exporter.export(change[1], entry), turns)
            await self.deliver(exporter, change)
            found = await self.soon(self.exported(change[1]))
            assert len(found) == len(pending), f"exports after one was cancelled after {turns} turns: {found}"

    async def test_concurrent_exports_of_several_jobs_all_arrive(self, exporter: Exporter) -> None:
        changes = [self.change() for _ in range(5)]
        await asyncio.gather(*(self.deliver(exporter, change) for change in changes))
        found = [dict(await self.soon(self.exported(after))) for _, after in changes]
        assert all(found), f"exports of five concurrent jobs: {found}"
        distinct = {msgspec.json.encode(_plain(each)) for each in found}
        assert len(distinct) == len(changes), f"two jobs have the same export: {found}"

    async def test_a_new_outcome_arrives(self, exporter: Exporter) -> None:
        change = self.change()
        outcomes = await self.deliver(exporter, change)
        earlier = dict(await self.soon(self.exported(change[1])))
        after = with_score(change[1], 0.25)
        for entry, outcome in zip(self.pending(exporter, change), outcomes, strict=True):
            again = msgspec.structs.replace(entry, revision=entry.revision + 1, outcome=outcome)
            for _ in range(2):
                await self.soon(exporter.export(after, again))
        found = dict(await self.soon(self.exported(after)))
        assert found != earlier, "the target still has only the earlier outcome of a job that changed"
        assert len(found) <= 2 * len(earlier), f"repeated exports of a new outcome: {found}"

    # --- failures

    async def test_an_unavailable_target_is_retried(self, exporter: Exporter) -> None:
        change = self.change()
        (entry, *_) = self.pending(exporter, change)
        with self.unavailable():
            error = await self.error_of(exporter, change[1], entry)
            assert not isinstance(error, ExportRefused), (
                f"refused for good while the target was down: {error}"
            )
            assert str(error), f"{type(error).__name__} has no text for the job's results"
        await self.deliver(exporter, change)
        assert len(await self.soon(self.exported(change[1]))) > 0, "a retry after an outage did not arrive"

    async def test_a_refused_export_is_not_retried(self, exporter: Exporter) -> None:
        if not self.can_refuse:
            pytest.skip("can_refuse = False: its target never refuses for good")
        change = self.change()
        (entry, *_) = self.pending(exporter, change)
        with self.refusing():
            error = await self.error_of(exporter, change[1], entry)
        assert isinstance(error, ExportRefused), f"the target refused, and the server would retry: {error!r}"
        assert str(error), "ExportRefused has no text for the job's results"

    # --- secrets

    async def test_the_deletion_of_a_job_can_be_reported_cancelled_and_reported_again(
        self, exporter: Exporter
    ) -> None:
        for turns in TURNS:
            await self.cancelled_after(exporter.job_deleted(a_finished_job()), turns)
        for job in (self.change()[1], a_job(), a_filled_job()):
            await self.soon(exporter.job_deleted(job))
        # The server logs what it raises then; it must return.
        with self.unavailable():
            await self.settled(exporter.job_deleted(a_finished_job()))

    async def test_secrets_of_the_settings_are_not_shown(
        self, exporter: Exporter, caplog: pytest.LogCaptureFixture
    ) -> None:
        change = self.change()
        (entry, *_) = self.pending(exporter, change)
        with capture_logs() as logged:
            with self.unavailable():
                failure = await self.error_of(exporter, change[1], entry)
            refusal = None
            if self.can_refuse:
                with self.refusing():
                    refusal = await self.error_of(exporter, change[1], entry)
            outcomes = await self.deliver(exporter, change)
        check_hidden(
            self.secrets,
            the_exporter=exporter,
            the_error_of_an_outage=failure,
            the_text_of_a_refusal=refusal,
            an_outcome=outcomes,
            the_log=(logged, caplog.text),
            an_export=dict(await self.soon(self.exported(change[1]))),
        )

    async def test_secrets_of_a_job_are_not_exported(self, exporter: Exporter) -> None:
        before, after = self.change()
        model = Model(url=f"https://user:{JOB_SECRET}@models.example.com/v1", name="a-model")
        request = msgspec.structs.replace(after.request, model=model)
        change = before and with_changes(before, request=request), with_changes(after, request=request)
        outcomes = await self.deliver(exporter, change)
        check_hidden(
            (JOB_SECRET,), an_outcome=outcomes, an_export=dict(await self.soon(self.exported(change[1])))
        )


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, str_keys=True, enc_hook=repr)
