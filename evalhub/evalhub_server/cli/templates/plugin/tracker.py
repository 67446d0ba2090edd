"""A tracker for EvalHub Server: experiments are directories, and each run is a file."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from msgspec import Meta, Struct

from evalhub_server.plugins import (
    ApiError,
    Descriptor,
    ExportOutcome,
    ExportRefused,
    JobRecord,
    JobRequest,
    PluginContext,
    StartupError,
    TrackedExperiment,
    Tracker,
    hookimpl,
)


class Settings(Struct, kw_only=True, frozen=True):
    """Section ``my-plugin`` of config.yaml. Descriptions are shown by ``eval-hub-server plugins my-plugin``."""

    directory: Annotated[str, Meta(description="Where experiments are written; it must exist.")] = ""


class MyPluginTracker(Tracker):
    name = "my-plugin"

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.directory

    async def check(self) -> None:
        if not self._directory:
            raise StartupError(
                "my-plugin.directory is not set. Set it, or remove my-plugin from plugins.trackers."
            )

    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        assert request.experiment is not None  # the server calls it only then
        name = request.experiment.name
        experiment_id = hashlib.sha256(f"{tenant}\0{name}".encode()).hexdigest()[:16]
        try:
            await asyncio.to_thread(_create_experiment, Path(self._directory, experiment_id), name)
        except OSError as error:
            text = f"The experiment cannot be created: {error.strerror}."
            raise ApiError(400, "mlflow_request_failed", text) from error
        return TrackedExperiment(id=experiment_id)

    def environment(self, tenant: str) -> Mapping[str, str]:
        return {"MY_PLUGIN_DIRECTORY": self._directory}

    async def record(self, job: JobRecord) -> ExportOutcome:
        experiment = job.progress.experiments.get(self.name)
        if experiment is None:
            raise ExportRefused(f"Job {job.id} has no experiment in {self.name}.")
        run = {
            "name": job.request.name,
            "state": job.state.value,
            "metrics": {
                f"{planned.provider_id}/{planned.id}": each.result.metrics if each.result else {}
                for planned, each in zip(job.plan.benchmarks, job.benchmarks, strict=True)
            },
        }
        # The job's id is the run's: a repeated record replaces the file.
        await asyncio.to_thread(self._write_run, experiment.id, job.id, json.dumps(run))
        return ExportOutcome(reference=job.id)

    def _write_run(self, experiment_id: str, run_id: str, text: str) -> None:
        folder = Path(self._directory, experiment_id)
        if folder.parent.is_dir() and not folder.is_dir():
            raise ExportRefused(f"The experiment {experiment_id} of job {run_id} does not exist any more.")
        _replace(folder / f"{run_id}.json", text)


def _create_experiment(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    _replace(folder / "experiment.txt", name)


def _replace(file: Path, text: str) -> None:
    """Write the whole file or nothing. Raises OSError, which the server retries."""
    part = file.with_suffix(f".{uuid4()}.part")
    part.write_text(text, "utf-8")
    part.replace(file)


@hookimpl
def evalhub_trackers() -> list[Descriptor[MyPluginTracker, Settings]]:
    return [
        Descriptor(
            api=1, name="my-plugin", factory=_make, settings=Settings, help="experiments in a directory"
        )
    ]


def _make(settings: Settings, context: PluginContext) -> MyPluginTracker:
    return MyPluginTracker(settings)
