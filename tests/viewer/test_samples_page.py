"""The page of the samples of a benchmark over HTTP."""

from __future__ import annotations

import csv
import html
import io
import re
from typing import Any
from urllib.parse import urlencode

from harness.server import API
from harness.viewer_data import ViewerServer
from harness.viewer_data.suite import BIG_COUNT


def url(viewer: ViewerServer, job_id: str, index: int, suffix: str = "", **query: Any) -> str:
    text = urlencode(query, doseq=True)
    return f"/ui/jobs/{job_id}/b/{index}/samples{suffix}" + (f"?{text}" if text else "")


def alpha(viewer: ViewerServer, index: int, suffix: str = "", **query: Any) -> Any:
    return viewer.get(url(viewer, viewer.jobs.suites["alpha-7b"], index, suffix, **query))


def plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def rows(page: str) -> list[str]:
    """The texts of the rows of samples, without markup."""
    table = page.partition('<table class="rows samples"')[2].partition("</table>")[0]
    return [plain(row) for row in re.findall(r"<tr>(.*?)</tr>", table.partition("<tbody>")[2], re.DOTALL)]


def heads(page: str) -> list[str]:
    table = page.partition('<table class="rows samples"')[2].partition("</thead>")[0]
    return [plain(each) for each in re.findall(r"<th .*?</th>", table, re.DOTALL)]


def linked(page: str, rel: str) -> list[str]:
    return [html.unescape(each) for each in re.findall(rf'rel="{rel}" href="([^"]+)"', page)]


def test_the_head_is_of_the_whole_benchmark_whatever_the_filter(viewer: ViewerServer):
    whole, failed = alpha(viewer, 0), alpha(viewer, 0, outcome="failed", group="law")
    for page in (whole, failed):
        overview = plain(page.partition('<div class="overview">')[2].partition("<form")[0])
        counts = re.search(r"([\d,]+) passed · ([\d,]+) failed · 6 errors · 0 unscored", overview)
        assert counts
        assert sum(int(each.replace(",", "")) for each in counts.groups()) == BIG_COUNT - 6
        assert re.search(r"match 0\.\d{3} \[0\.\d{3}, 0\.\d{3}\] n = 13,994 · 6 errors excluded", overview)
    assert f"{BIG_COUNT:,} samples" in plain(whole)
    assert re.search(rf"\d+ of {BIG_COUNT:,} · 1 %", plain(failed))
    assert "big_suite · alpha-7b · outcome = failed and group = law" in failed


def test_rows_show_texts_and_one_column_per_metric(viewer: ViewerServer):
    page = alpha(viewer, 0)
    assert heads(page) == [
        "Outcome", "Id", "Group", "Input", "Expected", "Answer", "Response", "match", "brevity", "Time", "Tokens",
    ]  # fmt: skip
    shown = rows(page)
    assert len(shown) == 100
    assert shown[0].startswith("✓ passed q-00000 law [law] Question 0")
    assert shown[0].endswith("Let me think. 0 + 0 = 0⏎ Answer: 0 1.000 1.000 0.20 s 33")
    assert "backend timeout after 30 s" in shown[7]


def test_pages_of_rows_lead_forwards_and_backwards(viewer: ViewerServer):
    first = alpha(viewer, 0, size=50, sort="-brevity")
    second = viewer.get(linked(first, "next")[0])
    third = viewer.get(linked(second, "next")[0])
    assert "51–100 of 14,000" in second
    assert rows(viewer.get(linked(third, "prev")[0])) == rows(second)
    assert rows(viewer.get(linked(second, "prev")[0])) == rows(first)
    assert linked(first, "prev") == []
    assert len({row for page in (first, second, third) for row in rows(page)}) == 150
    assert linked(alpha(viewer, 3, size=500), "next") == []


