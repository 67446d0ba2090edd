"""Sample files on disk: reading what an adapter wrote into a checked file with an index.

``<root>/<job id>/<benchmark index>/<attempt>-<digest>.jsonl`` with ``….idx`` beside it. Files are complete under their name:
they are written under a temporary name, which contains ``.part-``, flushed and renamed. The digest in the name makes a
repeated write of the same samples harmless, and lets the record of the benchmark select one of two.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from evalhub_server.domain.sample_index import CorruptIndex, IndexBuilder, SampleIndex, decode_index
from evalhub_server.domain.samples import BadSample, parse_sample
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import BadLine, SampleSet

Stop = Callable[[], bool]
"""Whether to give up; called for every line."""

SHOWN_PROBLEMS = 20
CHUNK_BYTES = 1024 * 1024
_PART = ".part-"
_BOM = b"\xef\xbb\xbf"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class IngestionStopped(Exception):
    """The server closes, or the job is being deleted."""


class IngestionLimits(Struct, kw_only=True, frozen=True):
    """Limits of one sample file."""

    file_bytes: int
    line_bytes: int
    samples: int


def job_part(job_id: str) -> str:
    """The directory name of a job: its id, unless that is no plain name."""
    return (
        job_id
        if _SAFE.fullmatch(job_id)
        else "~" + hashlib.sha256(job_id.encode("utf-8", "surrogatepass")).hexdigest()
    )


def data_name(samples: SampleSet) -> str:
    """The name of the file of a sample set in the directory of its benchmark."""
    return f"{samples.attempt}-{samples.digest[:32]}.jsonl"


def index_path(data: Path) -> Path:
    return data.with_suffix(".idx")


@contextmanager
def part_file(directory: Path) -> Generator[tuple[BinaryIO, Path]]:
    """A new file under a temporary name, which is removed unless it was renamed. Raises :class:`OSError`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{_PART}{uuid.uuid4().hex}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w+b") as file:
            yield file, path
    finally:
        path.unlink(missing_ok=True)


def publish(file: BinaryIO, part: Path, target: Path) -> None:
    """Flush a temporary file to disk and give it its name, also after a crash. Raises :class:`OSError`."""
    file.flush()
    os.fsync(file.fileno())
    part.replace(target)
    sync_directory(target.parent)


def sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def ingest(
    source: BinaryIO,
    directory: Path,
    attempt: int,
    primary: PrimaryScore | None,
    limits: IngestionLimits,
    stop: Stop,
) -> SampleSet:
    """Check the lines of ``source`` and store them in ``directory``; returns the set that describes the stored file.

    Needs memory for the index and for one line, whatever the size of the source. Blocks; call it in a thread.

    Raises:
        IngestionStopped: ``stop`` has returned True.
        OSError: the source cannot be read, or the file not be written; nothing is left of it.
    """
    builder = IndexBuilder()
    problems: list[BadLine] = []
    bad_lines, duplicates, cut = 0, 0, ""
    digest = hashlib.sha256()
    with part_file(directory) as (file, part):
        for number, line in _lines(source, limits.line_bytes):
            if stop():
                raise IngestionStopped
            try:
                if line is None:
                    raise BadSample(f"longer than {limits.line_bytes} bytes")
                sample = parse_sample(line, primary)
                if builder.has(sample):
                    duplicates += 1
                    raise BadSample(f"repeats sample {sample.sample_id!r:.80} in epoch {sample.epoch}")
            except BadSample as error:
                bad_lines += 1
                if len(problems) < SHOWN_PROBLEMS:
                    problems.append(BadLine(line=number, reason=str(error)))
                continue
            if len(builder) >= limits.samples:
                cut = f"more than {limits.samples} samples (samples.max_count)"
            elif builder.size_bytes + len(sample.line) + 1 > limits.file_bytes:
                cut = f"more than {limits.file_bytes} bytes (samples.max_bytes)"
            if cut:
                break
            builder.add(sample)
            stored = sample.line + b"\n"
            file.write(stored)
            digest.update(stored)
        described = _described(builder, attempt, bad_lines, duplicates, problems, digest.hexdigest(), cut)
        if described.readable:
            target = directory / data_name(described)
            with part_file(directory) as (index_file, index_part):
                index_file.write(builder.build().encode())
                publish(index_file, index_part, index_path(target))
            publish(file, part, target)
    return described


def _described(
    builder: IndexBuilder,
    attempt: int,
    bad_lines: int,
    duplicates: int,
    problems: list[BadLine],
    digest: str,
    cut: str,
) -> SampleSet:
    if not len(builder):
        if cut:
            return SampleSet(state="failed", attempt=attempt, message=f"the first sample is {cut}")
        message = f"none of the {bad_lines} lines is a sample" if bad_lines else "its adapter left none"
        return SampleSet(
            state="failed" if bad_lines else "none",
            attempt=attempt,
            message=message,
            bad_lines=bad_lines,
            problems=tuple(problems),
        )
    index = builder.build()
    counts = index.counts()
    means = {name: mean for name in index.metrics if (mean := index.mean(name)) is not None}
    omitted = f"{len(builder.omitted)} or more metrics are not indexed" if builder.omitted else ""
    return SampleSet(
        state="cut" if cut else "stored",
        attempt=attempt,
        message=f"samples are missing: {cut}" if cut else omitted,
        count=len(builder),
        bytes=builder.size_bytes,
        digest=digest,
        metrics=tuple(index.metrics),
        means=means,
        outcomes=counts,
        errors=counts.get("error", 0),
        item_set_hash=index.item_set_hash(),
        bad_lines=bad_lines,
        duplicates=duplicates,
        problems=tuple(problems),
    )


def _lines(source: BinaryIO, limit_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """(number, line) for each line that is not blank, numbered from 1; None instead of a line above the limit."""
    number = 0
    while line := source.readline(limit_bytes + 2):
        number += 1
        text = (line.removeprefix(_BOM) if number == 1 else line).strip()
        if not line.endswith(b"\n") and len(line) > limit_bytes:
            while (rest := source.readline(CHUNK_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        elif text:
            yield number, text if len(text) <= limit_bytes else None


def load_index(data: Path, primary: PrimaryScore | None) -> SampleIndex:
    """The index of a stored sample file; it is built again if it is missing or damaged. Blocks; raises :class:`OSError`."""
    size_bytes = data.stat().st_size
    try:
        index = decode_index(index_path(data).read_bytes())
        if index.offsets[-1] == size_bytes:
            return index
    except (FileNotFoundError, CorruptIndex):
        pass
    builder = IndexBuilder()
    with data.open("rb") as file:
        for line in file:
            builder.add(parse_sample(line.removesuffix(b"\n"), primary))
    index = builder.build()
    with part_file(data.parent) as (index_file, part):
        index_file.write(index.encode())
        publish(index_file, part, index_path(data))
    return index


def remove_tree(path: Path) -> None:
    """Remove a directory if it exists. Raises :class:`OSError`."""
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def remove_parts(root: Path) -> int:
    """Remove temporary files that a server left when it died; returns their number."""
    parts = [path for path in root.glob(f"**/{_PART}*") if path.is_file()]
    for path in parts:
        path.unlink(missing_ok=True)
    return len(parts)
