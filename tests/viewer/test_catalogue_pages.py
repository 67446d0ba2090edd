"""The pages of the catalogue, over HTTP."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Config, RunningServer
from harness.running import call
from harness.server import API
from harness.viewer_data import ViewerServer

NEEDY = {
    "id": "needy",
    "name": "Needy framework",
    "runtime": {"local": {"command": "true", "environment": "garak"}},
    "agent": {"hints": ["Start with a small limit"]},
    "benchmarks": [
        {
            "id": "poems",
            "requires": ["chat", "judge"],
            "category": "writing",
            "tags": ["art", "prose, or not | verse"],
            "dataset_size": 7,
        },
        {"id": "lines", "requires": ["prompt_logprobs"], "category": "writing", "generating_twin": "poems"},
        {
            "id": "loss",
            "alias_of": "lines",
            "primary_score": {"metric": "perplexity", "lower_is_better": True},
            "pass_criteria": {"threshold": 0.25},
            "chance_level": 0.125,
            "default_parameters": {"num_fewshot": 5, "judge_api_key": "sk-1", "stop": ["a", None]},
            "agent": {"result_interpretation": "Low.", "score_ranges": [{"range": "0-1", "meaning": "Good"}]},
        },
    ],
}
MIXED = {
    "id": "mixed",
    "name": "Mixed",
    "category": "writing",
    "benchmarks": [
        {"id": "loss", "provider_id": "needy", "weight": 3},
        {"id": "poems", "provider_id": "needy", "parameters": {"hf_token": "sk-2", "chat": True}},
        {"id": "gone", "provider_id": "needy"},
        {"id": "other", "provider_id": "missing"},
    ],
}


@pytest.fixture(scope="module")
def needy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with a provider whose framework is not installed, and a collection of its benchmarks."""
    folder = tmp_path_factory.mktemp("needy")
    config = Config(folder)
    config.write("providers/needy.yaml", NEEDY)
    config.write("collections/mixed.yaml", MIXED)
    config.provider("true", *(f"b{number:02}" for number in range(58)))
    with RunningServer(config.folder, env={"EVALHUB_ADAPTERS_DIR": str(folder / "adapters")}) as server:
        yield server


def get(server: RunningServer, path: str) -> Any:
    answer = call(server.port, "GET", f"/ui/catalog{path}")
    assert answer.status == 200, answer
    return answer.body.decode() if isinstance(answer.body, bytes) else answer.body


