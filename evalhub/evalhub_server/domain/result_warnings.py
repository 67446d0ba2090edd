"""Warnings about results of completed benchmarks that cannot be taken at face value."""

from __future__ import annotations

from evalhub_server.domain.planning import example_limit
from evalhub_server.domain.record import BenchmarkRecord, PlannedBenchmark
from evalhub_server.domain.samples import current_set, sample_set_view
from evalhub_server.models.common import State


def result_warnings(planned: PlannedBenchmark, record: BenchmarkRecord) -> list[str]:
    """What is suspicious about a result although the benchmark completed."""
    if record.state is not State.COMPLETED:
        return []
    found: list[str] = []
    if record.result is None or not record.result.metrics:
        found.append("Completed without metrics: the adapter reported no result, so there is no score.")
    asked = planned.parameters.get("num_examples")
    limit = example_limit(planned.parameters)
    if asked is not None and limit is None:
        found.append(f"num_examples was ignored, since it is no number: {asked!r:.100}.")
    samples = current_set(record)
    if samples is None:
        return found
    if samples.state == "cut":
        found.append(
            f"The samples were cut ({samples.message}), so verdicts that need all samples are incomplete."
        )
    if samples.state == "failed":
        found.append(f"The samples could not be stored: {samples.message}")
    shown = sample_set_view(planned, record)
    if shown is not None and (difference := shown.score_difference) is not None:
        found.append(
            f"The reported {difference.metric} is {difference.reported:.6g}, the mean of the samples {difference.samples:.6g}. "
            "The reported score counts; it has no interval."
        )
    if limit is not None and samples.readable and samples.count < limit:
        found.append(f"Fewer samples than requested: {samples.count:,} of {limit:,}.")
    if samples.bad_lines:
        found.append(f"Lines of the sample file that are no samples: {samples.bad_lines:,}.")
    return found
