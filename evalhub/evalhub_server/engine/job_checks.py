"""Checks of requests for jobs: what a create would do, without creating anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from evalhub_server.domain import problems
from evalhub_server.domain.job_checks import checked_benchmarks, plan_warnings
from evalhub_server.domain.resource import ProviderRecord
from evalhub_server.domain.struct_fields import unknown_key
from evalhub_server.domain.validation import decode_job, parse, validate
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.job_creation import JobCreator
from evalhub_server.engine.resources import ResourceService
from evalhub_server.engine.task_names import offers
from evalhub_server.errors import ApiError, FieldError
from evalhub_server.models.job import JobRequest
from evalhub_server.models.job_check import JobCheck
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.plugins.tracking import Tracker


class JobChecker:
    """Checks requests for clients; raises :class:`ApiError` if the check itself fails."""

    def __init__(
        self, creator: JobCreator, resources: ResourceService, runtime: Runtime, trackers: Sequence[Tracker]
    ) -> None:
        self._creator = creator
        self._resources = resources
        self._runtime = runtime
        self._has_tracker = bool(trackers)

    async def check(self, body: bytes, identity: Identity) -> JobCheck:
        """Check the body of a create. Raises ``invalid_json_request`` only for what is no JSON."""
        raw = parse(body)
        warnings = _unknown_fields(raw)
        key = self._runtime.provider_key
        try:
            request = decode_job(body)
            validate(request, "EvaluationJobConfig")
            await self._check_references(request, identity)
            planned = await self._creator.plan(request, identity)
            if request.experiment is not None and request.experiment.name and not self._has_tracker:
                raise problems.mlflow_required()
        except ApiError as error:
            if error.status >= 500:
                raise
            return JobCheck(
                valid=False,
                runtime=self._runtime.name,
                message_code=error.code,
                errors=error.errors or (FieldError("", error.message),),
                warnings=warnings,
            )
        return JobCheck(
            valid=True,
            runtime=self._runtime.name,
            warnings=(*warnings, *plan_warnings(planned.plan, key)),
            benchmarks=checked_benchmarks(planned.plan, key),
            threshold=planned.plan.threshold,
        )

    async def _check_references(self, request: JobRequest, identity: Identity) -> None:
        """Find all providers and benchmarks that do not exist; a create reports the first one only."""
        if request.collection is not None:
            return
        providers: dict[str, ProviderRecord | None] = {}
        errors: list[FieldError] = []
        first: ApiError | None = None
        for index, benchmark in enumerate(request.benchmarks):
            name = benchmark.provider_id
            if name not in providers:
                providers[name] = await self._provider(name, identity)
            provider = providers[name]
            if provider is None:
                first = first or problems.not_found("provider", name)
                errors.append(
                    FieldError(f"benchmarks[{index}].provider_id", f"provider '{name}' does not exist")
                )
            elif not offers(provider, benchmark.id):
                first = first or problems.does_not_exist("benchmark", benchmark.id)
                text = f"provider '{name}' has no benchmark '{benchmark.id}'"
                errors.append(FieldError(f"benchmarks[{index}].id", text))
        if first is not None:
            raise ApiError(first.status, first.code, first.message, errors=errors)

    async def _provider(self, provider_id: str, identity: Identity) -> ProviderRecord | None:
        try:
            return await self._resources.get_provider(provider_id, identity)
        except ApiError as error:
            if error.status != 404:
                raise
            return None


def _unknown_fields(raw: Any) -> tuple[FieldError, ...]:
    """The fields that a create ignores, each level's first. Exporters define their own."""
    if not isinstance(raw, dict):
        return ()
    fields = {name: value for name, value in cast("dict[str, Any]", raw).items() if name.lower() != "exports"}
    found = [name for name, value in fields.items() if unknown_key({name: value}, JobRequest) is not None]
    return tuple(FieldError(name, _ignored(name, fields[name])) for name in found)


def _ignored(name: str, value: Any) -> str:
    unknown = unknown_key({name: value}, JobRequest)
    return (
        "is unknown and ignored"
        if unknown == name
        else f"has the unknown field '{unknown}', which is ignored"
    )