def text_of(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def rows(page: str) -> list[str]:
    body = page.partition("<tbody>")[2].partition("</tbody>")[0]
    return [text_of(row) for row in body.split("</tr>")[:-1]]


def test_the_catalogue_begins_with_collections(viewer: ViewerServer):
    page = get(viewer, "")
    assert 'href="/ui/catalog?kind=collections" aria-current="page"' in page
    listed = viewer.get(f"{API}/collections?limit=100")
    assert len(rows(page)) == listed["total_count"]
    core = next(row for row in rows(page) if "core-v1" in row)
    assert core.startswith("Core suite Run core-v1 core-v1 general 6 ")
    assert '<a href="/ui/catalog/collection?id=core-v1">' in page
    assert '<a href="/ui/run?collection=core-v1">Run' in page


@pytest.mark.parametrize("kind", ["collections", "providers", "benchmarks"])
def test_numbers_have_labels_where_the_table_has_no_head(viewer: ViewerServer, kind: str):
    body = get(viewer, f"?kind={kind}").partition("<tbody>")[2].partition("</tbody>")[0]
    assert '<td class="number" data-label=' in body
    assert '<td class="number">' not in body


def test_providers_link_to_their_benchmarks(viewer: ViewerServer):
    page = get(viewer, "?kind=providers")
    assert "Core evaluations core 6 benchmarks of core ✓ yes Benchmarks of the core team." in rows(page)
    assert '<a href="/ui/catalog?kind=benchmarks&amp;provider=core">' in page


def test_benchmarks_have_their_metric_and_a_link_that_runs_them(viewer: ViewerServer):
    page = get(viewer, "?kind=benchmarks&provider=core")
    assert len(rows(page)) == 6
    big = next(row for row in rows(page) if row.startswith("big_suite"))
    assert (
        big == "big_suite Run big_suite core Big suite · What a model can do in big suite. "
        "match ↑ higher is better – not reported 14,000 ✓ yes"
    )
    assert 'href="/ui/run?benchmark=big_suite&amp;provider=core"' in page


def test_needs_and_the_command_that_installs(needy: RunningServer):
    found = rows(get(needy, "?kind=benchmarks&provider=needy"))
    assert found[0].startswith("poems Run poems needy poems – not reported chat, judge 7 ✕ Run: ")
    assert "eval-hub-server adapters install garak" in found[0]
    assert "prompt log-probabilities" in found[1]
    assert "perplexity ↓ lower is better" in found[2]


def test_parameters_are_json_without_secrets(needy: RunningServer):
    benchmark, collection = (
        get(needy, "/benchmark?provider=needy&id=loss"),
        get(needy, "/collection?id=mixed"),
    )
    assert 'judge_api_key = *** , stop = ["a",null]' in text_of(benchmark)
    assert "hf_token = *** , chat = true" in text_of(collection)
    assert "sk-" not in benchmark + collection


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("q=POE%20art", ["poems"]),
        ("requires=judge", ["poems"]),
        ("requires=judge|prompt_logprobs", ["poems", "lines"]),
        ("requires=judge,prompt_logprobs", []),
        ("category=writing&sort=-id", ["poems", "lines"]),
        ("tag=art", ["poems"]),
        ("tag=prose,%20or%20not%20|%20verse", ["poems"]),
        ("runnable=1", []),
        ("runnable=0&sort=name", ["lines", "loss", "poems"]),
        ("sort=-samples", ["poems", "lines", "loss"]),
    ],
)
def test_filters_and_order(needy: RunningServer, query: str, ids: list[str]):
    found = get(needy, f".json?kind=benchmarks&provider=needy&{query}")
    assert [each["benchmark"]["id"] for each in found["items"]] == ids
    assert found["total_count"] == len(ids)


def test_facets_count_what_the_other_filters_select(needy: RunningServer):
    page = get(needy, "?kind=benchmarks&provider=needy&requires=judge")
    text = text_of(page.partition('class="table-box"')[0])
    assert (
        "category 1 writing 1 requires 3 chat 1 judge 1 prompt_logprobs 1 tag 2 art 1 prose, or not | verse 1 "
        "runnable 1 no, on this computer 1"
    ) in text
    assert 'href="/ui/catalog?kind=benchmarks&amp;provider=needy&amp;requires=judge&amp;runnable=0"' in page


def test_pages_of_rows(needy: RunningServer):
    first, second = get(needy, "?kind=benchmarks&size=50"), get(needy, "?kind=benchmarks&size=50&offset=50")
    assert [len(rows(page)) for page in (first, second)] == [50, 11]
    assert "1–50 of 61" in text_of(first)
    assert 'rel="next" href="/ui/catalog?kind=benchmarks&amp;offset=50&amp;size=50"' in first
    assert 'rel="prev" href="/ui/catalog?kind=benchmarks&amp;size=50"' in second


@pytest.mark.parametrize(
    "query",
    [
        "kind=jobs",
        "kind=collections&provider=core",
        "kind=benchmarks&sort=size",
        "kind=benchmarks&runnable=x",
        "kind=benchmarks&requires=chat|jury",
    ],
)
def test_wrong_parameters_are_refused(needy: RunningServer, query: str):
    answer = call(needy.port, "GET", f"/ui/catalog?{query}")
    assert answer.status == 400
    assert b"<table" not in answer.body


