"""Databases of earlier schema versions, as SQL text, and the records in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from evalhub_server.domain.record import JobDefinition, JobRecord
from evalhub_server.domain.resource import CollectionRecord, Kind, ProviderRecord
from evalhub_server.plugins import JobQuery, Storage
from evalhub_server.testing.builders import any_of

FOLDER = Path(__file__).parents[1] / "fixtures" / "storage"
# One record per line of a job's life, as the earlier version's JSON: "closed" jobs and "open" ones.
_RECORDS: dict[str, Any] = msgspec.json.decode((FOLDER / "records.json").read_bytes())


def dump(storage: str, *, with_open_jobs: bool) -> str:
    """SQL that creates the database; ``storage`` is ``sqlite`` or ``postgres``."""
    return (FOLDER / f"{storage}-{'open' if with_open_jobs else 'closed'}.sql").read_text()


async def check_migrated(storage: Storage, *, with_open_jobs: bool, runtime: str) -> None:
    """Assert that the open storage has every record; handles without a name belong to ``runtime``."""
    open_jobs = [_job(each, runtime) for each in _RECORDS["open"]] if with_open_jobs else []
    jobs = [_job(each, runtime) for each in _RECORDS["closed"]] + open_jobs
    assert [await storage.get_job(job.id, None) for job in jobs] == jobs
    assert (await storage.list_jobs(JobQuery())).items == [*reversed(jobs)]
    assert await storage.open_jobs() == open_jobs
    for query in (JobQuery(tags=any_of("x", "y")), JobQuery(experiment_id=any_of("7"))):
        found = {job.id for job in (await storage.list_jobs(query)).items}
        assert found == {"completed", *(["running"] if with_open_jobs else [])} | (
            {"cancelled"} if query.tags else set()
        )
    provider = msgspec.convert(_RECORDS["provider"], ProviderRecord)
    assert await storage.get_resource(Kind.PROVIDER, provider.id, "team-a") == provider
    collection = msgspec.convert(_RECORDS["collection"], CollectionRecord)
    assert await storage.get_resource(Kind.COLLECTION, collection.id, None) == collection


def _job(earlier: dict[str, Any], runtime: str) -> JobRecord:
    fields = dict(earlier)
    benchmarks = [
        each | ({"runtime": runtime} if "launched_at" in each else {}) for each in fields.pop("benchmarks")
    ]
    definition = {name: fields.pop(name) for name in JobDefinition.__struct_fields__ if name in fields}
    if "experiment" in fields:
        fields["experiments"] = {"mlflow": fields.pop("experiment")}
    fields["outbox"] = [
        {"requested" if name == "asked" else name: value for name, value in entry.items()}
        for entry in fields.pop("exports", [])
    ]
    parts = {"definition": definition, "progress": fields, "benchmarks": benchmarks}
    return msgspec.convert(parts, JobRecord)
