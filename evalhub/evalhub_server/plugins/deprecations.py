"""Names and methods of the plugin API that were renamed: the old ones work, with a warning, until the next major version."""

from __future__ import annotations

import warnings
from typing import NamedTuple


class PluginDeprecationWarning(DeprecationWarning):
    """A plugin uses a part of the plugin API that will be removed.

    The text names the part, its replacement, and the first version of the server without it.
    """


class Renamed(NamedTuple):
    """``removed_in`` is the first version of the server without the old name."""

    new: str
    removed_in: str


RENAMED: dict[str, Renamed] = {}
"""Old names in ``evalhub_server.plugins``."""

RENAMED_METHODS: dict[str, dict[str, Renamed]] = {}
"""Kind of plugin → old names of methods of its abstract class."""


def renamed_name(name: str) -> str | None:
    """The present name of a part of the API, after a warning; None if ``name`` is no old one."""
    found = RENAMED.get(name)
    if found is None:
        return None
    _warn(f"{name} is now {found.new}; version {found.removed_in} does not have {name}", stacklevel=4)
    return found.new


def adapt_renamed_methods(kind: str, instance: object) -> list[str]:
    """Make a plugin's methods with old names available under the present ones; returns a warning for each."""
    found: list[str] = []
    for old, (new, removed_in) in RENAMED_METHODS.get(kind, {}).items():
        if hasattr(type(instance), old):
            setattr(instance, new, getattr(instance, old))
            text = f"{type(instance).__name__}.{old} is now {new}; version {removed_in} does not call {old}"
            _warn(text, stacklevel=4)
            found.append(text)
    return found


def _warn(text: str, stacklevel: int) -> None:
    warnings.warn(text, PluginDeprecationWarning, stacklevel=stacklevel)
