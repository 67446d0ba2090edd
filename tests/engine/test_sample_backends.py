"""The contract of the places that samples and artifacts are stored in."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from evalhub_server.engine.artifact_files import store_artifact
from evalhub_server.engine.sample_backend import BenchmarkFiles, IngestionStopped, SampleBackend
from evalhub_server.engine.sample_bucket import SampleBucket
from evalhub_server.engine.sample_folder import SampleFolder
from evalhub_server.engine.sample_ingestion import IngestionLimits, ingest
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import SampleSet
from evalhub_server.settings import SampleSettings, connection_of
from harness.moto import MotoServer, needs_moto

FILES = BenchmarkFiles("job-1", 0)
PRIMARY = PrimaryScore(metric="acc")
LIMITS = IngestionLimits(file_bytes=10**9, line_bytes=10**6, samples=10**6)


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MotoServer]:
    with MotoServer(tmp_path_factory.mktemp("moto")) as running:
        yield running


def bucket_in(moto: MotoServer, folder: Path, cache_bytes: int = 10**9) -> SampleBucket:
    settings = msgspec.convert(moto.settings(f"{folder.parent.name}/{folder.name}"), SampleSettings)
    return SampleBucket(connection_of(settings, {}), folder / "cache", cache_bytes)


@pytest.fixture(params=["folder", pytest.param("bucket", marks=needs_moto)])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> SampleBackend:
    if request.param == "folder":
        return SampleFolder(tmp_path / "samples")
    return bucket_in(request.getfixturevalue("moto"), tmp_path)


def lines(count: int) -> bytes:
    """Samples whose lines differ in length, some of them larger than a block."""
    return b"".join(
        json.dumps(
            {
                "sample_id": f"q{number}",
                "metrics": {"acc": number % 2},
                "output": f"answer {number} " + "x" * (100_000 if number % 70 == 69 else number),
            }
        ).encode()
        + b"\n"
        for number in range(count)
    )


def stored(
    backend: SampleBackend, content: bytes, attempt: int = 1, files: BenchmarkFiles = FILES
) -> SampleSet:
    return ingest(io.BytesIO(content), backend.sample_writer(files), attempt, PRIMARY, LIMITS, lambda: False)


def test_the_lines_of_any_rows_are_read_in_the_order_of_the_rows(backend: SampleBackend):
    samples = stored(backend, lines(300))
    file = backend.open_samples(FILES, samples, PRIMARY)
    assert [json.loads(line)["sample_id"] for line in file.lines([299, 0, 69, 70, 1])] == [
        "q299",
        "q0",
        "q69",
        "q70",
        "q1",
    ]
    assert len(list(file.lines(range(300)))) == 300


def test_all_rows_and_few_rows_are_searched(backend: SampleBackend):
    file = backend.open_samples(FILES, stored(backend, lines(300)), PRIMARY)
    assert file.search("ANSWER 29", range(300)) == [29, *range(290, 300)]
    assert file.search("answer 29", range(0, 300, 10)) == [290]
    assert file.search("acc", range(300)) == []  # the name of a metric, in no text


def test_a_local_copy_has_the_lines(backend: SampleBackend):
    content = lines(80)
    assert len(backend.local_copy(FILES, stored(backend, content)).read_bytes().splitlines()) == 80


def test_a_repeated_write_changes_nothing_and_another_attempt_is_another_file(backend: SampleBackend):
    first = stored(backend, lines(5))
    assert stored(backend, lines(5)) == first
    second = stored(backend, lines(6), attempt=2)
    assert len(backend.open_samples(FILES, first, PRIMARY).index) == 5
    assert len(backend.open_samples(FILES, second, PRIMARY).index) == 6


def test_nothing_is_left_of_a_write_that_was_stopped(backend: SampleBackend):
    with pytest.raises(IngestionStopped):
        ingest(
            io.BytesIO(lines(5)),
            backend.sample_writer(FILES),
            1,
            PRIMARY,
            LIMITS,
            iter([False, True]).__next__,
        )
    assert set(backend.sizes().values()) == {0}


def test_artifacts_are_replaced_by_name_and_removed_with_the_job(backend: SampleBackend):
    stored(backend, lines(5))
    for content in (b"first", b"second" * 100_000):
        artifact = store_artifact(
            io.BytesIO(content), backend.artifact_file(FILES, 1, "a/b.txt"), "a/b.txt", 10**6, lambda: False
        )
        assert artifact is not None
        assert artifact.bytes == len(content)
    size, chunks = backend.open_artifact(FILES, 1, "a/b.txt")
    assert (size, b"".join(chunks)) == (600_000, b"second" * 100_000)
    assert all(size > 0 for size in backend.sizes().values())
    other = BenchmarkFiles("job-10", 0)
    stored(backend, lines(5), files=other)
    backend.remove("job-1")
    backend.remove("job-1")
    assert backend.sizes()["artifacts"] == 0
    assert backend.sizes()["samples"] > 0
    backend.remove("job-10")
    assert set(backend.sizes().values()) == {0}
    with pytest.raises(OSError, match=r"."):
        backend.open_artifact(FILES, 1, "a/b.txt")


def test_an_artifact_above_the_limit_is_not_stored(backend: SampleBackend):
    writing = backend.artifact_file(FILES, 1, "a")
    assert store_artifact(io.BytesIO(b"x" * 11), writing, "a", 10, lambda: False) is None
    assert set(backend.sizes().values()) == {0}
