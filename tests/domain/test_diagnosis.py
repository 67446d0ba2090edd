"""What a person reads when a workload ended without a result."""

from __future__ import annotations

import pytest

from evalhub_server.domain.diagnosis import (
    LOG_TAIL_CHARACTERS,
    deadline_message,
    exit_message,
    with_log_tail,
    without_log_tail,
)
from evalhub_server.domain.record import Exit, RefusedEvent


@pytest.mark.parametrize(
    ("exit_", "reason", "fragment"),
    [
        (Exit(lost=True), "workload_lost", "without leaving an exit status"),
        (Exit(lost=True, code=127), "workload_lost", "without leaving an exit status"),
        (Exit(code=127), "command_not_found", "not found (exit code 127)"),
        (Exit(code=126), "command_not_executable", "could not be executed (exit code 126)"),
        (Exit(signal="SIGKILL"), "adapter_killed", "killed by SIGKILL"),
        (Exit(signal="SIGSEGV"), "adapter_killed", "terminated by SIGSEGV"),
        (Exit(code=0), "results_not_reported", "exit code 0 without reporting a result"),
        (Exit(code=3), "adapter_failed", "exit code 3 before it reported"),
        (Exit(), "adapter_failed", "exit code unknown"),
    ],
)
def test_each_ending_has_a_reason_and_an_explanation(exit_: Exit, reason: str, fragment: str) -> None:
    message = exit_message(exit_, "")
    assert (message.message_code, message.message_origin) == (reason, "server")
    assert fragment in message.message


def test_an_unreported_result_may_have_gone_to_a_proxy() -> None:
    assert "NO_PROXY" in exit_message(Exit(code=0), "").message


def test_the_reason_and_the_text_of_a_runtime_come_through() -> None:
    message = exit_message(Exit(code=137, reason="OOMKilled", message="container exceeded 2Gi"), "")
    assert message.message_code == "OOMKilled"
    assert ": container exceeded 2Gi. See the log" in message.message


def test_a_runtime_that_gives_a_hint_has_the_whole_say() -> None:
    exit_ = Exit(
        code=137, reason="oom_killed", message="The container had too little memory", hint="Ask for more."
    )
    message = exit_message(exit_, "the end")
    assert message.message_code == "oom_killed"
    assert message.message == ("The container had too little memory. Ask for more. Last log lines:\nthe end")


def test_braces_in_a_runtime_text_are_only_text() -> None:
    assert "{code} {" in exit_message(Exit(code=1, message="{code} {"), "").message


def test_the_last_log_lines_are_shown() -> None:
    log = "\n".join(f"line {number}" for number in range(30)) + "\n\n"
    text = exit_message(Exit(code=1), log).message
    assert text.endswith("Last log lines:\n" + "\n".join(f"line {number}" for number in range(20, 30)))


@pytest.mark.parametrize("log", ["", "\n \n"])
def test_an_empty_log_is_said_to_be_empty(log: str) -> None:
    assert with_log_tail("It ended.", log) == "It ended. The log is empty."


def test_an_endless_log_line_is_cut_at_its_beginning() -> None:
    text = with_log_tail("It ended.", "x" * 100_000 + "the end")
    assert text.endswith("the end")
    assert "Last log lines:\n…x" in text
    assert len(text) < LOG_TAIL_CHARACTERS + 100


@pytest.mark.parametrize(
    ("kind", "seconds", "fragment", "setting"),
    [
        ("start", 30.0, "reported nothing within 30 seconds", "supervisor.start_timeout"),
        ("run", 0.5, "did not finish within 0.5 seconds", "supervisor.run_timeout"),
        ("run", 1_209_600.0, "did not finish within 1209600 seconds", "supervisor.run_timeout"),
    ],
)
def test_a_deadline_says_what_was_missed_and_how_to_raise_it(
    kind: str, seconds: float, fragment: str, setting: str
) -> None:
    message = deadline_message(kind, seconds, "")
    assert message.message_code == "deadline_exceeded"
    assert fragment in message.message
    assert setting in message.message


NAN = RefusedEvent(reason="metrics.acc is NaN", status="completed")


@pytest.mark.parametrize(
    ("exit_", "text"),
    [
        (Exit(code=0), "The adapter exited with exit code 0; it"),
        (Exit(code=1), "The adapter exited with exit code 1; it"),
        (Exit(code=1, message="Container gone", hint="Look."), "Container gone; it"),
    ],
)
def test_a_refused_result_is_part_of_the_failure(exit_: Exit, text: str) -> None:
    message = exit_message(exit_, "", NAN)
    assert message.message.startswith(f"{text} reported a result that was refused: metrics.acc is NaN. ")
    assert message.message_code == exit_message(exit_, "").message_code


def test_a_refused_event_that_is_no_result_leaves_the_explanation() -> None:
    refused = RefusedEvent(reason="phase must be one of: x", status="running")
    text = exit_message(Exit(code=0), "", refused).message
    assert (
        "without reporting a result; it reported an event that was refused: phase must be one of: x. " in text
    )


def test_a_refused_result_is_part_of_a_missed_deadline() -> None:
    text = deadline_message("run", 5, "", NAN).message
    assert "was stopped. It reported a result that was refused: metrics.acc is NaN. If it needs" in text


def test_the_message_can_be_shown_without_the_log() -> None:
    assert without_log_tail(with_log_tail("It failed.", "one\ntwo")) == "It failed."
    assert without_log_tail("It failed.") == "It failed."
