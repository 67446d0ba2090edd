"""Ids as the labels of Kubernetes objects have them, which is how the operator and others name them in events."""

from __future__ import annotations

import re

LONGEST = 63
"""Characters of a label's value."""

_OTHERS = re.compile(r"[^a-z0-9._-]+")


def label_value(text: str) -> str:
    """``text`` as the value of a label: ``MMLU_Pro`` becomes ``mmlu_pro``."""
    return _OTHERS.sub("-", text.lower())[:LONGEST].strip("-_.") or "x"
