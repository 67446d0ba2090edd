"""Ranges of ranks from tests of all pairs (Mogstad, Romano, Shaikh and Wilhelm): simultaneous confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalhub_server.domain.statistics.multiplicity import holm


def rank_ranges(
    scores: Mapping[str, float],
    pairs: Mapping[tuple[str, str], float],
    alpha: float = 0.05,
) -> tuple[dict[str, tuple[int, int]], dict[tuple[str, str], float]]:
    """Best and worst rank of each model, and Holm's p value of each pair.

    ``scores`` are oriented so that higher is better. ``pairs`` holds a p value for each unordered pair. A model's best rank
    is 1 + the number of models that are significantly better, its worst the number of models - those significantly
    worse. A best rank of 1 means "not shown to be worse than any other", not "equal": it is not transitive.
    """
    names: Sequence[str] = list(scores)
    labels = {"\x00".join(pair): pair for pair in pairs}
    adjusted = {labels[label]: p for label, p in holm({k: pairs[v] for k, v in labels.items()}).items()}
    better = dict.fromkeys(names, 0)
    worse = dict.fromkeys(names, 0)
    for (first, second), p in adjusted.items():
        if p <= alpha and scores[first] != scores[second]:
            winner, loser = (first, second) if scores[first] > scores[second] else (second, first)
            better[loser] += 1
            worse[winner] += 1
    return {name: (1 + better[name], len(names) - worse[name]) for name in names}, adjusted
