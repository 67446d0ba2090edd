"""Stops an evaluation of Inspect on SIGTERM and SIGINT, so that it closes its log and removes its containers."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType

GRACE_S = 5.0
"""How long Inspect may take; then the process exits at once."""


class Interruption:
    """While entered, a signal cancels Inspect's event loop; the process exits when the loop has ended."""

    def __init__(self) -> None:
        self._number = 0
        self._before: list[object] = []

    @property
    def stopping(self) -> bool:
        """Whether a signal has arrived."""
        return self._number != 0

    def __enter__(self) -> Interruption:
        self._before = [signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)]
        # asyncio handles SIGINT itself only where the handler is Python's.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._number or isinstance(error, KeyboardInterrupt):
            os._exit(128 + (self._number or signal.SIGINT))
        for number, handler in zip((signal.SIGTERM, signal.SIGINT), self._before, strict=True):
            signal.signal(number, handler)  # pyright: ignore[reportArgumentType]

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._number:
            return
        self._number = number
        os.write(1, f"stopped by {signal.Signals(number).name}\n".encode())
        timer = threading.Timer(GRACE_S, os._exit, (128 + number,))
        timer.daemon = True
        timer.start()
        signal.raise_signal(signal.SIGINT)
