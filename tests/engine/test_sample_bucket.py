"""Samples in a bucket: objects, ranges, the local cache, and what is reported if the store fails."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest

from evalhub_server.domain.sample_index import CorruptIndex
from evalhub_server.engine.artifact_files import store_artifact
from evalhub_server.engine.s3_client import S3Client
from evalhub_server.engine.sample_backend import BenchmarkFiles, IngestionStopped
from evalhub_server.engine.sample_blocks import decode_index_object, members
from evalhub_server.engine.sample_bucket import SampleBucket
from evalhub_server.engine.sample_ingestion import IngestionLimits, ingest
from evalhub_server.errors import SampleStoreUnavailable
from evalhub_server.models.sample import SampleSet
from evalhub_server.settings import S3Connection, SampleSettings, connection_of
from harness import free_port
from harness.moto import MotoServer, needs_moto

pytestmark = needs_moto

FILES = BenchmarkFiles("job-1", 0)
LIMITS = IngestionLimits(file_bytes=10**9, line_bytes=10**6, samples=10**6)


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with MotoServer(tmp_path_factory.mktemp("moto")) as running:
        yield running


@pytest.fixture
def connection(moto: MotoServer, tmp_path: Path) -> S3Connection:
    return connected(moto.url, f"s3://samples/{tmp_path.name}")


def connected(endpoint: str, url: str) -> S3Connection:
    s3 = {"endpoint": endpoint, "access_key_id": "unknown-id", "secret_access_key": "unknown-secret"}
    return connection_of(msgspec.convert({"url": url, "s3": s3}, SampleSettings), {})


@pytest.fixture
def bucket(connection: S3Connection, tmp_path: Path) -> SampleBucket:
    return SampleBucket(connection, tmp_path / "cache", 10**9)


@pytest.fixture
def client(connection: S3Connection) -> S3Client:
    return S3Client(connection)


def lines(number: int) -> bytes:
    return b"".join(
        json.dumps({"sample_id": f"q{each}", "output": "x" * (each * 50 % 5000)}).encode() + b"\n"
        for each in range(number)
    )


def stored(bucket: SampleBucket, content: bytes, attempt: int = 1) -> SampleSet:
    return ingest(io.BytesIO(content), bucket.sample_writer(FILES), attempt, None, LIMITS, lambda: False)


def test_more_lines_than_one_batch_are_read_and_searched(bucket: SampleBucket):
    content = b"".join(
        json.dumps({"sample_id": f"q{n}", "output": f"{n} " + "x" * 300_000}).encode() + b"\n"
        for n in range(40)
    )
    samples = stored(bucket, content)
    file = bucket.open_samples(FILES, samples, None)
    assert [len(line) > 300_000 for line in file.lines(range(40))] == [True] * 40
    assert file.search("39 xx", range(40)) == [39]
    assert bucket.local_copy(FILES, samples) == bucket.local_copy(FILES, samples)


def test_the_data_are_one_gzip_file_and_the_index_is_beside_it(
    bucket: SampleBucket, client: S3Client, connection: S3Connection
):
    samples = stored(bucket, lines(200))
    name = connection.key(f"job-1/0/1-{samples.digest[:32]}.jsonl")
    assert [key for key, _ in client.list(connection.prefix)] == [f"{name}.gz", f"{name}.idx"]
    content = gzip.decompress(client.get(f"{name}.gz"))
    assert [json.loads(line)["sample_id"] for line in content.splitlines()] == [f"q{n}" for n in range(200)]
    table, index = decode_index_object(client.get(f"{name}.idx"))
    assert len(table) > 5
    assert len(index) == 200


def test_samples_are_invisible_until_their_index_is_written(
    bucket: SampleBucket, client: S3Client, connection: S3Connection
):
    stop = iter([False] * 20 + [True])  # after the upload of the data
    with pytest.raises(IngestionStopped):
        ingest(io.BytesIO(lines(20)), bucket.sample_writer(FILES), 1, None, LIMITS, stop.__next__)
    assert not [key for key, _ in client.list(connection.prefix) if key.endswith(".idx")]


def test_an_index_that_was_lost_or_is_of_another_version_is_built_again(
    bucket: SampleBucket, client: S3Client, connection: S3Connection, tmp_path: Path
):
    samples = stored(bucket, lines(200))
    key = next(key for key, _ in client.list(connection.prefix) if key.endswith(".idx"))
    intact = client.get(key)
    client.delete([key])
    other = SampleBucket(connection, tmp_path / "other", 10**9)
    assert [
        json.loads(line)["sample_id"] for line in other.open_samples(FILES, samples, None).lines([199])
    ] == ["q199"]
    assert client.get(key) == intact
    for damaged in (b"EVHSBLK0" + intact[8:], intact[:100], b"", intact[:-9]):
        with pytest.raises(CorruptIndex):
            decode_index_object(damaged)
        client.put(key, damaged)
        other = SampleBucket(connection, tmp_path / f"cache-{len(damaged)}", 10**9)
        assert len(other.open_samples(FILES, samples, None).index) == 200
        assert client.get(key) == intact


def test_damaged_data_are_reported(
    bucket: SampleBucket, client: S3Client, connection: S3Connection, tmp_path: Path
):
    samples = stored(bucket, lines(200))
    data, index = (key for key, _ in client.list(connection.prefix))
    intact = client.get(data)
    client.put(data, b"x" * len(intact))
    with pytest.raises(OSError, match="damaged"):
        list(bucket.open_samples(FILES, samples, None).lines([0]))
    client.delete([index])
    for content in (b"x" * 10, intact[:-1]):
        client.put(data, content)
        with pytest.raises(OSError, match="damaged"):
            SampleBucket(connection, tmp_path / "other", 10**9).open_samples(FILES, samples, None)
    assert sum(size for size, _ in members([intact[:7], intact[7:]])) == len(intact)


def test_samples_that_were_removed_are_missing(bucket: SampleBucket):
    samples = stored(bucket, lines(3))
    bucket.remove("job-1")
    with pytest.raises(FileNotFoundError, match="No such object"):
        bucket.open_samples(FILES, samples, None)


def test_the_local_cache_is_bounded_and_keeps_what_was_used_last(connection: S3Connection, tmp_path: Path):
    cache = tmp_path / "cache"
    bucket = SampleBucket(connection, cache, 60_000)
    sets = [stored(bucket, lines(200), attempt) for attempt in range(1, 8)]
    cached = list(cache.iterdir())
    assert 0 < sum(path.stat().st_size for path in cached) <= 60_000
    again = SampleBucket(connection, cache, 60_000)
    for samples in sets:
        assert len(again.open_samples(FILES, samples, None).index) == 200
    again.remove("job-1")
    assert list(cache.iterdir()) == []


def test_a_file_of_many_parts_is_uploaded_and_can_be_stopped(
    bucket: SampleBucket, client: S3Client, connection: S3Connection
):
    content = bytes(range(256)) * 80_000  # 20 MB
    writing = bucket.artifact_file(FILES, 1, "large")
    assert store_artifact(io.BytesIO(content), writing, "large", 10**9, lambda: False) is not None
    size, chunks = bucket.open_artifact(FILES, 1, "large")
    assert (size, b"".join(chunks)) == (len(content), content)
    calls = count()
    with pytest.raises(IngestionStopped):
        store_artifact(
            io.BytesIO(content),
            bucket.artifact_file(FILES, 1, "stopped"),
            "stopped",
            10**9,
            lambda: next(calls) > 20,
        )
    assert len([*client.list(connection.prefix)]) == 1


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed(client: S3Client, connection: S3Connection):
    key = connection.key("replaced")
    client.put(key, b"a" * 5_000_000)
    size, chunks = client.stream(key)
    assert (size, len(next(chunks))) == (5_000_000, 4 * 1024 * 1024)
    client.put(key, b"b" * 5_000_000)
    with pytest.raises(SampleStoreUnavailable):
        next(chunks)


def test_an_empty_object_has_no_chunks(client: S3Client, connection: S3Connection):
    client.put(connection.key("empty"), b"")
    size, chunks = client.stream(connection.key("empty"))
    assert (size, list(chunks)) == (0, [])


def test_a_check_leaves_nothing(bucket: SampleBucket, client: S3Client, connection: S3Connection):
    bucket.check()
    assert [*client.list(connection.prefix)] == []


def test_a_missing_bucket_is_named(moto: MotoServer):
    client = S3Client(connected(moto.url, "s3://no-such-bucket/x"))
    for call in (client.check, lambda: client.get("x"), lambda: list(client.list("x"))):
        with pytest.raises(
            SampleStoreUnavailable, match="bucket of s3://no-such-bucket/x does not exist at http://127"
        ):
            call()


def test_refused_credentials_are_reported_without_them(moto: MotoServer):
    moto.refuse_unknown_keys(refuse=True)
    try:
        with pytest.raises(
            SampleStoreUnavailable, match=r"refuses access to s3://samples/x \(InvalidAccessKeyId: "
        ) as caught:
            S3Client(connected(moto.url, "s3://samples/x")).check()
    finally:
        moto.refuse_unknown_keys(refuse=False)
    assert "unknown-secret" not in str(caught.value)


def test_an_unreachable_store_is_named_with_the_cause():
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(
        SampleStoreUnavailable, match=rf"{url} cannot be reached for s3://samples/x \(Connection refused"
    ):
        S3Client(connected(url, "s3://samples/x"), retry_s=0.1).check()
