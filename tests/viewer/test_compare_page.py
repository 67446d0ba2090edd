"""The page that compares jobs, over HTTP."""

from __future__ import annotations

import csv
import html
import io
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from harness.running import call
from harness.server import API
from harness.viewer_data import ViewerServer
from harness.viewer_data.suite import BIG_COUNT


def compare(viewer: ViewerServer, *jobs: str, suffix: str = "", **query: Any) -> str:
    """The page with jobs, which are models of the suite, other jobs of the data, or ids."""
    known = {**viewer.jobs.suites, **viewer.jobs._asdict()}
    base, *others = (known.get(each, each) for each in jobs)
    text = urlencode({"base": base, "with": others, **query}, doseq=True)
    answer = call(viewer.port, "GET", f"/ui/compare{suffix}?{text}")
    assert answer.status == 200, answer
    return answer.body.decode() if isinstance(answer.body, bytes) else answer.body


def text_of(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def rows(page: str) -> list[str]:
    """The texts of the rows of samples."""
    table = page.partition('<table class="rows compared"')[2].partition("</table>")[0]
    return [text_of(row) for row in table.partition("<tbody>")[2].split("</tr>")[:-1]]


def api(viewer: ViewerServer, baseline: str, candidate: str) -> dict[str, Any]:
    text = urlencode({"baseline": viewer.jobs.suites[baseline], "candidate": viewer.jobs.suites[candidate]})
    (found,) = viewer.get(f"{API}/comparisons?{text}")["candidates"]
    return found["comparison"]


def test_the_head_is_what_the_api_returns(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b")
    comparison = api(viewer, "alpha-7b", "beta-13b")
    big = next(each for each in comparison["benchmarks"] if each["name"] == "core/big_suite")
    text = text_of(page)
    assert comparison["wording"] in text
    assert big["wording"] in text
    assert "McNemar mid-p and score, p <0.001; over all benchmarks (Holm) p <0.001." in text
    assert f"{BIG_COUNT - 6:,} pairs" in text
    assert f"{big['flips']['broken']:,} broken" in text
    assert "model.parameters.temperature 0.0 0.7 all" in text
    assert "worse on core/big_suite, core/law_qa" in text


def test_a_filter_changes_rows_and_never_the_head(viewer: ViewerServer):
    default = compare(viewer, "alpha-7b", "beta-13b")
    failed = compare(viewer, "alpha-7b", "beta-13b", show="both_failed", size=50)
    (head,) = re.findall(r'<p class="headline">.*?</p>', default, re.DOTALL)
    assert head in failed
    assert {row.split()[2] for row in rows(default)} == {"broken"}
    assert all("✕ both failed" in row for row in rows(failed))
    assert len(rows(failed)) == 50


def test_rows_are_filtered_by_group_and_text(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", benchmark="core/big_suite")
    (head,) = re.findall(r'<p class="headline">.*?</p>', page, re.DOTALL)
    groups = {
        name: (html.unescape(url), int(count.replace(",", "")))
        for url, name, count in re.findall(
            r'<a href="([^"]+)">(\w+) <span class="count">([0-9,]+)</span>', page
        )
        if "group=" in url
    }
    assert len(groups) == 5
    (total,) = re.findall(r"[0-9] of ([0-9,]+)</span>", page)
    assert sum(count for _, count in groups.values()) == int(total.replace(",", ""))
    url, count = groups["law"]
    law = call(viewer.port, "GET", url).body.decode()
    assert head in law
    assert f"of {count:,}</span>" in law
    assert all("[law]" in row for row in rows(law))
    assert re.findall(r'aria-label="Remove the filter group law"', law)
    assert len(set(re.findall(r'<a href="[^"]*group=\w+&amp;with[^"]*">\w+ <span', law))) == 5
    (row, *_) = rows(law)
    found = call(viewer.port, "GET", f"{url}&q={row.split()[0].upper()}").body.decode()
    assert [each.split()[0] for each in rows(found)] == [row.split()[0]]
    assert head in found
    nothing = call(viewer.port, "GET", f"{url}&q=no-such-text").body.decode()
    assert head in nothing
    assert "No sample of this kind matches the filter." in text_of(nothing)


def test_differences_by_group_are_adjusted_over_the_groups(viewer: ViewerServer):
    query = {"benchmark": "core/big_suite", "show": "broken"}
    page = compare(viewer, "alpha-7b", "beta-13b", **query)
    groups = page.partition("<summary>Differences by group")[2].partition("</details>")[0]
    assert "Exploratory: p values and intervals are adjusted by Holm" in text_of(groups)
    assert "Differences of B from A by group" in groups
    assert "<svg" in groups
    data: Any = compare(viewer, "alpha-7b", "beta-13b", suffix=".json", **query)
    (found,) = data["groups"].values()
    assert [each["name"] for each in found] == sorted(each["name"] for each in found)
    assert sum(each["n_matched"] for each in found) == BIG_COUNT - 6
    assert all(each["paired"] and each["difference"]["estimate"] < 0 for each in found)
    smallest = min(each["difference"]["p"] for each in found)
    least = min(each["difference"]["p_adjusted"] for each in found)
    assert least == pytest.approx(5 * smallest)
    whole = data["comparison"]["candidates"][0]["comparison"]["benchmarks"]
    (big,) = [each for each in whole if each["name"] == "core/big_suite"]
    broken = sum(each["flips"]["broken"] for each in found)
    assert broken == big["flips"]["broken"]
    (law,) = re.findall(r'href="([^"]+group=law[^"]*)"', groups)
    assert all("[law]" in row for row in rows(call(viewer.port, "GET", html.unescape(law)).body.decode()))


def test_rows_and_differences_by_a_key_of_metadata(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", benchmark="core/big_suite", by="difficulty")
    groups = page.partition("Differences of B by difficulty")[2].partition("</details>")[0]
    data: Any = compare(
        viewer, "alpha-7b", "beta-13b", suffix=".json", benchmark="core/big_suite", by="difficulty"
    )
    (found,) = data["groups"].values()
    assert [each["name"] for each in found] == ["1", "2", "3"]
    text = urlencode(
        {
            "baseline": viewer.jobs.suites["alpha-7b"],
            "candidate": viewer.jobs.suites["beta-13b"],
            "benchmark": "core/big_suite",
            "by": "difficulty",
        }
    )
    (candidate,) = viewer.get(f"{API}/comparisons/groups?{text}")["candidates"]
    assert candidate["groups"] == found
    (link,) = re.findall(r'href="([^"]+metadata=difficulty%3A2[^"]*)"', groups)
    law = call(
        viewer.port, "GET", html.unescape(link).partition("#")[0] + "&metadata=topic:law"
    ).body.decode()
    assert re.findall(r'aria-label="Remove the filter metadata (.*?)"', law) == ["difficulty:2", "topic:law"]
    assert all("[law]" in row for row in rows(law))
    (head,) = re.findall(r'<p class="headline">.*?</p>', page, re.DOTALL)
    assert head in law
    (first, *_) = rows(law)
    url, shown = sample_page(viewer, law, first.split()[0])
    assert "metadata=topic%3Alaw" in url
    assert re.search(r"1 of [0-9,]+", text_of(shown))


def test_samples_can_be_sorted(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", benchmark="core/toxicity", sort="-delta", show="all")
    data: Any = compare(
        viewer, "alpha-7b", "beta-13b", suffix=".json", benchmark="core/toxicity", sort="-delta", show="all"
    )
    sizes = [abs(each["differences"][0]) for each in data["samples"]["items"]]
    assert sizes == sorted(sizes, reverse=True)
    assert 'aria-sort="descending"' in page
    ids = [
        row.split()[0] for row in rows(compare(viewer, "alpha-7b", "beta-13b", sort="sample_id", show="all"))
    ]
    assert ids == sorted(ids)


def test_verdicts_that_need_attention_come_first(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b")
    table = page.partition('aria-label="Benchmarks of B"')[2].partition("</table>")[0]
    verdicts = re.findall(r"(worse|no difference shown|better)</td>", text_of_cells(table))
    assert verdicts == [
        "no difference shown",
        "worse",
        "worse",
        *["no difference shown"] * 2,
        "better",
        "better",
    ]


def text_of_cells(markup: str) -> str:
    return re.sub(r"\s+</td>", "</td>", markup)


def test_a_margin_is_accepted_and_shown(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", margin="0.03")
    assert "≥ not worse" in page
    assert "worse than the margin" in page
    assert 'class="margin"' in page
    assert re.findall(r'aria-label="Remove the filter margin 0.03"', page)


def test_incomplete_benchmarks_have_the_reason_and_the_score_that_there_is(viewer: ViewerServer):
    text = text_of(compare(viewer, "alpha-7b", "gamma-70b", benchmark="core/code_fix"))
    assert "Incomplete on 1 benchmark : no verdict on it, and none on the whole" in text
    assert "core/code_fix: incomplete: the candidate has no result" in text
    assert "A 0.44 [0.38, 0.50] → B –" in text
    assert "a weaker test" not in text


def test_jobs_are_chosen_with_a_link_to_the_list(viewer: ViewerServer):
    page = call(viewer.port, "GET", "/ui/compare").body.decode()
    assert "The newest 30 jobs with results. Others can be selected in the" in text_of(page)


def test_what_is_excluded_is_named(viewer: ViewerServer):
    text = text_of(compare(viewer, "alpha-7b", "beta-13b", benchmark="core/big_suite"))
    assert "A: n = 13,994 · 6 errors excluded. B: n = 13,994 · 6 errors excluded." in text
    assert "With the 6 failed or missing samples at the scores that are worst and best for B, Δ is" in text
    assert "13,994 of 14,000" in text


def test_a_job_can_become_the_baseline_or_leave(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", "gamma-70b")
    alpha, beta, gamma = (viewer.jobs.suites[each] for each in ("alpha-7b", "beta-13b", "gamma-70b"))
    others = "&amp;with=".join(sorted((alpha, gamma)))
    assert f'href="/ui/compare?base={beta}&amp;with={others}">make it the baseline' in page
    assert f'href="/ui/compare?base={alpha}&amp;with={gamma}" aria-label="Without ' in page
    assert "Without B" not in compare(viewer, "alpha-7b", "beta-13b")


@pytest.mark.parametrize(
    "query",
    [{"by": "x"}, {"metadata": "x:1"}, {"sort": "x"}, {"margin": "-1"}, {"weights": "x"}, {"exact": "maybe"}],
)
def test_wrong_options_are_refused(viewer: ViewerServer, query: dict[str, str]):
    jobs = {"base": viewer.jobs.suites["alpha-7b"], "with": viewer.jobs.suites["beta-13b"]}
    answer = call(viewer.port, "GET", f"/ui/compare?{urlencode({**jobs, **query})}")
    assert answer.status == 400
    assert f'id="fault-{next(iter(query))}"' in answer.body.decode()


@pytest.mark.parametrize("query", ["offset=nan", "size=7", "sort=x", "margin=0", "show=x", "colour=x"])
def test_wrong_parameters_are_refused_before_jobs_are_chosen(viewer: ViewerServer, query: str):
    assert call(viewer.port, "GET", f"/ui/compare?{query}").status == 400


def test_groups_that_are_clusters_have_no_differences(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", benchmark="core/reading")
    assert "passage-" in page
    assert "Differences by group" not in page


def test_the_cells_of_the_table_of_flips_lead_to_their_samples(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", benchmark="core/law_qa")
    (table,) = re.findall(r'<table class="flips">.*?</table>', page, re.DOTALL)
    found = re.findall(r'href="([^"]+)">([0-9,]+) (.*?)</a>', table)
    assert [label for _, _, label in found] == ["both passed", "broken", "fixed", "both failed"]
    assert sum(int(number.replace(",", "")) for _, number, _ in found) == 1200
    for url, number, label in found:
        shown = call(viewer.port, "GET", html.unescape(url).partition("#")[0]).body.decode()
        assert f"of {number}</span>" in shown
        assert label in rows(shown)[0]


def test_pages_of_samples_are_linked(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", show="broken", size=50)
    (following,) = re.findall(r'rel="next" href="([^"]+)"', page)
    second = call(viewer.port, "GET", html.unescape(following)).body.decode()
    assert "51\u2013100 of" in second
    assert not set(rows(page)) & set(rows(second))


def test_responses_show_the_words_that_changed(viewer: ViewerServer):
    query = {"benchmark": "core/law_qa", "show": "broken"}
    page = compare(viewer, "alpha-7b", "beta-13b", **query)
    assert re.search(r"<del>[A-D]</del><ins>[A-D]</ins>", page)
    assert "<del>" not in compare(viewer, "alpha-7b", "beta-13b", diff="off", **query)


def test_repeats_and_several_candidates_have_columns(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", "gamma-70b", benchmark="core/arithmetic", show="all")
    assert len(rows(page)) == 80
    assert re.search(r"[✓✕] \d/5 passed .* [✓✕] \d/5 passed .* [✓✕] \d/5 passed", rows(page)[0])
    assert "C against A" in page
    assert "80 paired items" in page


def test_what_changed_for_scores_other_than_right_and_wrong(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", benchmark="core/toxicity", show="fixed")
    assert '<table class="flips">' not in page
    assert "lower is better" in page
    assert all("▲ fixed" in row for row in rows(page))


def test_jobs_of_the_list_are_redirected_to_the_canonical_address(viewer: ViewerServer):
    alpha, beta = viewer.jobs.suites["alpha-7b"], viewer.jobs.suites["beta-13b"]
    answer = call(viewer.port, "GET", f"/ui/compare?job={beta}&job={alpha}&metric=match")
    assert (answer.status, answer.headers["location"]) == (
        303,
        f"/ui/compare?base={alpha}&metric=match&with={beta}",
    )
    answer = call(viewer.port, "GET", f"/ui/compare?base={beta}&job={alpha}&job={beta}")
    assert answer.headers["location"] == f"/ui/compare?base={beta}&with={alpha}"
    (alone,) = [call(viewer.port, "GET", f"/ui/compare?job={alpha}").headers["location"]]
    assert alone == f"/ui/compare?base={alpha}"


def test_jobs_are_chosen_in_a_form(viewer: ViewerServer):
    page = call(viewer.port, "GET", "/ui/compare").body.decode()
    assert page.count('<input type="radio" name="base"') == 30
    alpha, beta = viewer.jobs.suites["alpha-7b"], viewer.jobs.suites["beta-13b"]
    page = call(viewer.port, "GET", f"/ui/compare?base={alpha}&with={alpha}").body.decode()
    assert "radio" not in page
    assert f'<input type="hidden" name="base" value="{alpha}">' in page
    assert f'<input type="checkbox" name="with" value="{beta}"' in page
    assert f'name="with" value="{alpha}"' not in page
    page = call(viewer.port, "GET", f"/ui/compare?base={viewer.jobs.hostile}").body.decode()
    assert f'<input type="checkbox" name="with" value="{viewer.jobs.hostile_again}"' in page


def test_a_deleted_job_is_named_in_its_column(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "no-such-job", "beta-13b")
    assert "The evaluation job resource &#39;no-such-job&#39; was not found." in page
    assert "C against A" in page
    alone = compare(viewer, "alpha-7b", "no-such-job")
    assert "No job is left to compare with." in alone


def test_without_samples_the_difference_is_unpaired_and_the_reason_is_given(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "running", benchmark="core/big_suite")
    assert "unpaired: a weaker test" in page
    assert "has no samples to show" in page
    assert rows(page) == []


def test_without_common_benchmarks_nothing_is_compared(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "hostile")
    assert "has no such benchmark" in text_of(page)
    assert rows(page) == []


def sample_page(viewer: ViewerServer, page: str, sample_id: str) -> tuple[str, str]:
    """(address, page) of a sample that the table links to."""
    table = page.partition('<table class="rows compared"')[2]
    (url,) = re.findall(
        rf'<th scope="row"><a href="([^"]+)"><bdi dir="auto">{re.escape(sample_id)}</bdi>', table
    )
    answer = call(viewer.port, "GET", html.unescape(url))
    assert answer.status == 200, answer
    return html.unescape(url), answer.body.decode()


def test_a_sample_is_shown_side_by_side(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", benchmark="core/law_qa", show="broken")
    first, second, third = (row.split()[0] for row in rows(page)[:3])
    url, shown = sample_page(viewer, page, second)
    (total,) = re.findall(r"[0-9] of ([0-9,]+)</span>", page)
    text = text_of(shown)
    assert f"2 of {total}" in text
    assert "✓ passed" in text
    assert "✕ failed · ▼ broken" in text
    assert re.search(r"<del>[A-D]</del><ins>[A-D]</ins>", shown)
    assert "<del>" not in call(viewer.port, "GET", f"{url}&diff=off").body.decode()
    for rel, sample_id in (("prev", first), ("next", third)):
        (neighbour,) = re.findall(rf'rel="{rel}" href="([^"]+)"', shown)
        assert f"<h1>{sample_id} " in call(viewer.port, "GET", html.unescape(neighbour)).body.decode()
    outside = text_of(call(viewer.port, "GET", url.replace("show=broken", "show=fixed")).body.decode())
    assert "not in this filter" in outside
    (back,) = re.findall(r'href="([^"#]+)#samples" data-shortcut="u"', shown)
    assert rows(call(viewer.port, "GET", html.unescape(back)).body.decode()) == rows(page)
    data = viewer.get(url.replace("/sample?", "/sample.json?"))
    assert [each["run"]["letter"] for each in data["runs"]] == ["A", "B"]
    assert [each["sample"]["outcome"] for each in data["runs"]] == ["passed", "failed"]
    assert (data["position"], data["runs"][1]["change"], data["runs"][1]["score"]) == (2, "broken", 0.0)


def test_repeats_of_a_sample_are_tabs(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", "no-such-job", benchmark="core/arithmetic", show="all")
    url, shown = sample_page(viewer, page, "sum-003")
    (tabs,) = re.findall(r'aria-label="Repeats">(.*?)</nav>', shown, re.DOTALL)
    assert text_of(tabs) == "1 2 3 4 5"
    assert tabs.count('aria-current="page"') == 1
    assert "no-such-job" in text_of(shown)
    second = viewer.get(f"{url.replace('/sample?', '/sample.json?')}&epoch=1")
    assert [each["sample"]["epoch"] for each in second["runs"]] == [1, 1]
    assert call(viewer.port, "GET", f"{url}&epoch=9").status == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"id": ""}, 400),
        ({"benchmark": ""}, 400),
        ({"epoch": "x"}, 400),
        ({"show": "regressed"}, 400),
        ({"id": "no-such-sample"}, 404),
        ({"with": "no-such-job"}, 404),
        ({"with": ""}, 400),
    ],
)
def test_wrong_parameters_of_a_compared_sample_are_refused(
    viewer: ViewerServer, query: dict[str, Any], status: int
):
    suites = viewer.jobs.suites
    query = {
        "base": suites["alpha-7b"],
        "with": suites["beta-13b"],
        "benchmark": "core/big_suite",
        "id": "q-00017",
        **query,
    }
    answer = call(viewer.port, "GET", f"/ui/compare/sample?{urlencode(query)}")
    assert (answer.status, b"<pre" in answer.body) == (status, False)


def test_hostile_samples_are_neutralised(viewer: ViewerServer):
    page = compare(viewer, "hostile", "hostile_again", show="all", metric="accuracy")
    assert len(rows(page)) > 20
    assert "\u202e" not in page
    assert "<script>alert" not in page
    (url, *_) = re.findall(r'<th scope="row"><a href="([^"]+/sample[^"]+)"', page)
    shown = call(viewer.port, "GET", html.unescape(url))
    assert shown.status == 200
    assert b"<script>alert" not in shown.body
    assert "\u202e" not in shown.body.decode()


def test_another_metric_can_be_chosen(viewer: ViewerServer):
    page = compare(viewer, "alpha-7b", "beta-13b", benchmark="core/big_suite")
    (url,) = re.findall(r'href="([^"]+metric=brevity[^"]*)"', page)
    text = text_of(call(viewer.port, "GET", html.unescape(url)).body.decode())
    assert "0 broken · 0 fixed · 13,994 unchanged" in text
    assert "No answer changed." in text


def test_other_formats_have_the_same_rows(viewer: ViewerServer):
    query = {"benchmark": "core/law_qa", "show": "broken"}
    page = compare(viewer, "alpha-7b", "beta-13b", **query)
    found = list(csv.reader(io.StringIO(compare(viewer, "alpha-7b", "beta-13b", suffix=".csv", **query))))
    assert found[0][:4] == ["sample_id", "change_B", "input", "expected"]
    assert [row[0] for row in found[1:]] == [row.split()[0] for row in rows(page)]
    assert found[1][1] == "broken"
    data: Any = compare(viewer, "alpha-7b", "beta-13b", suffix=".json", **query)
    assert data["samples"]["items"][0]["baseline"]["sample"]["outcome"] == "passed"
    assert data["comparison"]["candidates"][0]["comparison"]["wording"] in page


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"show": "regressed"}, 400),
        ({"metric": "f2"}, 400),
        ({"part": "live"}, 400),
        ({"q": "x" * 1001}, 400),
        ({"benchmark": "core/none"}, 404),
        ({"base": "no-such-job"}, 404),
        ({"with": [str(number) for number in range(8)]}, 400),
    ],
)
def test_wrong_parameters_are_refused(viewer: ViewerServer, query: dict[str, Any], status: int):
    alpha = viewer.jobs.suites["alpha-7b"]
    query = {"base": alpha, "with": viewer.jobs.suites["beta-13b"], **query}
    answer = call(viewer.port, "GET", f"/ui/compare?{urlencode(query, doseq=True)}")
    assert answer.status == status
    assert b"<table" not in answer.body


def test_a_page_follows_a_baseline_that_changes(viewer: ViewerServer):
    """It is shared and not sent again while jobs are the same, and a baseline is none."""
    url = f"/ui/compare?base=name:followed&with={viewer.jobs.suites['gamma-70b']}"
    assert call(viewer.port, "GET", url).status == 404
    tag = ""
    for model in ("alpha-7b", "beta-13b"):
        viewer.call("PUT", f"{API}/baselines/followed", {"job_id": viewer.jobs.suites[model]})
        answer = call(viewer.port, "GET", url, None, {"If-None-Match": tag} if tag else {})
        assert answer.status == 200
        assert f"<title>gamma-70b against {model} · Compare" in answer.body.decode()
        tag = answer.headers["etag"]
    assert call(viewer.port, "DELETE", f"{API}/baselines/followed").status == 204
    assert call(viewer.port, "GET", url, None, {"If-None-Match": tag}).status == 404
