"""The caches never show or keep what is out of date."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.models.common import Message, State
from evalhub_server.testing.builders import a_job
from evalhub_storage_sqlite.cache import Listing, ListingCache, RecordCache
from evalhub_storage_sqlite.jobs import JOBS
from evalhub_storage_sqlite.record_mapper import Stored
from evalhub_storage_sqlite.storage import SqliteStorage


def stored(job_id: str = "job", size: int = 1, size_bytes: int = 1) -> Stored[JobRecord]:
    return Stored(seq=1, record=a_job(id=job_id, size=size), size_bytes=size_bytes)


def cache_of(max_records: int = 10, **limits: int) -> RecordCache[JobRecord]:
    return RecordCache(max_records, JOBS.weight, **limits)


def test_a_read_fills_in_what_is_not_known() -> None:
    cache, read = cache_of(), stored()
    with cache.reading() as touched:
        assert cache.fill(touched, "job", read) is read
    assert cache.get("job") is read


def test_a_read_never_replaces_what_is_known() -> None:
    cache, read, known = cache_of(), stored(), stored()
    with cache.reading() as touched:
        cache.publish("job", known)
        assert cache.fill(touched, "job", read) is known
    assert cache.get("job") is known


def test_a_read_that_a_commit_overtook_is_not_kept() -> None:
    cache, read = cache_of(), stored()
    with cache.reading() as touched:
        cache.publish("job", None)
        assert cache.fill(touched, "job", read) is read
    assert cache.get("job") is None


def test_reads_watch_independently() -> None:
    cache = cache_of()
    with cache.reading() as outer:
        with cache.reading() as inner:
            pass
        cache.publish("job", None)
    assert (outer, inner) == ({"job"}, set())


def test_the_records_used_last_are_kept() -> None:
    cache = cache_of(2)
    for job_id in ("a", "b"):
        cache.publish(job_id, stored(job_id))
    assert cache.get("a") is not None
    cache.publish("c", stored("c"))
    assert [cache.get(job_id) is not None for job_id in ("a", "b", "c")] == [True, False, True]


def test_long_documents_count_for_their_bytes() -> None:
    cache = cache_of(100, max_bytes=10)
    for job_id in ("a", "b", "c"):
        cache.publish(job_id, stored(job_id, size_bytes=4))
    assert (cache.get("a"), len(cache)) == (None, 2)
    cache.publish("b", stored("b", size_bytes=1))
    cache.publish("d", stored("d", size_bytes=5))
    assert len(cache) == 3
    cache.publish("huge", stored("huge", size_bytes=50))
    assert (len(cache), cache.get("huge") is not None) == (1, True)
    cache.publish("huge", None)
    for job_id in ("a", "b"):
        cache.publish(job_id, stored(job_id, size_bytes=5))
    assert len(cache) == 2


def test_large_jobs_count_for_their_size() -> None:
    cache = cache_of(100, max_benchmarks=10)
    for job_id in ("a", "b", "c"):
        cache.publish(job_id, stored(job_id, size=4))
    assert (cache.get("a"), len(cache)) == (None, 2)
    cache.publish("b", stored("b", size=1))  # replaced by a smaller one: there is room again
    cache.publish("d", stored("d", size=4))
    assert len(cache) == 3
    cache.publish("huge", stored("huge", size=50))
    assert cache.get("huge") is not None
    assert len(cache) == 1


def test_finished_records_have_a_limit_of_their_own() -> None:
    finished = {"b", "c", "d"}
    cache = RecordCache[JobRecord](
        100, JOBS.weight, finished=lambda job: job.id in finished, max_finished_bytes=10
    )
    for job_id in ("a", "b", "c", "d", "e"):
        cache.publish(job_id, stored(job_id, size_bytes=5))
    assert [each for each in "abcde" if cache.get(each)] == ["a", "c", "d", "e"]
    finished.add("a")
    cache.publish("a", stored("a", size_bytes=5))  # its last change
    assert [each for each in "abcde" if cache.get(each)] == ["a", "d", "e"]
    finished.remove("a")
    cache.publish("a", stored("a", size_bytes=50))
    assert [each for each in "abcde" if cache.get(each)] == ["a", "d", "e"]


def test_a_terminal_job_counts_as_finished() -> None:
    job = a_job()
    assert not JOBS.finished(job)
    assert JOBS.finished(with_changes(job, state=State.COMPLETED))


def test_a_listing_that_a_commit_overtook_is_not_kept() -> None:
    cache, listing = ListingCache(), Listing(ids=("a",), total_count=1)
    version = cache.version
    cache.clear()
    cache.fill(version, "query", listing)
    assert cache.get("query") is None
    cache.fill(cache.version, "query", listing)
    assert cache.get("query") is listing


def test_no_listing_is_kept_while_a_commit_is_under_way_that_changes_lists() -> None:
    cache, listing = ListingCache(), Listing(ids=("a",), total_count=1)
    cache.hold()
    cache.fill(cache.version, "query", listing)
    assert cache.get("query") is None
    cache.clear()
    cache.fill(cache.version, "query", listing)
    assert cache.get("query") is listing


def test_the_listings_asked_last_are_kept() -> None:
    cache, listing = ListingCache(max_listings=2), Listing(ids=(), total_count=0)
    for limit in (1, 2):
        cache.fill(cache.version, limit, listing)
    cache.get(1)
    cache.fill(cache.version, 3, listing)
    assert [cache.get(limit) is not None for limit in (1, 2, 3)] == [True, False, True]


async def test_what_is_written_counts_like_what_is_read(storage: SqliteStorage, tmp_path: Path) -> None:
    job = a_job(size=3)
    await storage.add_job(job)
    await storage.update_job(job.id, None, lambda job: with_changes(job, message=Message(message="x" * 1000)))
    written = cached_bytes(storage, job.id)
    reader = SqliteStorage(tmp_path / "copy.db")
    with closing(sqlite3.connect(tmp_path / "jobs.db")) as connection:
        connection.execute("VACUUM INTO ?", (str(tmp_path / "copy.db"),))
    await reader.open()
    await reader.get_job(job.id, None)
    read = cached_bytes(reader, job.id)
    await reader.close()
    # The first message counts, too, until the job is read again.
    assert read > 1000
    assert read < written < read + 500


def cached_bytes(storage: SqliteStorage, job_id: str) -> int:
    assert storage._jobs is not None
    stored = storage._jobs.records.get(job_id)
    assert stored is not None
    return stored.size_bytes
