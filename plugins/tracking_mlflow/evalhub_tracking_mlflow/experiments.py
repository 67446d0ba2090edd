"""Experiments of MLflow: found by name or created, once per name even for concurrent jobs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from evalhub_tracking_mlflow.client import API, Client, MlflowError

MISSING = "RESOURCE_DOES_NOT_EXIST"
ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"


class _Experiment(Struct):
    experiment_id: str
    lifecycle_stage: str = "active"


class _Found(Struct):
    experiment: _Experiment


class _Created(Struct):
    experiment_id: str


class Experiments:
    """Finds experiments by name and creates missing ones."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    async def resolve(
        self, name: str, tags: Mapping[str, str], artifact_location: str, workspace: str
    ) -> str:
        """The id of an experiment. ``tags`` and ``artifact_location`` are for a new one. Raises :class:`MlflowError`."""
        found = await self._find(name, workspace)
        if found is not None:
            return found
        # Only creation is serialized, so that lookups do not wait for each other's timeouts if MLflow hangs.
        async with self._locked(workspace, name):
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
                created = await self._client.post(
                    f"{API}/experiments/create", body, _Created, workspace=workspace
                )
            except MlflowError as error:
                if error.code != ALREADY_EXISTS:
                    raise
                found = await self._find(name, workspace)  # created by another client meanwhile
                if found is None:
                    raise
                return found
            return created.experiment_id

    async def is_deleted(self, experiment_id: str, workspace: str) -> bool:
        """Whether an experiment exists, but is deleted, so that it can be restored. Raises :class:`MlflowError`."""
        try:
            query = {"experiment_id": experiment_id}
            found = await self._client.get(f"{API}/experiments/get", _Found, query, workspace=workspace)
        except MlflowError as error:
            if error.code == MISSING:
                return False
            raise
        return found.experiment.lifecycle_stage == "deleted"

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
    async def _locked(self, workspace: str, name: str) -> AsyncGenerator[None]:
        """Holds the lock of a name, which exists as long as a task uses it."""
        key = workspace, name
        lock, waiting = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(key)
            if waiting > 1:
                self._locks[key] = lock, waiting - 1
