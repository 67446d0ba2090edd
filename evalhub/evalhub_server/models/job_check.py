"""The result of checking a request for a job without creating it."""

from __future__ import annotations

from msgspec import Struct

from evalhub_server.errors import FieldError
from evalhub_server.models.common import HardwareConfig, Json, PrimaryScore, TestDataRef


class CheckedBenchmark(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A benchmark as the job would run it: collection, overrides and the provider's defaults merged.

    ``alias_of``, ``requires`` and ``generating_twin`` are the provider's. ``threshold`` is absent without a verdict. ``runnable``: the provider has an entry for the server's runtime, with a command
    or an image where that is required.
    """

    benchmark_index: int
    provider_id: str
    id: str
    weight: float
    primary_score: PrimaryScore | None = None
    threshold: float | None = None
    parameters: Json = {}
    test_data_ref: TestDataRef | None = None
    test_data_path: str = ""
    hardware_config: HardwareConfig | None = None
    alias_of: str = ""
    requires: tuple[str, ...] = ()
    generating_twin: str = ""
    runnable: bool


class JobCheck(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Whether a request would create a job, and which.

    ``errors`` are the reasons for which it would be refused, and ``message_code`` is the code of the refusal. ``warnings`` are
    about what is accepted and perhaps not intended. A valid request has ``benchmarks`` and the job's own ``threshold``.
    """

    valid: bool
    runtime: str
    message_code: str = ""
    errors: tuple[FieldError, ...] = ()
    warnings: tuple[FieldError, ...] = ()
    benchmarks: tuple[CheckedBenchmark, ...] = ()
    threshold: float | None = None
