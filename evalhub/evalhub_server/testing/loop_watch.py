"""Watch over an event loop: finds calls that block it, and interrupts one that does not return."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from asyncio import Handle
from pathlib import Path
from types import FrameType
from typing import NamedTuple, Self

_KIT = __name__.rpartition(".")[0]
_SIGNAL = signal.SIGUSR2
SAMPLES = 8
"""How often the stack is looked at within the time that a call may block."""


class LoopBlocked(AssertionError):
    """Raised in a call that blocks the event loop for very long, to end it."""


class _Times(NamedTuple):
    clock_s: float
    cpu_s: float
    sleeps: bool


class LoopWatch:
    """A context manager for the thread that runs the event loop.

    A thread of its own samples the stack of that thread. The loop is blocked if one frame of the code under test is in the
    stack of one callback for ``limit_s`` seconds: a busy machine delays many calls a little, not one call that long. Where the
    system tells (Linux), only the time counts in which the thread sleeps or computes, not that in which it waits for a
    processor or a disk. After ``interrupt_s`` seconds the call is interrupted with :class:`LoopBlocked`, so that the test ends
    (in the main thread only).
    """

    def __init__(self, limit_s: float, interrupt_s: float, test_class: type | None = None) -> None:
        """Calls of methods of ``test_class`` do not count, such as those that look into a target."""
        self._tests = {each.__name__ for each in test_class.__mro__} if test_class else set[str]()
        self._limit_s = limit_s
        self._interrupt_s = interrupt_s
        self._watched = threading.get_ident()
        self._state = Path(f"/proc/self/task/{threading.get_native_id()}/stat")
        self._interrupts = threading.current_thread() is threading.main_thread()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="event-loop-watch", daemon=True)
        self.report = ""
        """Which call blocked the loop, and where; empty if none did."""

    def __enter__(self) -> Self:
        if self._interrupts:
            self._earlier = signal.signal(_SIGNAL, self._interrupt)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if self._interrupts:
            signal.signal(_SIGNAL, self._earlier)

    def _watch(self) -> None:
        found: tuple[FrameType, FrameType] | None = None
        blocked_s, last, interrupted = 0.0, self._times(), False
        while not self._done.wait(self._limit_s / SAMPLES):
            stack = _stack(self._watched)
            call, now = self._call(stack), self._times()
            if call is None or found is None or call[0] is not found[0] or call[1] is not found[1]:
                found, blocked_s, last, interrupted = call, 0.0, now, False
                continue
            passed_s = now.clock_s - last.clock_s
            blocked_s += passed_s if now.sleeps else min(passed_s, now.cpu_s - last.cpu_s)
            last = now
            if blocked_s >= self._limit_s and not self.report:
                self.report = _report(stack, call[1], self._limit_s)
            if blocked_s >= self._interrupt_s and self._interrupts and not interrupted:
                interrupted = True
                signal.pthread_kill(self._watched, _SIGNAL)

    def _call(self, stack: list[FrameType]) -> tuple[FrameType, FrameType] | None:
        """The callback of the loop that runs, and in it the first frame of the code under test."""
        run = next((i for i, frame in enumerate(stack) if frame.f_code is Handle._run.__code__), None)  # noqa: SLF001  as below
        if run is None:
            return None
        for frame in stack[run + 1 :]:
            module = str(frame.f_globals.get("__name__", ""))
            ours = module.startswith(f"{_KIT}.") and module.endswith(("contract", "_case"))
            if not ours and module.partition(".")[0] not in ("asyncio", "pytest_asyncio"):
                of_test = self._tests.intersection(frame.f_code.co_qualname.split(".")[-2:-1])
                return None if of_test else (stack[run], frame)
        return None

    def _times(self) -> _Times:
        """The state of the watched thread."""
        try:
            state, *fields = self._state.read_text("utf-8").rpartition(")")[2].split()
        except OSError:  # not Linux
            return _Times(time.monotonic(), 0.0, sleeps=True)
        ticks = int(fields[10]) + int(fields[11])  # utime and stime, see proc(5)
        return _Times(time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), sleeps=state == "S")

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        raise LoopBlocked(self.report)


def _stack(thread: int) -> list[FrameType]:
    """The frames of a thread, from the outermost one."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  the only way to see another thread's stack
    frames: list[FrameType] = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return frames[::-1]


def _report(stack: list[FrameType], call: FrameType, limit_s: float) -> str:
    inner = stack[stack.index(call) :]
    lines = traceback.format_list(
        traceback.StackSummary.extract((frame, frame.f_lineno) for frame in inner[-6:])
    )
    return (
        f"{call.f_code.co_qualname} blocked the event loop for {limit_s:g} s or longer, at:\n{''.join(lines)}"
    )
