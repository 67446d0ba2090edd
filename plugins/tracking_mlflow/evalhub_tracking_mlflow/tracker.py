"""The tracker ``mlflow``, on MLflow's REST API."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import quote

import structlog

from evalhub_server.plugins import (
    CARD_FILE,
    ApiError,
    ExportOutcome,
    ExportRefused,
    JobRecord,
    JobRequest,
    TrackedExperiment,
    Tracker,
    card_json,
)
from evalhub_tracking_mlflow.client import API, Client, MlflowError
from evalhub_tracking_mlflow.content import experiment_tags, run_content, run_tags
from evalhub_tracking_mlflow.credentials import Credentials
from evalhub_tracking_mlflow.experiments import Experiments
from evalhub_tracking_mlflow.runs import Runs
from evalhub_tracking_mlflow.settings import MlflowSettings
from evalhub_tracking_mlflow.workspaces import DEFAULT, Workspaces

log = structlog.get_logger()

CHECK_TIMEOUT_S = 5.0

DELETED_RETRY_S = 24 * 3600.0
"""How long an experiment that was deleted may be restored until the export fails."""
FINAL_ERRORS = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE"}
"""MLflow's codes of errors that a retry does not fix by itself, such as a deleted experiment or an invalid run id."""


class MlflowTracker(Tracker):
    """Resolves experiments of new jobs and records finished jobs as runs."""

    name = "mlflow"

    def __init__(self, settings: MlflowSettings, tls: ssl.SSLContext | None) -> None:
        self._credentials = Credentials(settings)
        self._client = Client(self._credentials, settings.http_timeout, tls)
        self._workspaces = Workspaces(self._client, settings.workspace)
        self._experiments = Experiments(self._client)
        self._runs = Runs(self._client)

    async def check(self) -> None:
        """Log the version of MLflow, or a warning if it is unavailable: it may start before it is needed."""
        uri = self._credentials.base_url
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await self._workspaces.detect()
                version = await self._client.text("/version")
        except (MlflowError, TimeoutError) as error:
            log.warning(
                "MLflow does not answer; jobs with an experiment are refused until it does",
                mlflow_tracking_uri=uri,
                error=str(error) or f"no answer within {CHECK_TIMEOUT_S:g} seconds",
            )
        else:
            log.info("MLflow tracking", mlflow_tracking_uri=uri, version=version.strip())

    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        assert request.experiment is not None  # noqa: S101  guaranteed by the caller
        name = request.experiment.name
        try:
            workspace = await self._workspaces.of(tenant)
            await self._workspaces.ensure(workspace)
            tags = experiment_tags(request, job_id)
            location = request.experiment.artifact_location
            experiment_id = await self._experiments.resolve(name, tags, location, workspace)
        except MlflowError as error:
            # Contract: 400, even if MLflow is down.
            text = (
                f"The MLflow request failed: '{error}'. Please check the MLflow configuration and try again."
            )
            raise ApiError(400, "mlflow_request_failed", text) from error
        base = self._credentials.base_url
        return TrackedExperiment(
            id=experiment_id, url=f"{base}{API}/experiments", link=self._link(experiment_id, workspace)
        )

    def environment(self, tenant: str) -> Mapping[str, str]:
        workspace = self._workspaces.known(tenant)
        variables = dict(self._credentials.environment())
        if workspace:
            variables["MLFLOW_WORKSPACE"] = workspace
        return variables

    async def record(self, job: JobRecord) -> ExportOutcome:
        experiment = job.progress.experiments.get(self.name)
        if experiment is None:
            raise ExportRefused(f"The job {job.id} has no experiment in {self.name}.")
        experiment_id = experiment.id
        workspace = await self._workspaces.of(job.tenant)
        try:
            run_id = await self._runs.record(
                experiment_id,
                run_content(job),
                run_tags(job),
                {CARD_FILE: card_json(job)},
                workspace,
                self._recorded_run(job),
            )
        except MlflowError as error:
            if error.code not in FINAL_ERRORS:
                raise
            if await self._experiments.is_deleted(experiment_id, workspace):
                text = f"the experiment is deleted in MLflow; restore it there: {error}"
                raise ExportRefused(text, retry_for_s=DELETED_RETRY_S) from error
            raise ExportRefused(str(error)) from error
        return ExportOutcome(reference=run_id, link=self._link(f"{experiment_id}/runs/{run_id}", workspace))

    async def settle(self, job: JobRecord) -> None:
        experiment, known = job.progress.experiments.get(self.name), self._recorded_run(job)
        if experiment is None or not known:
            return
        workspace = await self._workspaces.of(job.tenant)
        try:
            await self._runs.settle(experiment.id, run_content(job), run_tags(job), workspace, known)
        except MlflowError as error:
            if error.code not in FINAL_ERRORS:
                raise

    async def end_run(self, job: JobRecord) -> None:
        experiment = job.progress.experiments.get(self.name)
        if experiment is None:
            return
        workspace = await self._workspaces.of(job.tenant)
        try:
            await self._runs.end(experiment.id, run_content(job), run_tags(job), workspace)
        except MlflowError as error:
            if error.code not in FINAL_ERRORS:
                raise

    async def close(self) -> None:
        await self._client.close()

    def _recorded_run(self, job: JobRecord) -> str:
        """The id of the run that an earlier attempt has recorded the job in; empty without one."""
        outcomes = [e.outcome for e in job.progress.outbox if (e.kind, e.name) == ("tracker", self.name)]
        return next((outcome.reference for outcome in outcomes if outcome is not None), "")

    def _link(self, rest: str, workspace: str) -> str:
        page = f"{self._credentials.base_url}/#/experiments/{rest}"
        return f"{page}?workspace={quote(workspace, safe='')}" if workspace not in ("", DEFAULT) else page