def test_filters_select_rows_and_can_be_removed(viewer: ViewerServer):
    job_id = viewer.jobs.suites["alpha-7b"]
    page = alpha(viewer, 0, outcome="error", q="Question 7:")
    assert len(rows(page)) == 1
    removals = [html.unescape(each) for each in re.findall(r'class="chip-link" href="([^"]+)"', page)]
    assert removals == [
        url(viewer, job_id, 0, q="Question 7:"),
        url(viewer, job_id, 0, outcome="error"),
    ]
    assert "No sample matches these filters" in alpha(viewer, 0, q="nowhere", group="law")
    assert len(rows(alpha(viewer, 0, metric=["match:eq:0", "brevity:lt:0.38"]))) == len(
        viewer.get(f"{API}/jobs/{job_id}/benchmarks/0/samples?metric=match:eq:0&metric=brevity:lt:0.38")[
            "items"
        ]
    )


def test_facets_count_samples_and_select_them(viewer: ViewerServer):
    page = alpha(viewer, 0, outcome="passed")
    assert re.search(r'group=law&amp;outcome=passed">law <span class="count">[\d,]+</span>', page)
    assert re.search(r'outcome=error">error <span class="count">6</span>', page)


def test_metadata_with_few_values_is_a_facet(viewer: ViewerServer):
    job_id = viewer.jobs.suites["alpha-7b"]
    page = alpha(viewer, 0, metadata=["topic:law", "difficulty:2"], outcome="failed")
    assert "outcome = failed and topic = law and difficulty = 2" in page
    matching = viewer.get(
        f"{API}/jobs/{job_id}/benchmarks/0/samples?outcome=failed&metadata=topic:law&metadata=difficulty:2"
    )["total_count"]
    assert f"{matching} of {BIG_COUNT:,}" in plain(page)
    chosen = html.unescape(page)
    assert (
        f'href="{url(viewer, job_id, 0, metadata=["difficulty:2", "topic:code"], outcome="failed")}">code <'
        in chosen
    ), "another value of a key replaces the chosen one"
    refused = viewer.call("GET", url(viewer, job_id, 0, metadata="colour:red"))
    assert refused.status == 400
    assert "topic:" in refused.body
    errors = alpha(viewer, 0, error="backend timeout after 30 s")
    assert len(rows(errors)) == 6
    walk = viewer.get(
        html.unescape(re.findall(r'<th scope="row" class="short"><a href="([^"]+)"', errors)[1])
    )
    assert "2 of 6" in plain(walk)


def test_samples_without_a_value_are_selected_from_the_menu(viewer: ViewerServer):
    job_id = viewer.jobs.suites["alpha-7b"]
    page = html.unescape(alpha(viewer, 0, error="backend timeout after 30 s"))
    without = url(viewer, job_id, 0, missing="error")
    assert f'href="{without}">(none) <' in page, "it replaces the chosen value"
    selected = viewer.get(without)
    assert f"{BIG_COUNT - 6:,} of {BIG_COUNT:,}" in plain(selected)
    assert "· no error" in selected
    assert f'href="{url(viewer, job_id, 0, error="backend timeout after 30 s")}">' in html.unescape(selected)
    walk = viewer.get(linked(selected, "next")[0])
    assert "101–200 of 13,994" in plain(walk)
    refused = viewer.call("GET", url(viewer, job_id, 0, missing="colour"))
    assert (refused.status, "group|tag|error_kind|error" in refused.body) == (400, True)


def test_columns_are_chosen_and_constant_ones_are_folded(viewer: ViewerServer):
    failed = alpha(viewer, 0, outcome="failed", group="law")
    assert "match" not in heads(failed)
    assert "Group law · match 0.000" in plain(failed.partition("Same for all 100 rows:")[2])
    chosen = alpha(viewer, 0, outcome="failed", group="law", cols=["group", "metadata.topic", "tags"])
    assert heads(chosen) == ["Outcome", "Id", "Group", "Tags", "topic"]
    assert {row.split()[3] for row in rows(chosen)} == {"law"}
    assert {row.split()[-1] for row in rows(chosen)} == {"law"}
    refused = viewer.call("GET", url(viewer, viewer.jobs.suites["alpha-7b"], 0, cols="colour"))
    assert refused.status == 400
    assert "<table" not in refused.body


