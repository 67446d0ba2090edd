"""Types of the resources in responses, as they are in JSON.

Responses are dictionaries: fields that this release does not know, of a newer server, are kept. Fields that an older
server leaves out are ``NotRequired``.
"""

from __future__ import annotations

from typing import Any, Generic, NotRequired, Required, TypedDict, TypeVar

T = TypeVar("T")
Json = dict[str, Any]
TERMINAL_STATES = frozenset({"completed", "failed", "cancelled", "partially_failed"})


class Message(TypedDict):
    """A text with a stable code."""

    message: str
    message_code: str
    message_origin: NotRequired[str]


class Progress(TypedDict):
    """How far a benchmark is; ``reported_at`` is RFC 3339."""

    done: float
    total: float
    message: NotRequired[str]
    reported_at: NotRequired[str]


class Phase(TypedDict):
    """A phase of a benchmark; the current one has no duration."""

    phase: str
    started_at: str
    duration_s: NotRequired[float]


class SampleSet(TypedDict):
    """The samples of a benchmark; ``state`` is pending, stored, none, failed or cut."""

    state: NotRequired[str]
    message: NotRequired[str]
    count: NotRequired[int]


class BenchmarkStatus(TypedDict):
    """The status of one benchmark of a job."""

    id: str
    provider_id: str
    benchmark_index: int
    status: str
    phase: NotRequired[str]
    phases: NotRequired[list[Phase]]
    error_message: NotRequired[Message]
    warning_message: NotRequired[Message]
    started_at: NotRequired[str]
    completed_at: NotRequired[str]
    progress: NotRequired[Progress]
    running_metrics: NotRequired[Json]
    attempt: NotRequired[int]
    samples: NotRequired[SampleSet]


class JobStatus(TypedDict, total=False):
    """The state of a job and of its benchmarks. A summary has ``benchmark_states`` in place of ``benchmarks``."""

    state: Required[str]
    message: Message
    benchmarks: list[BenchmarkStatus]
    duration_s: float
    benchmark_states: dict[str, int]


Test = TypedDict(
    "Test",
    {"pass": bool, "score": float, "primary_score": float, "primary_score_metric": str, "threshold": float},
    total=False,
)
"""The comparison of a score with its threshold, of a job or of a benchmark."""


class BenchmarkResult(TypedDict):
    """What one benchmark reported."""

    id: str
    provider_id: str
    benchmark_index: NotRequired[int]
    metrics: NotRequired[Json]
    test: NotRequired[Test]
    logs_path: NotRequired[str]


class JobResults(TypedDict, total=False):
    """The results of a job."""

    test: Test
    benchmarks: list[BenchmarkResult]


class ResourceInfo(TypedDict):
    """Id and times (RFC 3339) of a resource."""

    id: str
    created_at: NotRequired[str]
    updated_at: NotRequired[str]
    owner: NotRequired[str]
    tenant: NotRequired[str]
    derived_from: NotRequired[str]
    pinned: NotRequired[bool]


class Model(TypedDict):
    """The model under test."""

    name: str
    url: NotRequired[str]


class Job(TypedDict):
    """An evaluation job."""

    resource: ResourceInfo
    name: str
    model: Model
    status: JobStatus
    results: NotRequired[JobResults]
    description: NotRequired[str]
    tags: NotRequired[list[str]]
    benchmarks: NotRequired[list[Json]]
    collection: NotRequired[Json]
    experiment: NotRequired[Json]


class Benchmark(TypedDict):
    """A benchmark of a provider."""

    id: str
    name: NotRequired[str]
    category: NotRequired[str]
    metrics: NotRequired[list[str]]


class Provider(TypedDict):
    """An evaluation framework with its benchmarks."""

    resource: ResourceInfo
    name: str
    benchmarks: NotRequired[list[Benchmark] | None]


class CollectionBenchmark(TypedDict):
    """A member of a collection."""

    id: str
    provider_id: str
    parameters: NotRequired[Json]


class Collection(TypedDict):
    """Benchmarks that are run and scored together."""

    resource: ResourceInfo
    name: str
    benchmarks: NotRequired[list[CollectionBenchmark]]


class Page(TypedDict, Generic[T]):
    """One page of a list."""

    items: list[T]
    total_count: int
    limit: NotRequired[int]
    facets: NotRequired[list[Json]]


def is_terminal(job: Job) -> bool:
    """Whether the job has ended."""
    return job["status"]["state"] in TERMINAL_STATES


def benchmark_statuses(job: Job) -> list[BenchmarkStatus]:
    """The status of each benchmark in order. The released server lists a benchmark from its first event on."""
    return job["status"].get("benchmarks") or []


def sample_state(status: BenchmarkStatus) -> str:
    """The state of the benchmark's samples; empty if there are none yet, or if the server keeps none."""
    return status["samples"].get("state", "pending") if "samples" in status else ""


def benchmark_results(job: Job) -> list[BenchmarkResult]:
    """The results of each benchmark that reported some."""
    return job.get("results", JobResults()).get("benchmarks") or []
