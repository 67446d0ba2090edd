"""Logins of browsers at a server with a token: session cookies that open the pages alone, and links that log in once.

A cookie holds its time of expiry and an HMAC of it with a key that is derived from the server's token, so nothing is stored,
sessions survive a restart, and a new token ends all of them. The API does not accept it.
"""

from __future__ import annotations

import base64
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping

from evalhub_server.web.credentials import Credentials

SESSION_S = 12 * 3600
LINK_S = 60
MAX_LINKS = 100
MAX_TRIES = 5
TRIES_S = 60
_PURPOSE = b"evalhub session of the pages"


class Sessions:
    """Issues and checks logins. ``clock`` is wall-clock time in seconds, since sessions outlive the process."""

    def __init__(self, credentials: Credentials, clock: Callable[[], float] = time.time) -> None:
        self._credentials = credentials
        self._clock = clock
        self._links: dict[str, float] = {}
        self._failures: deque[float] = deque(maxlen=MAX_TRIES)

    def cookie(self, path: str, *, secure: bool) -> str:
        """A ``Set-Cookie`` header for a new session. ``secure``: the browser reaches the server over TLS."""
        expires = int(self._clock()) + SESSION_S
        value = base64.urlsafe_b64encode(b"%d." % expires + self._mac(expires)).decode().rstrip("=")
        attributes = f"Path={path}; HttpOnly; SameSite=Strict; Max-Age={SESSION_S}"
        return f"{self._name(secure=secure)}={value}; {attributes}{'; Secure' if secure else ''}"

    def end(self, path: str, *, secure: bool) -> str:
        """A ``Set-Cookie`` header that ends the session."""
        return f"{self._name(secure=secure)}=; Path={path}; HttpOnly; SameSite=Strict; Max-Age=0{'; Secure' if secure else ''}"

    def is_valid(self, fields: Mapping[bytes, bytes]) -> bool:
        """Whether a request has the cookie of a session that has not expired."""
        names = (self._name(secure=False), self._name(secure=True))
        # Not by http.cookies, which stops at the first malformed cookie: other servers of this host set cookies, too.
        for cookie in fields.get(b"cookie", b"").decode("latin-1").split(";"):
            name, _, value = cookie.strip().partition("=")
            if name in names and self._is_session(value):
                return True
        return False

    def new_link(self) -> str:
        """The code of a link that logs in one browser within :data:`LINK_S` seconds."""
        self._forget_old_links()
        if len(self._links) >= MAX_LINKS:
            del self._links[next(iter(self._links))]
        code = secrets.token_urlsafe(32)
        self._links[code] = self._clock() + LINK_S
        return code

    def use_link(self, code: str) -> bool:
        """Whether a code is valid; it is used up."""
        self._forget_old_links()
        return self._links.pop(code, None) is not None

    def wait_s(self) -> int:
        """Seconds until the next try of a token; 0 if one is allowed."""
        if len(self._failures) < MAX_TRIES:
            return 0
        return max(0, int(self._failures[0] + TRIES_S - self._clock()) + 1)

    def try_token(self, token: str) -> bool:
        """Whether a token is the server's; a wrong one counts against :data:`MAX_TRIES` in a minute, for all clients together."""
        if self._credentials.is_valid(b"Bearer " + token.encode("utf-8", "surrogatepass")):
            return True
        self._failures.append(self._clock())
        return False

    def _is_session(self, value: str) -> bool:
        try:
            decoded = base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
            text, _, mac = decoded.partition(b".")
            expires = int(text)
        except ValueError:
            return False
        return hmac.compare_digest(mac, self._mac(expires)) and self._clock() < expires

    def _mac(self, expires: int) -> bytes:
        return hmac.digest(self._credentials.key_for(_PURPOSE), b"%d" % expires, "sha256")

    def _name(self, *, secure: bool) -> str:
        """Servers on one host share its cookies whatever their ports, so the name depends on the token."""
        instance = self._credentials.key_for(b"evalhub name of the cookie")[:4].hex()
        return f"{'__Secure-' if secure else ''}evalhub_session_{instance}"

    def _forget_old_links(self) -> None:
        now = self._clock()
        self._links = {code: until for code, until in self._links.items() if until > now}
