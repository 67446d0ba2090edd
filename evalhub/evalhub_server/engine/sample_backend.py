"""Abstract class of the places that sample files and artifacts are stored in, and the parts that all of them share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from msgspec import Struct

from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.engine.size_cache import SizeCache
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import SampleSet

CHUNK_BYTES = 1024 * 1024
MAX_CACHED_SAMPLES = 500_000
READ_BYTES = 256 * 1024
"""How much of a file is read at once."""

Stop = Callable[[], bool]
"""Whether to give up; called for every line or chunk."""


class IngestionStopped(Exception):
    """The server closes, or the job is being deleted."""


class BenchmarkFiles(Struct, frozen=True):
    """The benchmark that files belong to."""

    job_id: str
    index: int


class PartFile(NamedTuple):
    """A file under a temporary name."""

    file: BinaryIO
    path: Path


class StoredFile(NamedTuple):
    """An artifact to read. ``chunks`` reads it in a thread and must be closed."""

    size_bytes: int
    chunks: Iterator[bytes]


class SampleWriter(Protocol):
    """A sample file that is being written. Nothing of it is visible before :meth:`publish`."""

    def write(self, line: bytes) -> None:
        """Add a line with its line feed."""
        ...

    def publish(self, samples: SampleSet, index: SampleIndex, stop: Stop) -> None:
        """Make the file and its index visible as the files of ``samples``, all or nothing."""
        ...


class SampleBackend(ABC):
    """A place that sample files and artifacts are stored in.

    A sample file is selected by its attempt and digest, so a repeated write of the same samples is harmless. What is visible
    is complete. The methods block: call them in threads. They raise :class:`OSError`, and
    :class:`~evalhub_server.errors.SampleStoreUnavailable` if the place is temporarily unavailable.
    """

    def open(self, min_age_s: float = 0) -> int:
        """Remove incomplete files that an earlier server left, of at least that age; returns their number."""
        return 0

    @abstractmethod
    def part_file(self, files: BenchmarkFiles) -> AbstractContextManager[PartFile]:
        """A new local file for a body that is being received. It is removed when the context is left."""

    @abstractmethod
    def sample_writer(self, files: BenchmarkFiles) -> AbstractContextManager[SampleWriter]:
        """A new sample file; unless it was published, nothing is left of it."""

    @abstractmethod
    def open_samples(
        self, files: BenchmarkFiles, samples: SampleSet, primary: PrimaryScore | None
    ) -> SampleFile:
        """A stored sample file. An index that is missing or damaged is built again."""

    @abstractmethod
    def local_copy(self, files: BenchmarkFiles, samples: SampleSet) -> Path:
        """A local file with the lines of a stored sample file, to be read at once."""

    @abstractmethod
    def artifact_file(
        self, files: BenchmarkFiles, attempt: int, name: str
    ) -> AbstractContextManager[tuple[BinaryIO, Callable[[Stop], None]]]:
        """A new artifact, and the function that makes it visible, in place of an earlier one with that name."""

    @abstractmethod
    def open_artifact(self, files: BenchmarkFiles, attempt: int, name: str) -> StoredFile:
        """A stored artifact."""

    @abstractmethod
    def remove(self, job_id: str) -> None:
        """Remove all files of a job, if there are any."""

    @abstractmethod
    def sizes(self) -> Mapping[str, int]:
        """The bytes that are occupied, by kind: ``samples`` and ``artifacts``."""


def sample_file_cache() -> SizeCache[str, SampleFile]:
    """A cache of sample files with their indexes; sizes are numbers of samples."""
    return SizeCache(MAX_CACHED_SAMPLES)


def file_chunks(file: BinaryIO) -> Iterator[bytes]:
    """The content of an open file, which is closed at the end."""
    with file:
        while chunk := file.read(READ_BYTES):
            yield chunk
