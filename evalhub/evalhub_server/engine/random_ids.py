"""Random ids of jobs and resources."""

from __future__ import annotations

import os
from collections.abc import Iterator
from uuid import UUID

_UUID_BYTES = 16
_AT_ONCE = 64


def random_ids() -> Iterator[str]:
    """Random UUIDs, version 4, without end.

    The randomness of many is read at once: a system call gives up the interpreter lock, and another thread may keep it.
    """
    while True:
        entropy = os.urandom(_UUID_BYTES * _AT_ONCE)
        for start in range(0, len(entropy), _UUID_BYTES):
            yield str(UUID(bytes=entropy[start : start + _UUID_BYTES], version=4))
