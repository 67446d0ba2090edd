"""Charts as inline SVG, by pure functions of the numbers that the API returns.

A chart has a title and a description, no colour without a second sign, and no style of its own: ``static/viewer.css`` has
the classes. Pages show the same numbers as a table.
"""

from evalhub_server.viewer.charts.histogram import histogram
from evalhub_server.viewer.charts.intervals import Effect, Score, forest_plot, interval_dots
from evalhub_server.viewer.charts.outcomes import outcome_bar, outcome_words, timeline
from evalhub_server.viewer.charts.progress import progress_bar
from evalhub_server.viewer.charts.trend import Point, Series, trend

__all__ = [
    "Effect",
    "Point",
    "Score",
    "Series",
    "forest_plot",
    "histogram",
    "interval_dots",
    "outcome_bar",
    "outcome_words",
    "progress_bar",
    "timeline",
    "trend",
]
