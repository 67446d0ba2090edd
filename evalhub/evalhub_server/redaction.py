"""The last line of defence for secrets: known values are taken out of whatever is about to be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

REDACTED = "[redacted]"
FEWEST_CHARACTERS = 4
"""A shorter value is no secret, and would be found everywhere."""


class Redactor:
    """Knows the secret values of this process."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({s for s in secrets if len(s) >= FEWEST_CHARACTERS}, key=len, reverse=True)
        # Not inside a word: the password "eval" is not in "evaluation".
        words = [
            (r"(?<!\w)" if s[0].isalnum() else "") + re.escape(s) + (r"(?!\w)" if s[-1].isalnum() else "")
            for s in known
        ]
        self._pattern = re.compile("|".join(words)) if words else None

    def text(self, text: str) -> str:
        return self._pattern.sub(REDACTED, text) if self._pattern else text

    def value(self, value: Any) -> Any:
        """A value of a log line: texts, also inside lists and maps, and the texts of objects."""
        if self._pattern is None or value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            items = cast("dict[Any, Any]", value).items()
            return {self.text(str(key)): self.value(item) for key, item in items}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item) for item in cast("list[Any]", value)]
        return self.text(value if isinstance(value, str) else str(value))
