"""Marks of states: one table for all pages."""

from __future__ import annotations

from pathlib import Path

from evalhub_server import viewer
from evalhub_server.models.common import State
from evalhub_server.models.sample import OUTCOMES
from evalhub_server.viewer.charts import outcome_bar
from evalhub_server.viewer.marks import MARKS
from viewer.charts.svg_reader import parsed, texts


def test_each_state_and_outcome_has_a_mark():
    assert all(MARKS[each.value] for each in State)
    assert len({MARKS[each] for each in OUTCOMES}) == len(OUTCOMES)


def test_charts_have_the_marks_of_tables():
    root = parsed(outcome_bar(dict.fromkeys(OUTCOMES, 10)))
    assert texts(root, "glyph") == [MARKS[each] for each in OUTCOMES]


def test_no_page_of_jobs_has_a_table_of_its_own():
    folder = Path(viewer.__file__).parent
    names = {
        path.name
        for path in (*folder.rglob("*.py"), *folder.rglob("*.html"))
        if {"\u25d0", "\u2298"} & set(path.read_text("utf-8"))
    }
    assert names == {"marks.py"}
