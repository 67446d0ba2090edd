"""The score of a benchmark in each part of its samples: by their group, such as a subject, or by a key of their metadata."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.statistics.inputs import Run, RunItems
from evalhub_server.domain.statistics.results import ScoreSummary
from evalhub_server.domain.statistics.score import score_run

MAX_GROUPS = 50


class GroupScore(Struct, kw_only=True, frozen=True):
    """The samples of one group, or with one value of a key; ``group`` is empty for samples without one."""

    group: str
    summary: ScoreSummary


def group_scores(run: Run) -> tuple[GroupScore, ...]:
    """The score in each group, in the order of names.

    Empty without groups, with more than :data:`MAX_GROUPS`, and where groups are clusters: these are sampled units, and one of
    them has no score of interest.
    """
    items = run.items
    if items is None or not items.clusters or run.rules.groups == "clusters":
        return ()
    return scores_by(run, [group or "" for group in items.clusters])


def scores_by(run: Run, labels: Sequence[str]) -> tuple[GroupScore, ...]:
    """The score of the items with each label, in the order of labels. Empty for one label, or more than :data:`MAX_GROUPS`."""
    items = run.items
    if items is None:
        return ()
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    if not 1 < len(rows) <= MAX_GROUPS:
        return ()
    return tuple(
        GroupScore(group=label, summary=score_run(part_of(run, items, rows[label]))) for label in sorted(rows)
    )


def part_of(run: Run, items: RunItems, rows: Sequence[int]) -> Run:
    """The run with some of its items. What was reported or expected is of all items."""
    header = replace(run.header, n_expected=None, reported_value=None, reported_stderr=None)
    part = RunItems(
        sample_ids=[items.sample_ids[row] for row in rows],
        scores=[items.scores[row] for row in rows],
        epochs=None if items.epochs is None else [items.epochs[row] for row in rows],
        statuses=None if items.statuses is None else [items.statuses[row] for row in rows],
        clusters=None if items.clusters is None else [items.clusters[row] for row in rows],
        key_hashes=None if items.key_hashes is None else [items.key_hashes[row] for row in rows],
    )
    return replace(run, header=header, items=part)
