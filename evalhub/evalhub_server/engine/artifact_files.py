"""Artifacts on disk: files that an adapter left, copied below names of the server's own.

``<root>/<job id>/<benchmark index>/artifacts/<digest of the name>``; an adapter's names are data, never paths of the server.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from evalhub_common.adapter_files import NotAFile, names_below, open_regular
from evalhub_server.engine.sample_files import (
    CHUNK_BYTES,
    IngestionStopped,
    Stop,
    part_file,
    publish,
)
from evalhub_server.models.sample import Artifact

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


def artifact_path(directory: Path, attempt: int, name: str) -> Path:
    """The path of an artifact in the directory of its benchmark."""
    digest = hashlib.sha256(f"{attempt}/{name}".encode("utf-8", "surrogatepass")).hexdigest()
    return directory / ARTIFACTS / digest[:32]


def store_artifact(
    source: BinaryIO, directory: Path, attempt: int, name: str, limit_bytes: int, stop: Stop
) -> Artifact | None:
    """Copy an artifact into the directory of its benchmark; None if it is larger than the limit.

    Blocks; call it in a thread. Raises :class:`IngestionStopped` or :class:`OSError`; then nothing is left of it.
    """
    target = artifact_path(directory, attempt, name)
    digest, size = hashlib.sha256(), 0
    with part_file(target.parent) as (file, part):
        while chunk := source.read(CHUNK_BYTES):
            if stop():
                raise IngestionStopped
            size += len(chunk)
            if size > limit_bytes:
                return None
            digest.update(chunk)
            file.write(chunk)
        publish(file, part, target)
    return Artifact(name=name, bytes=size, digest=digest.hexdigest())


def collect_artifacts(
    source: Path, directory: Path, attempt: int, limits: ArtifactLimits, stop: Stop
) -> tuple[list[Artifact], list[str]]:
    """Copy the files below ``source``; returns the artifacts and what was left out, as texts.

    Follows no links. Blocks; call it in a thread.
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
                    stored = store_artifact(file, directory, attempt, name, left_bytes, stop)
                if stored is not None:
                    artifacts.append(stored)
                    left_bytes -= stored.bytes
                    continue
                problem = f"exceeds {limits.total_bytes} bytes of all artifacts (samples.max_artifact_bytes)"
            except NotAFile:
                problem = "is no regular file"
        left_out.append(f"artifact {name[:MAX_NAME_CHARACTERS]!r} {problem}")
    return sorted(artifacts, key=lambda each: each.name), left_out
