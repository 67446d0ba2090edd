"""Access control that depends on the address that the server listens on: authentication, and commands of clients."""

from __future__ import annotations

import structlog
from msgspec import Struct

from evalhub_common.addresses import is_loopback
from evalhub_server.domain.remote_commands import LOCAL
from evalhub_server.plugins.sections import convert_section, find_section
from evalhub_server.settings import Settings
from evalhub_server.settings.auth_token import SCRAPE_KEY, token_path
from evalhub_server.web.credentials import Credentials

log = structlog.get_logger()


class _LocalSection(Struct, kw_only=True, frozen=True):
    """The part of the local runtime's section that is relevant here."""

    allow_remote_commands: bool = False


def is_exposed(settings: Settings) -> bool:
    """Whether other computers can reach the server. A host name other than localhost counts as reachable."""
    return not is_loopback(settings.host)


def credentials_of(settings: Settings) -> Credentials | None:
    """The credentials that clients need. None: no authentication, with a warning if other computers can reach the server.

    Raises :class:`SettingsError` if the token file is unusable.
    """
    file = settings.service.auth_token_file
    if file:
        return Credentials(token_path(file))
    if settings.local and is_exposed(settings):
        log.warning(
            "Any client that can reach this address can submit jobs and read all results. Set service.auth_token_file, "
            "or listen on 127.0.0.1",
            host=settings.host,
        )
    return None


def scrape_credentials_of(settings: Settings) -> Credentials | None:
    """The credentials for the metrics alone; None if there are none of their own.

    Raises :class:`SettingsError` if the token file is unusable.
    """
    file = settings.prometheus.auth_token_file
    return Credentials(token_path(file), key=SCRAPE_KEY) if file else None


def commands_allowed(settings: Settings) -> bool:
    """Whether clients may set commands of the local runtime.

    If adapters run on this computer, only if no other computer can reach the server, or with
    ``local.allow_remote_commands: true``. A token makes no difference: it permits evaluations, not any program. Where the
    local runtime is not used, such a command is never run. See
    :func:`evalhub_server.domain.remote_commands.check_commands_allowed`.
    """
    runs_here = settings.local or settings.plugins.runtime == LOCAL
    if not runs_here or not is_exposed(settings):
        return True
    section = find_section(settings.sections, LOCAL)
    return convert_section(section, _LocalSection, LOCAL, strict=False).allow_remote_commands
