"""The feed of committed job changes, which streams, long polls and entity tags of lists share."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import TypeVar

import msgspec
from msgspec import Struct

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.job_updates import Update, visible_changes
from evalhub_server.domain.record import JobDefinition, JobRecord
from evalhub_server.models.common import State
from evalhub_server.models.stream import JobUpdate

KEPT_ENTRIES = 4096
KEPT_BYTES = 16 * 2**20
KEPT_LABELS = 256
MAX_PENDING = 256
"""Changes that wait for a reader; for one that is slower, only the states of jobs are kept."""
ALL_JOBS = ""
"""What followers of all jobs are registered for, instead of a job's id."""
_encode = msgspec.json.Encoder().encode

Frame = tuple[str, bytes]
"""The name of an event and its data as JSON."""


class Facts(Struct, frozen=True):
    """What filters of lists compare. ``states`` are those before and after a change."""

    tenant: str
    name: str
    tags: tuple[str, ...]
    owner: str
    experiment_id: str
    states: tuple[State, ...]
    labels: dict[str, tuple[str, ...]]
    created_at: datetime
    pinned: bool


Accepts = Callable[[Facts], bool]


def facts_of(job: JobRecord, before: JobRecord | None, labels: dict[str, tuple[str, ...]]) -> Facts:
    return Facts(
        job.tenant,
        job.request.name,
        job.request.tags,
        job.owner,
        job.experiment.id if job.experiment else "",
        (job.state,) if before is None or before.state is job.state else (before.state, job.state),
        labels,
        job.created_at,
        job.progress.pinned,
    )


def frame_of(update: Update) -> Frame:
    return "job" if isinstance(update, JobUpdate) else "benchmark", _encode(update)


class Entry(Struct, frozen=True):
    """A change that clients see, encoded once for all followers."""

    position: int
    job_id: str
    facts: Facts
    frames: tuple[Frame, ...]
    deleted: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(len(data) for _, data in self.frames)


