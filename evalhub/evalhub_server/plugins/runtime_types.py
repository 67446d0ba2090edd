"""Types of the runtime contract: the arguments of a runtime's methods, and what they return."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from evalhub_server.models.common import HardwareConfig, Json, Queue, TestDataRef
from evalhub_server.models.jobspec import JobSpec

Handle = Json
"""Identifies a workload, also after a restart of the server. Plain JSON that only the runtime interprets, except
``framework: {name, version}``, which the evaluation card shows."""


class BenchmarkRun(Struct, kw_only=True, frozen=True):
    """One workload to start: benchmark ``spec.benchmark_index`` of job ``spec.id``; ``attempt`` counts from 1.

    ``config`` is the provider's entry for this runtime (``runtime.<provider_key>`` of the provider file), or None
    without one. ``environment`` has the variables that trackers and telemetry need in the adapter.

    The other fields are for runtimes that provide hardware and data. ``hardware`` is the benchmark's request, else the
    job's. ``queue`` is the job's own, for hardware that implies none. ``test_data`` describes the data to
    provide; the variable ``EVALHUB_TEST_DATA_DIR`` tells the adapter the directory. ``test_data_path`` is a
    directory of this host to use instead, for a runtime with :attr:`Runtime.takes_test_data_paths`. ``oci_connection`` is the secret with the registry credentials of the export. ``previous_samples`` is the
    server's own file with samples of the benchmark that this one repeats: the adapter gets a copy, or nothing.
    """

    spec: JobSpec
    attempt: int
    tenant: str = ""
    config: Json | None = None
    environment: Mapping[str, str] = {}
    hardware: HardwareConfig | None = None
    queue: Queue | None = None
    test_data: TestDataRef | None = None
    test_data_path: str = ""
    oci_connection: str = ""
    previous_samples: Path | None = None

    @property
    def key(self) -> tuple[str, int, int]:
        """(job id, benchmark index, attempt): identifies the workload; never reused."""
        return self.spec.id, self.spec.benchmark_index, self.attempt


class LogOptions(Struct, kw_only=True, frozen=True):
    """Which part of a log to return.

    ``tail_lines`` is the number of lines from the end; -1 returns all. Runtimes that cannot support ``timestamps`` and
    ``since_seconds`` ignore them.
    """

    tail_lines: int = 1000
    timestamps: bool = False
    since_seconds: int | None = None


class LogPart(NamedTuple):
    """A part of a log. ``end`` is the offset in bytes at which the next one begins.

    That is where ``data`` ends, unless something was removed from the log: ``data`` may then be a line of the runtime's that
    reports it, and the next part begins after the gap.
    """

    data: bytes
    end: int


class Limits(Struct, kw_only=True, frozen=True):
    """Maximum numbers of workloads that run at the same time; None is no limit."""

    total: int | None = None
    per_provider: int | None = None
    per_model: int | None = None


class Notice(Struct, kw_only=True, frozen=True):
    """A warning about a workload that has not ended.

    ``reason`` is a stable word for programs; ``message`` describes the cause and the remedy.
    """

    reason: str
    message: str


class SampleFiles(Struct, kw_only=True, frozen=True):
    """Where an adapter on this host leaves its samples, a file, and its artifacts, a directory. Neither need exist."""

    samples: Path
    artifacts: Path


class Readiness(Struct, kw_only=True, frozen=True):
    """Whether the adapters of a provider can be started: ``reason`` is empty if they can.

    ``reason`` is a phrase ("it is not installed"), ``fix`` a sentence. ``job_refused``: a job of the
    provider is refused, not only expected to fail.
    """

    reason: str = ""
    fix: str = ""
    job_refused: bool = False