def test_a_benchmark_with_results(viewer: ViewerServer):
    page = get(viewer, "/benchmark?provider=core&id=big_suite")
    assert rows(page)[0].startswith(("alpha-7b", "beta-13b", "gamma-70b", "delta-3b"))
    assert {row.split()[0] for row in rows(page)} >= {"alpha-7b", "beta-13b", "gamma-70b"}
    assert f'href="/ui/jobs/{viewer.jobs.suites["alpha-7b"]}/b/0"' in page
    assert '<a href="/ui/catalog/collection?id=core-v1">' in page
    assert 'href="/ui/run?benchmark=big_suite&amp;provider=core">Run this</a>' in page
    takes = "Takes roughly 24 min 35 s · 720,890 tokens: medians of 3 finished runs on this server"
    assert f"Primary metric match ↑ higher is better Threshold 0.800 {takes} Samples 14,000" in text_of(page)
    found = list(csv.DictReader(io.StringIO(get(viewer, "/benchmark.csv?provider=core&id=big_suite"))))
    assert {row["model"] for row in found} >= {"alpha-7b", "beta-13b"}


def test_a_benchmark_without_results(needy: RunningServer):
    page = text_of(get(needy, "/benchmark?provider=needy&id=lines"))
    assert "No job has results of this benchmark yet." in page
    assert "needs the log-probabilities of prompts" in page
    assert "poems has the same questions" in page
    assert "✕ no: the framework 'garak' is not installed . Run: eval-hub-server adapters" in page


def test_a_benchmark_that_is_another_name(needy: RunningServer):
    page = text_of(get(needy, "/benchmark?provider=needy&id=loss"))
    assert "Other name of lines" in page
    assert "num_fewshot = 5" in page
    assert "Low. 0-1 Good" in page
    assert "perplexity ★ primary – not reported lower" in page


def test_a_provider(needy: RunningServer):
    page = text_of(get(needy, "/provider?id=needy"))
    assert "Needy framework 3 benchmarks" in page
    assert "Hints Start with a small limit" in page
    found = get(needy, "/provider.json?id=needy")
    assert found == needy.get(f"{API}/providers/needy")


def test_a_collection_has_weights_and_what_its_score_is(needy: RunningServer):
    page = get(needy, "/collection?id=mixed")
    text = text_of(page)
    assert "A score where lower is better counts as 1 less the score." in text
    assert "A job passes if it is at least 0.50, the default. 3 benchmarks without a primary metric" in text
    found = rows(page)
    assert found[0].startswith("loss needy 3.00 50 % perplexity ↓ lower is better 0.25")
    assert found[1].startswith("poems needy 1.00 16 %")
    assert found[2].startswith("gone ✕ not offered needy 1.00 16 %")
    assert found[3].startswith("other ✕ not offered missing")
    assert 'href="/ui/leaderboards?collection=mixed"' in page
    assert 'href="/ui/run?collection=mixed"' in page
    data = get(needy, "/collection.json?id=mixed")
    estimates = data.pop("estimates")
    assert data == needy.get(f"{API}/collections/mixed")
    assert "Chance level 0.125 by guessing" in text_of(get(needy, "/benchmark?provider=needy&id=loss"))
    assert estimates == needy.get(f"{API}/estimates?collection_id=mixed")
    assert "No benchmark of it has a finished run on this server yet" in text


def test_a_collection_has_what_its_benchmarks_took(viewer: ViewerServer):
    page = get(viewer, "/collection?id=core-v1")
    assert "The benchmarks take roughly 48 min 57 s one after the other and 720,890 tokens" in text_of(page)
    assert "24 min 35 s · 720,890 tokens n = 3" in rows(page)[0]
    data = get(viewer, "/collection.json?id=core-v1")
    assert data["estimates"] == viewer.get(f"{API}/estimates?collection_id=core-v1")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/benchmark?provider=needy&id=none", 404),
        ("/benchmark?provider=none&id=poems", 404),
        ("/provider?id=none", 404),
        ("/collection?id=none", 404),
        ("/benchmark?provider=needy", 400),
        ("/collection", 400),
    ],
)
def test_unknown_ids(needy: RunningServer, path: str, status: int):
    assert call(needy.port, "GET", f"/ui/catalog{path}").status == status


def test_nothing_matches(needy: RunningServer):
    page = get(needy, "?kind=providers&q=zzz")
    assert 'No provider matches. <a href="/ui/catalog?kind=providers">Show all providers</a>' in page
