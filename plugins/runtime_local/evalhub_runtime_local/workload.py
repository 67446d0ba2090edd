"""The processes of one attempt, and what identifies them."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from evalhub_runtime_local.attempt_files import Attempt
from evalhub_runtime_local.process_table import NO_PROCESS, Identity, Process


class Workload:
    """An attempt and the processes that were identified as its own.

    ``owns`` determines from an environment whether a process carries the marker of the attempt. ``log`` is the file that its
    processes inherit as standard output. ``contained``: this process started it as a child subreaper, so all its
    processes are descendants of this process. ``cgroup`` is the control group that holds all its processes, if any.
    ``members`` are the processes found by the latest scan: an identified process stays identified until it is seen dead,
    whatever it does to its environment, its session or its parent.
    """

    def __init__(
        self,
        leader: Identity,
        owns: Callable[[bytes], bool],
        *,
        log: str | None = None,
        contained: bool = False,
        cgroup: Path | None = None,
    ) -> None:
        self.leader = leader
        self.owns = owns
        self.log = log
        self.contained = contained
        self.cgroup = cgroup
        self.members: list[Process] = []

    def log_id(self) -> tuple[int, int] | None:
        """Return device and inode of the log; None if there is none."""
        if self.log is None:
            return None
        try:
            found = os.lstat(self.log)
        except OSError:
            return None
        return found.st_dev, found.st_ino


class Workloads:
    """The workloads that were launched or found by this process and are not over, by the marker of their attempt."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        """Held while a workload is registered, and while processes and workloads are listed together."""
        self._starting: dict[str, float] = {}
        """Adapters that are being started, and are not registered yet: by marker, since when, see :meth:`starting_since`."""
        self._by_marker: dict[str, Workload] = {}
        self._others: list[Workload] = []

    def add(self, attempt: Attempt, leader: Identity, *, contained: bool, cgroup: Path | None) -> Workload:
        """Register a launched workload. Idempotent."""
        with self.lock:
            return self._by_marker.setdefault(
                attempt.marker,
                Workload(leader, attempt.owns, log=attempt.log, contained=contained, cgroup=cgroup),
            )

    @contextmanager
    def starting(self, attempt: Attempt, now: float) -> Generator[None]:
        """An adapter is being started: none of its processes is older than ``now``, in the unit of the process table."""
        with self.lock:
            self._starting[attempt.marker] = now
        try:
            yield
        finally:
            with self.lock:
                self._starting.pop(attempt.marker, None)

    def starting_since(self) -> float:
        """All processes that started before belong to no adapter that is being started. The caller holds ``lock``."""
        return min(self._starting.values(), default=math.inf)

    def remove(self, attempt: Attempt) -> None:
        """Forget a workload of which no process is left."""
        self._by_marker.pop(attempt.marker, None)

    @contextmanager
    def earlier_attempts(self, attempt: Attempt) -> Generator[Workload]:
        """Register, for the duration of a stop, whatever earlier attempts of the same benchmark left running."""
        workload = Workload(NO_PROCESS, attempt.any_attempt_owns)
        self._others.append(workload)
        try:
            yield workload
        finally:
            self._others.remove(workload)

    def all(self) -> list[Workload]:
        return [*self._by_marker.values(), *self._others]

    def leaders(self) -> set[int]:
        """Return the process ids of all leaders. May be called in a thread, while workloads are added and removed."""
        return {workload.leader.pid for workload in list(self._by_marker.values())}
