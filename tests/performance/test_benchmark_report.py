"""The table of the benchmarks."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.measurements import REFERENCE
from benchmarks.report import document, table

VALUES = {
    ("event", "CPU µs"): {
        "this": [100.0, 200.0, 110.0],
        "before": [200.0, 210.0, 220.0],
        "released": [600.0] * 3,
    },
    ("health", "CPU µs"): {"this": [50.0], "before": [60.0], "released": [30.0]},
    ("300 jobs at once", "jobs/s"): {"this": [300.0], "released": [200.0]},
    ("start to first answer, against the imports", "ms"): {"this": [200.0], REFERENCE: [300.0]},
    ("event", "p99 ms"): {"this": [1.0]},
}


def test_the_table_has_medians_spread_and_ratios_of_rounds_with_missed_targets() -> None:
    lines = table(VALUES, ["this", "before", "released"]).splitlines()
    assert lines[0] == "| measurement | this | before | released | before / this | released / this | target |"
    assert lines[2:] == [
        "| health, CPU µs | 50.0 | 60.0 | 30.0 | 1.20 | 0.60 | 0.80 **missed** |",
        "| event, CPU µs | 110 (100–200) | 210 (200–220) | 600 (600–600) | 2.00 | 5.45 | 5.00 |",
        "| 300 jobs at once, jobs/s | 300 |  | 200 |  | 1.50 | 1.20 |",
        "| start to first answer, against the imports, ms | 200 |  | 300 |  | 1.50 | 1.00 |",
    ]


def test_the_table_of_one_tree_has_no_ratios() -> None:
    assert table({("health", "CPU µs"): {"this": [50.0]}}, ["this"]).splitlines()[2:] == [
        "| health, CPU µs | 50.0 |"
    ]


def test_the_document_has_all_values() -> None:
    measurements = document(VALUES)["measurements"]
    assert measurements[0]["values"]["this"] == [100.0, 200.0, 110.0]
    assert measurements[-1] == {
        "name": "event",
        "unit": "p99 ms",
        "values": {"this": [1.0]},
        "medians": {"this": 1.0},
    }
