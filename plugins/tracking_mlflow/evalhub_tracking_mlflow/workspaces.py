"""Workspaces of MLflow: one per tenant, on servers that support them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import structlog
from msgspec import Struct

from evalhub_tracking_mlflow.client import API_3, Client, MlflowError

log = structlog.get_logger()

DEFAULT = "default"
"""Exists on each server with workspaces."""

UNSUPPORTED = (404, 405, 501)
"""Status codes of servers without the API of workspaces."""


class _ServerInfo(Struct):
    workspaces_enabled: bool = False


class Workspaces:
    """``own`` is the workspace of jobs without a tenant. Support by the server is detected at the first response."""

    def __init__(self, client: Client, own: str) -> None:
        self._client = client
        self._own = own.strip()
        self._enabled: bool | None = None
        self._ensured: set[str] = {"", DEFAULT}

    def known(self, tenant: str) -> str:
        """The workspace of a tenant; "" if the server has none, or support is not detected yet."""
        return (tenant or self._own) if self._enabled else ""

    async def of(self, tenant: str) -> str:
        """The workspace of a tenant, after detection if necessary. Raises :class:`MlflowError`."""
        if self._enabled is None:
            await self.detect()
        return self.known(tenant)

    async def detect(self) -> None:
        try:
            info = await self._client.get(f"{API_3}/server-info", _ServerInfo)
        except MlflowError as error:
            # Other errors, such as a refused token, leave support unknown: tenants must not share a workspace.
            if error.status not in UNSUPPORTED:
                raise
            info = _ServerInfo()
        self._enabled = info.workspaces_enabled

    async def ensure(self, workspace: str) -> None:
        """Create the workspace unless it exists. Raises :class:`MlflowError`."""
        if workspace in self._ensured:
            return
        try:
            await self._client.get(f"{API_3}/workspaces/{quote(workspace, safe='')}", dict[str, Any])
        except MlflowError as error:
            if error.status != 404:
                raise
            try:
                await self._client.post(f"{API_3}/workspaces", {"name": workspace}, dict[str, Any])
                log.info("MLflow workspace created", workspace=workspace)
            except MlflowError as refusal:
                if refusal.code != "RESOURCE_ALREADY_EXISTS":
                    raise
        self._ensured.add(workspace)
