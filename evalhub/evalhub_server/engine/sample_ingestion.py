"""Ingestion of a sample file: the lines that an adapter wrote become checked lines with an index."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from msgspec import Struct

from evalhub_server.domain.sample_index import IndexBuilder
from evalhub_server.domain.samples import BadSample, parse_sample
from evalhub_server.engine.sample_backend import CHUNK_BYTES, IngestionStopped, SampleWriter, Stop
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import BadLine, SampleSet

SHOWN_PROBLEMS = 20
_BOM = b"\xef\xbb\xbf"


class IngestionLimits(Struct, kw_only=True, frozen=True):
    """Limits of one sample file."""

    file_bytes: int
    line_bytes: int
    samples: int


def ingest(
    source: BinaryIO,
    writing: AbstractContextManager[SampleWriter],
    attempt: int,
    primary: PrimaryScore | None,
    limits: IngestionLimits,
    stop: Stop,
) -> SampleSet:
    """Check the lines of ``source`` and write the valid ones to ``writing``; returns the set that describes the stored file.

    Needs memory for the index and for one line, whatever the size of the source. Blocks; call it in a thread.

    Raises:
        IngestionStopped: ``stop`` has returned True.
        OSError, SampleStoreUnavailable: the source cannot be read, or the file not be written; nothing is left of it.
    """
    builder = IndexBuilder()
    problems: list[BadLine] = []
    bad_lines, duplicates, cut = 0, 0, ""
    digest = hashlib.sha256()
    with writing as writer:
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
            writer.write(stored)
            digest.update(stored)
        described = _described(builder, attempt, bad_lines, duplicates, problems, digest.hexdigest(), cut)
        if described.readable:
            writer.publish(described, builder.build(), stop)
    return described


def drop_unfinished_line(file: BinaryIO, line_bytes: int) -> None:
    """Cut the end of a file off after its last whole line, if that is within ``line_bytes``; then go to its beginning."""
    size = file.seek(0, os.SEEK_END)
    start = file.seek(max(size - line_bytes, 0))
    end = file.read().rfind(b"\n") + 1
    if end:
        file.truncate(start + end)
    file.seek(0)


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
        tokens=builder.tokens,
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
