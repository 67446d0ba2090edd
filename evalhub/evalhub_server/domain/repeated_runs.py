"""Several runs of a benchmark as one: the same samples answered again are repeats of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import repeat

from msgspec.structs import replace

from evalhub_server.domain.lineage_view import LineageView, Source
from evalhub_server.domain.statistics.inputs import ItemStatus, ModelRuns, Note, Run, RunItems


def merged_runs(runs: Sequence[Run]) -> Run:
    """One run with the samples of all, each run's as further epochs, so that repeats of a sample are averaged first.

    The first run gives everything else. Without the samples of all there are none. The reported score is the mean of the reported ones,
    without a standard error: that of a mean of runs on the same samples does not follow from those of the runs.
    """
    first = runs[0]
    if len(runs) == 1:
        return first
    items = [each.items for each in runs if each.items is not None]
    whole = len(items) == len(runs)
    reported = [each.header.reported_value for each in runs if each.header.reported_value is not None]
    expected = [each.header.n_expected for each in runs if each.header.n_expected is not None]
    faults = dict.fromkeys(note for each in runs for note in each.problems)
    if whole and (changed := _with_other_content(items)):
        text = f"the input or target of {changed} samples differs between runs of the model"
        faults[Note(code="other_prompts", message=text)] = None
    return replace(
        first,
        header=replace(
            first.header,
            reported_value=math.fsum(reported) / len(reported) if len(reported) == len(runs) else None,
            reported_stderr=None,
            n_expected=max(expected, default=None),
        ),
        items=_merged(items) if whole else None,
        problems=tuple(faults),
        incomplete=tuple(dict.fromkeys(note for each in runs for note in each.incomplete)),
    )


def model_runs(
    models: Mapping[str, Sequence[LineageView]],
    chosen_of: Mapping[str, int],
    runs: Callable[[Source], Run | None],
) -> list[ModelRuns]:
    """The runs of models for a leaderboard: of each benchmark the one of the model's views, or all of them as one.

    ``runs`` returns the run of a benchmark, or None without a result. ``chosen_of`` is 1 for models that it does not have.
    """
    return [
        ModelRuns(
            model=model,
            job_id=next(iter(views[0].values())).job.id if views[0] else "",
            chosen_of=chosen_of.get(model, 1),
            runs={
                name: merged_runs(found)
                for name in views[0]
                if (found := [run for view in views if name in view and (run := runs(view[name]))])
            },
        )
        for model, views in models.items()
    ]


def _merged(parts: Sequence[RunItems]) -> RunItems:
    epochs: list[int] = []
    for each in parts:
        first = max(epochs, default=-1) + 1
        own = each.epochs if each.epochs is not None else repeat(0, len(each.sample_ids))
        epochs += [first + epoch for epoch in own]
    return RunItems(
        sample_ids=[name for each in parts for name in each.sample_ids],
        epochs=epochs,
        scores=[score for each in parts for score in each.scores],
        statuses=[status for each in parts for status in _statuses(each)],
        clusters=[group for each in parts for group in each.clusters or repeat(None, len(each.sample_ids))],
        key_hashes=[key for each in parts for key in each.key_hashes or repeat(None, len(each.sample_ids))],
    )


def _statuses(items: RunItems) -> Sequence[ItemStatus]:
    if items.statuses is not None:
        return items.statuses
    return ["missing" if score is None else "ok" for score in items.scores]


def _with_other_content(parts: Sequence[RunItems]) -> int:
    """The number of samples whose hash differs between the parts."""
    found: dict[str, set[str | bytes]] = {}
    for each in parts:
        for name, key in zip(each.sample_ids, each.key_hashes or (), strict=False):
            if key is not None:
                found.setdefault(name, set()).add(key)
    return sum(len(keys) > 1 for keys in found.values())
