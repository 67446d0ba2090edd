"""The rows of the page of a leaderboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from evalhub_server.domain.comparison_view import JobLeaderboard, LeaderboardEntry, LeftOutModel, ModelResult
from evalhub_server.domain.statistics.results import Rank, Ranking
from evalhub_server.viewer.page import Table

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class BoardCell(Struct, kw_only=True, frozen=True):
    """A model's result in a benchmark. ``rank`` is absent for models that the ranking does not have, for the reason ``why``.

    ``other``: the settings that differ from those of most models, as text.
    """

    state: str
    score: float | None
    rank: Rank | None
    why: str
    href: str
    other: str


class BoardRow(Struct, kw_only=True, frozen=True):
    """A model. ``rank`` is that of the suite; absent without one. ``reason``: why it is left out or has no rank.

    ``groups`` has a letter for each group of models that are not shown to differ from it; ``how`` is which of its runs it is ranked by.
    """

    model: str
    rank: Rank | None
    score: float | None
    job_id: str
    reason: str
    complete: bool
    cells: Mapping[str, BoardCell]
    groups: str = ""
    how: str = ""
    runs: int = 0
    created_at: datetime | None = None


def board_rows(board: JobLeaderboard, names: Sequence[str], prefix: str) -> list[BoardRow]:
    """The ranked models in the order of the leaderboard, then the incomplete ones."""
    suite = board.leaderboard.suite
    ranks = {rank.model: rank for rank in suite.ranks} if suite else {}
    rankings = {each.name: each for each in board.leaderboard.benchmarks}
    reasons = {note.code: note.message for note in suite.not_ranked} if suite else {}
    letters = letters_of(suite)
    rows = [
        BoardRow(
            model=entry.model,
            rank=ranks.get(entry.model),
            score=entry.score,
            job_id=entry.job.job_id,
            reason=reasons.get(entry.model, ""),
            complete=True,
            cells=_cells(entry, rankings, names, prefix),
            groups=letters.get(entry.model, ""),
            how=_how(entry),
            runs=entry.complete_runs,
            created_at=entry.job.created_at,
        )
        for entry in board.entries
    ]
    rows += [
        BoardRow(
            model=each.model,
            rank=None,
            score=None,
            job_id="",
            reason=each.reason,
            complete=False,
            cells=_cells(each, rankings, names, prefix),
        )
        for each in board.left_out
    ]
    return rows


def letters_of(ranking: Ranking | None) -> dict[str, str]:
    """The letters of the groups of each model, if the ranking distinguishes any models."""
    groups = ranking.groups if ranking else ()
    if len(groups) < 2:
        return {}
    found: dict[str, str] = {}
    for letter, group in zip(LETTERS, groups, strict=False):
        for model in group:
            found[model] = found.get(model, "") + letter
    return found


def _how(entry: LeaderboardEntry) -> str:
    if entry.chosen_of > 1:
        return f"best of {entry.chosen_of} runs"
    words = [f"mean of {entry.averaged} runs"] if entry.averaged > 1 else []
    if entry.other_settings:
        words.append(f"{entry.other_settings} with other settings left out")
    return ", ".join(words)


def _cells(
    row: LeaderboardEntry | LeftOutModel, rankings: Mapping[str, Ranking], names: Sequence[str], prefix: str
) -> dict[str, BoardCell]:
    cells: dict[str, BoardCell] = {}
    for name in names:
        result = row.results.get(name)
        ranking = rankings.get(name)
        ranks = {rank.model: rank for rank in ranking.ranks} if ranking else {}
        why = (
            next((note.message for note in ranking.not_ranked if note.code == row.model), "")
            if ranking
            else ""
        )
        cells[name] = BoardCell(
            state=result.state.value if result else "",
            score=result.score if result else None,
            rank=ranks.get(row.model),
            why=why,
            href=f"{prefix}/ui/jobs/{result.job_id}/b/{result.benchmark_index}" if result else "",
            other=_other(result) if result else "",
        )
    return cells


def _other(result: ModelResult) -> str:
    parts = [
        f"{each.name} {each.baseline or 'absent'} → {each.candidate or 'absent'}"
        for each in result.configuration
    ]
    return f"other settings than {result.differs_from}: {'; '.join(parts)}" if parts else ""


def lower_is_better(board: JobLeaderboard) -> frozenset[str]:
    """The benchmarks whose primary score is better the lower it is."""
    found = [each.results for each in (*board.entries, *board.left_out)]
    return frozenset(name for results in found for name, each in results.items() if each.lower_is_better)


def table_of(rows: Sequence[BoardRow], names: Sequence[str]) -> Table:
    """The rows for other formats than HTML."""
    values: list[Sequence[Any]] = []
    for row in rows:
        rank = row.rank
        interval = rank.interval if rank else None
        values.append(
            (
                row.model,
                rank.best_rank if rank else None,
                rank.worst_rank if rank else None,
                row.groups,
                rank.score if rank else row.score,
                interval.low if interval else None,
                interval.high if interval else None,
                *(cell.rank.score if (cell := row.cells[name]).rank else cell.score for name in names),
                "; ".join(dict.fromkeys(cell.other for cell in row.cells.values() if cell.other)),
                row.how,
                row.runs,
                row.job_id,
                row.created_at.isoformat() if row.created_at else "",
                row.reason,
            )
        )
    return Table(
        columns=(
            *("model", "best_rank", "worst_rank", "groups", "overall", "low", "high", *names),
            *("other_settings", "ranked_by", "complete_runs", "job", "created_at", "reason"),
        ),
        rows=values,
    )
