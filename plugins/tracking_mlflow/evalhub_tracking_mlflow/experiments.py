"""Experiments: found by name or made, one for each name however many ask at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from evalhub_tracking_mlflow.client import API, Client, MlflowError

MISSING = "RESOURCE_DOES_NOT_EXIST"
TAKEN = "RESOURCE_ALREADY_EXISTS"


class _Experiment(Struct):
    experiment_id: str
    lifecycle_stage: str = "active"


class _Found(Struct):
    experiment: _Experiment


class _Made(Struct):
    experiment_id: str


class Experiments:
    def __init__(self, client: Client) -> None:
        self._client = client
        self._turns: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    async def resolve(
        self, name: str, tags: Mapping[str, str], artifact_location: str, workspace: str
    ) -> str:
        """Its id. ``tags`` and ``artifact_location`` count only for the one who makes it. Raises :class:`MlflowError`."""
        found = await self._find(name, workspace)
        if found is not None:
            return found
        # Only whoever makes it takes turns: behind a server that hangs, nobody waits for the others' timeouts.
        async with self._turn(workspace, name):
            found = await self._find(name, workspace)
            if found is not None:
                return found
            body: dict[str, Any] = {
                "name": name,
                "tags": [{"key": key, "value": value} for key, value in tags.items()],
            }
            if artifact_location:
                body["artifact_location"] = artifact_location
            try:
                made = await self._client.post(f"{API}/experiments/create", body, _Made, workspace=workspace)
            except MlflowError as error:
                if error.code != TAKEN:
                    raise
                found = await self._find(name, workspace)  # another client of the same MLflow was quicker
                if found is None:
                    raise
                return found
            return made.experiment_id

    async def _find(self, name: str, workspace: str) -> str | None:
        try:
            found = await self._client.get(
                f"{API}/experiments/get-by-name", _Found, {"experiment_name": name}, workspace=workspace
            )
        except MlflowError as error:
            if error.code == MISSING:
                return None
            raise
        if found.experiment.lifecycle_stage != "active":
            raise MlflowError(
                f"the experiment '{name}' is deleted in MLflow; restore it there, or use another name"
            )
        return found.experiment.experiment_id

    @asynccontextmanager
    async def _turn(self, workspace: str, name: str) -> AsyncGenerator[None]:
        """One after the other for each name."""
        key = workspace, name
        lock, waiting = self._turns.get(key, (asyncio.Lock(), 0))
        self._turns[key] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(key)
            if waiting > 1:
                self._turns[key] = lock, waiting - 1
