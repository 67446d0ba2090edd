"""Constraints on a text that code can verify.

A constraint is an object with a ``kind`` and that kind's fields:

=============== ================================ ===========================================
kind            fields                           holds when
=============== ================================ ===========================================
``words``       ``at_least`` and/or ``at_most``  the number of words is in that range
``case``        ``case``: ``lower``/``upper``    there are letters, all of that case
``include``     ``word``                         the word occurs, in any case
``avoid``       ``word``                         the word does not occur, in any case
``repeat``      ``word``, ``times``              the word occurs exactly that often, in any case
``bullets``     ``count``                        exactly that many lines start with ``- ``
``lines``       ``count``                        exactly that many lines are not blank
``starts_with`` ``text``                         the text starts with it
``ends_with``   ``text``                         the text ends with it
``no_commas``                                    there is no comma
``quoted``                                       a double quotation mark at both ends
=============== ================================ ===========================================

A word is a run of characters without white space that has at least one letter or digit, so the dash of
a bullet is not a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from evalhub_common.adapter.json_values import JsonObject


def holds(constraint: JsonObject, text: str) -> bool:
    """Whether ``text`` (stripped) satisfies ``constraint``. An empty text satisfies nothing.

    Raises:
        KeyError: unknown kind or missing field, an error in the bundled data.
    """
    check = _CHECKS[str(constraint["kind"])]
    return bool(text) and check(constraint, text)


def count_words(text: str) -> int:
    """The number of words of ``text``."""
    return sum(any(character.isalnum() for character in part) for part in text.split())


def count_of(word: str, text: str) -> int:
    """The number of occurrences of ``word`` in ``text`` as a whole word, in any case."""
    return len(re.findall(rf"(?<!\w){re.escape(word)}(?!\w)", text, re.IGNORECASE))


def _number(constraint: JsonObject, name: str) -> int:
    return int(str(constraint[name]))


def _words(constraint: JsonObject, text: str) -> bool:
    count = count_words(text)
    enough = "at_least" not in constraint or count >= _number(constraint, "at_least")
    return enough and ("at_most" not in constraint or count <= _number(constraint, "at_most"))


def _case(constraint: JsonObject, text: str) -> bool:
    return text.islower() if constraint["case"] == "lower" else text.isupper()


def _bullets(constraint: JsonObject, text: str) -> bool:
    return sum(bool(re.match(r"\s*- \S", line)) for line in text.splitlines()) == _number(constraint, "count")


def _lines(constraint: JsonObject, text: str) -> bool:
    return sum(bool(line.strip()) for line in text.splitlines()) == _number(constraint, "count")


_CHECKS: dict[str, Callable[[JsonObject, str], bool]] = {
    "words": _words,
    "case": _case,
    "include": lambda constraint, text: count_of(str(constraint["word"]), text) > 0,
    "avoid": lambda constraint, text: count_of(str(constraint["word"]), text) == 0,
    "repeat": lambda constraint, text: (
        count_of(str(constraint["word"]), text) == _number(constraint, "times")
    ),
    "bullets": _bullets,
    "lines": _lines,
    "starts_with": lambda constraint, text: text.startswith(str(constraint["text"])),
    "ends_with": lambda constraint, text: text.endswith(str(constraint["text"])),
    "no_commas": lambda _, text: "," not in text,
    "quoted": lambda _, text: len(text) > 1 and text[0] in '"“' and text[-1] in '"”',
}
