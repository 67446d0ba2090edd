"""Credentials for MLflow, of the server and of the adapters that it starts."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from evalhub_server.plugins import userinfo_auth, without_userinfo
from evalhub_tracking_mlflow.settings import MlflowSettings


class Credentials:
    """URL and token. The token file is read for each request, because it may be renewed at any time."""

    def __init__(self, settings: MlflowSettings) -> None:
        self._settings = settings
        parts = urlsplit(settings.tracking_uri)
        self._basic = userinfo_auth(parts)
        bare = without_userinfo(parts)._replace(query="", fragment="")
        self.base_url = bare.geturl().rstrip("/")
        """The URL without credentials and final slash, which may be shown."""

    def token(self) -> str:
        """The token, or "". Raises :class:`OSError` if the token file cannot be read and ``mlflow.token`` is not set."""
        settings = self._settings
        if settings.token_path:
            try:
                return Path(settings.token_path).read_text("utf-8").strip() or settings.token.strip()
            except OSError:
                if not settings.token:
                    raise
        return settings.token.strip()

    def headers(self) -> dict[str, str]:
        """The ``Authorization`` header. Raises as :meth:`token`."""
        token = self.token()
        if not token:
            return {"Authorization": self._basic} if self._basic else {}
        has_scheme = token.startswith(("Bearer ", "Basic "))
        return {"Authorization": token if has_scheme else f"Bearer {token}"}

    def environment(self) -> Mapping[str, str]:
        """The environment variables of MLflow's own client and the SDK's, without the token if it cannot be read."""
        settings = self._settings
        variables = {"MLFLOW_TRACKING_URI": settings.tracking_uri}
        if settings.ca_cert_path:
            variables["MLFLOW_TRACKING_SERVER_CERT_PATH"] = str(Path(settings.ca_cert_path).absolute())
        try:
            token = self.token()
        except OSError:
            token = ""
        if token.startswith("Basic "):
            user, _, password = _decoded(token.removeprefix("Basic ")).partition(":")
            variables |= {"MLFLOW_TRACKING_USERNAME": user, "MLFLOW_TRACKING_PASSWORD": password}
        elif token:
            variables["MLFLOW_TRACKING_TOKEN"] = token.removeprefix("Bearer ")
        return variables


def _decoded(basic: str) -> str:
    try:
        return base64.b64decode(basic, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
