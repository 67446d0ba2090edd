"""Calls about jobs: create, read, follow, cancel, rerun, logs."""

from __future__ import annotations

import codecs
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, cast
from urllib.parse import quote

from evalhub_common.backoff import Backoff
from evalhub_server.client.errors import ResponseError, Unreachable
from evalhub_server.client.event_stream import StreamEvent, read_events
from evalhub_server.client.paging import items_of
from evalhub_server.client.resources import Job, Json, Page, benchmark_statuses, is_terminal, sample_state
from evalhub_server.client.transport import Answer, Transport, Value, decode

JOBS = "/api/v1/evaluations/jobs"
CHECKS = "/api/v1/evaluations/job-checks"
WAIT_S = 20
"""Length of a long poll: shorter than what proxies allow a silent request."""
POLL_S = 1.0
"""Pause between requests to a server without long polls."""
PATIENCE_S = 60.0
"""How long following a job outlasts a server that is unavailable, such as during a restart."""
SILENT_LOG_S = 24 * 3600.0
"""How long a followed log may be without output: an adapter may print nothing while it works."""
EXIT_S = 10.0
"""How long the adapter of a benchmark may run after its result before nothing is expected of it."""
SAMPLES_POLL_S = 0.2
_BACKOFF = Backoff(POLL_S, 10.0, jitter=0.5)
Only = Literal["failed", "missing", "all"] | Sequence[int]


