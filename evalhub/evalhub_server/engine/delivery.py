"""One try to pay a debt, and how long to wait before the next."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from evalhub_server.domain.record import ExportOutcome, ExportRecord, JobRecord
from evalhub_server.engine.destinations import Destination
from evalhub_server.errors import ExportRefused

ATTEMPT_TIMEOUT_S = 120.0
RETRY_FIRST_S = 1.0
ERROR_CHARACTERS = 2000


class Failure(NamedTuple):
    """``text`` is for clients; ``final``: another try cannot help."""

    text: str
    final: bool = False


async def deliver(
    destination: Destination, job: JobRecord, owed: ExportRecord, redact: Callable[[str], str]
) -> ExportOutcome | Failure:
    """Whatever a plugin raises is a failure; only the cancellation of the calling task is raised."""
    try:
        outcome = await asyncio.wait_for(destination.deliver(job, owed), ATTEMPT_TIMEOUT_S)
        msgspec.json.encode(outcome)  # raises here rather than in the storage, for ever
    except asyncio.CancelledError:
        if (task := asyncio.current_task()) is not None and task.cancelling():
            raise
        return Failure("it was cancelled")
    except TimeoutError as error:
        return Failure(_text(error, redact) or f"no answer within {ATTEMPT_TIMEOUT_S:g} seconds")
    except ExportRefused as error:
        return Failure(_text(error, redact), final=True)
    except Exception as error:  # noqa: BLE001  a plugin may raise anything; it is tried again
        return Failure(_text(error, redact) or type(error).__name__)
    return outcome


def _text(error: Exception, redact: Callable[[str], str]) -> str:
    # What is kept and shown: no secrets, no novels, nothing that a database refuses.
    text = redact(str(error)).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= ERROR_CHARACTERS else text[:ERROR_CHARACTERS] + " …"


def pause_s(attempts: int, most_s: float, chance: float) -> float:
    """Twice as long after each failure, up to ``most_s``; half of it is ``chance`` (0 to 1), so that jobs spread out."""
    longest = min(RETRY_FIRST_S * 2.0 ** min(attempts - 1, 60), most_s)
    return longest * (0.5 + chance / 2)
