"""Progress of jobs and benchmarks."""

from __future__ import annotations

from markupsafe import Markup

from evalhub_server.viewer import numbers
from evalhub_server.viewer.charts.svg import plottable


def progress_bar(done: float | None, total: float | None, *, label: str = "Progress") -> Markup:
    """An HTML progress bar with its share in words: ``61 %``. Without a total it is indeterminate.

    ``label``: the name of what progresses, for screen readers.
    """
    if done is None or total is None or not (plottable(done) and plottable(total) and total > 0):
        return Markup('<progress aria-label="{}">{}</progress>').format(label, "unknown")
    bounded = min(max(done, 0.0), total)
    return Markup('<progress aria-label="{}" max="{}" value="{}">{}</progress>').format(
        label, f"{total:g}", f"{bounded:g}", numbers.share(bounded, total)
    )
