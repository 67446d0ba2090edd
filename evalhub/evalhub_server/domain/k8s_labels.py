"""Kubernetes label values for ids: the operator reports events with ids in this form."""

from __future__ import annotations

import re

MAX_LABEL_CHARACTERS = 63
"""The maximum length of a label value."""

_INVALID = re.compile(r"[^a-z0-9._-]+")


def label_value(text: str) -> str:
    """Convert ``text`` to a valid label value: ``MMLU_Pro`` becomes ``mmlu_pro``."""
    return _INVALID.sub("-", text.lower())[:MAX_LABEL_CHARACTERS].strip("-_.") or "x"
