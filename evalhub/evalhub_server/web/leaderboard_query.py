"""Query parameters of leaderboards: which runs, models and benchmarks, and the order of the rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.domain.leaderboard_entries import BEST_FIRST, MAX_MEAN_RUNS, RUNS, SORTS, RunsKind
from evalhub_server.engine.comparisons import Question
from evalhub_server.plugins.storage import Terms
from evalhub_server.web.comparison_query import OPTIONS, question_of
from evalhub_server.web.openapi.operation import Parameter, names
from evalhub_server.web.openapi.parameters import terms
from evalhub_server.web.query import Query

INCOMPLETE = ("show", "hide")

ROWS = (
    Parameter(
        name="bench",
        description="Name of a benchmark in comparisons, `provider_id/id`: only these are ranked, and the overall score is their mean. "
        "`|` separates several, and it may be repeated. By default all.",
        schema={"type": "string"},
    ),
    Parameter(
        name="sort",
        description="Order of the entries: `overall`, `model`, `created` or the name of a benchmark; `-` before it means descending. "
        "Models without a score come last.",
        schema={"type": "string", "default": BEST_FIRST},
    ),
)
"""Parameters of every leaderboard, beside those of comparisons."""
CHOICE = (
    Parameter(
        name="runs",
        description="Which run of a model counts, of those with results of all benchmarks: the newest (`latest`), the mean of the "
        f"newest {MAX_MEAN_RUNS} with the same settings (`mean`; samples are averaged over runs first), or the one with the best reported "
        "score (`best`; p values and intervals are adjusted for the number of runs, `chosen_of`).",
        schema={"type": "string", "enum": [*RUNS], "default": RUNS[0]},
    ),
    Parameter(
        name="incomplete",
        description="Whether models without a run of all benchmarks are listed in `left_out`.",
        schema={"type": "string", "enum": [*INCOMPLETE], "default": INCOMPLETE[0]},
    ),
    terms("model", "`model.name`: only these models are ranked.", negatable=True),
    Parameter(
        name="since",
        description="Only jobs that were created at this time, with a zone, or later.",
        schema={"type": "string", "format": "date-time"},
    ),
)
"""Parameters of leaderboards of collections."""


class BoardQuery(Struct, kw_only=True, frozen=True):
    """What a leaderboard shows. ``benchmarks`` is empty for all, ``models`` and ``since`` are None for all."""

    question: Question = Question()
    benchmarks: Sequence[str] = ()
    sort: str = BEST_FIRST
    runs: RunsKind = "latest"
    hide_incomplete: bool = False
    models: Terms | None = None
    since: datetime | None = None

    def chosen(self, known: Collection[str]) -> list[str]:
        """The benchmarks to rank, of those of a collection or a job. Raises :class:`ApiError` for others, also in ``sort``."""
        wanted = {
            each
            for text in self.benchmarks
            for each in ([text] if text in known else text.split("|"))
            if each
        }
        if not wanted <= {*known}:
            raise problems.query_parameter_value_invalid("bench", "|".join(known))
        chosen = [name for name in known if not wanted or name in wanted]
        if self.sort.removeprefix("-") not in (*SORTS, *chosen):
            raise problems.query_parameter_value_invalid("sort", "|".join((*SORTS, *chosen)))
        return chosen


def board_query(query: Query) -> BoardQuery:
    """The parameters that every leaderboard has. Raises :class:`ApiError`."""
    return BoardQuery(
        question=question_of(query), benchmarks=query.texts("bench"), sort=query.text("sort") or BEST_FIRST
    )


def collection_board_query(query: Query) -> BoardQuery:
    """The parameters of a leaderboard of a collection. Raises :class:`ApiError`."""
    basic = board_query(query)
    return BoardQuery(
        question=basic.question,
        benchmarks=basic.benchmarks,
        sort=basic.sort,
        runs=query.choice("runs", RUNS, RUNS[0]),
        hide_incomplete=query.choice("incomplete", INCOMPLETE, INCOMPLETE[0]) == "hide",
        models=query.terms("model", negatable=True),
        since=query.moment("since"),
    )


BOARD_NAMES = names((*ROWS, *CHOICE))
JOB_BOARD = (*OPTIONS, *ROWS)
COLLECTION_BOARD = (*OPTIONS, *ROWS, *CHOICE)
