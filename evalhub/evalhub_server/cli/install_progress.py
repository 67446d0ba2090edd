"""Progress of an install on standard error: a bar on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from evalhub_server.environments.build import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

STEPS = 10
"""Lines about the packages of one environment."""


@contextmanager
def install_progress() -> Generator[Progress, None, None]:
    """The display that suits standard error."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        yield _Bar(bars, bars.add_task("Starting", total=None))


class Lines:
    """A line for each step, and for each tenth of the packages."""

    def __init__(self) -> None:
        self._shown = 0

    def step(self, text: str) -> None:
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def package(self, name: str, done: int, total: int) -> None:
        if done * STEPS // total > self._shown:
            self._shown = done * STEPS // total
            self.step(f"Found {done} of {total} packages")


class _Bar:
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars = bars
        self._task = task

    def step(self, text: str) -> None:
        self._bars.update(self._task, description=text, total=None, refresh=True)

    def package(self, name: str, done: int, total: int) -> None:
        text = f"Downloading {name} ({done} of {total})"
        self._bars.update(self._task, description=text, completed=done, total=total, refresh=True)
