"""The query of the model's URL, which is a key for some services, and so must not be in Inspect's log.

Imports the framework.
"""

from __future__ import annotations

from collections.abc import Mapping

from inspect_ai.model._providers import openai_compatible


def send_query(base_url: str, query: Mapping[str, str]) -> None:
    """Let clients for ``base_url`` send ``query`` with each request; an argument of the model would be logged."""
    create = openai_compatible.AsyncOpenAI

    def client(**options: object) -> object:
        own = {"default_query": query} if options.get("base_url") == base_url else {}
        return create(**options, **own)

    openai_compatible.AsyncOpenAI = client
