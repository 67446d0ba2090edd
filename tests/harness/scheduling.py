"""Distribution of test files over the processes of a run."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

TESTS = Path(__file__).parents[1]


@cache
def scope_of(file: str) -> str:
    """The tests of one scope run in one process: those of a file, and of all files that share the viewer's server.

    That server with all its data takes five seconds of processor time to start and to fill.
    """
    path = TESTS.parent / file
    shares = (
        file.startswith("tests/viewer/")
        and path.exists()
        and "viewer: ViewerServer" in path.read_text("utf-8")
    )
    return "tests/viewer" if shares else file


class FileScheduling(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return scope_of(super()._split_scope(nodeid))
