"""Text without terminal control sequences and callback tokens, for messages that people read in terminals and on web pages."""

from __future__ import annotations

import re

from msgspec.structs import replace

from evalhub_common.callback_tokens import redact_callback_tokens
from evalhub_server.models.common import Message

# Every alternative stops at the next introducer, so that hostile text takes linear time. A sequence without its
# terminator loses its introducer only.
_SEQUENCE = (
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\|\x9c)"  # OSC and other strings
    r"|\x1b[ -/]*[0-~]"  # other escape sequences
)
_CONTROL = re.compile(
    rf"{_SEQUENCE}|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
ESCAPE_SEQUENCE = re.compile(_SEQUENCE)
"""A terminal control sequence."""


def plain_text(text: str) -> str:
    """Return the text without control sequences, bidirectional controls and callback tokens.

    Newlines and tabs are kept. Of a line with carriage returns, such as a progress bar, what follows the last one is kept.
    """
    if "\r" in text:
        text = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    if not text.isprintable():  # what is removed is not
        text = _CONTROL.sub("", text)
    return redact_callback_tokens(text)


def message_of_adapter(message: Message | None) -> Message | None:
    """An adapter's message in plain text, with its origin."""
    if message is None:
        return None
    return replace(
        message,
        message=plain_text(message.message),
        message_code=plain_text(message.message_code),
        message_origin=plain_text(message.message_origin) or "runtime",
    )
