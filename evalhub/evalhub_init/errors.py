"""The exception of the init program."""

from __future__ import annotations


class InitError(Exception):
    """The test data cannot be fetched. The text is shown to users and has no credentials in it."""
