"""Who can reach the server, and what follows from that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import structlog

from evalhub_server.settings import Settings
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.origins import is_loopback

log = structlog.get_logger()

LOCAL = "local"


def is_exposed(settings: Settings) -> bool:
    """Can other computers reach it? A name that is not known to mean this computer counts as yes."""
    return not is_loopback(settings.host.strip("[]").lower())


def credentials_of(settings: Settings) -> Credentials | None:
    """What clients must show; None where nobody is asked, with a warning if that is not on this computer alone.

    Raises :class:`StartupError` if the token file is unusable.
    """
    file = settings.service.auth_token_file
    if file:
        return Credentials(Path(file).expanduser())
    if settings.local and is_exposed(settings):
        log.warning(
            "Whoever can reach this address can submit jobs and read all results. Set service.auth_token_file, or "
            "listen on 127.0.0.1",
            host=settings.host,
        )
    return None


def may_accept_commands(settings: Settings) -> bool:
    """May providers with a shell command (``runtime.local``) be created and changed over REST?

    Where adapters run on this computer, only if nobody else can reach the server, or if the configuration says
    ``local.allow_remote_commands: true``. A token does not change that: it says who may evaluate, not who may run
    any program here. Elsewhere such a command is only text.
    """
    runs_here = settings.local or settings.plugins.runtime == LOCAL
    return not runs_here or not is_exposed(settings) or _allowed(settings.sections.get(LOCAL))


def _allowed(section: Any) -> bool:
    value: Any = section.get("allow_remote_commands") if isinstance(section, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    try:
        # As the local runtime reads its own section: YAML's booleans, and those words where a variable set them.
        return msgspec.convert(value, bool, strict=False)
    except msgspec.ValidationError:
        return False
