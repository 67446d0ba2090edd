"""Commands in providers, which the local runtime gives to a shell of this computer."""

from __future__ import annotations

from evalhub_server.domain import problems
from evalhub_server.models.provider import ProviderConfig

LOCAL = "local"


def check_commands_allowed(
    config: ProviderConfig, *, allowed: bool, stored: ProviderConfig | None = None
) -> None:
    """For every write of a provider by a client, with what would be stored, and with what is stored so far.

    Raises ``remote_commands_not_allowed`` (403) unless that is ``allowed``, or says no more about the local runtime
    than before: its environment counts, too, since it can make a shell run something.
    """
    entry = config.runtime.get(LOCAL)
    if not allowed and entry and not (stored and stored.runtime.get(LOCAL) == entry):
        raise problems.remote_commands_not_allowed()
