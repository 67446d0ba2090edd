"""Exporters that export the wrong jobs or halves of them, and their test classes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from evalhub_server.plugins import (
    ExportOutcome,
    ExportRefused,
    JobRecord,
    OutboxEntry,
    State,
    with_changes,
)
from evalhub_server.testing import MemoryExporter
from harness.mutants import Mutants
from harness.mutants.exporter_cases import ExporterCase

EXPORTER_OUTCOMES = Mutants()
breaks = EXPORTER_OUTCOMES.breaks

EVERY = "every_ended_job_is_exported"


@breaks("nothing_is_exported_before_the_end", "has no results")
class ExportsNewJobs(MemoryExporter):
    def events(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
        return ("card",) if before is None and self.is_requested(after) else super().events(before, after)


@breaks("nothing_is_exported_before_the_end", "has no results")
class ExportsEachChange(MemoryExporter):
    def events(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
        return ("card",) if before is not after and self.is_requested(after) else ()


@breaks("requests_of_other_exporters_are_ignored", "requests another exporter only")
class TakesAllRequests(MemoryExporter):
    def is_requested(self, job: JobRecord) -> bool:
        return job.request.exports is not None


@breaks(EVERY, "the export of a job that is failed raised")
class ExpectsAScore(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        if job.progress.test is None:
            raise KeyError("score")
        return await super().export(job, entry)


@breaks(EVERY, "nothing has arrived of a job that is cancelled")
class SkipsCancelledJobs(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        return ExportOutcome() if job.state is State.CANCELLED else await super().export(job, entry)


@breaks("concurrent_exports_are_not_mixed_up", "exports of concurrent jobs differ")
class ExportsTheLatestJob(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        self.job = job
        await asyncio.sleep(0)
        return await super().export(with_changes(self.job, id=job.id), entry)


@breaks("a_small_change_of_a_score_arrives", "after it had changed to 0.7500001")
class RoundsScores(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        benchmarks = tuple(
            replace(each, result=replace(each.result, metrics={"acc": 0.75}, test=None))
            if each.result
            else each
            for each in job.benchmarks
        )
        test = job.progress.test and replace(job.progress.test, score=round(job.progress.test.score, 2))
        return await super().export(with_changes(job, benchmarks=benchmarks, test=test), entry)


@breaks("an_outage_during_an_export_leaves_no_half", "reported success during an outage")
class ReportsHalvesAsSuccess(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        await self._target.respond()
        self._target.cards[f"{job.id} begun"] = b""
        try:
            outcome = await super().export(job, entry)
        except ConnectionError:
            return ExportOutcome(reference=job.id)
        del self._target.cards[f"{job.id} begun"]
        return outcome


@breaks("the_deletion_of_a_job_leaves_the_exports_of_others", "has changed the export of another job")
class DeletesAllExports(MemoryExporter):
    async def job_deleted(self, job: JobRecord) -> None:
        self._target.cards.clear()


@breaks("it_can_be_closed_before_it_was_checked", "AttributeError")
class ExporterClosesItsClient(MemoryExporter):
    client: object

    async def check(self) -> None:
        self.client = None

    async def close(self) -> None:
        assert self.client is None


@breaks("a_refused_export_is_not_retried", "reported success while it could not succeed")
class SwallowsRefusedExports(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        try:
            return await super().export(job, entry)
        except ExportRefused:
            return ExportOutcome(reference=job.id)


@breaks("an_outcome_can_be_stored", "an outcome differs after it was stored as JSON")
class OutcomeOfTuples(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        outcome = await super().export(job, entry)
        return replace(outcome, details={"files": ("card.json",)})


@breaks("an_unavailable_target_is_retried", "has no text for the job's results")
class FailsWithoutAText(MemoryExporter):
    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        try:
            return await super().export(job, entry)
        except ConnectionError:
            raise TimeoutError from None


class ExporterOutcomeCase(ExporterCase):
    """In this module, so that the names of the classes are."""


globals().update(EXPORTER_OUTCOMES.cases(ExporterOutcomeCase))
