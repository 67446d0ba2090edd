"""Outcome of stops and removals that fail: responses to clients, and the exit of the workload."""

from __future__ import annotations

from collections.abc import Sequence

from evalhub_server.domain import problems
from evalhub_server.domain.record import Exit
from evalhub_server.errors import ApiError, RuntimeRefused, RuntimeUnavailable

Failures = Sequence[BaseException | None]
"""One for each workload that is not stopped: the runtime's last error, or None if stopping only takes long."""

MAX_LISTED = 3
"""How many refusals a response names: it is a header."""

NOT_STOPPED = (
    "the job {} is {}, but some of its workloads are not stopped yet; the server keeps trying. "
    "Repeat the request; see the server log for the cause"
)


def not_stopped(job_id: str, state: str, failures: Failures = ()) -> ApiError:
    """503 with the reason if the runtime is unavailable, refuses to stop the workloads, or needs longer; else 500."""
    unexpected = [f for f in failures if f is not None and not isinstance(f, RuntimeUnavailable)]
    if unexpected or not failures:
        return problems.internal_error(NOT_STOPPED.format(job_id, state))
    cause = next((f": {failure}" for failure in failures if failure is not None), "")
    text = f"the job {job_id} is {state}, but some of its workloads are not stopped yet{cause}. The server keeps trying"
    return problems.runtime_unavailable(text)


def not_removed(job_id: str, state: str, error: RuntimeUnavailable) -> ApiError:
    text = f"the job {job_id} is {state}, but was not removed completely: {error}"
    return problems.runtime_unavailable(text)


def refusals(failures: Failures) -> list[RuntimeRefused] | None:
    """The failures if all are refusals, so that waiting longer does not help; else None."""
    found = [failure for failure in failures if isinstance(failure, RuntimeRefused)]
    return found if len(found) == len(failures) else None


def left_running(errors: Sequence[RuntimeRefused]) -> str:
    """What a deleted job may have left; empty if all its workloads are stopped."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    if not texts:
        return ""
    more = f" (and {len(texts) - MAX_LISTED} more)" if len(texts) > MAX_LISTED else ""
    return f"Workloads of the job may still run: {'; '.join(texts[:MAX_LISTED])}{more}."


def exit_of_refused(error: RuntimeRefused) -> Exit:
    """The exit of a workload that the runtime is refused to stop: the server watches it no longer."""
    return Exit(lost=True, reason=error.reason, message=str(error))
