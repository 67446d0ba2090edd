"""Scores of parts of the samples of a benchmark: by group, or by a key of their metadata."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from evalhub_server.domain.group_scores import GroupScore
from evalhub_server.domain.sample_details import SampleDetails
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.viewer import numbers
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.viewer.sample_filter import BenchmarkPages
from evalhub_server.viewer.text import visible

MAX_KEY_CHARACTERS = 40


class PartScore(Struct, frozen=True):
    """The score of a part of the samples, the number of its samples in words, and the URL of the list of them."""

    score: GroupScore
    counts: str
    url: str


class Parts(Struct, kw_only=True, frozen=True):
    """The scores of parts of the samples. ``by`` is their key of the metadata, empty for groups; ``choices`` are its names with
    URLs of the page."""

    by: str
    scores: Sequence[PartScore]
    choices: Sequence[tuple[str, str, str]]


def key_of_parts(query: PageQuery, details: SampleDetails) -> str:
    """The key of the metadata by which scores are divided; empty for groups. Raises :class:`ApiError`."""
    return query.choice("by", ("", *details.metadata), "")


def parts_of(
    query: PageQuery,
    pages: BenchmarkPages,
    by: str,
    scores: Sequence[GroupScore],
    index: SampleIndex,
    details: SampleDetails,
) -> Parts:
    def filters(value: str) -> dict[str, list[str]]:
        if by:
            return {"metadata": [f"{by}:{value}"]}
        return {"group": [value]} if value else {"missing": ["group"]}

    grouped = any(index.groups)
    keys = [key for key, column in details.metadata.items() if len(column.values) > 2]
    return Parts(
        by=by,
        scores=[
            PartScore(
                each,
                numbers.sample_counts(each.summary),
                pages.samples(filters(each.group)),
            )
            for each in scores
        ],
        choices=[
            *([("", "group", query.url(by=None))] if grouped else []),
            *((key, visible(key, MAX_KEY_CHARACTERS), query.url(by=key)) for key in keys),
        ],
    )
