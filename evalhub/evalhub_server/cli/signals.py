"""The signals that end this program."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio  # otherwise only where there is a loop: until it was imported, no signal would be caught


def stop_signals() -> list[signal.Signals]:
    """SIGINT, SIGTERM and, unless nohup ignores it, SIGHUP: a terminal window that is closed."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def exit_on_signals() -> None:
    """End with status 0 as long as there is nothing to end properly, such as during the imports."""
    for number in stop_signals():
        signal.signal(number, _leave)


def ignore_signals() -> None:
    """For the last moments: everything has ended, and a further signal must not change the status."""
    for number in stop_signals():
        signal.signal(number, signal.SIG_IGN)


def on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` on each of them, on the running event loop."""
    from asyncio import get_running_loop

    loop = get_running_loop()
    for number in stop_signals():
        try:
            loop.add_signal_handler(number, stop)
        except NotImplementedError:  # Windows
            signal.signal(number, partial(_from_thread, loop, stop))


def _leave(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _from_thread(
    loop: asyncio.AbstractEventLoop, stop: Callable[[], None], _number: int, _frame: FrameType | None
) -> None:
    loop.call_soon_threadsafe(stop)
