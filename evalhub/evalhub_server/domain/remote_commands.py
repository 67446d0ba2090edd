"""Access rule for provider commands, which the local runtime passes to a shell on this host."""

from __future__ import annotations

from evalhub_server.domain import problems
from evalhub_server.models.provider import ProviderConfig

LOCAL = "local"
"""The name of the local runtime."""


def check_commands_allowed(
    config: ProviderConfig, *, allowed: bool, stored: ProviderConfig | None = None
) -> None:
    """Check a provider that a client writes; ``stored`` is its current configuration, if there is one.

    Raises ``remote_commands_not_allowed`` (403) unless commands are ``allowed`` or ``runtime.local`` is empty or
    unchanged. Its ``env`` counts as well as its ``command``: variables can make a shell run programs.
    """
    entry = config.runtime.get(LOCAL)
    if not allowed and entry and not (stored and stored.runtime.get(LOCAL) == entry):
        raise problems.remote_commands_not_allowed()
