"""The one error of this program."""

from __future__ import annotations


class InitError(Exception):
    """The test data cannot be fetched. The text is shown to whoever submitted the job, and holds no credentials."""
