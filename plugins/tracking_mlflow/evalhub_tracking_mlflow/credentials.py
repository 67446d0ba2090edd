"""Who the server, and the adapters that it starts, are to MLflow."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from evalhub_tracking_mlflow.settings import MlflowSettings


class Credentials:
    """Address and token. The token file is read again each time: whoever renews it tells nobody."""

    def __init__(self, settings: MlflowSettings) -> None:
        self._settings = settings
        parts = urlsplit(settings.tracking_uri)
        self._basic = ""
        if parts.username:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            self._basic = "Basic " + base64.b64encode(pair.encode()).decode()
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        self.base_url = urlunsplit(bare).rstrip("/")
        """Without user, password and final slash: what may be shown."""

    def token(self) -> str:
        """The token, or "". Raises :class:`OSError` if there is a token file that cannot be read, and no token beside it."""
        settings = self._settings
        if settings.token_path:
            try:
                return Path(settings.token_path).read_text("utf-8").strip() or settings.token.strip()
            except OSError:
                if not settings.token:
                    raise
        return settings.token.strip()

    def headers(self) -> dict[str, str]:
        """The header that says who asks. Raises like :meth:`token`."""
        token = self.token()
        if not token:
            return {"Authorization": self._basic} if self._basic else {}
        known = token.startswith(("Bearer ", "Basic "))
        return {"Authorization": token if known else f"Bearer {token}"}

    def environment(self) -> Mapping[str, str]:
        """What MLflow's own client, and the SDK's, take from the environment. Without a token if it cannot be read."""
        settings = self._settings
        found = {"MLFLOW_TRACKING_URI": settings.tracking_uri}
        if settings.ca_cert_path:
            found["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(Path(settings.ca_cert_path).absolute())
        try:
            token = self.token()
        except OSError:
            token = ""
        if token.startswith("Basic "):
            user, _, password = _decoded(token.removeprefix("Basic ")).partition(":")
            found |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
        elif token:
            found["MLFLOW_TRACKING_TOKEN"] = token.removeprefix("Bearer ")
        return found


def _decoded(basic: str) -> str:
    try:
        return base64.b64decode(basic, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
