"""Checks of directories on this host that a job names as test data."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from evalhub_server.domain import problems
from evalhub_server.domain.record import JobPlan


async def check_data_paths(job_plan: JobPlan, *, allowed: bool) -> None:
    """Raise ``request_validation_failed`` for the first ``test_data_path`` that cannot be used.

    ``allowed``: the job runs on this host, for clients that may run programs here.
    """
    for index, benchmark in enumerate(job_plan.benchmarks):
        path = benchmark.test_data_path
        if not path:
            continue
        if not allowed:
            # Before anything else, so that the answer does not depend on the files of this host.
            fault = "is accepted only in local mode, by a server that accepts commands of clients; use test_data_ref"
        elif benchmark.test_data_ref is not None:
            fault = "excludes test_data_ref; leave one of them out"
        else:
            fault = await asyncio.to_thread(_fault, path)
        if fault:
            raise problems.validation_failed(f"benchmarks[{index}].test_data_path {fault}")


def _fault(path: str) -> str:
    """What is wrong with a path, as a predicate; empty if adapters can read the directory."""
    if "\0" in path or not Path(path).is_absolute():
        return f"must be an absolute path, is {path!r}"
    if not os.path.isdir(path):  # noqa: PTH112  false instead of an error for a path that is too long
        return f"must be an existing directory, is {path!r}"
    if not os.access(path, os.R_OK | os.X_OK):
        return f"must be a directory that the server can read, is {path!r}"
    return ""