class Waiter:
    """Waits for changes of a job. ``wake`` is set by each of them, and when the feed is closed."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()

    async def wait(self, timeout_s: float) -> bool:
        """Wait for ``wake`` and clear it; False after ``timeout_s`` without it."""
        try:
            async with asyncio.timeout(timeout_s):  # without the task that wait_for creates
                await self.wake.wait()
        except TimeoutError:
            return False
        self.wake.clear()
        return True


class Follower(Waiter):
    """A reader of the feed. Its queue is bounded: above the limit, only the latest state of each job is kept.

    ``wake`` is also set by the logs that the reader follows.
    """

    def __init__(self, accepts: Accepts) -> None:
        super().__init__()
        self.accepts = accepts
        self.overtaken = False
        self._entries: deque[Entry] = deque()
        self._states: dict[str, Frame] = {}

    def put(self, entry: Entry) -> None:
        if not self.overtaken and len(self._entries) >= MAX_PENDING:
            self.overtaken = True
            for each in self._entries:
                self._keep_state(each)
            self._entries.clear()
        if self.overtaken:
            self._keep_state(entry)
        else:
            self._entries.append(entry)
        self.wake.set()

    def take(self) -> Sequence[Entry]:
        """The changes since the last call, in order."""
        entries = list(self._entries)
        self._entries.clear()
        return entries

    def take_states(self) -> Sequence[Frame]:
        """The latest states of jobs, instead of the changes that this reader was too slow for."""
        states = list(self._states.values())
        self._states.clear()
        return states

    def _keep_state(self, entry: Entry) -> None:
        state = next((frame for frame in entry.frames if frame[0] == "job"), None)
        if state is not None and (entry.job_id in self._states or len(self._states) < MAX_PENDING):
            self._states[entry.job_id] = state


W = TypeVar("W", bound=Waiter)


class ChangeFeed:
    """Counts committed changes, keeps the latest, and passes them to followers. Nothing here waits.

    ``epoch`` identifies this life of the server, ``position`` is the number of changes in it. A list that was read at
    one position of one epoch is current as long as the position is the same. While the feed is ``behind``, because
    changes of other servers do not arrive, the epoch is another one at each access: no list counts as current.

    Changes are encoded and kept for readers only: for followers, and for those that have left and may resume.
    """

    def __init__(self) -> None:
        self._epoch = secrets.token_hex(4)
        self.behind = False
        self.position = 0
        self.closed = False
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._labels: OrderedDict[str, tuple[JobDefinition, dict[str, tuple[str, ...]]]] = OrderedDict()
        self._oldest = 1
        self._waiters: dict[str, set[Waiter]] = {}
        self._followers: dict[str, set[Follower]] = {}
        self._last_left = -1
        """The position at which the last follower has left: a reader that resumes has seen no later one."""

    @property
    def epoch(self) -> str:
        return secrets.token_hex(4) if self.behind else self._epoch

    def publish(self, change: JobChanged) -> None:
        """Take a committed change, in commit order."""
        self.position += 1
        job = change.after or change.before
        if job is None:
            return
        for waiter in self._waiters.get(job.id, ()):
            waiter.wake.set()
        if self._followers or self._last_left >= self._oldest - 1:
            self._pass_on(job, change)
        else:
            self._oldest = self.position + 1
            self._entries.clear()
            self._bytes = 0

    def _pass_on(self, job: JobRecord, change: JobChanged) -> None:
        updates = visible_changes(change)
        if not updates:
            return
        entry = Entry(
            self.position,
            job.id,
            facts_of(job, change.before, self._labels_of(job)),
            tuple([frame_of(update) for update in updates]),
            change.after is None,
        )
        self._keep(entry)
        for follower in (*self._followers.get(job.id, ()), *self._followers.get(ALL_JOBS, ())):
            if follower.accepts(entry.facts):
                follower.put(entry)

    def _labels_of(self, job: JobRecord) -> dict[str, tuple[str, ...]]:
        """The labels of a job, which depend on its definition only; computed once for a job with many changes."""
        known = self._labels.get(job.id)
        if known is None or known[0] is not job.definition:
            known = self._labels[job.id] = job.definition, job.labels
            if len(self._labels) > KEPT_LABELS:
                self._labels.popitem(last=False)
        return known[1]

    def _keep(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._bytes += entry.size_bytes
        while len(self._entries) > KEPT_ENTRIES or self._bytes > KEPT_BYTES:
            dropped = self._entries.popleft()
            self._bytes -= dropped.size_bytes
            self._oldest = dropped.position + 1

    def outcome_unknown(self) -> None:
        """Take note of a write that failed: a broken connection leaves open whether it was committed."""
        self.position += 1

    def since(
        self, epoch: str, position: int, *, job_id: str = "", accepts: Accepts | None = None
    ) -> Sequence[Entry] | None:
        """The changes after ``position``, of one job or those that are accepted; None if they are not known any more."""
        if epoch != self.epoch or not self._oldest <= position + 1 <= self.position + 1:
            return None
        return [
            each
            for each in self._entries
            if each.position > position
            and (not job_id or each.job_id == job_id)
            and (accepts is None or accepts(each.facts))
        ]

    def wait_for(self, job_id: str) -> AbstractContextManager[Waiter]:
        """Wait for changes of one job, also those that its stream does not show."""
        return self._registered(Waiter(), self._waiters, job_id)

    @contextmanager
    def follow(self, job_id: str, accepts: Accepts = lambda _facts: True) -> Generator[Follower]:
        """Follow one job."""
        try:
            with self._registered(Follower(accepts), self._followers, job_id) as follower:
                yield follower
        finally:
            self._last_left = self.position

    def follow_all(self, accepts: Accepts) -> AbstractContextManager[Follower]:
        """Follow the jobs whose changes are accepted."""
        return self.follow(ALL_JOBS, accepts)

    @contextmanager
    def _registered(self, waiter: W, of_jobs: dict[str, set[W]], job_id: str) -> Generator[W]:
        waiters = of_jobs.setdefault(job_id, set())
        if self.closed:
            waiter.wake.set()
        waiters.add(waiter)
        try:
            yield waiter
        finally:
            waiters.discard(waiter)
            if not waiters and of_jobs.get(job_id) is waiters:
                del of_jobs[job_id]

    @property
    def followers(self) -> int:
        """The number of those that follow or wait."""
        return sum(map(len, self._all))

    def close(self) -> None:
        """Wake all that follow or wait: the server stops."""
        self.closed = True
        for waiters in self._all:
            for waiter in waiters:
                waiter.wake.set()

    @property
    def _all(self) -> Sequence[Collection[Waiter]]:
        return (*self._waiters.values(), *self._followers.values())
