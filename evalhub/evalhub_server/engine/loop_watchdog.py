"""Watchdog of the event loop: logs the plugin call, or the line of code, that blocks it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType

import structlog

from evalhub_server.plugins.calls import PluginCall, running_call

log = structlog.get_logger()

LIMIT_S = 0.2
PAUSE_S = 0.1
"""Between two probes. Together with the limit: what blocks for 0.3 s is always noticed, what blocks below 0.2 s never."""


class LoopWatchdog:
    """A thread that has the loop answer a probe ten times a second, and samples the loop's stack if it does not.

    ``packages`` are the top-level packages of third-party plugins with their distributions: a plugin may block the loop in a task
    or a callback of its own, which no call of the server shows.
    """

    def __init__(self, packages: Mapping[str, str] | None = None) -> None:
        self._packages = packages or {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Watch the running loop, which must be that of this thread."""
        arguments = asyncio.get_running_loop(), threading.get_ident()
        threading.Thread(target=self._watch, args=arguments, name="loop-watchdog", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        while not self._stopped.wait(PAUSE_S):
            answered = threading.Event()
            since = time.monotonic()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # the loop is closed
                return
            if answered.wait(LIMIT_S):
                continue
            stack = list(_frames(sys._current_frames().get(thread_id)))  # pyright: ignore[reportPrivateUsage]  # noqa: SLF001  documented
            call = running_call(stack) or _own_code(stack, self._packages)
            location = f"{stack[0].f_code.co_filename}:{stack[0].f_lineno}" if stack else ""
            del stack
            while not answered.wait(LIMIT_S):
                if self._stopped.is_set():
                    return
            seconds = round(time.monotonic() - since, 1)
            if call is None:
                log.info("Event loop blocked", seconds=seconds, location=location)
            else:
                log.warning(
                    "Plugin blocked the event loop",
                    plugin=f"{call.kind} {call.name}",
                    distribution=call.distribution,
                    method=call.method,
                    seconds=seconds,
                    location=location,
                )


def _own_code(stack: Iterable[FrameType], packages: Mapping[str, str]) -> PluginCall | None:
    """The innermost function of a plugin, as a call of it."""
    for frame in stack:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package in packages:
            return PluginCall("package", package, packages[package], frame.f_code.co_qualname)
    return None


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    """The frames of a stack, from the innermost one outwards."""
    while frame is not None:
        yield frame
        frame = frame.f_back
