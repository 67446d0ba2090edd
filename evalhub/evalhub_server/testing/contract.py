"""What all contract suites share: time limits, a watch over the event loop, and a guard of their tests."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

import pytest
import pytest_asyncio

from evalhub_server.testing.loop_watch import LoopWatch

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_REASON = "__replaces_contract_test__"
_KIT = __name__.rpartition(".")[0]


def replaces_contract_test(reason: str) -> Callable[[F], F]:
    """Allow a test to replace the test of a contract suite that has its name; ``reason`` is for readers of the code.

    Prefer the capability flags of the suite: they disable exactly the tests of what an implementation cannot do.
    """
    if not reason.strip():
        raise ValueError(
            "replaces_contract_test: the reason is empty; describe why the contract does not apply"
        )

    def mark(function: F) -> F:
        setattr(function, _REASON, reason)
        return function

    return mark


def takes_seconds(function: F) -> F:
    """Mark a test that takes seconds by ``takes_seconds = True``, so that a project can run it apart from its quick tests."""
    setattr(function, "takes_seconds", True)  # noqa: B010  functions declare no attributes
    return function


@pytest.mark.asyncio
class Contract:
    """The base class of all contract suites.

    A subclass cannot replace or remove a test of its suite, except with :func:`replaces_contract_test`.
    """

    deadline_s = 30.0
    """Time limit of one call, in seconds."""

    blocked_s = 1.0
    """Time in seconds for which one call may block the event loop. Servers report a quarter of a second; this is longer,
    because tests run on busy machines."""

    _watch: LoopWatch | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith(f"{_KIT}."):
            return
        for name, value in vars(cls).items():
            suite = next((base for base in cls.__mro__[1:] if name in vars(base)), None)
            if suite is None or not name.startswith("test_") or getattr(value, _REASON, ""):
                continue
            if suite.__module__.startswith(f"{_KIT}."):
                raise TypeError(
                    f"{cls.__name__}.{name} replaces a test of the suite {suite.__name__}, which would hide a broken "
                    f"contract. Rename it, set a capability flag of the suite, or decorate it with "
                    f"@replaces_contract_test(reason)."
                )

    @pytest_asyncio.fixture(autouse=True)
    async def event_loop_is_not_blocked(self) -> AsyncGenerator[None]:
        """Fail a test in which a call blocks the event loop for longer than ``blocked_s``; interrupt one that does not return."""
        with LoopWatch(self.blocked_s, self.deadline_s, type(self)) as self._watch:
            yield
        assert not self._watch.report, self._watch.report

    async def soon(self, outcome: Awaitable[T]) -> T:
        """Await it; fail after ``deadline_s``."""
        limit = asyncio.timeout(self.deadline_s)
        try:
            async with limit:
                return await outcome
        except TimeoutError:
            if not limit.expired():
                raise
            name = getattr(outcome, "__qualname__", "the call")
            reason = f": {self._watch.report}" if self._watch and self._watch.report else ""
            raise AssertionError(f"{name} did not return within {self.deadline_s:g} s{reason}") from None

    def limit_calls(self, instance: object, abstract: type) -> None:
        """Replace the methods of ``instance`` that ``abstract`` declares as coroutines by ones that fail after ``deadline_s``."""

        def limited(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            @wraps(method)
            async def call(*arguments: Any, **named: Any) -> Any:
                return await self.soon(method(*arguments, **named))

            return call

        for name, _ in inspect.getmembers(abstract, inspect.iscoroutinefunction):
            setattr(instance, name, limited(getattr(instance, name)))

    async def settled(self, outcome: Awaitable[Any]) -> None:
        """Await it whatever it raises; fail after ``deadline_s``."""
        done, _ = await asyncio.wait([asyncio.ensure_future(outcome)], timeout=self.deadline_s)
        assert done, f"the call did not return within {self.deadline_s:g} s"
        done.pop().exception()

    async def until(self, condition: Callable[[], Awaitable[T]], what: str) -> T:
        """Return the first true value of ``condition``; fail with ``what`` after ``deadline_s``."""
        deadline = asyncio.get_running_loop().time() + self.deadline_s
        while not (value := await self.soon(condition())):
            late = asyncio.get_running_loop().time() > deadline
            assert not late, f"not within {self.deadline_s:g} s: {what}; last value: {value!r}"
            await asyncio.sleep(0.01)
        return value

    async def cancelled_after(self, outcome: Awaitable[Any], turns: int) -> None:
        """Cancel a call after some turns of the event loop, and wait until it has ended."""
        task = asyncio.ensure_future(outcome)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=self.deadline_s)
        assert done, f"a cancelled call did not end within {self.deadline_s:g} s"


TURNS = (0, 1, 2, 4, 8, 20)
"""Turns of the event loop after which tests cancel a call."""


def check_hidden(secrets: Iterable[str], **texts: object) -> None:
    """Fail if one of the texts contains a secret; the names of ``texts`` say where."""
    for where, text in texts.items():
        # A number, because pytest shows the values of an assertion, and test reports are read and stored by many.
        shown = sum(bool(secret) and secret in f"{text!s}{text!r}" for secret in secrets)
        assert shown == 0, f"{shown} of the secrets can be read in {where.replace('_', ' ')}"
