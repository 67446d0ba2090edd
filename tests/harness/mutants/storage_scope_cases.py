"""Storages that ignore tenants, filters, orders or restarts, and their test classes."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from evalhub_server.errors import StorageError
from evalhub_server.plugins import (
    AnyResource,
    JobChange,
    JobCounts,
    JobFacetName,
    JobPage,
    JobQuery,
    JobRecord,
    Kind,
    ResourceChange,
    ResourcePage,
    ResourceQuery,
    kind_of,
)
from harness.mutants import Mutants
from harness.mutants.file_storage import Entry, FileStorage
from harness.mutants.storage_cases import StorageCase

STORAGE_SCOPES = Mutants()
breaks = STORAGE_SCOPES.breaks


@breaks(
    "pages_of_jobs_with_equal_times_join_to_the_whole_list", "pages of jobs that were created at one moment"
)
class SkipsTies(FileStorage):
    """Pages by the time of the last record of the page before."""

    async def list_jobs(self, query: JobQuery) -> JobPage:
        page = await super().list_jobs(replace(query, offset=0, limit=10**6))
        if query.offset and query.sort == "created_at" and query.offset <= len(page.items):
            last = page.items[query.offset - 1].created_at
            rest = [job for job in page.items[query.offset :] if job.created_at != last]
            return replace(page, items=rest[: query.limit])
        return await super().list_jobs(query)


@breaks("lists_and_counts_of_jobs_are_those_of_the_reference", "count_jobs(JobQuery(")
class CountsIgnorePins(FileStorage):
    async def count_jobs(self, query: JobQuery, facets: Sequence[JobFacetName], max_jobs: int) -> JobCounts:
        return await super().count_jobs(replace(query, pinned=None), facets, max_jobs)


@breaks("lists_and_counts_of_jobs_are_those_of_the_reference", "total_count of list_jobs(JobQuery(")
class TotalIgnoresTimes(FileStorage):
    async def list_jobs(self, query: JobQuery) -> JobPage:
        page = await super().list_jobs(query)
        return replace(
            page, total_count=(await super().list_jobs(replace(query, created_before=None))).total_count
        )


@breaks("a_job_of_another_tenant_is_as_good_as_absent", "DID NOT RAISE")
class DeletesJobsOfOtherTenants(FileStorage):
    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        await super().delete_job(job_id, None)


@breaks("a_resource_of_another_tenant_is_as_good_as_absent", "DID NOT RAISE")
class UpdatesResourcesOfOtherTenants(FileStorage):
    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        return await super().update_resource(kind, resource_id, None, change)


@breaks("tenants_are_compared_literally", "tenants of the jobs of")
class TenantsByPrefix(FileStorage):
    async def list_jobs(self, query: JobQuery) -> JobPage:
        if not query.tenant:
            return await super().list_jobs(query)
        page = await super().list_jobs(replace(query, tenant=None, offset=0, limit=10**6))
        found = [job for job in page.items if job.tenant.startswith(query.tenant)]
        return JobPage(items=found[query.offset : query.offset + query.limit], total_count=len(found))


@breaks("lists_of_resources_are_those_of_the_reference", "list_resources(ResourceQuery(")
class BaselinesOfOneTenantReplaceAnothers(FileStorage):
    async def add_resource(self, record: AnyResource) -> None:
        if kind_of(record) is Kind.BASELINE:
            for key, each in list(self._resources.items()):
                if each.config.name == record.config.name and kind_of(each) is Kind.BASELINE:
                    del self._resources[key]
        await super().add_resource(record)


@breaks("lists_of_resources_are_those_of_the_reference", "list_resources(ResourceQuery(")
class BaselinesOfAllTenants(FileStorage):
    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        return await super().list_resources(
            replace(query, tenant=None) if query.kind is Kind.BASELINE else query
        )


@breaks("open_jobs_are_those_with_something_left_to_do_oldest_first", "test_open_jobs_are_those")
class OpenJobsNewestFirst(FileStorage):
    async def open_jobs(self) -> list[JobRecord]:
        return sorted(await super().open_jobs(), key=lambda job: job.created_at, reverse=True)


@breaks("an_update_returns_and_leaves_the_changed_record", "test_an_update_returns")
class ReturnsTheEarlierRecord(FileStorage):
    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        before = await self.get_job(job_id, tenant)
        await super().update_job(job_id, tenant, change)
        return before


@breaks("records_survive_a_restart", "providers after a restart")
class DeletedResourcesReturn(FileStorage):
    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        await super(FileStorage, self).delete_resource(kind, resource_id, tenant)


@breaks("records_survive_a_restart", "providers after a restart")
class UpdatedResourcesAreNotWritten(FileStorage):
    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        return await super(FileStorage, self).update_resource(kind, resource_id, tenant, change)


@breaks("a_change_of_what_identifies_a_record_is_refused", "must raise StorageError")
class WritesBeforeTheChangeIsChecked(FileStorage):
    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        before = await self.get_job(job_id, tenant)
        after = change(before)
        if after is not None and after is not before:
            self._jobs[job_id] = after
            try:
                self.write(Entry(jobs=[after]))
                return await super().update_job(job_id, tenant, lambda _: replace(after))
            except StorageError:
                self._jobs[job_id] = before
                raise
        return before


@breaks("lists_of_resources_are_those_of_the_reference", "list_resources(ResourceQuery(")
class PinnedOrderDescends(FileStorage):
    async def list_resources(self, query: ResourceQuery) -> ResourcePage:
        page = await super().list_resources(query)
        if query.sort == "catalog":
            page.items.sort(key=lambda each: (not each.system, -getattr(each, "pinned_order", 0)))
        return page


class StorageScopeCase(StorageCase):
    """In this module, so that another process finds the classes."""


globals().update(STORAGE_SCOPES.cases(StorageScopeCase))
