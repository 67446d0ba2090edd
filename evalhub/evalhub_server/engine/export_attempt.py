"""One attempt to export a job, whose result is an outcome or a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from evalhub_server.domain.record import ExportOutcome, JobRecord, OutboxEntry
from evalhub_server.engine.outbox_targets import ExportTarget
from evalhub_server.errors import ExportRefused
from evalhub_server.plugins.calls import call_fields

ATTEMPT_TIMEOUT_S = 120.0
ERROR_CHARACTERS = 2000


class Failure(NamedTuple):
    """``text`` is shown to clients. ``retry_for_s``: how long after the first failure it is retried; None: no limit.

    ``call`` has the keys of :func:`call_fields`.
    """

    text: str
    retry_for_s: float | None = None
    call: Mapping[str, str] = {}


async def deliver(
    target: ExportTarget, job: JobRecord, entry: OutboxEntry, redact: Callable[[str], str]
) -> ExportOutcome | Failure:
    """Attempt one export. Whatever a plugin raises is a failure; only the cancellation of the calling task is raised."""
    try:
        async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
            outcome = await target.deliver(job, entry)
        msgspec.json.encode(outcome)  # an invalid outcome must raise here, not in every attempt to store it
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        return Failure("it was cancelled")
    except TimeoutError as error:
        return Failure(_text(error, redact) or f"no answer within {ATTEMPT_TIMEOUT_S:g} seconds")
    except ExportRefused as error:
        return Failure(_text(error, redact), error.retry_for_s, call=call_fields(error))
    except Exception as error:  # noqa: BLE001  a plugin may raise anything; there is a retry
        return Failure(_text(error, redact) or type(error).__name__, call=call_fields(error))
    return outcome


def _text(error: Exception, redact: Callable[[str], str]) -> str:
    # The text is stored and shown: no secrets, limited in length, nothing that a database refuses.
    text = redact(str(error)).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= ERROR_CHARACTERS else text[:ERROR_CHARACTERS] + " …"
