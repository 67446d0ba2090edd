"""The runs of several models on one benchmark, reduced to the items that all of them have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from evalhub_server.domain.statistics.columns import Prepared, prepare
from evalhub_server.domain.statistics.inputs import CompareOptions, ModelRuns
from evalhub_server.domain.statistics.pairing import (
    MIN_MATCHED_SHARE,
    changed_items,
    has_ids,
    header_differences,
)
from evalhub_server.domain.statistics.results import Note
from evalhub_server.domain.statistics.score import cluster_keys


class CommonItems(Struct, kw_only=True, frozen=True):
    """The scores of comparable models on their common items, one column per model in the same order of items."""

    name: str
    metric: str
    lower_is_better: bool
    bounds: tuple[float, float] | None
    binary: bool
    n: int
    columns: dict[str, list[float]]
    bits: dict[str, int]
    """Right/wrong answers as bits, which compare and count quickly; empty for other scores."""
    clusters: list[int] | None
    """Number of each item's cluster from 0; None unless the metric declares clusters."""
    not_ranked: tuple[Note, ...]
    """Models that are left out, with the reason; ``code`` is the model."""
    warnings: tuple[Note, ...]


def common_items(name: str, models: Sequence[ModelRuns], options: CompareOptions) -> CommonItems:
    """The comparable runs of a benchmark, reduced to the items that all of them have."""
    refused: list[Note] = []
    prepared: dict[str, Prepared] = {}
    for model in models:
        run = model.runs.get(name)
        if run is None:
            refused.append(Note(code=model.model, message="no result"))
        elif run.incomplete:
            refused.append(Note(code=model.model, message=run.incomplete[0].message))
        elif run.items is None:
            refused.append(Note(code=model.model, message="no per-sample results"))
        elif run.rules.aggregation != "mean":
            refused.append(Note(code=model.model, message=f"'{run.rules.metric}' is not a mean of samples"))
        elif (each := prepare(run, options)).problems:
            refused.append(Note(code=model.model, message=each.problems[0].message))
        elif not has_ids(each):
            refused.append(Note(code=model.model, message="the samples have no ids"))
        else:
            prepared[model.model] = each
    kept, more = _comparable(prepared, options)
    refused += more
    if not kept:
        return CommonItems(
            name=name, metric="", lower_is_better=False, bounds=None, binary=False, n=0, columns={}, bits={},
            clusters=None, not_ranked=tuple(refused), warnings=(),
        )  # fmt: skip
    first = next(iter(kept.values()))
    rows = _common_rows(kept)
    columns = {
        model: [value for row in rows[model] if (value := other.values[row]) is not None]
        for model, other in kept.items()
    }
    n = len(next(iter(columns.values())))
    binary = all(each.binary for each in kept.values())
    keys = cluster_keys(first, next(iter(rows.values())))
    numbers = {key: number for number, key in enumerate(dict.fromkeys(keys or ()))}
    largest = max(each.n_expected for each in kept.values())
    warnings: list[Note] = []
    if n < largest:
        text = f"{n} of {largest} items are common to all models and have a score"
        warnings.append(Note(code="common_items", message=text))
    bounds = {each.bounds for each in kept.values()}
    return CommonItems(
        name=name,
        metric=first.run.rules.metric,
        lower_is_better=first.run.rules.lower_is_better,
        bounds=bounds.pop() if len(bounds) == 1 else None,
        binary=binary,
        n=n,
        columns=columns,
        bits={model: _bits(column) for model, column in columns.items()} if binary and n else {},
        clusters=[numbers[key] for key in keys] if keys else None,
        not_ranked=tuple(refused),
        warnings=tuple(warnings),
    )


def _common_rows(kept: Mapping[str, Prepared]) -> dict[str, list[int]]:
    """The rows of the items that all runs have a score of, in one order."""
    first = next(iter(kept.values()))
    if all(each.ids == first.ids for each in kept.values()):
        usable = [
            row
            for row, values in enumerate(zip(*(each.values for each in kept.values()), strict=True))
            if None not in values
        ]
        return dict.fromkeys(kept, usable)
    common = set[str](first.ids).intersection(*(each.rows.keys() for each in kept.values()))
    ordered = [
        name
        for name in first.ids
        if name in common and all(each.values[each.rows[name]] is not None for each in kept.values())
    ]
    return {model: [each.rows[name] for name in ordered] for model, each in kept.items()}


def _comparable(
    prepared: Mapping[str, Prepared], options: CompareOptions
) -> tuple[dict[str, Prepared], list[Note]]:
    """The largest group of runs that can be compared with one of them, and why others are left out."""
    best: dict[str, Prepared] = {}
    why: dict[str, str] = {}
    for reference in prepared.values():
        reasons = {
            model: header_differences(reference.run, each.run, options)[0]
            or _item_differences(reference, each, options)
            for model, each in prepared.items()
        }
        kept = {model: prepared[model] for model, notes in reasons.items() if not notes}
        if len(kept) > len(best):
            best = kept
            why = {model: notes[0].message for model, notes in reasons.items() if notes}
        if len(best) == len(prepared):
            break
    return best, [
        Note(code=model, message=f"not comparable with the others: {text}") for model, text in why.items()
    ]


def _item_differences(reference: Prepared, other: Prepared, options: CompareOptions) -> list[Note]:
    """Reasons in the items: too few in common, or other inputs."""
    if reference.ids != other.ids:
        common = len(reference.rows.keys() & other.rows.keys())
        union = len(reference.ids) + len(other.ids) - common
        if common < MIN_MATCHED_SHARE * union and not options.allow_subset:
            return [Note(code="other_items", message=f"only {common} of {union} samples are common")]
    changed = [] if options.allow_prompt_change else changed_items(reference, other)
    if changed:
        return [Note(code="other_prompts", message=f"the input or target of {len(changed)} samples differs")]
    return []


def _bits(column: Sequence[float]) -> int:
    """Right/wrong answers as the bits of an integer, which compare and count quickly."""
    return int("".join("1" if value else "0" for value in column), 2)
