"""The framework that evaluated a benchmark, as a runtime has noted it."""

from __future__ import annotations

import msgspec

from evalhub_server.models.card import CardFramework
from evalhub_server.models.common import Json


def framework_of(handle: Json | None) -> CardFramework | None:
    """The framework in a workload's handle; None if the server does not manage its environment."""
    try:
        return msgspec.convert((handle or {})["framework"], CardFramework)
    except (KeyError, msgspec.ValidationError):
        return None
