"""Job planning: collection, overrides and provider defaults merged into the list of benchmarks to run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from evalhub_server.domain import problems
from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord, PlannedBenchmark
from evalhub_server.domain.resource import CollectionRecord
from evalhub_server.models.common import HardwareConfig, Json, PassCriteria, PrimaryScore, Queue, TestDataRef
from evalhub_server.models.job import BenchmarkRef, CollectionRef, JobRequest
from evalhub_server.models.provider import ProviderBenchmark, ProviderConfig

DEFAULT_THRESHOLD = 0.5
DEFAULT_QUEUE_KIND = "kueue"

B = TypeVar("B", BenchmarkRef, PlannedBenchmark)

_SHA = re.compile(r"[0-9a-fA-F]{7,40}")
MAX_TASK_NAME = 200
_TASK_NAME = re.compile(r"[A-Za-z0-9_][\w.:@+=,()-]*(/[A-Za-z0-9_][\w.:@+=,()-]*)*", re.ASCII)


def with_queue_kinds(request: JobRequest) -> JobRequest:
    """Fill in the default kind of every queue without one, so that responses show the effective value."""
    collection = request.collection
    if collection is not None:
        collection = replace(collection, benchmarks=_with_kinds(collection.benchmarks))
    return replace(
        request,
        benchmarks=_with_kinds(request.benchmarks),
        collection=collection,
        hardware_config=_with_kind(request.hardware_config),
        queue=_queue(request.queue),
    )


def with_trimmed_experiment(request: JobRequest) -> JobRequest:
    """Trim the experiment's name, since an adapter given the untrimmed one would create a second experiment."""
    experiment = request.experiment
    if experiment is None or experiment.name == experiment.name.strip():
        return request
    return replace(request, experiment=replace(experiment, name=experiment.name.strip()))


def _with_kinds(benchmarks: tuple[BenchmarkRef, ...]) -> tuple[BenchmarkRef, ...]:
    found = [
        replace(b, hardware_config=_with_kind(b.hardware_config)) if b.hardware_config else b
        for b in benchmarks
    ]
    return tuple(found)


def _with_kind(config: HardwareConfig | None) -> HardwareConfig | None:
    if config is None or config.queue is None:
        return config
    return replace(config, queue=_queue(config.queue))


def _queue(queue: Queue | None) -> Queue | None:
    return queue and replace(queue, kind=queue.kind or DEFAULT_QUEUE_KIND)


def effective_benchmarks(
    request: JobRequest, collection: CollectionRecord | None
) -> tuple[BenchmarkRef, ...]:
    """The benchmarks of the job's collection with its overrides applied, or the job's own list without a collection.

    Raises, in this order: ``resource_does_not_exist`` for an override outside the collection, ``collection_empty``,
    ``resolved_sha_read_only``.
    """
    overrides = request.collection.benchmarks if request.collection else ()
    own = request.benchmarks
    if collection is not None:
        members = collection.config.benchmarks
        _check_overrides(overrides, members)
        if not members:
            raise problems.collection_empty(collection.id)
        own = overrides
    if any(b.test_data_ref is not None and b.test_data_ref.resolved_sha for b in own):
        raise problems.resolved_sha_read_only()
    if collection is None:
        return request.benchmarks
    parameters: dict[str, Json] = {}
    for override in overrides:
        parameters.setdefault(override.provider_id, {}).update(override.parameters)
    by_pair = {(override.provider_id, override.id): override for override in overrides}
    return tuple(
        _overridden(
            member, parameters.get(member.provider_id, {}), by_pair.get((member.provider_id, member.id))
        )
        for member in collection.config.benchmarks
    )


def _check_overrides(overrides: tuple[BenchmarkRef, ...], members: tuple[BenchmarkRef, ...]) -> None:
    providers = {member.provider_id for member in members}
    pairs = {(member.provider_id, member.id) for member in members}
    for override in overrides:
        if override.provider_id not in providers:
            raise problems.does_not_exist("provider", override.provider_id)
        if (override.provider_id, override.id) not in pairs:
            raise problems.does_not_exist("benchmark", override.id)


