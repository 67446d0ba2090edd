"""Answers of chat completions and completions in OpenAI's format, whole or as a stream of server-sent events."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalhub_common.adapter.json_values import JsonObject


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A generated text in pieces, which are its tokens. ``prompt`` is what it answers."""

    model: str
    prompt: str
    pieces: Sequence[str]
    finish_reason: str
    prompt_tokens: int

    @property
    def usage(self) -> JsonObject:
        """The numbers of tokens."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": len(self.pieces),
            "total_tokens": self.prompt_tokens + len(self.pieces),
        }


def whole(generated: Generated, *, chat: bool) -> JsonObject:
    """The answer as one document."""
    text = "".join(generated.pieces)
    content: JsonObject = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
    choice = {"index": 0, **content, "finish_reason": generated.finish_reason}
    return {**_head(generated, chat=chat), "choices": [choice], "usage": generated.usage}


def stream(generated: Generated, *, chat: bool, usage: bool) -> Iterator[bytes]:
    """The answer as server-sent events: one per piece, one with the reason of the end, with ``usage`` one more, and the mark of the end."""
    head = {**_head(generated, chat=chat)}
    if chat:
        head["object"] = "chat.completion.chunk"

    def event(choices: list[JsonObject], **more: object) -> bytes:
        return f"data: {json.dumps({**head, 'choices': choices, **more})}\n\n".encode()

    def choice(content: JsonObject, reason: str | None = None) -> list[JsonObject]:
        body: JsonObject = {"delta": content} if chat else {"text": content.get("content", "")}
        return [{"index": 0, **body, "finish_reason": reason}]

    if chat:
        yield event(choice({"role": "assistant", "content": ""}))
    for piece in generated.pieces:
        yield event(choice({"content": piece}))
    yield event(choice({}, generated.finish_reason))
    if usage:
        yield event([], usage=generated.usage)
    yield b"data: [DONE]\n\n"


def _head(generated: Generated, *, chat: bool) -> JsonObject:
    number = zlib.crc32(generated.prompt.encode())
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{number:08x}",
        "object": "chat.completion" if chat else "text_completion",
        "created": int(time.time()),
        "model": generated.model,
    }
