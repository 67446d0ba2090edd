"""Processes that use a managed environment or the copied packages, found by the variables that adapters get."""

from __future__ import annotations

import os
from collections import defaultdict

import psutil

_VARIABLES = ("VIRTUAL_ENV", "PYTHONPATH")


def directories_in_use() -> dict[str, list[int]]:
    """The ids of the processes with a directory as ``VIRTUAL_ENV`` or ``PYTHONPATH``, by its real path.

    Processes whose environment this user cannot read are left out.
    """
    found: defaultdict[str, list[int]] = defaultdict(list)
    for process in psutil.process_iter():
        try:
            environ = process.environ()
        except (psutil.Error, OSError):
            continue
        for name in _VARIABLES:
            if value := environ.get(name):
                found[os.path.realpath(value)].append(process.pid)
    return found
