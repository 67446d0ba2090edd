"""A generator of garak that answers prompts by :class:`~evalhub_adapters.garak_adapter.answers.Answers`.

Imports the framework.
"""

from __future__ import annotations

from garak.attempt import Conversation, Message
from garak.generators.base import Generator

from evalhub_adapters.garak_adapter.answers import Answers, Messages


class Endpoint(Generator):
    """The model under test. Garak's own generators retry without end, and need a key."""

    generator_family_name = "EvalHub"

    def __init__(self, name: str, answers: Answers) -> None:
        self.answers = answers
        super().__init__(name)

    def __deepcopy__(self, memo: object) -> Endpoint:
        return self

    def _call_model(self, prompt: Conversation, generations_this_call: int = 1) -> list[Message | None]:
        messages: Messages = [{"role": turn.role, "content": turn.content.text} for turn in prompt.turns]
        texts = [self.answers.answer(messages) for _ in range(generations_this_call)]
        return [None if text is None else Message(text) for text in texts]