def test_repeats_are_one_row_until_they_are_expanded(viewer: ViewerServer):
    page = alpha(viewer, 1)
    assert "80 samples, 400 repeats" in plain(page)
    assert len(rows(page)) == 80
    assert all(re.match(r"[✓✕] [0-5]/5 passed sum-\d{3}", row) for row in rows(page))
    first = rows(page)[0]
    passed = int(first[2])
    assert first.split()[-1] == f"{passed / 5:.3f}" or "Same for all" in page
    each = alpha(viewer, 1, repeats="each")
    assert len(rows(each)) == 100
    assert "Repeat" in heads(each)
    assert "400 samples" not in each
    failed = alpha(viewer, 1, outcome="failed")
    assert all(int(row[2]) < 5 for row in rows(failed))


def test_scores_of_groups_have_intervals(viewer: ViewerServer):
    table = alpha(viewer, 0).partition("Score by group")[2]
    assert re.search(r"law 0\.\d{2,3} \[0\.\d+, 0\.\d+\] n = 2,7\d\d", plain(table))
    clusters = alpha(viewer, 5).partition('<details class="parts"')[2]
    assert "they are sampled clusters" in clusters
    assert "<table" not in clusters


def test_scores_are_divided_by_keys_of_metadata(viewer: ViewerServer):
    page = alpha(viewer, 0, by="difficulty", outcome="failed")
    parts = page.partition('<details class="parts" open>')[2]
    assert re.search(r"1 0\.\d{3} \[0\.\d+, 0\.\d+\] n = 4,66\d.* 2 0\.\d{3}.* 3 0\.\d{3}", plain(parts))
    assert url(viewer, viewer.jobs.suites["alpha-7b"], 0, metadata="difficulty:1") in html.unescape(parts)
    data = alpha(viewer, 0, ".json", by="topic", size=50)["parts"]
    assert (data["by"], [each["group"] for each in data["scores"]]) == (
        "topic",
        ["arithmetic", "code", "history", "law", "medicine"],
    )
    assert "Score by key" in alpha(viewer, 2), "without groups a key must be chosen"
    assert viewer.call("GET", url(viewer, viewer.jobs.suites["alpha-7b"], 0, by="colour")).status == 400


def test_benchmarks_without_samples_say_why(viewer: ViewerServer):
    none = viewer.get(url(viewer, viewer.jobs.suites["gamma-70b"], 3))
    assert "has no samples to show" in none
    assert "EVALHUB_SAMPLES_PATH" in none
    waiting = viewer.get(url(viewer, viewer.jobs.running, 2))
    assert "This page shows them as soon as they are stored" in waiting
    assert 'data-refresh="3"' in waiting
    assert viewer.call("GET", url(viewer, viewer.jobs.running, 9)).status == 404
    assert viewer.call("GET", url(viewer, "no-such-job", 0)).status == 404


def test_hostile_samples_are_neutralised(viewer: ViewerServer):
    page = viewer.get(url(viewer, viewer.jobs.hostile, 0))
    assert "\u202e" not in page
    assert "<script>alert" not in page
    assert "2 lines of the adapter's file are no samples" in page.replace("&#39;", "'")
    assert "sample_id contains a NUL character" in page
    assert "id=..&amp;" not in page
    assert re.search(r'/b/0/sample\?id=\.\."', page)


def test_other_formats_have_the_same_rows(viewer: ViewerServer):
    data = alpha(viewer, 0, ".json", outcome="error")
    assert data["total_count"] == 6
    assert [each["outcome"] for each in data["items"]] == ["error"] * 6
    assert data["score"]["n"] == BIG_COUNT - 6
    table = list(csv.DictReader(io.StringIO(alpha(viewer, 0, ".csv", outcome="failed"))))
    assert {each["outcome"] for each in table} == {"failed"}
    assert len(table) > 100, "all that the filter selects, not one page"
    assert alpha(viewer, 0, ".md", outcome="error").startswith("| sample\\_id | epoch | outcome |")
