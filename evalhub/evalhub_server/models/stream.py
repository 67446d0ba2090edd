"""Events of the streams ``GET …/jobs/stream`` and ``GET …/jobs/{id}/stream``."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from evalhub_server.models.common import Message, State
from evalhub_server.models.job import BenchmarkStatus, JobTest


class JobUpdate(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Data of the event ``job``: the state of a job. ``deleted``: the job does not exist any more."""

    job_id: str
    name: str
    state: State
    message: Message
    updated_at: datetime
    test: JobTest | None = None
    deleted: bool = False


class BenchmarkUpdate(Struct, kw_only=True, frozen=True):
    """Data of the event ``benchmark``: the status of one benchmark, as in the job."""

    job_id: str
    benchmark: BenchmarkStatus


class LogUpdate(Struct, kw_only=True, frozen=True):
    """Data of the event ``log``: whole lines of one benchmark's output; ``offset`` is their position in bytes."""

    job_id: str
    benchmark_index: int
    offset: int
    text: str


class StreamEnd(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Data of the event ``end``, the last one.

    ``reason`` is ``job_ended``, ``job_deleted``, ``slow_reader`` (the client did not read as fast as the jobs changed) or
    ``server_stopping``. After the last two, connect again.
    """

    reason: str
    state: State | None = None
