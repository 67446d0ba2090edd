"""Storages that break one promise each, and their test classes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from evalhub_server.errors import NotFound
from evalhub_server.plugins import (
    AnyResource,
    CollectionRecord,
    JobChange,
    JobCounts,
    JobFacetName,
    JobPage,
    JobQuery,
    JobRecord,
    Kind,
    ResourcePage,
    ResourceQuery,
    Storage,
    kind_of,
    with_changes,
)
from evalhub_server.testing import StorageContract
from harness.mutants import Mutants
from harness.mutants.file_storage import Entry, FileStorage

STORAGES = Mutants()
breaks = STORAGES.breaks
replace = msgspec.structs.replace

RESTART, EVERY_FIELD = "records_survive_a_restart", "every_field_survives_a_restart"
KILL = "acknowledged_writes_survive_a_kill"


@breaks(RESTART, "jobs after a restart")
class NeverWrites(FileStorage):
    def write(self, entry: Entry) -> None:
        return


@breaks(RESTART, "jobs after a restart")
class WritesNewJobsOnly(FileStorage):
    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        return await super(FileStorage, self).update_job(job_id, tenant, change)


@breaks(RESTART, "jobs after a restart")
class DeletedJobsReturn(FileStorage):
    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        await super(FileStorage, self).delete_job(job_id, tenant)


@breaks(RESTART, "collections after a restart")
class ForgetsTheSystem(FileStorage):
    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        await super(FileStorage, self).replace_system(records)


@breaks(KILL, "after a kill")
class WritesWhenClosed(FileStorage):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.entries: list[Entry] = []

    def write(self, entry: Entry) -> None:
        self.entries.append(entry)

    async def close(self) -> None:
        if self.file is not None:
            for entry in self.entries:
                super().write(entry)
        await super().close()


@breaks(KILL, "half a write is stored")
class WritesBenchmarksOneByOne(FileStorage):
    def write(self, entry: Entry) -> None:
        for job in entry.jobs:
            first, *others = job.benchmarks
            super().write(Entry(jobs=[with_changes(job, benchmarks=(replace(first, attempt=7), *others))]))


@breaks(EVERY_FIELD, "'progress.pinned'")
class LosesAField(FileStorage):
    def write(self, entry: Entry) -> None:
        super().write(replace(entry, jobs=[with_changes(job, pinned=False) for job in entry.jobs]))


@breaks(EVERY_FIELD, "samples")
class LosesAFieldOfBenchmarks(FileStorage):
    def write(self, entry: Entry) -> None:
        jobs = [
            with_changes(job, benchmarks=tuple(replace(each, samples=None) for each in job.benchmarks))
            for job in entry.jobs
        ]
        super().write(replace(entry, jobs=jobs))


@breaks(EVERY_FIELD, "created_at")
class LosesMicroseconds(FileStorage):
    def write(self, entry: Entry) -> None:
        jobs = [with_changes(job, created_at=job.created_at.replace(microsecond=0)) for job in entry.jobs]
        super().write(replace(entry, jobs=jobs))


@breaks(EVERY_FIELD, "a collection differs after a restart")
class LosesAFieldOfCollections(FileStorage):
    def write_resources(self, records: Sequence[AnyResource], *, system: bool = False) -> None:
        kept = [
            replace(each, run_count=0) if isinstance(each, CollectionRecord) else each for each in records
        ]
        super().write_resources(kept, system=system)


class Unchecked(FileStorage):
    """Writes whatever it gets."""

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        before = await self.get_job(job_id, tenant)
        after = change(before) or before
        self._jobs[job_id] = after
        self.write(Entry(jobs=[after]))
        return after


@breaks("a_change_of_what_identifies_a_record_is_refused", "must raise StorageError")
class AcceptsOtherIdentities(Unchecked):
    """Broken as it is."""


@breaks("numbers_that_json_does_not_have_are_refused", "must raise StorageError")
class StoresNoNumbers(Unchecked):
    """Broken as it is: its JSON has null for them."""


@breaks("a_job_of_another_tenant_is_as_good_as_absent", "DID NOT RAISE")
class ShowsJobsToAllTenants(FileStorage):
    async def get_job(self, job_id: str, tenant: str | None) -> JobRecord:
        return await super().get_job(job_id, None)


@breaks("a_list_is_of_one_tenant_or_of_all", "test_a_list_is_of_one_tenant_or_of_all")
class ListsAllTenants(FileStorage):
    async def list_jobs(self, query: JobQuery) -> JobPage:
        return await super().list_jobs(replace(query, tenant=None))


@breaks("a_list_is_of_one_tenant_or_of_all", "test_a_list_is_of_one_tenant_or_of_all")
class EmptyTenantIsAnyTenant(FileStorage):
    async def list_jobs(self, query: JobQuery) -> JobPage:
        return await super().list_jobs(replace(query, tenant=query.tenant or None))


@breaks("a_resource_of_another_tenant_is_as_good_as_absent", "DID NOT RAISE")
class DeletesResourcesOfOtherTenants(FileStorage):
    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        await super().delete_resource(kind, resource_id, None)


@breaks("an_id_is_taken_once", "DID NOT RAISE")
class ReplacesJobs(FileStorage):
    async def add_job(self, record: JobRecord) -> None:
        self._jobs.pop(record.id, None)
        await super().add_job(record)


@breaks("a_job_with_an_idempotency_key_is_created_once", "jobs created with one idempotency key: 8")
class ClaimsTwice(FileStorage):
    async def add_job(self, record: JobRecord) -> None:
        taken = record.id in self._jobs
        await asyncio.sleep(0)
        if not taken:
            self._jobs.pop(record.id, None)
        await super().add_job(record)


@breaks("a_baseline_is_created_once_and_can_move", "adds of one baseline")
class ReplacesBaselines(FileStorage):
    async def add_resource(self, record: AnyResource) -> None:
        if kind_of(record) is Kind.BASELINE:
            self._resources.pop((Kind.BASELINE, record.id), None)
        await super().add_resource(record)


@breaks("of_a_hundred_updates_at_once_none_is_lost", "101")
class LosesUpdates(FileStorage):
    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        after = change(await self.get_job(job_id, tenant))
        await asyncio.sleep(0)
        return await super().update_job(job_id, tenant, lambda _: after)


@breaks("a_change_is_called_once_with_the_current_record", "test_a_change_is_called_once")
class CallsChangesTwice(FileStorage):
    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        change(await self.get_job(job_id, tenant))
        return await super().update_job(job_id, tenant, change)


@breaks("a_change_runs_on_the_event_loop", "no running event loop")
class ChangesInAThread(FileStorage):
    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        after = await asyncio.to_thread(change, await self.get_job(job_id, tenant))
        return await super().update_job(job_id, tenant, lambda _: after)


@breaks("a_list_is_newest_first_and_then_by_id_descending", "test_a_list_is_newest_first")
class TiesInOrderOfInsertion(FileStorage):
    async def list_jobs(self, query: JobQuery) -> JobPage:
        page = await super().list_jobs(replace(query, limit=10**6, offset=0))
        order = {job_id: number for number, job_id in enumerate(self._jobs)}
        page.items.sort(key=lambda job: order[job.id])
        page.items.sort(key=lambda job: job.created_at, reverse=True)
        return replace(page, items=page.items[query.offset : query.offset + query.limit])


@breaks("pages_join_to_the_whole_list", "test_pages_join_to_the_whole_list")
class CountsThePage(FileStorage):
    async def list_jobs(self, query: JobQuery) -> JobPage:
        page = await super().list_jobs(query)
        return replace(page, total_count=len(page.items))


@breaks("filters_on_single_values", "test_filters_on_single_values")
class IgnoresNegation(FileStorage):
    async def list_jobs(self, query: JobQuery) -> JobPage:
        terms = query.name and replace(query.name, negated=False)
        return await super().list_jobs(replace(query, name=terms))


@breaks("filters_on_the_start_of_a_name", "test_filters_on_the_start_of_a_name")
class PrefixIgnoresCase(FileStorage):
    async def list_jobs(self, query: JobQuery) -> JobPage:
        prefix = query.name_prefix.lower()
        page = await super().list_jobs(replace(query, name_prefix="", limit=10**6, offset=0))
        found = [job for job in page.items if job.request.name.lower().startswith(prefix)]
        return JobPage(items=found[query.offset : query.offset + query.limit], total_count=len(found))


@breaks("filters_on_labels_of_jobs", "lineage")
class IgnoresLineage(FileStorage):
    async def list_jobs(self, query: JobQuery) -> JobPage:
        labels = {name: terms for name, terms in query.labels.items() if name != "lineage"}
        return await super().list_jobs(replace(query, labels=labels))


@breaks("the_newest_jobs_are_counted", "test_the_newest_jobs_are_counted")
class CountsTheOldest(FileStorage):
    async def count_jobs(self, query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> JobCounts:
        page = await self.list_jobs(
            replace(query, sort="created_at", descending=False, limit=max_jobs, offset=0)
        )
        values: dict[str, dict[str, int]] = {}
        for facet in facets:
            counted = Counter(
                value
                for job in page.items
                for value in dict.fromkeys((job.state.value,) if facet == "status" else job.request.tags)
            )
            values[facet] = dict(counted)
        return JobCounts(jobs=len(page.items), values=values)


@breaks("open_jobs_are_those_with_something_left_to_do_oldest_first", "test_open_jobs_are_those")
class ForgetsOutboxes(FileStorage):
    async def open_jobs(self) -> list[JobRecord]:
        return [job for job in await super().open_jobs() if job.unfinished]


@breaks("what_the_system_has_is_replaced_and_the_rest_is_left", "test_what_the_system_has_is_replaced")
class KeepsOldSystemResources(FileStorage):
    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        kept = [each for each in self._resources.values() if each.system]
        new = {(kind_of(each), each.id) for each in records}
        await super().replace_system(
            [*records, *(each for each in kept if (kind_of(each), each.id) not in new)]
        )


@breaks("what_the_system_has_already_keeps_its_times_and_runs", "test_what_the_system_has_already")
class ResetsRuns(FileStorage):
    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        self._resources = {key: each for key, each in self._resources.items() if not each.system}
        await super().replace_system(records)


@breaks("a_list_shows_all_of_a_replacement_or_nothing", "test_a_list_shows_all_of_a_replacement")
class ReplacesInSteps(FileStorage):
    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        await super().replace_system([])
        await asyncio.sleep(0)
        await super().replace_system(records)


@breaks("everyone_sees_what_the_system_has_and_nobody_deletes_it", "DID NOT RAISE")
class DeletesSystemResources(FileStorage):
    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        if (kind, resource_id) not in self._resources:
            raise NotFound(resource_id)
        del self._resources[kind, resource_id]


@breaks("lists_of_resources_are_those_of_the_reference", "list_resources(ResourceQuery(")
class UnrankedFirst(FileStorage):
    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        page = await super().list_resources(query)
        if query.sort == "curation_order":
            page.items.sort(key=lambda each: bool(getattr(each.config, "curation_order", 0)))
        return page


@breaks("closing_twice_is_closing_once", "AttributeError")
class ClosesOnce(FileStorage):
    async def close(self) -> None:
        self.file.close()  # pyright: ignore[reportOptionalMemberAccess]  the fault
        self.file = None


class StorageCase(StorageContract):
    implementation: type[FileStorage]

    def make_storage(self, directory: Path) -> Storage:
        return self.implementation(directory)


_cases: dict[str, Any] = STORAGES.cases(StorageCase, FileStorage)
globals().update(_cases)
