"""The marks and words of states and outcomes, the same on all pages: no state is shown by its colour alone."""

from __future__ import annotations

from collections.abc import Mapping

MARKS: Mapping[str, str] = {
    "pending": "○",
    "running": "◐",
    "completed": "✓",
    "failed": "✕",
    "partially_failed": "✕",
    "cancelled": "⊘",
    "passed": "✓",
    "error": "!",
    "unscored": "–",
    # Parts of the server, and plugins.
    "ok": "✓",
    "attention": "!",
    "unavailable": "✕",
    "unknown": "?",
    "off": "–",
    "available": "✓",
    "broken": "✕",
}
"""A character for each state of a job, benchmark or export, for each outcome of a sample, and for each state of a part of the server."""

WORDS: Mapping[str, str] = {"partially_failed": "partly failed"}
"""What is shown instead of the names of some states."""
