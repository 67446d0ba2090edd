"""Groups of models that tests do not distinguish: the compact letter display of a ranking."""

from __future__ import annotations

from collections.abc import Collection, Sequence

MAX_GROUPS = 26


def undistinguished(
    models: Sequence[str], distinguished: Collection[tuple[str, str]]
) -> tuple[tuple[str, ...], ...]:
    """All largest groups of models of which no pair is distinguished, in the order of ``models``.

    Two models are in a common group if and only if they are not distinguished (Piepho 2004, insert and absorb). A model that is
    distinguished from all others is a group of its own. Empty if there were more than :data:`MAX_GROUPS` groups.
    """
    position = {model: number for number, model in enumerate(models)}
    groups: list[frozenset[int]] = [frozenset(position.values())]
    for first, second in distinguished:
        one, two = position[first], position[second]
        whole = [each for each in groups if not {one, two} <= each]
        halves = {each - {out} for each in groups if {one, two} <= each for out in (one, two)}
        groups = _absorbed(whole, halves)
        if len(groups) > MAX_GROUPS:
            return ()
    return tuple(tuple(models[each] for each in sorted(group)) for group in sorted(map(sorted, groups)))


def _absorbed(whole: list[frozenset[int]], halves: Collection[frozenset[int]]) -> list[frozenset[int]]:
    """The groups without the new ones that another group contains."""
    kept = list(whole)
    for half in sorted(halves, key=len, reverse=True):
        if not any(half <= each for each in kept):
            kept.append(half)
    return kept
