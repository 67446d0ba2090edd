"""Choices that look arbitrary but depend on nothing except the prompt."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")


def draw(prompt: str, purpose: str, bound: int) -> int:
    """A number from 0 to ``bound`` - 1; another ``purpose`` gives another number for the same prompt."""
    return zlib.crc32(f"{purpose}\n{prompt}".encode()) % bound


def happens(prompt: str, purpose: str, percent: int) -> bool:
    """True for about ``percent`` of all prompts."""
    return draw(prompt, purpose, 100) < percent


def pick(prompt: str, purpose: str, items: Sequence[Item]) -> Item:
    """One of ``items``."""
    return items[draw(prompt, purpose, len(items))]