def _overridden(member: BenchmarkRef, parameters: Json, own: BenchmarkRef | None) -> BenchmarkRef:
    """Apply the parameters of all overrides for the member's provider, and its own override."""
    parameters = dict(parameters)
    for key, value in member.parameters.items():
        # Contract: the collection's value takes precedence over the override's; null or "" removes the parameter.
        if value is None or value == "":
            parameters.pop(key, None)
        else:
            parameters[key] = value
    if own is None:
        return replace(member, parameters=parameters)
    # A threshold belongs to one metric: the member's does not apply to a different metric of the override.
    same_metric = (
        None in (own.primary_score, member.primary_score) or own.primary_score == member.primary_score
    )
    return replace(
        member,
        parameters=parameters,
        weight=own.weight or member.weight,
        primary_score=own.primary_score or member.primary_score,
        pass_criteria=own.pass_criteria or (member.pass_criteria if same_metric else None),
        **_test_data(own if own.test_data_ref or own.test_data_path else member),
        hardware_config=own.hardware_config or member.hardware_config,
    )


def _test_data(source: BenchmarkRef | PlannedBenchmark) -> dict[str, Any]:
    """The fields for test data: one of them replaces both of a collection."""
    return {"test_data_ref": source.test_data_ref, "test_data_path": source.test_data_path}


def plan(
    request: JobRequest,
    collection: CollectionRecord | None,
    benchmarks: tuple[BenchmarkRef, ...],
    providers: Mapping[str, ProviderConfig],
) -> JobPlan:
    """Complete ``benchmarks`` with the providers' defaults and take a snapshot of the providers' runtimes.

    ``providers`` has an entry for every ``provider_id`` in ``benchmarks``. Raises ``resource_does_not_exist`` if a
    provider lacks a benchmark, then ``model_url_required``.
    """
    planned = [
        planned_benchmark(ref, providers[ref.provider_id], request.hardware_config) for ref in benchmarks
    ]
    recorded = all(
        b.test_data_ref is not None and b.test_data_ref.type == "pre_recorded_data" for b in benchmarks
    )
    if not recorded and not (request.model and request.model.url):
        raise problems.model_url_required()
    criteria = request.pass_criteria or (collection and collection.config.pass_criteria) or None
    threshold = criteria.threshold if criteria else None
    return JobPlan(
        benchmarks=tuple(planned),
        runtimes={provider_id: provider.runtime for provider_id, provider in providers.items()},
        threshold=DEFAULT_THRESHOLD if threshold is None else threshold,
    )


def planned_benchmark(
    ref: BenchmarkRef, provider: ProviderConfig, job_hardware: HardwareConfig | None = None
) -> PlannedBenchmark:
    """A benchmark completed with its provider's defaults. Raises ``resource_does_not_exist`` if the provider lacks it."""
    offered = offered_benchmark(provider, ref.id)
    if offered is None:
        raise problems.does_not_exist("benchmark", ref.id)
    score = ref.primary_score or offered.primary_score or None
    defaults = offered.default_parameters
    return PlannedBenchmark(
        id=ref.id,
        provider_id=ref.provider_id,
        weight=ref.weight or 1.0,
        primary_score=score,
        threshold=_threshold(ref, score, offered),
        parameters=defaults | ref.parameters if defaults else ref.parameters,
        test_data_ref=ref.test_data_ref,
        test_data_path=ref.test_data_path,
        hardware_config=ref.hardware_config or job_hardware,
        metric_properties=offered.metric_properties or (),
        groups=offered.groups or "",
        alias_of=offered.alias_of or "",
        requires=offered.requires or (),
        generating_twin=offered.generating_twin or "",
    )


def offered_benchmark(provider: ProviderConfig, benchmark_id: str) -> ProviderBenchmark | None:
    """The benchmark that the provider lists under this id, or an empty one if it accepts unlisted ones."""
    listed = listed_benchmark(provider, benchmark_id)
    if listed is None and accepts_unlisted(provider, benchmark_id):
        return ProviderBenchmark(id=benchmark_id)
    return listed


