"""Failed benchmarks of a job with what explains them: message, exit, the end of the log, errors of samples."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec import Struct

from evalhub_server.domain.diagnosis import without_log_tail
from evalhub_server.domain.plain_text import plain_text
from evalhub_server.domain.record import JobRecord, PlannedBenchmark
from evalhub_server.domain.redaction import redacted_text
from evalhub_server.domain.sample_errors import MAX_SAMPLES, SampleErrors, error_rows, grouped_errors
from evalhub_server.domain.samples import current_set
from evalhub_server.engine.identity import Identity
from evalhub_server.errors import ApiError, SampleStoreUnavailable
from evalhub_server.models.common import State
from evalhub_server.plugins.runtime import LogOptions
from evalhub_server.web.services import Services

LOG_LINES = 20
MAX_SHOWN = 5
"""Failed benchmarks and benchmarks with failed samples whose files are read; the others are listed."""


class Failure(Struct, kw_only=True, frozen=True):
    """A benchmark that failed, or some of whose samples did. ``exit`` is the exit code or signal as words; ``log`` the last lines."""

    index: int
    planned: PlannedBenchmark
    failed: bool
    reason: str
    code: str
    exit: str
    log: str
    log_fault: str
    errors: SampleErrors | None


async def failures_of(
    services: Services, job: JobRecord, shown: Iterable[int], identity: Identity
) -> list[Failure]:
    """The failures among the benchmarks ``shown``, those of whole benchmarks first."""
    wanted = [job.benchmarks[index] for index in shown]
    chosen = [each for each in wanted if each.state is State.FAILED][:MAX_SHOWN]
    chosen += [
        each
        for each in wanted
        if each.state is not State.FAILED and (samples := current_set(each)) and samples.errors
    ][: MAX_SHOWN - len(chosen)]
    return [await _failure(services, job, each.index, identity) for each in chosen]


async def _failure(services: Services, job: JobRecord, index: int, identity: Identity) -> Failure:
    record = job.benchmarks[index]
    failed = record.state is State.FAILED
    log, log_fault = await _last_lines(services, job, index, identity) if failed else ("", "")
    text = redacted_text(record.error.message) if record.error else ""
    return Failure(
        index=index,
        planned=job.plan.benchmarks[index],
        failed=failed,
        reason=without_log_tail(text) if log else text,
        code=record.error.message_code if record.error else "",
        exit=_exit_words(job, index),
        log=log,
        log_fault=log_fault,
        errors=await _sample_errors(services, job, index),
    )


def _exit_words(job: JobRecord, index: int) -> str:
    exit_ = job.benchmarks[index].exit
    if exit_ is None:
        return ""
    if exit_.signal:
        return f"ended by {exit_.signal}"
    if exit_.code is not None:
        return f"exit code {exit_.code}"
    return "no exit status" if exit_.lost else ""


async def _last_lines(services: Services, job: JobRecord, index: int, identity: Identity) -> tuple[str, str]:
    """The last lines of a log, or why it cannot be read."""
    try:
        chunks = await services.jobs.logs(job.id, index, LogOptions(tail_lines=LOG_LINES), identity)
        found = b"".join([chunk async for chunk in chunks])
    except ApiError as error:
        return "", error.message
    return plain_text(found.decode("utf-8", "replace")).strip("\n"), ""


async def _sample_errors(services: Services, job: JobRecord, index: int) -> SampleErrors | None:
    samples = current_set(job.benchmarks[index])
    if samples is None or not samples.readable or not samples.errors:
        return None
    try:
        file = await services.files.open_samples(job, index)
        rows = error_rows(file.index)
        return await asyncio.to_thread(lambda: grouped_errors(len(rows), file.previews(rows[:MAX_SAMPLES])))
    except (ApiError, SampleStoreUnavailable):
        return SampleErrors(samples.errors, 0, ())
