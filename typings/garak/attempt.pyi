from collections.abc import Sequence

class Message:
    text: str | None
    def __init__(self, text: str) -> None: ...

class Turn:
    role: str
    content: Message

class Conversation:
    turns: Sequence[Turn]
