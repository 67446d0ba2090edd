"""Artifacts: files that an adapter left, copied below names of the server's own.

``<root>/<job id>/<benchmark index>/artifacts/<digest of the name>``; an adapter's names are data, never paths of the server.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path, PurePath
from typing import BinaryIO, TypeVar

from msgspec import Struct

from evalhub_common.adapter_files import NotAFile, names_below, open_regular
from evalhub_server.engine.sample_backend import CHUNK_BYTES, IngestionStopped, Stop
from evalhub_server.models.sample import Artifact
from evalhub_server.plugins.runtime import SampleFiles

P = TypeVar("P", bound=PurePath)

MAX_NAME_CHARACTERS = 255
ARTIFACTS = "artifacts"
"""The directory of the artifacts of a benchmark, in that of its samples."""


class ArtifactLimits(Struct, kw_only=True, frozen=True):
    """Limits of the artifacts of one benchmark."""

    total_bytes: int
    count: int


def name_problem(name: str) -> str:
    """Why a text is no name of an artifact; empty if it is one."""
    if not name or len(name) > MAX_NAME_CHARACTERS:
        return f"must have 1 to {MAX_NAME_CHARACTERS} characters"
    if not name.isprintable() or "\\" in name:
        return "must not contain control characters or backslashes"
    if any(part in ("", ".", "..") for part in name.split("/")):
        return "must be a relative path without '.' and '..'"
    return ""


def artifact_path(directory: P, attempt: int, name: str) -> P:
    """The path of an artifact in the directory of its benchmark."""
    digest = hashlib.sha256(f"{attempt}/{name}".encode("utf-8", "surrogatepass")).hexdigest()
    return directory / ARTIFACTS / digest[:32]


def has_entries(files: SampleFiles) -> bool:
    """Whether there may be samples or artifacts. Blocks for microseconds. Raises :class:`OSError`."""
    if os.path.lexists(files.samples):
        return True
    try:
        with os.scandir(files.artifacts) as entries:
            return any(entries)
    except FileNotFoundError:
        return not files.samples.parent.is_dir()


def sizes_by_kind(files: Iterable[tuple[str, int]]) -> Counter[str]:
    """The sizes of stored files, given as path and bytes, by kind: ``samples`` and ``artifacts``."""
    sizes = Counter({"samples": 0, "artifacts": 0})
    for path, size in files:
        sizes["artifacts" if PurePath(path).parent.name == ARTIFACTS else "samples"] += size
    return sizes


def store_artifact(
    source: BinaryIO,
    writing: AbstractContextManager[tuple[BinaryIO, Callable[[Stop], None]]],
    name: str,
    limit_bytes: int,
    stop: Stop,
) -> Artifact | None:
    """Copy an artifact to a new file, and make it visible; None if it is larger than the limit.

    Blocks; call it in a thread. Raises :class:`IngestionStopped`, :class:`OSError` or
    :class:`~evalhub_server.errors.SampleStoreUnavailable`; then nothing is left of it.
    """
    digest, size = hashlib.sha256(), 0
    with writing as (file, publish):
        while chunk := source.read(CHUNK_BYTES):
            if stop():
                raise IngestionStopped
            size += len(chunk)
            if size > limit_bytes:
                return None
            digest.update(chunk)
            file.write(chunk)
        publish(stop)
    return Artifact(name=name, bytes=size, digest=digest.hexdigest())


def collect_artifacts(
    source: Path, store: Callable[[BinaryIO, str, int], Artifact | None], limits: ArtifactLimits
) -> tuple[list[Artifact], list[str]]:
    """Store the files below ``source``; returns the artifacts and what was left out, as texts.

    ``store`` takes a file, its name and the largest size. Follows no links. Blocks; call it in a thread.
    """
    artifacts: list[Artifact] = []
    left_out: list[str] = []
    left_bytes = limits.total_bytes
    for name in names_below(source):
        problem = name_problem(name)
        if not problem and len(artifacts) >= limits.count:
            left_out.append(f"more than {limits.count} artifacts (samples.max_artifacts)")
            break
        if not problem:
            try:
                file = open_regular(source, name)
                if file is None:
                    continue
                with file:
                    stored = store(file, name, left_bytes)
                if stored is not None:
                    artifacts.append(stored)
                    left_bytes -= stored.bytes
                    continue
                problem = f"exceeds {limits.total_bytes} bytes of all artifacts (samples.max_artifact_bytes)"
            except NotAFile:
                problem = "is no regular file"
        left_out.append(f"artifact {name[:MAX_NAME_CHARACTERS]!r} {problem}")
    return sorted(artifacts, key=lambda each: each.name), left_out
