"""Sample files in a folder.

``<root>/<job id>/<benchmark index>/<attempt>-<digest>.jsonl`` with ``….idx`` beside it. Files are complete under their name:
they are written under a temporary name, which contains ``.part-``, flushed and renamed. The digest in the name makes a
repeated write of the same samples harmless, and lets the record of the benchmark select one of two.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from evalhub_server.domain.sample_index import CorruptIndex, IndexBuilder, SampleIndex, decode_index
from evalhub_server.domain.samples import parse_sample
from evalhub_server.engine.sample_backend import PartFile
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.sample import SampleSet

_PART = ".part-"
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


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
def part_file(directory: Path) -> Generator[PartFile]:
    """A new file under a temporary name, which is removed unless it was renamed. Raises :class:`OSError`."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / f"{_PART}{uuid.uuid4().hex}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "w+b") as file:
            yield PartFile(file, path)
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
    write_index(data, index)
    return index


def write_index(data: Path, index: SampleIndex) -> None:
    """Store the index of a sample file beside it. Blocks; raises :class:`OSError`."""
    with part_file(data.parent) as (file, part):
        file.write(index.encode())
        publish(file, part, index_path(data))


def remove_tree(path: Path) -> None:
    """Remove a directory if it exists. Raises :class:`OSError`."""
    with suppress(FileNotFoundError):
        shutil.rmtree(path)


def remove_parts(root: Path, min_age_s: float = 0) -> int:
    """Remove temporary files that a server left when it died, last written ``min_age_s`` ago; returns their number."""
    until = time.time() - min_age_s
    parts = [
        path
        for path in root.glob(f"**/{_PART}*")
        if path.is_file() and (not min_age_s or path.stat().st_mtime <= until)
    ]
    for path in parts:
        path.unlink(missing_ok=True)
    return len(parts)
