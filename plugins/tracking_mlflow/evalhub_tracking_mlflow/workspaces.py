"""Workspaces: a tenant's part of an MLflow server that has them. Other servers must not hear of them."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import structlog
from msgspec import Struct

from evalhub_tracking_mlflow.client import API_3, Client, MlflowError

log = structlog.get_logger()

DEFAULT = "default"
"""Every server with workspaces has it."""

UNKNOWN_QUESTION = (404, 405, 501)
"""What servers answer that are older than workspaces."""


class _ServerInfo(Struct):
    workspaces_enabled: bool = False


class Workspaces:
    """``own`` is the workspace of jobs without a tenant. Whether the server has workspaces is asked until it answers."""

    def __init__(self, client: Client, own: str) -> None:
        self._client = client
        self._own = own.strip()
        self._enabled: bool | None = None
        self._ensured: set[str] = {"", DEFAULT}

    def known(self, tenant: str) -> str:
        """The workspace of a tenant, or "" if the server has none or has not said so yet."""
        return (tenant or self._own) if self._enabled else ""

    async def of(self, tenant: str) -> str:
        """The same, after asking the server if need be. Raises :class:`MlflowError` if it does not answer."""
        if self._enabled is None:
            await self.look()
        return self.known(tenant)

    async def look(self) -> None:
        try:
            info = await self._client.get(f"{API_3}/server-info", _ServerInfo)
        except MlflowError as error:
            # Any other refusal, such as of a token, says nothing, and must not send tenants to one workspace.
            if error.status not in UNKNOWN_QUESTION:
                raise
            info = _ServerInfo()
        self._enabled = info.workspaces_enabled

    async def ensure(self, workspace: str) -> None:
        """Make the workspace unless it is there. Raises :class:`MlflowError`."""
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
