"""Statistics of evaluation runs: intervals, paired comparisons, suites, leaderboards, gates and planning.

Standard library and msgspec only. Methods, reasons and references: ``docs/explanation/statistics.md``.
"""
