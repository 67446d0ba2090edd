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
    markups = body.split("</tr>")[:-1]
    models = [
        text_of(re.search(r'<th scope="row">(.*?)</(?:a|bdi)>', each, re.DOTALL)[1]) for each in markups
    ]  # type: ignore[index]
    return dict(zip(models, map(text_of, markups), strict=True))


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
    assert rows(pooled)["alpha-7b"].startswith("1 a alpha-7b")
    assert rows(pooled)["beta-13b"].startswith("2 b beta-13b")
    assert "if they have no letter of a group in common" in pooled
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
    assert "--collection never-run --server http://" in page


def test_other_formats(viewer: ViewerServer):
    found = list(csv.DictReader(io.StringIO(get(viewer, "?collection=core-v1", ".csv"))))
    assert [row["model"] for row in found][:2] == ["alpha-7b", "beta-13b"]
    assert (found[0]["best_rank"], found[0]["worst_rank"]) == ("1", "2")
    assert get(viewer, "?collection=core-v1", ".json") == viewer.get(f"{API}/leaderboards/core-v1")


def test_benchmarks_and_models_can_be_chosen(viewer: ViewerServer):
    page = get(viewer, "?collection=core-v1&bench=core/big_suite&bench=core/arithmetic")
    assert "<h1>Core suite · 2 of 6 benchmarks · Leaderboard</h1>" in page
    assert "gamma-70b is shown to be better than every other model." in text_of(page)
    assert rows(page)["gamma-70b"].startswith("1 a gamma-70b")
    assert "law_qa" not in page.partition("<thead>")[2].partition("</thead>")[0]
    assert 'href="/ui/leaderboards?bench=core%2Farithmetic&amp;collection=core-v1"' in page
    one = get(viewer, "?collection=core-v1&model=alpha-7b")
    assert list(rows(one)) == ["alpha-7b"]
    assert "there is nothing to rank it against" in one
    none = get(viewer, "?collection=core-v1&since=2100-01-01T00:00:00Z")
    assert "No job of this collection matches." in none


def test_incomplete_models_can_be_hidden(viewer: ViewerServer):
    page = get(viewer, "?collection=core-v1&incomplete=hide")
    assert list(rows(page)) == ["alpha-7b", "beta-13b"]
    assert "3 incomplete: show" in page


def test_columns_sort_the_best_first(viewer: ViewerServer):
    page = get(viewer, "?collection=core-v1")
    heads = page.partition("<thead>")[2].partition("</thead>")[0]
    assert "sort=core%2Ftoxicity" in heads  # lower is better
    assert "sort=-core%2Freading" in heads
    assert heads.count('aria-sort="descending"') == 1
    sorted_page = get(viewer, "?collection=core-v1&sort=core/toxicity")
    assert list(rows(sorted_page))[:2] == ["beta-13b", "alpha-7b"]
    assert "sort=-core%2Ftoxicity" in sorted_page


def test_runs_can_be_the_mean_or_the_best(viewer: ViewerServer):
    best = get(viewer, "?collection=nightly-v1&runs=best")
    assert all(re.search(r"best of \d+ runs", text) for text in rows(best).values())
    assert "the best one looks better than the model is" in best
    mean = get(viewer, "?collection=nightly-v1&runs=mean")
    assert all("mean of 5 runs" in text for text in rows(mean).values())


def test_results_with_other_settings_are_marked(viewer: ViewerServer):
    page = get(viewer, "?collection=core-v1")
    assert rows(page)["beta-13b"].count("≠ other settings") == 6
    assert "≠" not in rows(page)["alpha-7b"]
    assert "beta-13b model.parameters.temperature 0.0 0.7 core/big_suite, core/arithmetic" in text_of(page)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("collection=none", 404),
        ("collection=core-v1&weights=x", 400),
        ("collection=core-v1&runs=x", 400),
        ("collection=core-v1&bench=x", 400),
        ("collection=core-v1&sort=x", 400),
        ("collection=core-v1&since=x", 400),
        ("collection=core-v1&metric=x", 400),
    ],
)
def test_wrong_parameters_are_refused(viewer: ViewerServer, query: str, status: int):
    assert call(viewer.port, "GET", f"/ui/leaderboards?{query}").status == status
