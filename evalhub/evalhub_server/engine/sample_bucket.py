"""Sample files and artifacts in a bucket of an S3-compatible store.

``<prefix>/<job id>/<benchmark index>/<attempt>-<digest>.jsonl.gz`` has the lines in compressed blocks (see
:mod:`.sample_blocks`), and ``….idx`` the table of the blocks and the index. The index is written last, so a sample file
that has one is complete. Indexes are cached in a local directory; blocks are read by range.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from evalhub_server.domain.sample_index import CorruptIndex, SampleIndex
from evalhub_server.domain.sample_query import Rows
from evalhub_server.engine.artifact_files import artifact_path, sizes_by_kind
from evalhub_server.engine.file_cache import FileCache
from evalhub_server.engine.s3_client import S3Client
from evalhub_server.engine.sample_backend import (
    BenchmarkFiles,
    IngestionStopped,
    PartFile,
    SampleBackend,
    SampleWriter,
    Stop,
    StoredFile,
    sample_file_cache,
)
from evalhub_server.engine.sample_blocks import (
    BlockTable,
    BlockWriter,
    decode_index_object,
    decompressed,
    encode_index_object,
    members,
    rebuilt,
)
from evalhub_server.engine.sample_files import data_name, job_part, part_file, remove_parts
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.engine.size_cache import SizeCache
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import SampleSet
from evalhub_server.settings import S3Connection

BATCH_BYTES = 8 * 1024 * 1024
"""Uncompressed size of the blocks that are read at once."""
KEPT_BYTES = 32 * 1024 * 1024
"""Compressed size of the blocks of pages that are kept in memory, since the next page often needs them again."""
KEPT_ROWS = 1000
_INDEX, _DATA, _LINES = ".idx", ".gz", ".lines"


class SampleBucket(SampleBackend):
    """The objects below the prefix of a connection. ``local`` is a directory of this server for its cache and for uploads."""

    def __init__(self, connection: S3Connection, local: Path, cache_bytes: int) -> None:
        """Raises :class:`StartupError` if the client library is not installed."""
        self._connection = connection
        self._client = S3Client(connection)
        self._local = local
        self._cache = FileCache(local, cache_bytes)
        self._files = sample_file_cache()
        self._kept: SizeCache[tuple[str, int], bytes] = SizeCache(KEPT_BYTES)

    def open(self, min_age_s: float = 0) -> int:
        return remove_parts(self._local, min_age_s)

    def check(self) -> None:
        """Whether objects can be written, read, listed and deleted; raises :class:`SampleStoreUnavailable`."""
        self._client.check()

    def part_file(self, files: BenchmarkFiles) -> AbstractContextManager[PartFile]:
        return part_file(self._local)

    @contextmanager
    def sample_writer(self, files: BenchmarkFiles) -> Generator[SampleWriter]:
        with part_file(self._local) as part:
            yield _BucketWriter(self._client, self._cache, part.file, lambda each: self._name(files, each))

    def open_samples(
        self, files: BenchmarkFiles, samples: SampleSet, primary: PrimaryScore | None
    ) -> SampleFile:
        name = self._name(files, samples)
        found = self._files.get(name)
        if found is None:
            table, index = self._load(name, primary)
            found = SampleFile(_BucketData(self._client, self._kept, name + _DATA, table), index)
            self._files.put(name, found, len(found.index))
        return found

    def local_copy(self, files: BenchmarkFiles, samples: SampleSet) -> Path:
        name = self._name(files, samples)
        path = self._cache.path(name + _LINES)
        if path.exists():
            return path
        _, chunks = self._client.stream(name + _DATA)
        return self._cache.put(
            name + _LINES, lambda file: file.writelines(each for _, each in members(chunks))
        )

    @contextmanager
    def artifact_file(
        self, files: BenchmarkFiles, attempt: int, name: str
    ) -> Generator[tuple[BinaryIO, Callable[[Stop], None]]]:
        key = str(artifact_path(self._directory(files), attempt, name))
        with part_file(self._local) as (file, _):
            yield file, lambda stop: self._client.upload(key, file, stop)

    def open_artifact(self, files: BenchmarkFiles, attempt: int, name: str) -> StoredFile:
        return StoredFile(*self._client.stream(str(artifact_path(self._directory(files), attempt, name))))

    def remove(self, job_id: str) -> None:
        keys = [key for key, _ in self._client.list(self._connection.key(job_part(job_id)))]
        self._client.delete(keys)
        names = [key.removesuffix(_INDEX) for key in keys if key.endswith(_INDEX)]
        self._files.forget(names)
        self._cache.remove([each for name in names for each in (name + _INDEX, name + _LINES)])

    def sizes(self) -> Counter[str]:
        return sizes_by_kind(self._client.list(self._connection.prefix))

    def _directory(self, files: BenchmarkFiles) -> PurePosixPath:
        return PurePosixPath(self._connection.key(f"{job_part(files.job_id)}/{files.index}"))

    def _name(self, files: BenchmarkFiles, samples: SampleSet) -> str:
        return str(self._directory(files) / data_name(samples))

    def _load(self, name: str, primary: PrimaryScore | None) -> tuple[BlockTable, SampleIndex]:
        """The table and the index of a sample file, from the cache or the bucket."""
        content = self._cache.get(name + _INDEX)
        try:
            if content is None:
                content = self._client.get(name + _INDEX)
                self._cache.put(name + _INDEX, _writer_of(content))
            return decode_index_object(content)
        except (FileNotFoundError, CorruptIndex):
            pass  # of another version, or lost
        _, chunks = self._client.stream(name + _DATA)
        found = rebuilt(chunks, primary)
        content = encode_index_object(*found)
        self._client.put(name + _INDEX, content)
        self._cache.put(name + _INDEX, _writer_of(content))
        return found


class _BucketWriter:
    def __init__(
        self, client: S3Client, cache: FileCache, file: BinaryIO, name_of: Callable[[SampleSet], str]
    ) -> None:
        self._client = client
        self._cache = cache
        self._file = file
        self._name_of = name_of
        self._blocks = BlockWriter(file)

    def write(self, line: bytes) -> None:
        self._blocks.write(line)

    def publish(self, samples: SampleSet, index: SampleIndex, stop: Stop) -> None:
        name, content = self._name_of(samples), encode_index_object(self._blocks.finish(), index)
        self._client.upload(name + _DATA, self._file, stop)
        if stop():
            raise IngestionStopped
        self._client.put(name + _INDEX, content)
        self._cache.put(name + _INDEX, _writer_of(content))


class _BucketData:
    def __init__(
        self, client: S3Client, kept: SizeCache[tuple[str, int], bytes], key: str, table: BlockTable
    ) -> None:
        self._client = client
        self._kept = kept
        self._key = key
        self._table = table

    def lines(self, index: SampleIndex, rows: Rows) -> Iterator[bytes]:
        first_rows, offsets = self._table.first_rows, index.offsets
        for batch in self._batches(index, rows):
            numbers = sorted({block for _, block in batch})
            contents = dict(zip(numbers, self._read(numbers, keep=len(rows) <= KEPT_ROWS), strict=True))
            for row, block in batch:
                base = offsets[first_rows[block]]
                start, end = index.span(row)
                yield contents[block][start - base : end - base]

    def blocks(self, index: SampleIndex) -> Iterator[tuple[int, bytes]]:
        first_rows = self._table.first_rows
        size, pending = 0, list[int]()
        for block in range(len(self._table)):
            pending.append(block)
            size += self._size(index, block)
            if size >= BATCH_BYTES or block == len(self._table) - 1:
                for number, content in zip(pending, self._read(pending, keep=False), strict=True):
                    yield first_rows[number], content
                size, pending = 0, []

    def _batches(self, index: SampleIndex, rows: Rows) -> Iterator[list[tuple[int, int]]]:
        """The rows, each with its block, in pieces whose blocks are not larger than a batch together."""
        batch: list[tuple[int, int]] = []
        blocks: set[int] = set()
        size = 0
        for row in rows:
            block = self._table.block_of(row)
            if block not in blocks:
                added = self._size(index, block)
                if batch and size + added > BATCH_BYTES:
                    yield batch
                    batch, blocks, size = [], set[int](), 0
                blocks.add(block)
                size += added
            batch.append((row, block))
        if batch:
            yield batch

    def _size(self, index: SampleIndex, block: int) -> int:
        first_rows = self._table.first_rows
        return index.offsets[first_rows[block + 1]] - index.offsets[first_rows[block]]

    def _read(self, blocks: Sequence[int], *, keep: bool) -> list[bytes]:
        """The lines of blocks in ascending order; with ``keep``, those that are not kept yet are kept in memory."""
        found: dict[int, bytes | memoryview] = {}
        if keep:
            kept = {block: self._kept.get((self._key, block)) for block in blocks}
            found = {block: content for block, content in kept.items() if content is not None}
        for block, content in self._fetched([block for block in blocks if block not in found]):
            found[block] = content
            if keep:
                self._kept.put((self._key, block), bytes(content), len(content))
        return [decompressed(found[block]) for block in blocks]

    def _fetched(self, blocks: Sequence[int]) -> Iterator[tuple[int, memoryview]]:
        """The compressed blocks. Neighbours are one range."""
        table = self._table
        runs: list[list[int]] = []
        for block in blocks:
            if runs and runs[-1][-1] == block - 1:
                runs[-1].append(block)
            else:
                runs.append([block])
        spans = [(table.span(run[0])[0], table.span(run[-1])[1]) for run in runs]
        for run, (start, _), content in zip(runs, spans, self._client.ranges(self._key, spans), strict=True):
            for block in run:
                first, end = table.span(block)
                yield block, content[first - start : end - start]


def _writer_of(content: bytes) -> Callable[[BinaryIO], object]:
    return lambda file: file.write(content)
