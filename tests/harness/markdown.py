"""Marked code blocks of Markdown pages: files to write, and commands to run.

A line above a fenced block defines what a test does with it:

* ``<!-- file: PATH -->`` writes the block to a file;
* ``<!-- run -->`` runs it as one shell script, which has to exit with 0;
* ``<!-- run: background -->`` starts it and waits until the server answers; it is stopped at the end of the page;
* ``<!-- run until: TEXT -->`` repeats it until its output contains the text;
* ``<!-- not run: REASON -->`` leaves it alone;
* ``<!-- command: NAME -->`` is for ``.ci/run``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_BLOCK = re.compile(
    r"(?:^<!-- (?P<marker>[a-z ]+?)(?:: (?P<argument>.+?))? -->\n)?"
    r"^(?P<fence>```+)(?P<language>[\w{}-]*)[^\n]*\n(?P<text>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    """A fenced block. ``marker`` is empty for a block without one; ``line`` is that of its fence, from 1."""

    marker: str
    argument: str
    language: str
    text: str
    line: int


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = page.read_text("utf-8")
    return [
        Block(
            found["marker"] or "",
            found["argument"] or "",
            found["language"],
            found["text"],
            text.count("\n", 0, found.start("fence")) + 1,
        )
        for found in _BLOCK.finditer(text)
    ]
