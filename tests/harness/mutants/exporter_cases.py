"""Exporters that break one promise each, and their test classes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import count
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from evalhub_server.plugins import (
    Exporter,
    ExportOutcome,
    ExportRefused,
    Exports,
    JobRecord,
    OutboxEntry,
    with_changes,
)
from evalhub_server.testing import (
    ExporterContract,
    MemoryExporter,
    MemoryTarget,
)
from harness.mutants import Mutants

EXPORTERS = Mutants()
breaks = EXPORTERS.breaks
TOKEN = "token-of-the-target"
numbers = count()


@breaks("exporting_twice_leaves_one_export", "a repeated export changed the target")
class AppendsEachTime(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        outcome = await super().export(job, entry)
        self._target.cards[f"{job.id} {next(numbers)}"] = b""
        return outcome


@breaks("settling_an_export_leaves_it", "settle() changed what was exported")
class SettlesWithoutTheOutcome(MemoryExporter):
    async def settle(self, job: JobRecord, entry: OutboxEntry) -> None:
        del self._target.cards[job.id]


@breaks("an_export_that_another_server_repeats_leaves_one_export", "repeated after a restart")
class RemembersExportsInMemory(MemoryExporter):
    def __init__(self, target: MemoryTarget) -> None:
        super().__init__(target)
        self.number = next(numbers)

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        outcome = await super().export(job, entry)
        self._target.cards[f"{job.id} {self.number}"] = self._target.cards.pop(job.id)
        return outcome


@breaks("a_new_outcome_arrives", "only the earlier outcome")
class NeverReplaces(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        if job.id in self._target.cards:
            return ExportOutcome(reference=job.id)
        return await super().export(job, entry)


@breaks("an_unavailable_target_is_retried", "reported success while it could not succeed")
class SwallowsErrors(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        try:
            return await super().export(job, entry)
        except ConnectionError:
            return ExportOutcome()


@breaks("an_unavailable_target_is_retried", "refused for good while the target was down")
class ExporterGivesUp(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        try:
            return await super().export(job, entry)
        except ConnectionError as error:
            raise ExportRefused(str(error)) from error


@breaks("a_refused_export_is_not_retried", "the server would retry")
class RetriesRefusals(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        try:
            return await super().export(job, entry)
        except ExportRefused as error:
            raise RuntimeError(str(error)) from error


@breaks("a_job_that_does_not_request_the_export_is_not_exported", "without this export")
class ExportsEverything(MemoryExporter):
    def is_requested(self, job: JobRecord) -> bool:
        return True


@breaks("events_are_a_pure_function_of_the_change", "two calls of events()")
class RemembersEvents(MemoryExporter):
    def events(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
        events = super().events(before, after)
        self.seen: set[str] = getattr(self, "seen", set())
        if after.id in self.seen:
            return ()
        self.seen.add(after.id)
        return events


@breaks("events_accept_every_change_of_every_job", "IndexError")
class ExpectsABenchmark(MemoryExporter):
    def events(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
        after.benchmarks[1]
        return super().events(before, after)


@breaks("concurrent_exports_of_several_jobs_all_arrive", "exports of five concurrent jobs")
class NamesFilesAfterJobs(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        outcome = await super().export(job, entry)
        for key in [key for key in self._target.cards if key != job.id]:
            del self._target.cards[key]
        return outcome


@breaks("secrets_of_a_job_are_not_exported", "secrets can be read in an export")
class ExportsTheRecord(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        outcome = await super().export(job, entry)
        self._target.cards[job.id] = msgspec.json.encode(job)
        return outcome


@breaks("secrets_of_the_settings_are_not_shown", "secrets can be read in the text of a refusal")
class ExporterShowsItsToken(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        try:
            return await super().export(job, entry)
        except ExportRefused as error:
            raise ExportRefused(f"{error}: {TOKEN}") from error


@breaks("it_starts_while_the_target_is_unavailable", "although only the target is unavailable")
class NeedsTheTargetToStart(MemoryExporter):
    async def check(self) -> None:
        await self._target.respond()


@breaks("a_cancelled_export_can_be_repeated", "exports after one was cancelled")
class LeavesHalves(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        part = f"{job.id} part {next(numbers)}"
        self._target.cards[part] = b""
        outcome = await super().export(job, entry)
        del self._target.cards[part]
        return outcome


@breaks("an_export_arrives", "blocked the event loop")
class ExporterBlocksTheLoop(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        time.sleep(3.0)  # noqa: ASYNC251  the fault
        return await super().export(job, entry)


@breaks("an_export_arrives", "did not return within", deadline_s=2.0)
class NeverReturns(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        await super().export(job, entry)
        return await asyncio.Future()


@breaks("closing_is_idempotent", "KeyError")
class ExporterClosesOnce(MemoryExporter):
    async def close(self) -> None:
        vars(self).pop("_target")


class ExporterCase(ExporterContract):
    implementation: type[MemoryExporter]
    secrets = (TOKEN,)
    blocked_s = 0.5

    @pytest.fixture(autouse=True)
    def archive(self) -> None:
        self.target = MemoryTarget()

    def make_exporter(self, directory: Path) -> Exporter:
        return self.implementation(self.target)

    def requested(self, job: JobRecord) -> JobRecord:
        return with_changes(job, request=replace(job.request, exports=Exports(others={"memory": {}})))

    async def exported(self, job: JobRecord) -> Mapping[str, object]:
        return {key: card for key, card in self.target.cards.items() if key.startswith(job.id)}

    def unavailable(self) -> AbstractContextManager[object]:
        return self.target.when("down")

    def refusing(self) -> AbstractContextManager[object]:
        return self.target.when("refusing")


globals().update(EXPORTERS.cases(ExporterCase, MemoryExporter))
