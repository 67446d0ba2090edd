"""Calls about results: samples, comparisons, leaderboards, baselines and exports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, cast
from urllib.parse import quote

from evalhub_server.client.jobs import JOBS
from evalhub_server.client.resources import Json, Page
from evalhub_server.client.transport import Transport, Value, decode

API = "/api/v1/evaluations"
COMPARISON_S = 120.0
"""How long a comparison may take: of many models on many samples it takes seconds, after a wait for samples."""
ExportFormat = Literal["json", "csv", "parquet", "md", "latex"]
ExportLevel = Literal["jobs", "benchmarks", "samples"]


class Samples:
    """Samples of a benchmark of a job, as ``client.samples``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(
        self, job_id: str, benchmark_index: int, *, limit: int = 50, offset: int = 0, **filters: Value
    ) -> Page[Json]:
        """One page of samples. ``filters``: ``outcome``, ``q``, ``group``, ``sort`` and others of the REST API."""
        query: dict[str, Value] = {"limit": limit, "offset": offset, **filters}
        return cast(
            "Page[Json]",
            decode(self._transport.request("GET", _samples(job_id, benchmark_index), query).body),
        )

    def iterate(self, job_id: str, benchmark_index: int, **filters: Value) -> Iterator[Json]:
        """All samples that match, whole: texts in pages are shortened."""
        chunks = self._transport.stream(f"{_samples(job_id, benchmark_index)}.jsonl", filters)
        rest = b""
        for chunk in chunks:
            *lines, rest = (rest + chunk).split(b"\n")
            yield from map(decode, lines)
        if rest:
            yield decode(rest)

    def get(self, job_id: str, benchmark_index: int, sample_id: str, epoch: int = 0) -> Json:
        """One sample, whole. Raises :class:`ResourceNotFound`."""
        query: dict[str, Value] = {"sample_id": sample_id, "epoch": epoch or None}
        return decode(self._transport.request("GET", _samples(job_id, benchmark_index), query).body)["items"][
            0
        ]


class Baselines:
    """Names for jobs that others are compared with, as ``client.baselines``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Page[Json]:
        """All baselines."""
        return cast("Page[Json]", decode(self._transport.request("GET", f"{API}/baselines").body))

    def get(self, name: str) -> Json:
        """One baseline. Raises :class:`ResourceNotFound`."""
        return decode(self._transport.request("GET", _baseline(name)).body)

    def put(self, name: str, job_id: str) -> Json:
        """Make ``name`` stand for the job."""
        return decode(self._transport.request("PUT", _baseline(name), body={"job_id": job_id}).body)

    def delete(self, name: str) -> None:
        """Remove the name; the job stays."""
        self._transport.request("DELETE", _baseline(name))


class Results:
    """Comparisons, leaderboards and exports, as methods of the client."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def compare(self, baseline: str, candidates: Sequence[str], **options: Value) -> Json:
        """The comparison of jobs with a baseline; each is a job's id or ``name:NAME`` of a baseline.

        ``options``: ``metric``, ``margin``, ``alpha`` and others of the REST API.
        """
        query: dict[str, Value] = {"baseline": baseline, "candidate": ",".join(candidates), **options}
        return self._get(f"{API}/comparisons", query)

    def scores(self, job_id: str, **options: Value) -> Json:
        """The scores of a job with their intervals."""
        return self._get(f"{JOBS}/{quote(job_id, safe='')}/scores", options)

    def leaderboard(self, collection_id: str, **options: Value) -> Json:
        """Models and benchmarks of a collection, from the newest complete job of each model.

        ``options``: ``runs``, ``bench``, ``model``, ``since``, ``incomplete``, ``sort``, ``metric`` and others of the REST API.
        """
        return self._get(f"{API}/leaderboards/{quote(collection_id, safe='')}", options)

    def leaderboard_of_jobs(self, jobs: Sequence[str], **options: Value) -> Json:
        """The same of given jobs, each an id or ``name:NAME`` of a baseline."""
        return self._get(f"{API}/leaderboards", {"jobs": ",".join(jobs), **options})

    def _get(self, path: str, query: dict[str, Value]) -> Json:
        return decode(self._transport.request("GET", path, query, timeout_s=COMPARISON_S).body)

    def export(
        self,
        format: ExportFormat = "csv",  # noqa: A002  the name of the query parameter
        level: ExportLevel = "benchmarks",
        *,
        jobs: Sequence[str] = (),
        **filters: Value,
    ) -> Iterator[bytes]:
        """A table of jobs, benchmarks or samples, in pieces: of the given jobs, or of those that ``filters`` match."""
        query: dict[str, Value] = {
            "format": format,
            "level": level,
            "jobs": ",".join(jobs) or None,
            **filters,
        }
        return self._transport.stream(f"{API}/export", query)


def _samples(job_id: str, benchmark_index: int) -> str:
    return f"{JOBS}/{quote(job_id, safe='')}/benchmarks/{benchmark_index}/samples"


def _baseline(name: str) -> str:
    return f"{API}/baselines/{quote(name, safe='')}"
