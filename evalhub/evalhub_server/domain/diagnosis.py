"""Diagnosis of workloads that exited without a result: a table from exit facts to reason, explanation and hint.

The reasons are stable: each becomes the ``message_code`` of the benchmark's error message.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from msgspec import Struct

from evalhub_server.domain.plain_text import plain_text
from evalhub_server.domain.record import INTERRUPTED, Exit, RefusedEvent
from evalhub_server.models.common import Message

LOG_TAIL_LINES = 10
LOG_TAIL_CHARACTERS = 2000

_QUOTATION = " Last log lines:\n"
_NO_RESULT = re.compile(" (without reporting|before it reported) a result$")


class Diagnosis(Struct, kw_only=True, frozen=True):
    """One row of the table. ``explanation`` is a format string with the fields ``{code}`` and ``{signal}``."""

    reason: str
    applies: Callable[[Exit], bool]
    explanation: str
    hint: str


TABLE = (
    Diagnosis(
        reason=INTERRUPTED,
        applies=lambda exit_: exit_.reason == INTERRUPTED,
        explanation="The adapter was interrupted by a stop of the server or its host before it reported a result",
        hint="Submit the job again; with supervisor.restart_interrupted the server starts such adapters again by itself.",
    ),
    Diagnosis(
        reason="workload_lost",
        applies=lambda exit_: exit_.lost,
        explanation="The adapter disappeared without leaving an exit status",
        hint="The host may have restarted, or the process was killed; submit the job again.",
    ),
    Diagnosis(
        reason="command_not_found",
        applies=lambda exit_: exit_.code == 127,
        explanation="The adapter's command was not found (exit code 127)",
        hint="Check the provider's runtime command, and that the program is installed and on PATH.",
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
        hint="Often the host is out of memory: run fewer benchmarks at once (local.max_parallel) or free memory.",
    ),
    Diagnosis(
        reason="adapter_killed",
        applies=lambda exit_: bool(exit_.signal),
        explanation="The adapter was terminated by {signal} before it reported a result",
        hint="It crashed or was stopped; see the log.",
    ),
    Diagnosis(
        reason="results_not_reported",
        applies=lambda exit_: exit_.code == 0,
        explanation="The adapter exited with exit code 0 without reporting a result",
        hint=(
            "Check that it posts a completed event to callback_url and waits for the response, and that no proxy "
            "(HTTP_PROXY without the server's host in NO_PROXY) receives it instead."
        ),
    ),
    Diagnosis(
        reason="adapter_failed",
        applies=lambda _: True,
        explanation="The adapter exited with exit code {code} before it reported a result",
        hint="See the log for the cause.",
    ),
)


def refusal_text(refused: RefusedEvent) -> str:
    """The predicate of a sentence about the adapter: what it reported, and why that was refused."""
    kind = "a result" if refused.is_result else "an event"
    return f"reported {kind} that was refused: {refused.reason}"


def exit_message(exit_: Exit, log_tail: str | None, refused: RefusedEvent | None = None) -> Message:
    """The error message of a benchmark whose workload exited without a terminal report.

    The runtime's own reason, message and hint take precedence over the table's. ``refused`` is the last event of the
    adapter that the API refused.
    """
    row = next(row for row in TABLE if row.applies(exit_))
    code = "unknown" if exit_.code is None else exit_.code
    text = row.explanation.format(code=code, signal=exit_.signal)
    if refused is not None and refused.is_result:
        text = _NO_RESULT.sub("", text)
    if exit_.message and exit_.hint:
        text = exit_.message
    elif exit_.message:
        text += f": {exit_.message}"
    if refused is not None:
        text += f"; it {refusal_text(refused)}"
    return Message(
        message=with_log_tail(f"{text}. {exit_.hint or row.hint}", log_tail),
        message_code=exit_.reason or row.reason,
        message_origin="server",
    )


def deadline_message(
    kind: str, seconds: float, log_tail: str | None, refused: RefusedEvent | None = None
) -> Message:
    """The error message of a benchmark that was stopped at a deadline; ``kind`` is start or run."""
    failure = "reported nothing" if kind == "start" else "did not finish"
    refusal = f"It {refusal_text(refused)}. " if refused else ""
    text = (
        f"The adapter {failure} within {seconds:.12g} seconds and was stopped. {refusal}"
        f"If it needs longer, raise supervisor.{kind}_timeout."
    )
    return Message(
        message=with_log_tail(text, log_tail), message_code="deadline_exceeded", message_origin="server"
    )


def with_log_tail(text: str, log_tail: str | None) -> str:
    """Append the last lines of a log, at most :data:`LOG_TAIL_LINES` and :data:`LOG_TAIL_CHARACTERS`; None if there is no log.

    Control sequences are removed. An ellipsis precedes a quotation that begins within a line.
    """
    if log_tail is None:
        return plain_text(text)
    lines = plain_text(log_tail).rstrip().splitlines()[-LOG_TAIL_LINES:]
    tail = "\n".join(lines)
    if len(tail) > LOG_TAIL_CHARACTERS:
        tail = "…" + tail[-LOG_TAIL_CHARACTERS:]
    text = plain_text(text)
    return f"{text}{_QUOTATION}{tail}" if tail else f"{text} The log is empty."


def without_log_tail(text: str) -> str:
    """The message without the last lines of the log, for where the log is shown beside it."""
    return text.partition(_QUOTATION)[0]
