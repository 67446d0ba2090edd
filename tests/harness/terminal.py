"""Commands in a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence

_STYLES = re.compile(r"\x1b\[[0-9;]*m")


def run_in_terminal(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    columns: int = 80,
    until: Callable[[str, subprocess.Popen[bytes]], object] | None = None,
    raw: bool = False,
    stderr: int | None = None,
    typed: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run ``command`` with a terminal for all its streams; returns its exit status and what it has printed.

    ``stderr``: file descriptor to which standard error goes instead. Styles, such as colours, are removed unless ``raw``.
    ``until`` is called with the output so far whenever something is printed, and may stop the process. ``typed``: keys
    that are pressed once a text is displayed.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    unset = ("FORCE_COLOR", "COLUMNS", "LINES")
    env = {**{key: value for key, value in env.items() if key not in unset}, "TERM": "xterm"}
    shown, waiting = b"", dict(typed or {})
    with subprocess.Popen(
        command, env=env, stdin=follower, stdout=follower, stderr=stderr or follower
    ) as process:
        os.close(follower)
        while chunk := _read(leader):
            shown += chunk
            if until is not None:
                until(_text(shown, raw=raw), process)
            for text in [text for text in waiting if text in _text(shown, raw=raw)]:
                os.write(leader, waiting.pop(text).encode())
        status = process.wait(60)
    os.close(leader)
    return status, _text(shown, raw=raw)


def _text(shown: bytes, *, raw: bool) -> str:
    text = shown.decode(errors="replace").replace("\r\n", "\n")
    return text if raw else _STYLES.sub("", text)


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # Linux reports the end of the other side as an error
        return b""
