"""Files that records name: samples and artifacts in the folder of samples, logs in the directories of jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource
from evalhub_server.engine.artifact_files import artifact_path
from evalhub_server.engine.sample_files import data_name, index_path, job_part
from evalhub_server.plugins.runtime import Runtime

SAMPLES = PurePosixPath("samples")
JOBS = PurePosixPath("jobs")


class FileRoots(NamedTuple):
    """Where files are: the folder of samples, and the runtime that has logs. None: there are none."""

    samples: Path | None = None
    runtime: Runtime | None = None


class NamedFile(NamedTuple):
    """A file that a record names. ``relative`` is its path in a data directory and in a backup.

    ``required``: it must exist, since the record says that it was stored. ``digest`` is its SHA-256, if it is recorded.
    """

    path: Path
    relative: PurePosixPath
    required: bool = False
    bytes: int = 0
    digest: str = ""


def jobs_among(records: list[JobRecord | AnyResource]) -> list[JobRecord]:
    return [record for record in records if isinstance(record, JobRecord)]


def named_files(job: JobRecord, roots: FileRoots) -> Iterator[NamedFile]:
    """The files of a job, whether they exist or not."""
    if roots.samples is not None:
        yield from _sample_files(job, roots.samples)
    if roots.runtime is not None and roots.runtime.logs_dir is not None:
        for path in roots.runtime.log_files(job):
            yield NamedFile(path, JOBS / path.relative_to(roots.runtime.logs_dir).as_posix())


def _sample_files(job: JobRecord, root: Path) -> Iterator[NamedFile]:
    for benchmark in job.benchmarks:
        samples = benchmark.samples
        if samples is None:
            continue
        directory = root / job_part(job.id) / str(benchmark.index)
        if samples.readable:
            data = directory / data_name(samples)
            yield NamedFile(data, _relative(data, root), True, samples.bytes, samples.digest)
            index = index_path(data)
            yield NamedFile(index, _relative(index, root))  # built again if it is missing
        for artifact in samples.artifacts:
            path = artifact_path(directory, samples.attempt, artifact.name)
            yield NamedFile(path, _relative(path, root), True, artifact.bytes, artifact.digest)


def _relative(path: Path, root: Path) -> PurePosixPath:
    return SAMPLES / path.relative_to(root).as_posix()
