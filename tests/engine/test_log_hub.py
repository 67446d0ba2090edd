"""Followed logs of a runtime that streams them, and of one that fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from structlog.testing import capture_logs

from evalhub_server.domain import transitions
from evalhub_server.domain.record import Exit, JobRecord
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.log_hub import LogHub
from evalhub_server.errors import RuntimeUnavailable
from evalhub_server.plugins.runtime import Handle, LogPart
from evalhub_server.testing.builders import EPOCH, a_job
from evalhub_server.testing.echo import EchoRuntime
from evalhub_server.testing.memory import MemoryStorage

Step = bytes | Exception


class ScriptedLog(EchoRuntime):
    """A log of which each call of ``follow_log`` or ``read_log`` gives the next of ``streams`` or ``reads``."""

    log_poll_s = 0.01

    def __init__(self, streams: list[list[Step]], reads: list[Step]) -> None:
        super().__init__()
        self.streams, self.reads = streams, reads
        self.offsets: list[int] = []

    async def follow_log(self, handle: Handle, offset: int) -> AsyncIterator[bytes]:
        self.offsets.append(offset)
        for step in self.streams.pop(0) if self.streams else ():
            if isinstance(step, Exception):
                raise step
            yield step

    async def read_log(self, handle: Handle, offset: int, limit_bytes: int) -> LogPart:
        step = self.reads.pop(0) if self.reads else b""
        if isinstance(step, Exception):
            raise step
        return LogPart(step, offset + len(step))


async def followed(runtime: ScriptedLog) -> str:
    """The text that a follower gets; the benchmark ends when the runtime has nothing left."""
    store = JobStore(MemoryStorage())
    job = transitions.launched(a_job(), 0, {"pid": 1}, runtime="echo")
    await store.add(job)

    def ended(job: JobRecord) -> JobRecord:
        return transitions.exited(job, 0, Exit(code=1), "", EPOCH)

    text, offset, wake = b"", 0, asyncio.Event()
    with LogHub(runtime, store).follow(job.id, 0, wake) as source:
        source.open(0)
        async with asyncio.timeout(60):
            while not source.ended:
                await wake.wait()
                wake.clear()
                data, offset = await source.read(offset)
                text += data
                if not runtime.streams and not runtime.reads:
                    await store.update(job.id, None, ended)
    return text.decode()


async def test_what_a_runtime_streams_is_not_read_again() -> None:
    runtime = ScriptedLog([[b"one\n", b"two\n"], [b"three\n"]], [])
    assert await followed(runtime) == "one\ntwo\nthree\n"
    assert runtime.offsets[:2] == [0, 8]


async def test_a_runtime_that_fails_is_called_again() -> None:
    gone = RuntimeUnavailable("the cluster is unavailable")
    streams: list[list[Step]] = [[gone], [b"one\n", gone], [KeyError("a defect")], [], [b"three\n"]]
    runtime = ScriptedLog(streams, [gone, RuntimeError("a defect"), b"two\n"])
    with capture_logs() as logs:
        assert await followed(runtime) == "one\ntwo\nthree\n"
    assert [each["event"] for each in logs if each["log_level"] == "error"] == [
        "Runtime failed to follow a log; retrying",
        "Runtime failed to read a log; retrying",
    ]
