"""Sample files and artifacts in a folder."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_query import Rows
from evalhub_server.engine.artifact_files import artifact_path, sizes_by_kind
from evalhub_server.engine.sample_backend import (
    BenchmarkFiles,
    PartFile,
    SampleBackend,
    SampleWriter,
    Stop,
    StoredFile,
    file_chunks,
    sample_file_cache,
)
from evalhub_server.engine.sample_files import (
    data_name,
    job_part,
    load_index,
    part_file,
    publish,
    remove_parts,
    remove_tree,
    write_index,
)
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import SampleSet

BLOCK_BYTES = 256 * 1024
"""How much is searched at once: it fits into the processor's cache, where lower-casing is fast."""


class SampleFolder(SampleBackend):
    """The files below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._cache = sample_file_cache()

    def directory(self, files: BenchmarkFiles) -> Path:
        """The directory of a benchmark."""
        return self.root / job_part(files.job_id) / str(files.index)

    def open(self, min_age_s: float = 0) -> int:
        return remove_parts(self.root, min_age_s)

    def part_file(self, files: BenchmarkFiles) -> AbstractContextManager[PartFile]:
        return part_file(self.directory(files))

    @contextmanager
    def sample_writer(self, files: BenchmarkFiles) -> Generator[SampleWriter]:
        directory = self.directory(files)
        with part_file(directory) as part:
            yield _FolderWriter(directory, part)

    def open_samples(
        self, files: BenchmarkFiles, samples: SampleSet, primary: PrimaryScore | None
    ) -> SampleFile:
        path = self.local_copy(files, samples)
        found = self._cache.get(str(path))
        if found is None:
            found = SampleFile(_FolderData(path), load_index(path, primary))
            self._cache.put(str(path), found, len(found.index))
        elif not path.exists():
            raise FileNotFoundError(2, "No such file", str(path))
        return found

    def local_copy(self, files: BenchmarkFiles, samples: SampleSet) -> Path:
        return self.directory(files) / data_name(samples)

    @contextmanager
    def artifact_file(
        self, files: BenchmarkFiles, attempt: int, name: str
    ) -> Generator[tuple[BinaryIO, Callable[[Stop], None]]]:
        target = artifact_path(self.directory(files), attempt, name)
        with part_file(target.parent) as (file, part):
            yield file, lambda _stop: publish(file, part, target)

    def open_artifact(self, files: BenchmarkFiles, attempt: int, name: str) -> StoredFile:
        file = artifact_path(self.directory(files), attempt, name).open("rb")
        return StoredFile(os.fstat(file.fileno()).st_size, file_chunks(file))

    def remove(self, job_id: str) -> None:
        remove_tree(self.root / job_part(job_id))

    def sizes(self) -> Counter[str]:
        return sizes_by_kind(occupied(self.root))


class _FolderWriter:
    def __init__(self, directory: Path, part: PartFile) -> None:
        self._directory = directory
        self._part = part

    def write(self, line: bytes) -> None:
        self._part.file.write(line)

    def publish(self, samples: SampleSet, index: SampleIndex, stop: Stop) -> None:
        target = self._directory / data_name(samples)
        write_index(target, index)
        publish(*self._part, target)


class _FolderData:
    def __init__(self, path: Path) -> None:
        self._path = path

    def lines(self, index: SampleIndex, rows: Rows) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            for row in rows:
                start, end = index.span(row)
                file.seek(start)
                yield file.read(end - start)

    def blocks(self, index: SampleIndex) -> Iterator[tuple[int, bytes]]:
        offsets, first = index.offsets, 0
        with self._path.open("rb", buffering=0) as file:
            while first < len(index):
                # As many whole lines as fit into a block, but at least one.
                end = max(bisect_right(offsets, offsets[first] + BLOCK_BYTES) - 1, first + 1)
                yield first, file.read(offsets[end] - offsets[first])
                first = end


def occupied(root: Path) -> Iterator[tuple[str, int]]:
    """Path and occupied bytes of each file below a directory. Follows no links; skips what cannot be read."""
    for directory, _, names in os.walk(root):
        for name in names:
            path = f"{directory}/{name}"
            try:
                yield path, os.lstat(path).st_blocks * 512
            except OSError:
                continue
