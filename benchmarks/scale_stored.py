"""Costs of a server with many stored jobs, in SQLite or PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import psutil

from benchmarks.copies import multiply, multiply_postgres
from benchmarks.load import create, event, run
from benchmarks.many_jobs import TEMPLATES, template
from benchmarks.subject import API, ROOT, Subject, source_tree
from evalhub_server.plugins import Storage
from evalhub_storage_postgres.address import locate
from evalhub_storage_postgres.storage import PostgresStorage
from evalhub_storage_sqlite.storage import SqliteStorage

sys.path.insert(0, str(ROOT / "tests"))

from harness.postgres import RunningPostgres

STORAGES = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
LISTS = {
    "newest": "",
    "of a tenant": "",
    "by state": "status=failed",
    "by name": "name=nightly-7",
    "by tag, 2 %": "tags=tag-11",
    "by model, 1 %": f"model_name={quote('model-7')}",
    "by collection, 10 %": "collection_id=collection-1",
    "by model and state": "model_name=model-7&status=failed",
    "sorted by score": "sort_by=-score",
}
ROUNDS = 9
SECONDS = 2.0


def stored(storage: str, jobs: int, folder: Path) -> Mapping[str, float]:
    """Fill a database and measure a server on it."""
    if storage == "sqlite":
        subject = Subject(source_tree("this", ROOT), folder)
        asyncio.run(_fill(SqliteStorage(subject.database), jobs))
        multiply(subject.database, TEMPLATES, jobs)
        figures = {"database, MiB": subject.database.stat().st_size / 2**20}
        figures |= _measured(subject)
        return figures
    with RunningPostgres() as database:
        subject = Subject(source_tree("this", ROOT), folder)
        subject.configure(f"{{driver: postgres, url: {json.dumps(database.url())}}}")
        asyncio.run(_fill(PostgresStorage(locate(database.url())), jobs))
        asyncio.run(multiply_postgres(database.url(), TEMPLATES, jobs))
        ((size,),) = asyncio.run(database.sql("SELECT pg_database_size(current_database())"))
        return {"database, MiB": size / 2**20, **_measured(subject)}


async def _fill(storage: Storage, jobs: int) -> None:
    await storage.open()
    numbers = (
        number + (number % 100 == 1) for number in range(min(jobs, TEMPLATES))
    )  # without those that run
    await asyncio.gather(*(storage.add_job(template(number)) for number in numbers))
    await storage.close()


def _measured(subject: Subject) -> dict[str, float]:
    subject.start()  # what the first start does once
    subject.stop()
    started = time.perf_counter()
    figures = {"start to first answer, ms": subject.start() * 1000}
    try:
        subject.call("GET", f"{API}/jobs?limit=50")
        figures["start to first list, ms"] = (time.perf_counter() - started) * 1000
        subject.settle()
        figures["CPU of the start, ms"] = subject.cpu_s() * 1000
        figures["memory after start, MiB"] = psutil.Process(subject.process.pid).memory_info().rss / 2**20
        for name, query in LISTS.items():
            headers = {"X-Tenant": "tenant-3"} if name == "of a tenant" else {}
            figures[f"list {name}, ms"] = _list_ms(subject, query, headers)
        running = subject.submit("sleeps", 4)
        for name, request in (("create", create("none")), ("event", event(running))):
            used = subject.cpu_s()
            sent = run(subject.port, request, SECONDS, connections=16, core=None)
            subject.settle()
            figures[f"{name}, CPU µs"] = (subject.cpu_s() - used) / sent.requests * 1e6
            figures[f"{name}, median ms"] = sent.p50_ms
            figures[f"{name}, p99 ms"] = sent.p99_ms
        figures["memory after these, MiB"] = psutil.Process(subject.process.pid).memory_info().rss / 2**20
    finally:
        subject.stop()
    return figures


def _list_ms(subject: Subject, query: str, headers: Mapping[str, str]) -> float:
    """The median of several pages, each of another length: no response comes from a cache."""
    times: list[float] = []
    for number in range(ROUNDS):
        started = time.perf_counter()
        subject.call("GET", f"{API}/jobs?limit={50 - number}&{query}", headers=headers)
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)
