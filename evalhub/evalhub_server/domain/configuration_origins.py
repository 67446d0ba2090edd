"""Effective configuration of a benchmark of a job, with the source of each value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from evalhub_server.domain.lineage import origin
from evalhub_server.domain.record import JobRecord, PlannedBenchmark
from evalhub_server.domain.redaction import redacted, redacted_text
from evalhub_server.domain.resource import CollectionRecord
from evalhub_server.models.common import Json
from evalhub_server.models.job import BenchmarkRef

Origin = Literal["request", "collection", "provider", "collection or provider", "default"]


class Setting(Struct, kw_only=True, frozen=True):
    """A value and where it comes from. ``differs``: it was set for this job or collection, so it may differ from the default."""

    name: str
    value: Any
    origin: Origin

    @property
    def differs(self) -> bool:
        return self.origin in ("request", "collection")


def settings_of(job: JobRecord, index: int, collection: CollectionRecord | None) -> list[Setting]:
    """The settings of one benchmark, those that differ from defaults first.

    ``collection`` is the collection of the job as it is now; None if the job has none, or if it was deleted. Where the plan
    has another value than the collection has now, the collection was edited after the job was created. Secrets are replaced.
    """
    planned = job.plan.benchmarks[index]
    own, member = _references(job, index, collection)
    rest: Origin = (
        "provider" if job.request.collection is None or member is not None else "collection or provider"
    )
    found = [*_model_settings(job)]
    for field, value, default in (
        ("primary_score", _primary(planned), None),
        ("pass_criteria", planned.threshold, None),
        ("weight", planned.weight, 1.0),
        ("test_data_ref", planned.test_data_ref, None),
        ("test_data_path", planned.test_data_path or None, None),
        ("hardware_config", planned.hardware_config, None),
    ):
        if value is None:
            continue
        source = _source(field, own, member)
        if source is None:
            source = "default" if value == default else _job_source(job, field) or rest
        found.append(
            Setting(name=_NAMES.get(field, field), value=redacted(msgspec.to_builtins(value)), origin=source)
        )
    found += [
        Setting(
            name=name,
            value=redacted({name: value})[name],
            origin=_parameter_origin(name, value, own, member, rest),
        )
        for name, value in planned.parameters.items()
    ]
    return sorted(found, key=lambda each: not each.differs)


_NAMES = {"primary_score": "primary metric", "pass_criteria": "threshold", "test_data_ref": "test data"}


def _references(
    job: JobRecord, index: int, collection: CollectionRecord | None
) -> tuple[Sequence[BenchmarkRef], BenchmarkRef | None]:
    """The request's references that apply to a benchmark, and its reference in the collection."""
    request, planned = job.request, job.plan.benchmarks[index]
    if request.collection is None:
        return request.benchmarks[index : index + 1], None
    overrides = [each for each in request.collection.benchmarks if each.provider_id == planned.provider_id]
    overrides.sort(key=lambda each: each.id != planned.id)
    members = collection.config.benchmarks if collection is not None else ()
    at = origin(job, index)
    member = members[at] if at < len(members) else None
    if member is None or (member.provider_id, member.id) != (planned.provider_id, planned.id):
        member = next(
            (each for each in members if (each.provider_id, each.id) == (planned.provider_id, planned.id)),
            None,
        )
    return overrides, member


def _model_settings(job: JobRecord) -> list[Setting]:
    model = job.request.model
    if model is None:
        return []
    parameters: Json = {} if model.parameters is UNSET else model.parameters
    return [
        Setting(name="model.name", value=redacted_text(model.name), origin="request"),
        *([Setting(name="model.url", value=redacted_text(model.url), origin="request")] if model.url else []),
        *(
            Setting(name=f"model.parameters.{name}", value=redacted({name: value})[name], origin="request")
            for name, value in parameters.items()
        ),
    ]


def _source(field: str, own: Sequence[BenchmarkRef], member: BenchmarkRef | None) -> Origin | None:
    """Where a field is set; only the override of this benchmark itself, the first one, sets fields."""
    if own and (member is None or own[0].id == member.id) and getattr(own[0], field):
        return "request"
    return "collection" if member is not None and getattr(member, field) else None


def _job_source(job: JobRecord, field: str) -> Origin | None:
    return "request" if field == "hardware_config" and job.request.hardware_config is not None else None


def _parameter_origin(
    name: str, value: Any, own: Sequence[BenchmarkRef], member: BenchmarkRef | None, rest: Origin
) -> Origin:
    if member is not None and name in member.parameters and member.parameters[name] == value:
        return "collection"
    if any(name in each.parameters and each.parameters[name] == value for each in own):
        return "request"
    return rest


def _primary(planned: PlannedBenchmark) -> str | None:
    return planned.primary_score.metric if planned.primary_score else None
