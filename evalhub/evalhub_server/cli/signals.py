"""Handling of the signals that stop the program."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

from evalhub_server.errors import StoppedBySignal

if TYPE_CHECKING:
    import asyncio  # at run time only where a loop exists: signals are handled before this long import


def stop_signals() -> list[signal.Signals]:
    """SIGINT, SIGTERM and SIGHUP (the terminal is closed), the latter unless ignored, as under nohup."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def exit_on_signals() -> None:
    """Exit with status 0 at once, while nothing has to be closed, such as during imports."""
    for number in stop_signals():
        signal.signal(number, _exit)


def ignore_signals() -> None:
    """Ignore stop signals: everything is closed, and a further signal must not change the exit status."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


def on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` on the running event loop for each stop signal."""
    from asyncio import get_running_loop

    loop = get_running_loop()
    for number in stop_signals():
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, partial(_from_thread, loop, stop))


def _exit(_number: int, _frame: FrameType | None) -> None:
    raise StoppedBySignal(0)


def _from_thread(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], None], _number: int, _frame: FrameType | None
) -> None:
    loop.call_soon_threadsafe(stop)
