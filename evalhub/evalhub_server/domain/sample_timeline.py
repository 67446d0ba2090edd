"""When the samples of a benchmark ended: their numbers by time and outcome."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from datetime import UTC, datetime

from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.models.sample import SampleTimeline, TimelineBucket

MOST_BUCKETS = 60
SHORTEST_S = 1.0


def sample_timeline(
    index: SampleIndex, ended_at: array[float] | None, most: int = MOST_BUCKETS
) -> SampleTimeline:
    """At most ``most`` buckets of equal length. ``ended_at`` is the column of :class:`.SampleDetails`."""
    rows = [row for row, at in enumerate(ended_at or ()) if not math.isnan(at)]
    if ended_at is None or not rows:
        return SampleTimeline(bucket_s=SHORTEST_S, untimed=len(index))
    first = min(ended_at[row] for row in rows)
    length_s = max((max(ended_at[row] for row in rows) - first) / most, SHORTEST_S)
    counted: dict[int, Counter[str]] = {}
    for row in rows:
        number = min(int((ended_at[row] - first) / length_s), most - 1)
        counted.setdefault(number, Counter())[index.outcome(row)] += 1
    return SampleTimeline(
        bucket_s=length_s,
        buckets=tuple(
            TimelineBucket(
                start=datetime.fromtimestamp(first + number * length_s, UTC),
                outcomes=dict(counted.get(number, Counter[str]())),
            )
            for number in range(max(counted) + 1)
        ),
        untimed=len(index) - len(rows),
    )
