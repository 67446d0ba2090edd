"""The committed changes of jobs, of this server and of others, for all parts of a server."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime

from evalhub_server.domain.job_changes import JobChanged, sharing
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.engine.change_feed import ChangeFeed
from evalhub_server.engine.progress_rates import ProgressRates

Listener = Callable[[JobChanged], None]

KEPT_CLOSED_JOBS = 1024


class KnownJobs:
    """The last announced record of each open job, and of those that were closed last.

    A change of another server is announced as the difference from it.
    """

    def __init__(self) -> None:
        self._open: dict[str, JobRecord] = {}
        self._closed: OrderedDict[str, JobRecord] = OrderedDict()

    def get(self, job_id: str) -> JobRecord | None:
        return self._open.get(job_id) or self._closed.get(job_id)

    def put(self, job: JobRecord) -> None:
        self.forget(job.id)
        (self._open if job.open else self._closed)[job.id] = job
        if len(self._closed) > KEPT_CLOSED_JOBS:
            self._closed.popitem(last=False)

    def forget(self, job_id: str) -> None:
        self._open.pop(job_id, None)
        self._closed.pop(job_id, None)

    def forget_closed(self) -> None:
        self._closed.clear()

    @property
    def open_ids(self) -> Sequence[str]:
        return list(self._open)


class CommittedChanges:
    """Calls its listeners for every committed change, synchronously and for each job in the order of the commits.

    ``feed`` and ``rates`` get a change before the listeners. After :meth:`begin_following`, changes that other servers
    have committed come through :meth:`announce_read`. Changes of both kinds are then compared with the record that was
    announced last: one that does not follow it is left to ``read_again``, which reads the job and announces what it finds.
    """

    def __init__(self) -> None:
        self.feed = ChangeFeed()
        self.rates = ProgressRates()
        self._listeners: list[tuple[Listener, bool]] = []
        self.known: KnownJobs | None = None
        self._followed_since: datetime | None = None
        self._read_again: Callable[[str], None] = lambda _job_id: None

    def listen(self, listener: Listener, *, own_only: bool = False) -> None:
        """Call ``listener`` for every change from now on; with ``own_only``, for those that this server commits."""
        self._listeners.append((listener, own_only))

    def begin_following(
        self, open_jobs: Sequence[JobRecord], now: datetime, read_again: Callable[[str], None]
    ) -> None:
        """Expect changes of other servers from now on. ``open_jobs`` are those that are stored."""
        self.known, self._followed_since, self._read_again = KnownJobs(), now, read_again
        for job in open_jobs:
            self.known.put(job)

    def announce(self, before: JobRecord | None, after: JobRecord | None) -> None:
        """Announce a change that this server has committed; at least one of the records is given."""
        job = after or before
        assert job is not None  # noqa: S101  see above
        last = self.known.get(job.id) if self.known is not None else None
        if last is not None and after is not None:
            if last == after:
                self.feed.outcome_unknown()  # it was read and announced before the write returned
                return
            if before is None or (last is not before and last != before):
                self.feed.outcome_unknown()
                self._read_again(job.id)
                return
        self._publish(before, after, own=True)

    def announce_read(self, job_id: str, after: JobRecord | None) -> None:
        """Announce the record of a job as it was just read, after another server has changed it; None if it is deleted."""
        assert self.known is not None  # noqa: S101  see begin_following
        last = self.known.get(job_id)
        if after is None:
            if last is None:
                self.feed.outcome_unknown()
            else:
                self._publish(last, None, own=False)
            return
        if last is None:
            last = None if self._is_new(after) else _as_closed(after)
        else:
            after = sharing(last, after)
            if after is last:
                return
        self._publish(last, after, own=False)

    def _is_new(self, job: JobRecord) -> bool:
        """Whether a job that is not known was created since: all that are unfinished are known."""
        return job.unfinished or (self._followed_since is not None and job.created_at >= self._followed_since)

    def _publish(self, before: JobRecord | None, after: JobRecord | None, *, own: bool) -> None:
        if self.known is not None:
            if after is not None:
                self.known.put(after)
            elif before is not None:
                self.known.forget(before.id)
        change = JobChanged(before=before, after=after)
        self.feed.publish(change)
        self.rates.changed(change)
        for listener, own_only in self._listeners:
            if own or not own_only:
                listener(change)


def _as_closed(job: JobRecord) -> JobRecord:
    """An earlier version of an ended job that is not known any more: only its exports can become pending again."""
    return with_changes(job, outbox=()) if job.progress.outbox else job
