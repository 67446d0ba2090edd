"""Full disks: emulated for a single process by a limit, or a small real file system, which needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

needs_a_full_disk = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux lets one process limit the files of another"
)


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """The process cannot extend any file; processes that it starts meanwhile can write nothing."""
    import resource

    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def _may_mount() -> bool:
    if sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    # In a name space of its own, so that asking leaves nothing behind.
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


needs_mounts = pytest.mark.skipif(
    not _may_mount(), reason="only root may mount a file system, and not everywhere"
)


@contextmanager
def small_disk(folder: Path, size_mb: int = 8) -> Iterator[Path]:
    """A small file system mounted at ``folder``."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(file: Path) -> None:
    """Create a file that occupies all free space of its file system."""
    with file.open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(4096))
    assert shutil.disk_usage(file.parent).free == 0
