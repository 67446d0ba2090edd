"""Statistics of evaluation runs: intervals, paired comparisons, suites, leaderboards, gates and planning.

:func:`.score.score_run`, :func:`.compare.compare_runs`, :func:`.suite.compare_suites`, :func:`.leaderboard.leaderboard` and
:func:`.gate.evaluate_gate` are the entry points; inputs and results are the structs of ``inputs``, ``policy``, ``results``
and ``gate_results``. Standard library and msgspec only. Methods, reasons and references: ``docs/explanation/statistics.md``.
"""
