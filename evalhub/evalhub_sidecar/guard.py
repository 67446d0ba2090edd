"""Who may use the sidecar of a workstation: programs of this host, and no web page."""

from __future__ import annotations

from urllib.parse import urlsplit

from multidict import CIMultiDictProxy

from evalhub_sidecar.errors import Refused
from evalhub_sidecar.upstream import is_loopback


class Guard:
    """Refuses what a browser could be made to send: foreign origins, and foreign names for this host (rebinding)."""

    def __init__(self, own_host: str) -> None:
        self._own_host = own_host.lower()

    def check(self, headers: CIMultiDictProxy[str]) -> None:
        """Raises :class:`Refused`, 403."""
        host = headers.get("Host")
        if host is not None and not self._known(f"//{host}"):
            raise Refused(403, "host_not_allowed", f"The sidecar does not serve the host '{host}'.")
        origin = headers.get("Origin")
        if origin is not None and not self._known(origin):
            raise Refused(403, "origin_not_allowed", f"The sidecar does not serve pages of '{origin}'.")

    def _known(self, url: str) -> bool:
        try:
            host = (urlsplit(url).hostname or "").lower()
        except ValueError:
            return False
        return is_loopback(host) or host == self._own_host
