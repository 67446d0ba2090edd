"""Numbers of samples by the time at which they ended."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from evalhub_server.domain.sample_details import details_of
from evalhub_server.domain.sample_index import IndexBuilder
from evalhub_server.domain.sample_timeline import sample_timeline
from evalhub_server.domain.samples import parse_sample
from evalhub_server.models.sample import SampleTimeline

START = datetime(2026, 11, 29, 21, 0, 0, tzinfo=UTC)


def timeline_of(*samples: dict[str, Any], most: int = 60) -> SampleTimeline:
    parsed = [
        parse_sample(json.dumps({"sample_id": str(number), **each}).encode())
        for number, each in enumerate(samples)
    ]
    builder = IndexBuilder()
    for each in parsed:
        builder.add(each)
    details = details_of((each.line for each in parsed), len(parsed))
    return sample_timeline(builder.build(), details.ended_at, most)


def ended(seconds: float, **members: Any) -> dict[str, Any]:
    return {"ended_at": (START + timedelta(seconds=seconds)).isoformat(), "passed": True, **members}


def test_samples_are_counted_by_time_and_outcome() -> None:
    found = timeline_of(ended(119), ended(0), ended(30), ended(90, passed=False), most=2)
    assert found.bucket_s == 59.5
    assert [(each.start - START, each.outcomes) for each in found.buckets] == [
        (timedelta(0), {"passed": 2}),
        (timedelta(seconds=59.5), {"passed": 1, "failed": 1}),
    ]
    assert found.untimed == 0


def test_intervals_without_samples_are_there() -> None:
    found = timeline_of(ended(0), ended(3.5))
    assert [len(each.outcomes) for each in found.buckets] == [1, 0, 0, 1]
    assert found.bucket_s == 1.0
    assert len(timeline_of(ended(0), ended(10**9)).buckets) == 60


def test_what_is_no_time_counts_as_none() -> None:
    found = timeline_of(
        ended(0),
        {},
        {"ended_at": 7},
        {"ended_at": "soon"},
        {"ended_at": None},
        {"ended_at": "2026-11-29T21:00:00"},
    )
    assert [each.outcomes for each in found.buckets] == [{"passed": 1, "unscored": 1}]
    assert found.untimed == 4
    assert timeline_of({}, {}) == SampleTimeline(bucket_s=1.0, untimed=2)
