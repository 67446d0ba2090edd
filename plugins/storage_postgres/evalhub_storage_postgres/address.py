"""The address of the database, parsed from the configured URL."""

from __future__ import annotations

from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from evalhub_server.plugins import SettingsError

_FIX = "Write it as postgres://user:password@host:5432/name?sslmode=require."
_CLIENTS_OWN = frozenset(
    {
        "channel_binding",
        "client_encoding",
        "default_query_exec_mode",
        "description_cache_capacity",
        "fallback_application_name",
        "gssencmode",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "sslcompression",
        "sslsni",
        "statement_cache_capacity",
        "tcp_user_timeout",
    }
)
"""Options of libpq and of Go's pgx for the client itself; asyncpg would send them to the database server."""


class Address(Struct, kw_only=True, frozen=True):
    """``dsn`` is for asyncpg; ``redacted_url`` has no password; ``connect_timeout_s`` is 0 if the url does not set it."""

    dsn: str
    redacted_url: str
    secrets: tuple[str, ...] = ()
    connect_timeout_s: float = 0

    def redact(self, text: str) -> str:
        """Remove passwords from a message of asyncpg, which may quote the url."""
        for secret in self.secrets:
            text = text.replace(secret, "***")
        return text


def locate(url: str) -> Address:
    """Parse the configured url.

    Raises:
        SettingsError: it is empty, or of another form or another kind of database. The text shows no secret.
    """
    url = url.strip()
    if not url:
        raise SettingsError(f"database.url: it is empty, and PostgreSQL needs one. {_FIX}")
    if "://" not in url:
        raise SettingsError(f"database.url: it is not a URL. {_FIX}")
    scheme = url.partition("://")[0].lower()
    if scheme not in ("postgres", "postgresql"):
        raise SettingsError(
            f"database.url: {scheme}:// is not a PostgreSQL database. {_FIX} "
            f"For SQLite, set database.driver to sqlite."
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        raise SettingsError(f"database.url: it cannot be read as a URL. {_FIX}") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    raw = [password, options.get("password", ""), options.get("sslpassword", "")]
    secrets = {secret for each in raw for secret in (each, unquote(each)) if secret}
    query = {key: value for key, value in options.items() if key not in _CLIENTS_OWN}
    return Address(
        dsn=urlunsplit(
            parts._replace(
                scheme="postgresql",
                query=urlencode({key: value for key, value in query.items() if key != "connect_timeout"}),
            )
        ),
        redacted_url=f"postgres://{user + '@' if user else ''}{hosts or options.get('host', '')}{parts.path}",
        secrets=tuple(sorted(secrets, key=len, reverse=True)),
        connect_timeout_s=_seconds(query.get("connect_timeout", "0")),
    )


def _seconds(text: str) -> float:
    if not text.isdecimal():
        raise SettingsError(f"database.url: connect_timeout={text} is not a whole number of seconds.")
    return float(text)
