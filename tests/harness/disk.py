"""A disk on which a running program can write nothing more, without being root and without filling a real one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

needs_a_full_disk = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux lets one process limit the files of another"
)


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """The process can make no file longer than it is; those that it starts meanwhile can write nothing at all."""
    import resource

    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
