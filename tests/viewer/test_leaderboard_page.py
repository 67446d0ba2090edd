"""The pages of leaderboards, over HTTP."""

from __future__ import annotations

import csv
import html
import io
import re
from typing import Any

import pytest

from harness.running import call
from harness.server import API
from harness.viewer_data import ViewerServer


def get(viewer: ViewerServer, query: str = "", suffix: str = "") -> Any:
    answer = call(viewer.port, "GET", f"/ui/leaderboards{suffix}{query}")
    assert answer.status == 200, answer
    return answer.body.decode() if isinstance(answer.body, bytes) else answer.body


def text_of(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def rows(page: str) -> dict[str, str]:
    """The texts of the rows by model."""
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    texts = [text_of(row) for row in body.split("</tr>")[:-1]]
    models = ("alpha-7b", "beta-13b", "gamma-70b", "delta-3b", "epsilon-1b")
    return {model: text for text in texts for model in models if f" {model}" in text}


def test_collections_with_results_are_listed(viewer: ViewerServer):
    page = get(viewer)
    assert text_of(page).count("Core suite core-v1 6") == 1
    assert '<a href="/ui/leaderboards?collection=nightly-v1">' in page
    assert "never-run" not in page


def test_ranks_are_ranges_and_the_best_group_is_named(viewer: ViewerServer):
    page = get(viewer, "?collection=core-v1")
    ranking = viewer.get(f"{API}/leaderboards/core-v1")["leaderboard"]["suite"]
    found = rows(page)
    for rank in ranking["ranks"]:
        low, high = rank["interval"]["low"], rank["interval"]["high"]
        shown = f"1–2 {rank['model']} {rank['score']:.3f} [{low:.3f}, {high:.3f}]"
        assert found[rank["model"]].startswith(shown)
    assert "No model is shown to be better than another one. 16,714 samples" in text_of(page)
    assert '<svg xmlns="http://www.w3.org/2000/svg" class="chart chart-intervals"' in page
    assert page.count('title="lower is better"') == 1


def test_the_ranked_models_can_be_compared(viewer: ViewerServer):
    page = get(viewer, "?collection=core-v1")
    alpha, beta = viewer.jobs.suites["alpha-7b"], viewer.jobs.suites["beta-13b"]
    assert f'href="/ui/compare?base={alpha}&amp;with={beta}"' in page
    assert 'href="/ui/trend?collection=core-v1"' in page


def test_incomplete_models_stand_below_without_an_overall_score(viewer: ViewerServer):
    page = get(viewer, "?collection=core-v1")
    assert list(rows(page))[:2] == ["alpha-7b", "beta-13b"]
    delta = rows(page)["delta-3b"]
    assert delta.startswith("– not reported delta-3b no job of it has results of all benchmarks;")
    assert "0.920 0.825 ○ running ○ pending" in delta


def test_weights_can_be_chosen(viewer: ViewerServer):
    pooled = get(viewer, "?collection=core-v1&weights=pooled")
    assert rows(pooled)["alpha-7b"] != rows(get(viewer, "?collection=core-v1"))["alpha-7b"]
    assert rows(pooled)["alpha-7b"].startswith("1 alpha-7b")
    assert "alpha-7b is shown to be better than every other model." in text_of(pooled)


def test_without_samples_models_have_reported_scores_and_no_ranks(viewer: ViewerServer):
    page = get(viewer, "?collection=nightly-v1")
    assert "The models are not ranked on the whole" in page
    assert all(text.startswith("– not reported") for text in rows(page).values())
    scores = [float(re.sub(r".*?(0\.\d+).*", r"\1", text)) for text in rows(page).values()]
    assert scores == sorted(scores, reverse=True)


def test_a_collection_that_no_job_has_run(viewer: ViewerServer):
    page = get(viewer, "?collection=never-run")
    assert "No job has run this collection yet." in page
    assert "--collection never-run" in page


def test_other_formats(viewer: ViewerServer):
    found = list(csv.DictReader(io.StringIO(get(viewer, "?collection=core-v1", ".csv"))))
    assert [row["model"] for row in found][:2] == ["alpha-7b", "beta-13b"]
    assert (found[0]["best_rank"], found[0]["worst_rank"]) == ("1", "2")
    assert get(viewer, "?collection=core-v1", ".json") == viewer.get(f"{API}/leaderboards/core-v1")


@pytest.mark.parametrize(
    ("query", "status"), [("collection=none", 404), ("collection=core-v1&weights=x", 400)]
)
def test_wrong_parameters_are_refused(viewer: ViewerServer, query: str, status: int):
    assert call(viewer.port, "GET", f"/ui/leaderboards?{query}").status == status
