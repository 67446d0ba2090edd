"""What all contract suites do: tests that cannot be replaced, time limits, and calls that block the event loop."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from evalhub_server.testing import Contract, ExporterContract, replaces_contract_test
from evalhub_server.testing.contract import check_hidden
from evalhub_server.testing.loop_watch import LoopBlocked, LoopWatch
from harness import wait_until


def test_a_test_of_a_suite_cannot_be_replaced_without_a_reason() -> None:
    with pytest.raises(TypeError, match=r"Mine\.test_an_export_arrives replaces .* ExporterContract, .*flag"):

        class Mine(ExporterContract):
            async def test_an_export_arrives(self) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]

    with pytest.raises(TypeError, match=r"Removed\.test_it_has_a_name replaces a test"):
        type("Removed", (ExporterContract,), {"test_it_has_a_name": None})
    with pytest.raises(ValueError, match="reason is empty"):
        replaces_contract_test(" ")


def test_a_test_can_be_replaced_with_a_reason_and_added() -> None:
    class Mine(ExporterContract):
        @replaces_contract_test("the target has no names")
        async def test_it_has_a_name(self) -> None: ...  # pyright: ignore[reportIncompatibleMethodOverride]

        async def test_something_of_its_own(self) -> None: ...

    class More(Mine):
        async def test_something_of_its_own(self) -> None: ...

    assert More.test_it_has_a_name is Mine.test_it_has_a_name


class Impatient(Contract):
    deadline_s = 0.02


async def test_a_call_that_does_not_return_is_named() -> None:
    async def launch() -> None:
        await asyncio.Event().wait()

    async def never() -> str:
        return ""

    with pytest.raises(AssertionError, match=r"launch did not return within 0\.02 s"):
        await Impatient().soon(launch())
    with pytest.raises(AssertionError, match=r"not within 0\.02 s: the log has a line; last value: ''"):
        await Impatient().until(never, "the log has a line")
    with pytest.raises(AssertionError, match="a cancelled call did not end"):
        await Impatient().cancelled_after(_ignores_cancellation(), 1)


async def _ignores_cancellation() -> None:
    for _ in range(5):
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            continue


async def test_a_time_limit_of_the_call_itself_is_not_the_deadline() -> None:
    async def launch() -> None:
        raise TimeoutError("its own")

    with pytest.raises(TimeoutError, match="its own"):
        await Impatient().soon(launch())


async def test_a_call_that_blocks_the_loop_is_reported_with_its_line() -> None:
    watch = LoopWatch(0.1, 60.0)

    async def blocking_stop() -> None:
        wait_until(lambda: watch.report, "the report")

    with watch:
        await asyncio.create_task(blocking_stop())
    assert "blocking_stop blocked the event loop for 0.1 s or longer" in watch.report
    assert 'wait_until(lambda: watch.report, "the report")' in watch.report


async def test_a_test_that_looks_into_its_target_may_block() -> None:
    class Looks:
        async def runs(self) -> None:
            threading.Event().wait(0.5)

    with LoopWatch(0.05, 60.0, Looks) as watch:
        await asyncio.create_task(Looks().runs())
    assert watch.report == ""


async def test_a_call_that_blocks_for_very_long_is_interrupted() -> None:
    async def blocking_wait() -> None:
        threading.Event().wait()

    with LoopWatch(0.05, 0.1), pytest.raises(LoopBlocked, match="blocking_wait blocked the event loop"):
        await asyncio.create_task(blocking_wait())


async def test_many_short_calls_do_not_block_the_loop() -> None:
    def busy() -> None:
        end = time.monotonic() + 0.01
        while time.monotonic() < end:
            pass

    async def calls() -> None:
        for _ in range(60):
            busy()
            await asyncio.sleep(0)

    with LoopWatch(0.5, 30.0) as watch:
        await asyncio.create_task(calls())
    assert watch.report == ""


def test_secrets_in_a_text_fail_without_being_repeated() -> None:
    check_hidden(["s3cret"], the_log=["nothing"])
    with pytest.raises(AssertionError, match="1 of the secrets can be read in the log") as failure:
        check_hidden(["s3cret", ""], the_log=["token=s3cret"])
    assert "s3cret" not in str(failure.value)
