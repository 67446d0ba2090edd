"""Why a workload ended without a result: a table from facts to a reason, an explanation and a hint.

The reasons are a stable vocabulary: they are the ``message_code`` of the benchmark's error message.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from evalhub_server.domain.record import Exit
from evalhub_server.models.common import Message

LOG_TAIL_LINES = 10
LOG_TAIL_CHARACTERS = 2000


class Diagnosis(Struct, kw_only=True, frozen=True):
    """``explanation`` and ``hint`` are sentences; ``{code}`` and ``{signal}`` in them are filled in."""

    reason: str
    applies: Callable[[Exit], bool]
    explanation: str
    hint: str


TABLE = (
    Diagnosis(
        reason="workload_lost",
        applies=lambda exit_: exit_.lost,
        explanation="The adapter is gone and left no exit status",
        hint="The host may have been restarted or the process killed; submit the job again.",
    ),
    Diagnosis(
        reason="command_not_found",
        applies=lambda exit_: exit_.code == 127,
        explanation="The adapter's command was not found (exit code 127)",
        hint="Check the provider's runtime command and that what it starts is installed and on PATH.",
    ),
    Diagnosis(
        reason="command_not_executable",
        applies=lambda exit_: exit_.code == 126,
        explanation="The adapter's command could not be executed (exit code 126)",
        hint="Check the permissions of the file that the provider's runtime command names.",
    ),
    Diagnosis(
        reason="adapter_killed",
        applies=lambda exit_: exit_.signal == "SIGKILL",
        explanation="The adapter was killed by SIGKILL before it reported a result",
        hint="Often the kernel, out of memory: run fewer benchmarks at once (local.max_parallel) or free memory.",
    ),
    Diagnosis(
        reason="adapter_killed",
        applies=lambda exit_: bool(exit_.signal),
        explanation="The adapter was ended by {signal} before it reported a result",
        hint="Somebody stopped it, or it crashed; see the log.",
    ),
    Diagnosis(
        reason="results_not_reported",
        applies=lambda exit_: exit_.code == 0,
        explanation="The adapter ended with exit code 0 without reporting a result",
        hint="Check that it posts a completed event to callback_url and waits for the answer.",
    ),
    Diagnosis(
        reason="adapter_failed",
        applies=lambda _: True,
        explanation="The adapter ended with exit code {code} before it reported a result",
        hint="See the log for the reason.",
    ),
)


def explain(exit_: Exit, log_tail: str) -> Message:
    """The error message of a benchmark whose workload ended without a terminal report."""
    row = next(row for row in TABLE if row.applies(exit_))
    code = "unknown" if exit_.code is None else exit_.code
    text = row.explanation.format(code=code, signal=exit_.signal)
    if exit_.message and exit_.hint:
        text = exit_.message
    elif exit_.message:
        text += f": {exit_.message}"
    return Message(
        message=with_log(f"{text}. {exit_.hint or row.hint}", log_tail),
        message_code=exit_.reason or row.reason,
        message_origin="server",
    )


def deadline(kind: str, seconds: float, log_tail: str) -> Message:
    """The error message of a benchmark that was stopped because it took too long; ``kind`` is start or run."""
    what = "reported nothing" if kind == "start" else "did not finish"
    text = (
        f"The adapter {what} within {seconds:.12g} seconds and was stopped. "
        f"If it needs longer, raise supervisor.{kind}_timeout."
    )
    return Message(
        message=with_log(text, log_tail), message_code="deadline_exceeded", message_origin="server"
    )


def with_log(text: str, log_tail: str) -> str:
    """Append the last lines of a log, cut to what a person reads."""
    lines = log_tail.rstrip().splitlines()[-LOG_TAIL_LINES:]
    tail = "\n".join(lines)[-LOG_TAIL_CHARACTERS:]
    return f"{text} Last log lines:\n{tail}" if tail else f"{text} The log is empty."