def listed_benchmark(provider: ProviderConfig, benchmark_id: str) -> ProviderBenchmark | None:
    """The benchmark that the provider lists under this id."""
    for benchmark in provider.benchmarks:
        if benchmark.id == benchmark_id:
            return benchmark
    return None


def accepts_unlisted(provider: ProviderConfig, benchmark_id: str) -> bool:
    """Whether the provider accepts this id although it does not list it."""
    return provider.any_benchmark and is_task_name(benchmark_id)


def is_task_name(text: str) -> bool:
    """Whether a framework may have a task of this name: no blanks, no empty or hidden path segments, no option."""
    return len(text) <= MAX_TASK_NAME and _TASK_NAME.fullmatch(text) is not None


def _threshold(ref: BenchmarkRef, score: PrimaryScore | None, offered: ProviderBenchmark) -> float | None:
    """The reference's own threshold; otherwise the provider's if it applies to the same metric."""
    if ref.pass_criteria is not None:
        return ref.pass_criteria.threshold
    default, metric = offered.pass_criteria, offered.primary_score
    if not default or not metric or score is None or score.metric != metric.metric:
        return None
    return default.threshold


def with_effective_benchmarks(collection: CollectionRef, job_plan: JobPlan) -> CollectionRef:
    """The collection reference with all effective benchmarks of the plan as overrides."""
    benchmarks = tuple(
        BenchmarkRef(
            id=b.id,
            provider_id=b.provider_id,
            primary_score=b.primary_score,
            pass_criteria=None if b.threshold is None else PassCriteria(threshold=b.threshold),
            parameters=b.parameters,
            hardware_config=b.hardware_config,
            test_data_ref=b.test_data_ref,
            test_data_path=b.test_data_path,
            # An absent weight means 1. Left out rather than 0.0: msgspec omits a default by identity, not equality.
            **({} if b.weight == 1.0 else {"weight": b.weight}),
        )
        for b in job_plan.benchmarks
    )
    return replace(collection, benchmarks=benchmarks)


def only_benchmarks(request: JobRequest, indexes: Sequence[int]) -> JobRequest:
    """The request of a job that runs a part of the benchmarks. A collection stays named, as the plan has its part."""
    if request.collection is not None:
        return request
    return replace(request, benchmarks=tuple(request.benchmarks[index] for index in indexes))


def is_new_sha(sha: str, planned: PlannedBenchmark, benchmark: BenchmarkRecord) -> bool:
    """Whether a reported commit of the test data is to be recorded: only the first valid one counts."""
    ref = planned.test_data_ref
    known = ref is None or ref.resolved_sha or benchmark.resolved_sha
    return not known and _SHA.fullmatch(sha) is not None


def resolved_request(job: JobRecord) -> JobRequest:
    """Return the job's request with the reported commits of its test data.

    For a job of a collection, all effective benchmarks are then overrides of the collection reference.
    """
    request = job.request
    shas = {benchmark.index: benchmark.resolved_sha for benchmark in job.benchmarks if benchmark.resolved_sha}
    if not shas:
        return request
    planned = job.plan.benchmarks
    refs = {
        index: replace(ref, resolved_sha=sha)
        for index, sha in shas.items()
        if (ref := planned[index].test_data_ref)
    }
    if request.collection is not None:
        plan = replace(job.plan, benchmarks=_with_test_data(planned, refs))
        return replace(request, collection=with_effective_benchmarks(request.collection, plan))
    return replace(request, benchmarks=_with_test_data(request.benchmarks, refs))


def _with_test_data(benchmarks: tuple[B, ...], refs: Mapping[int, TestDataRef]) -> tuple[B, ...]:
    return tuple(
        replace(benchmark, test_data_ref=refs[index]) if index in refs else benchmark
        for index, benchmark in enumerate(benchmarks)
    )


def example_limit(parameters: Mapping[str, object]) -> int | None:
    """The ``num_examples`` of a benchmark: a number, truncated, or a string of digits, which the released server ignores."""
    value = parameters.get("num_examples")
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
