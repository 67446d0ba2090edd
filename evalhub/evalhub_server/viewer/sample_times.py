"""When the samples of a benchmark ended, as the pages of jobs show it."""

from __future__ import annotations

import asyncio

from markupsafe import Markup
from msgspec import Struct

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.sample_timeline import sample_timeline
from evalhub_server.domain.samples import current_set
from evalhub_server.engine.sample_reader import SampleFile
from evalhub_server.errors import ApiError, SampleStoreUnavailable
from evalhub_server.models.sample import OUTCOMES, SampleTimeline
from evalhub_server.viewer.charts import timeline
from evalhub_server.web.services import Services


class SampleTimes(Struct, kw_only=True, frozen=True):
    """The timeline of the samples of a benchmark with its chart."""

    timeline: SampleTimeline
    chart: Markup
    outcomes: tuple[str, ...] = OUTCOMES


async def sample_times_of(services: Services, job: JobRecord, index: int) -> SampleTimes | None:
    """The times of a benchmark; None without samples that have a time, or while they cannot be read."""
    samples = current_set(job.benchmarks[index])
    if samples is None or not samples.readable:
        return None
    try:
        file = await services.files.open_samples(job, index)
        found = await asyncio.to_thread(_timeline, file)
    except (ApiError, SampleStoreUnavailable):
        return None
    return SampleTimes(timeline=found, chart=timeline(found.buckets)) if found and found.buckets else None


def _timeline(file: SampleFile) -> SampleTimeline | None:
    """Blocks. Only a file whose first sample has a time is read as a whole."""
    first = next(iter(file.lines(range(min(len(file.index), 1)))), b"")
    return sample_timeline(file.index, file.details.ended_at) if b'"ended_at":"' in first else None
