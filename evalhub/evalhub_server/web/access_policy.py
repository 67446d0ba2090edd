"""Who can reach the server, and what follows from that."""

from __future__ import annotations

import structlog
from msgspec import Struct

from evalhub_common.addresses import is_loopback
from evalhub_server.domain.remote_commands import LOCAL
from evalhub_server.plugins.sections import convert_section, find_section
from evalhub_server.settings import Settings
from evalhub_server.settings.auth_token import token_path
from evalhub_server.web.credentials import Credentials

log = structlog.get_logger()


class _LocalSection(Struct, kw_only=True, frozen=True):
    """What matters here of the section that the local runtime reads."""

    allow_remote_commands: bool = False


def is_exposed(settings: Settings) -> bool:
    """Can other computers reach it? A name that is not known to mean this computer counts as yes."""
    return not is_loopback(settings.host)


def credentials_of(settings: Settings) -> Credentials | None:
    """What clients must show; None where nobody is asked, with a warning if that is not on this computer alone.

    Raises :class:`SettingsError` if the token file is unusable.
    """
    file = settings.service.auth_token_file
    if file:
        return Credentials(token_path(file))
    if settings.local and is_exposed(settings):
        log.warning(
            "Whoever can reach this address can submit jobs and read all results. Set service.auth_token_file, or "
            "listen on 127.0.0.1",
            host=settings.host,
        )
    return None


def commands_allowed(settings: Settings) -> bool:
    """May clients give the local runtime a command? See :func:`evalhub_server.domain.remote_commands.check_commands_allowed`.

    Where adapters run on this computer, only if nobody else can reach the server, or if the configuration says
    ``local.allow_remote_commands: true``. A token does not change that: it says who may evaluate, not who may run
    any program here. Elsewhere such a command is only text.
    """
    runs_here = settings.local or settings.plugins.runtime == LOCAL
    if not runs_here or not is_exposed(settings):
        return True
    section = find_section(settings.sections, LOCAL)
    return convert_section(section, _LocalSection, LOCAL, strict=False).allow_remote_commands
