"""The job specification passed to adapters (``job.json``). Field order is the order in the file."""

from __future__ import annotations

from msgspec import UNSET, Struct, UnsetType

from evalhub_server.models.common import Json, PrimaryScore
from evalhub_server.models.job import ExperimentTag, Model, OciCoordinates
from evalhub_server.models.provider import MetricProperties


class JobSpecOci(Struct, kw_only=True, frozen=True):
    """``exports.oci``, without the credentials."""

    coordinates: OciCoordinates


class JobSpecExports(Struct, kw_only=True, frozen=True):
    """Destinations that an adapter may push artifacts to itself."""

    oci: JobSpecOci


class JobSpec(Struct, kw_only=True, frozen=True):
    """One benchmark of a job; the adapter reports to ``callback_url``.

    It may leave a file of samples at ``samples_path`` and other files in the directory ``artifacts_path``.
    ``previous_samples_path`` is a file with samples of an earlier run, whose finished ones it may reuse.
    ``alias_of``, ``requires``, ``generating_twin`` and ``metric_properties`` are the provider's for this benchmark.
    """

    id: str
    provider_id: str
    benchmark_id: str
    benchmark_index: int
    model: Model
    num_examples: int | UnsetType = UNSET
    parameters: Json
    experiment_name: str | UnsetType = UNSET
    tags: tuple[ExperimentTag, ...] | UnsetType = UNSET
    callback_url: str
    exports: JobSpecExports | UnsetType = UNSET
    primary_score: PrimaryScore | UnsetType = UNSET
    samples_path: str | UnsetType = UNSET
    artifacts_path: str | UnsetType = UNSET
    previous_samples_path: str | UnsetType = UNSET
    alias_of: str | UnsetType = UNSET
    requires: tuple[str, ...] | UnsetType = UNSET
    generating_twin: str | UnsetType = UNSET
    metric_properties: tuple[MetricProperties, ...] | UnsetType = UNSET