class Jobs:
    """Jobs of the server, as ``client.jobs``. Ids are ``resource.id``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, request: Json, *, idempotency_key: str | None = None) -> Job:
        """Submit a job; ``request`` is the body that the REST API describes. It is sent once: a repetition could run twice."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        return self._job("POST", JOBS, body=request, headers=headers)

    def check(self, request: Json) -> Json:
        """What a create of ``request`` would do, as ``POST /job-checks`` describes it. The released server has no such route."""
        return cast("Json", decode(self._transport.request("POST", CHECKS, body=request).body))

    def get(self, job_id: str) -> Job:
        """One job. Raises :class:`ResourceNotFound`."""
        return self._job("GET", _path(job_id))

    def list(self, *, limit: int = 50, offset: int = 0, **filters: Value) -> Page[Job]:
        """One page of jobs. ``filters`` are query parameters of the list, such as ``status`` or ``model_name``."""
        answer = self._transport.request("GET", JOBS, {"limit": limit, "offset": offset, **filters})
        return cast("Page[Job]", decode(answer.body))

    def iterate(self, **filters: Value) -> Iterator[Job]:
        """All jobs that match, page by page."""
        return items_of(lambda limit, offset: self.list(limit=limit, offset=offset, **filters))

    def cancel(self, job_id: str, *, hard_delete: bool = False) -> str:
        """Cancel a job; with ``hard_delete``, remove it with its results and files.

        Returns sentences about what the server could not remove, or an empty text.
        """
        query = {"hard_delete": True if hard_delete else None}
        return self._transport.request("DELETE", _path(job_id), query).warning

    def rerun(self, job_id: str, only: Only = "failed") -> Job:
        """Create a job that repeats benchmarks of this one, by state or by index."""
        selection = only if isinstance(only, str) else list(only)
        return self._job("POST", f"{_path(job_id)}/reruns", body={"only": selection})

    def follow(self, job_id: str, patience_s: float = PATIENCE_S) -> Iterator[Job]:
        """The job now and after each change, until it has ended.

        Uses long polls, or polls servers that do not have them. A server that is unavailable is retried for ``patience_s``.
        """
        last = Answer(None)
        lost_at: float | None = None
        delays = _BACKOFF.delays()
        while True:
            query: dict[str, Value] = {"wait": f"{WAIT_S}s", "since": last.etag} if last.etag else {}
            try:
                answer = self._transport.request(
                    "GET", _path(job_id), query, timeout_s=WAIT_S + self._transport.timeout_s
                )
            except (Unreachable, ResponseError) as error:
                now = time.monotonic()
                lost_at = now if lost_at is None else lost_at
                if (isinstance(error, ResponseError) and error.status < 500) or now - lost_at > patience_s:
                    raise
                time.sleep(next(delays))
                continue
            lost_at, delays = None, _BACKOFF.delays()
            if answer.body != last.body:
                job = cast("Job", decode(answer.body))
                yield job
                if is_terminal(job):
                    return
            last = answer
            if not answer.etag:
                time.sleep(POLL_S)

    def wait(self, job_id: str, *, samples_timeout_s: float = 0.0) -> Job:
        """Wait until the job has ended; returns it.

        With ``samples_timeout_s``, also wait for at most so long until the server has stored the samples of its benchmarks: a
        job does not wait for them. What is not stored then has the ``state`` pending, or no ``samples`` at all while its
        adapter has not exited. An adapter that hands over none is waited for only :data:`EXIT_S`.
        """
        job = self.get(job_id)
        for job in self.follow(job_id):  # noqa: B007
            pass
        ended = time.monotonic()
        while (waited_s := time.monotonic() - ended) < samples_timeout_s:
            if _has_samples(job, absent=waited_s > EXIT_S):
                break
            time.sleep(SAMPLES_POLL_S)
            job = self.get(job_id)
        return job

    def stream(self, job_id: str, *, logs: bool = False, last_event_id: str = "") -> Iterator[StreamEvent]:
        """Server-sent events of a job, up to ``end``. Raises :class:`Unsupported` on servers without streams."""
        headers = {"Accept": "text/event-stream"}
        if last_event_id:
            headers["Last-Event-ID"] = last_event_id
        return read_events(
            self._transport.stream(f"{_path(job_id)}/stream", {"logs": logs or None}, headers, timeout_s=60)
        )

    def logs(
        self, job_id: str, benchmark_index: int | None = None, *, tail_lines: int | None = None
    ) -> Iterator[str]:
        """The output of the adapters so far, in pieces. ``tail_lines``: lines from the end of each; -1 means all."""
        path = _logs_path(job_id, benchmark_index)
        return _texts(self._transport.stream(path, {"tail_lines": tail_lines}))

    def follow_logs(
        self, job_id: str, benchmark_index: int | None = None, *, tail_lines: int = 1000
    ) -> Iterator[str]:
        """The output of the adapters as it grows, until the job or the benchmark has ended.

        Logs of servers that cannot follow them (they send no ``ETag`` either) are polled.
        """
        answer = self._transport.request("GET", _path(job_id))
        if not answer.etag:
            return self._poll_logs(cast("Job", decode(answer.body)), benchmark_index, tail_lines)
        query: dict[str, Value] = {"tail_lines": tail_lines, "follow": True}
        return _texts(
            self._transport.stream(_logs_path(job_id, benchmark_index), query, timeout_s=SILENT_LOG_S)
        )

    def _poll_logs(self, job: Job, benchmark_index: int | None, tail_lines: int) -> Iterator[str]:
        """The end of each log, then what is appended. With several logs, a line that names one precedes its output."""
        job_id = job["resource"]["id"]
        several = benchmark_index is None
        indexes = range(len(job.get("benchmarks") or [])) if benchmark_index is None else [benchmark_index]
        seen = dict[int, int]()
        shown: int | None = None
        while True:
            running = self._is_running(job_id, benchmark_index)
            for index in indexes:
                text = "".join(self.logs(job_id, index, tail_lines=-1))
                new = text[seen[index] :] if index in seen else _tail(text, tail_lines)
                seen[index] = len(text)
                if new and several and index != shown:
                    yield f"=== benchmark_index={index} ===\n"
                    shown = index
                if new:
                    yield new
            if not running:
                return
            time.sleep(POLL_S)

    def _is_running(self, job_id: str, benchmark_index: int | None) -> bool:
        job = self.get(job_id)
        if is_terminal(job) or benchmark_index is None:
            return not is_terminal(job)
        states = {each["benchmark_index"]: each["status"] for each in job["status"].get("benchmarks") or []}
        return states.get(benchmark_index, "pending") in ("pending", "running")

    def _job(self, method: str, path: str, **options: Any) -> Job:
        return cast("Job", decode(self._transport.request(method, path, **options).body))


def _path(job_id: str) -> str:
    return f"{JOBS}/{quote(job_id, safe='')}"


def _logs_path(job_id: str, benchmark_index: int | None) -> str:
    return (
        f"{_path(job_id)}/logs"
        if benchmark_index is None
        else f"{_path(job_id)}/benchmarks/{benchmark_index}/logs"
    )


def _texts(chunks: Iterator[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    for chunk in chunks:
        yield decoder.decode(chunk)
    yield decoder.decode(b"", final=True)


def _tail(text: str, lines: int) -> str:
    return text if lines < 0 else "".join(text.splitlines(keepends=True)[-lines:])


def _has_samples(job: Job, *, absent: bool) -> bool:
    """Whether no benchmark that ran is without its samples; ``absent``: those without any are not waited for."""
    for benchmark in benchmark_statuses(job):
        state = sample_state(benchmark)
        if state == "pending" or (not state and not absent and benchmark["status"] == "completed"):
            return False
    return True
