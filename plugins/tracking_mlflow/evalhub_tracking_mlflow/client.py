"""Client of MLflow's REST API, as far as the tracker needs it.

In place of MLflow's own client, which blocks in threads that cannot be cancelled; reads token, workspace, certificates
and timeouts from the environment of the process, which serves many tenants and is inherited by adapters; cannot upload to
artifact stores that only the MLflow server reaches; and takes seconds and 70 MB to import.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, TypeVar

import aiohttp
import msgspec
from msgspec import Struct

from evalhub_server.plugins import proxy_options
from evalhub_tracking_mlflow.credentials import Credentials

T = TypeVar("T")

API = "/api/2.0/mlflow"
API_3 = "/api/3.0/mlflow"
WORKSPACE_HEADER = "X-MLFLOW-WORKSPACE"
TEXT_LIMIT = 500


class MlflowError(Exception):
    """MLflow refused a request (``status`` of HTTP, ``code`` of MLflow) or did not respond (``status`` 0)."""

    def __init__(self, text: str, status: int = 0, code: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.code = code


class _ErrorBody(Struct):
    error_code: str = ""
    message: str = ""


class Client:
    """Opens connections at the first request, through the proxy of the environment, if any."""

    def __init__(self, credentials: Credentials, timeout_s: float, tls: ssl.SSLContext | None) -> None:
        self._credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout_s or None)
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def get(
        self, path: str, type_: type[T], query: Mapping[str, str] | None = None, *, workspace: str = ""
    ) -> T:
        return _decoded(await self._request("GET", path, workspace, params=query), path, type_)

    async def post(self, path: str, body: Mapping[str, Any], type_: type[T], *, workspace: str = "") -> T:
        answer = await self._request("POST", path, workspace, data=msgspec.json.encode(body))
        return _decoded(answer, path, type_)

    async def upload(
        self, method: str, path: str, data: bytes, query: Mapping[str, str], *, workspace: str = ""
    ) -> None:
        await self._request(method, path, workspace, data=data, params=query)

    async def text(self, path: str) -> str:
        return (await self._request("GET", path, "")).decode("utf-8", "replace")

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _request(self, method: str, path: str, workspace: str, **options: Any) -> bytes:
        """The body of a successful response. Raises :class:`MlflowError`."""
        headers = {"Content-Type": "application/json"}
        if workspace:
            headers[WORKSPACE_HEADER] = workspace
        try:
            headers |= self._credentials.headers()
            url = self._credentials.base_url + path
            async with self._open_session().request(
                method, url, **proxy_options(url, headers), **options
            ) as answer:
                body = await answer.read()
        except TimeoutError as error:
            raise MlflowError(f"{method} {path}: no answer within {self._timeout.total:g} seconds") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise MlflowError(f"{method} {path}: {error}") from error
        if answer.status >= 300:
            raise _refusal(method, path, answer.status, body)
        return body

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls if self._tls is not None else True)
            self._session = aiohttp.ClientSession(connector=connector, timeout=self._timeout)
        return self._session


def _refusal(method: str, path: str, status: int, body: bytes) -> MlflowError:
    try:
        found = msgspec.json.decode(body, type=_ErrorBody)
    except msgspec.MsgspecError:
        found = _ErrorBody(message=body.decode("utf-8", "replace"))
    text = " ".join(f"{found.error_code} {found.message}".split())[:TEXT_LIMIT]
    return MlflowError(f"{method} {path}: {status} {text}".rstrip(), status, found.error_code)


def _decoded(body: bytes, path: str, type_: type[T]) -> T:
    try:
        return msgspec.json.decode(body or b"{}", type=type_)
    except msgspec.MsgspecError as error:
        raise MlflowError(f"{path}: not a response of MLflow: {error}") from error
