"""Calls that another task interrupts."""

from __future__ import annotations

import asyncio

import pytest

from evalhub_server.engine.interruptible import Interrupted, InterruptibleCall


class Slow:
    """A call that waits until it is cancelled, and then returns ``result``, raises it, or raises the cancellation."""

    def __init__(self, result: str | Exception | None = None) -> None:
        self.begun = asyncio.Event()
        self._result = result

    async def __call__(self) -> str:
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if self._result is None:
                raise
            if isinstance(self._result, Exception):
                raise self._result from None
        return str(self._result)


async def interrupted(slow: Slow) -> str:
    """The result of a call that is interrupted twice."""
    call = InterruptibleCall()
    running = asyncio.create_task(call.result(slow()))
    await slow.begun.wait()
    call.interrupt()
    call.interrupt()
    return await running


async def test_an_interrupted_call_is_cancelled():
    with pytest.raises(Interrupted):
        await interrupted(Slow())


async def test_its_result_counts_if_it_returns_one_nevertheless():
    assert await interrupted(Slow("launched")) == "launched"


async def test_its_error_is_raised():
    with pytest.raises(KeyError):
        await interrupted(Slow(KeyError("gone")))


async def test_a_time_limit_of_the_call_is_no_interruption():
    async def call() -> None:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await InterruptibleCall().result(call())


async def test_the_next_call_is_not_interrupted():
    async def call() -> str:
        await asyncio.sleep(0)
        return "done"

    interruptible = InterruptibleCall()
    interruptible.interrupt()
    assert await interruptible.result(call()) == "done"


async def test_the_cancellation_of_the_task_is_none_of_the_call():
    slow = Slow()
    running = asyncio.create_task(InterruptibleCall().result(slow()))
    await slow.begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
