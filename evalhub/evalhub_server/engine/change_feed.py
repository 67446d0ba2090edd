"""The feed of committed job changes, which streams, long polls and entity tags of lists share."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import datetime

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


class Follower:
    """A reader of the feed. Its queue is bounded: above the limit, only the latest state of each job is kept.

    ``wake`` is set when there is something to take, when the feed is closed, and by the logs that the reader follows.
    """

    def __init__(self, accepts: Accepts = lambda _facts: True) -> None:
        self.accepts = accepts
        self.wake = asyncio.Event()
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

    async def wait(self, timeout_s: float) -> bool:
        """Wait for ``wake`` and clear it; False after ``timeout_s`` without it."""
        try:
            async with asyncio.timeout(timeout_s):  # without the task that wait_for creates
                await self.wake.wait()
        except TimeoutError:
            return False
        self.wake.clear()
        return True

    def _keep_state(self, entry: Entry) -> None:
        state = next((frame for frame in entry.frames if frame[0] == "job"), None)
        if state is not None and (entry.job_id in self._states or len(self._states) < MAX_PENDING):
            self._states[entry.job_id] = state


class ChangeFeed:
    """Counts committed changes, keeps the latest, and passes them to followers. Nothing here waits.

    ``epoch`` identifies this life of the server, ``position`` is the number of changes in it. A list that was read at
    one position of one epoch is current as long as the position is the same. While the feed is ``behind``, because
    changes of other servers do not arrive, the epoch is another one at each access: no list counts as current.
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
        self._by_job: dict[str, set[Follower]] = {}
        self._of_lists: set[Follower] = set()

    @property
    def epoch(self) -> str:
        return secrets.token_hex(4) if self.behind else self._epoch

    def publish(self, change: JobChanged) -> None:
        """Take a committed change, in commit order."""
        self.position += 1
        job = change.after or change.before
        if job is None:
            return
        followers = self._by_job.get(job.id, ())
        if updates := visible_changes(change):
            entry = Entry(
                self.position,
                job.id,
                facts_of(job, change.before, self._labels_of(job)),
                tuple([frame_of(update) for update in updates]),
                change.after is None,
            )
            self._keep(entry)
            for follower in followers:
                follower.put(entry)
            for follower in self._of_lists:
                if follower.accepts(entry.facts):
                    follower.put(entry)
        else:
            for follower in followers:  # a long poll shows more than a stream
                follower.wake.set()

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

    @contextmanager
    def follow(self, job_id: str) -> Generator[Follower]:
        """Follow one job."""
        followers = self._by_job.setdefault(job_id, set())
        try:
            with self._registered(Follower(), followers) as follower:
                yield follower
        finally:
            if not followers and self._by_job.get(job_id) is followers:
                del self._by_job[job_id]

    @contextmanager
    def follow_all(self, accepts: Accepts) -> Generator[Follower]:
        """Follow the jobs whose changes are accepted."""
        with self._registered(Follower(accepts), self._of_lists) as follower:
            yield follower

    @contextmanager
    def _registered(self, follower: Follower, followers: set[Follower]) -> Generator[Follower]:
        if self.closed:
            follower.wake.set()
        followers.add(follower)
        try:
            yield follower
        finally:
            followers.discard(follower)

    @property
    def followers(self) -> int:
        return sum(map(len, self._by_job.values())) + len(self._of_lists)

    def close(self) -> None:
        """Wake all followers: the server stops."""
        self.closed = True
        for followers in (*self._by_job.values(), self._of_lists):
            for follower in followers:
                follower.wake.set()
