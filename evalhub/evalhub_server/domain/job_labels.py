"""The values by which lists filter jobs, by the name of the filter."""

from __future__ import annotations

from collections.abc import Iterable

from evalhub_server.models.job import JobRequest

JOB_LABELS = (
    *("model_name", "model_url", "provider_id", "benchmark_id"),
    *("collection_id", "experiment_name", "derived_from", "lineage"),
)
"""The names."""


def job_labels(
    request: JobRequest, benchmarks: Iterable[tuple[str, str]], derived_from: str, lineage: str
) -> dict[str, tuple[str, ...]]:
    """The values by name, without empty ones. ``benchmarks`` are the provider and the id of each."""
    model, collection, experiment = request.model, request.collection, request.experiment
    pairs = list(benchmarks)
    found = {
        "model_name": (model.name if model else "",),
        "model_url": (model.url if model else "",),
        "provider_id": tuple(dict.fromkeys(provider_id for provider_id, _id in pairs)),
        "benchmark_id": tuple(dict.fromkeys(id_ for _provider_id, id_ in pairs)),
        "collection_id": (collection.id if collection else "",),
        "experiment_name": (experiment.name if experiment else "",),
        "derived_from": (derived_from,),
        "lineage": (lineage,),
    }
    return {label: kept for label, values in found.items() if (kept := tuple(filter(None, values)))}
