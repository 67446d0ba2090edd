"""The events of streams: the state of jobs, the logs of their benchmarks, and where a reader is."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import msgspec

from evalhub_server.domain.job_updates import current_state, job_update
from evalhub_server.domain.stream_ids import StreamPosition
from evalhub_server.engine.change_feed import ChangeFeed, Entry, Facts, Follower, Frame, frame_of
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.jobs import JobService
from evalhub_server.engine.log_hub import LogSource
from evalhub_server.errors import ApiError
from evalhub_server.models.common import State
from evalhub_server.models.stream import LogUpdate, StreamEnd
from evalhub_server.plugins.storage import JobQuery
from evalhub_server.web.event_stream import HEARTBEAT, HEARTBEAT_S, Chunks, event

_encode = msgspec.json.Encoder().encode


class Reader:
    """One reader of a stream: writes events with the id from which the stream resumes."""

    def __init__(self, feed: ChangeFeed, follower: Follower) -> None:
        self._feed = feed
        self.follower = follower
        self.position = feed.position
        self.offsets: dict[int, int] = {}

    def id(self, *, ended: bool = False) -> str:
        return StreamPosition(
            epoch=self._feed.epoch, position=self.position, offsets=self.offsets, ended=ended
        ).id

    def state(self, frames: Sequence[Frame], *, resumable: bool = True) -> bytes:
        """Events that belong together: the last one has the id, so that none is lost if the connection breaks before."""
        last = len(frames) - 1
        return b"".join(
            event(name, data, self.id() if resumable and number == last else "")
            for number, (name, data) in enumerate(frames)
        )

    def entry(self, entry: Entry) -> bytes:
        self.position = entry.position
        return self.state(entry.frames)

    def interruption(self) -> bytes | None:
        """The last events if the reader was too slow or the server stops; None otherwise."""
        if self.follower.overtaken:
            # Without ids: a client that connects again gets the changes that it has missed.
            states = self.state(self.follower.take_states(), resumable=False)
            return states + event("end", _encode(StreamEnd(reason="slow_reader")))
        if self._feed.closed:
            return event("end", _encode(StreamEnd(reason="server_stopping")), self.id())
        return None


async def job_events(
    jobs: JobService, job_id: str, identity: Identity, resumed: StreamPosition | None, tail_lines: int | None
) -> Chunks:
    """The events of one job until its end; with the logs of its benchmarks unless ``tail_lines`` is None."""
    feed = jobs.feed
    with feed.follow(job_id) as follower, contextlib.ExitStack() as stack:
        reader = Reader(feed, follower)
        missed = feed.since(resumed.epoch, resumed.position, job_id=job_id) if resumed else None
        try:
            job = await jobs.get(job_id, identity)
        except ApiError:
            yield event("end", _encode(StreamEnd(reason="job_deleted")), reader.id(ended=True))
            return
        sources: dict[int, LogSource] = {}
        if tail_lines is not None:
            known = dict(resumed.offsets) if resumed else {}
            reader.offsets = {index: at for index, at in known.items() if index < len(job.benchmarks)}
            for index in range(len(job.benchmarks)):
                sources[index] = stack.enter_context(jobs.log_hub.follow(job_id, index, follower.wake))
        if missed is None:
            yield reader.state([frame_of(update) for update in current_state(job)])
        else:
            for entry in missed:
                yield reader.entry(entry)
        for index, source in sources.items():
            if index not in reader.offsets:
                reader.offsets[index] = await source.start(tail_lines or 0)
            source.open(reader.offsets[index])
        state, deleted = job.state, False
        while True:
            if (last := reader.interruption()) is not None:
                yield last
                return
            for entry in follower.take():
                yield reader.entry(entry)
                state, deleted = entry.facts.states[-1], entry.deleted
            read_all = all(source.ended for source in sources.values())
            for index, source in sources.items():
                if chunk := await _log_event(reader, job_id, index, source):
                    read_all = False
                    yield chunk
            if deleted or (state.terminal and read_all):
                reason = "job_deleted" if deleted else "job_ended"
                end = StreamEnd(reason=reason, state=None if deleted else state)
                yield event("end", _encode(end), reader.id(ended=True))
                return
            if not await follower.wait(HEARTBEAT_S):
                yield HEARTBEAT


async def _log_event(reader: Reader, job_id: str, index: int, source: LogSource) -> bytes:
    """The next block of a log; the states of the job come before the one after it."""
    offset = reader.offsets[index]
    data, end = await source.read(offset)
    if not data:
        return b""
    update = LogUpdate(
        job_id=job_id, benchmark_index=index, offset=offset, text=data.decode("utf-8", "replace")
    )
    encoded = source.shared(offset, data, lambda: _encode(update))
    reader.offsets[index] = end
    reader.follower.wake.set()
    return event("log", encoded, reader.id())


async def log_text(
    jobs: JobService, job_id: str, index: int | None, identity: Identity, tail_lines: int
) -> Chunks:
    """The output of one benchmark as text until its end; of all, with a header line where the benchmark changes."""
    with jobs.feed.wait_for(job_id) as waiter, contextlib.ExitStack() as stack:
        job = await jobs.get(job_id, identity)
        offsets: dict[int, int] = {}
        sources: dict[int, LogSource] = {}
        for number in range(len(job.benchmarks)) if index is None else (index,):
            source = stack.enter_context(jobs.log_hub.follow(job_id, number, waiter.wake))
            offsets[number] = await source.start(tail_lines)
            source.open(offsets[number])
            sources[number] = source
        shown: int | None = None
        while not jobs.feed.closed:
            read_all = all(source.ended for source in sources.values())
            for number, source in sources.items():
                data, offsets[number] = await source.read(offsets[number])
                if not data:
                    continue
                if index is None and shown != number:
                    header = await jobs.log_hub.header(job, number)
                    yield header if shown is None else b"\n" + header
                yield data
                shown, read_all = number, False
                waiter.wake.set()
            if read_all:
                return
            await waiter.wait(HEARTBEAT_S)


async def list_events(jobs: JobService, query: JobQuery, resumed: StreamPosition | None) -> Chunks:
    """The changes of all jobs that match ``query`` before or after the change, after the page of ``query``."""
    feed = jobs.feed

    def accepts(facts: Facts) -> bool:
        return matches(query, facts)

    with feed.follow_all(accepts) as follower:
        reader = Reader(feed, follower)
        missed = feed.since(resumed.epoch, resumed.position, accepts=accepts) if resumed else None
        if missed is None:
            page = await jobs.list(query)
            yield reader.state([frame_of(job_update(job)) for job in page.items])
        for entry in missed or ():
            yield reader.entry(entry)
        while True:
            if (last := reader.interruption()) is not None:
                yield last
                return
            for entry in follower.take():
                yield reader.entry(entry)
            if not await follower.wait(HEARTBEAT_S):
                yield HEARTBEAT


def matches(query: JobQuery, facts: Facts) -> bool:
    """Whether a job matches a list, before a change or after it, so that readers see it leave the list."""
    if query.tenant is not None and query.tenant != facts.tenant:
        return False
    fields = (
        (query.name, (facts.name,)),
        (query.owner, (facts.owner,)),
        (query.experiment_id, (facts.experiment_id,)),
        (query.tags, facts.tags),
        *((terms, facts.labels.get(label, ())) for label, terms in query.labels.items()),
    )
    return (
        all(terms is None or terms.allows(values) for terms, values in fields)
        and facts.name.startswith(query.name_prefix)
        and (query.created_after is None or query.created_after <= facts.created_at)
        and (query.created_before is None or facts.created_at < query.created_before)
        and query.pinned in (None, facts.pinned)
        and (query.status is None or any(query.status.allows((state.value,)) for state in facts.states))
    )


def has_ended(state: State, resumed: StreamPosition | None) -> bool:
    """Whether a reader has seen the last event of a job, so that it need not connect again."""
    return state.terminal and resumed is not None and resumed.ended
