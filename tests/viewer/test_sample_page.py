"""The page of one sample over HTTP."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import urlencode

import pytest

from harness.viewer_data import ViewerServer
from harness.viewer_data.hostile import HOSTILE_TEXTS, storable


def url(job_id: str, index: int, suffix: str = "", **query: Any) -> str:
    return f"/ui/jobs/{job_id}/b/{index}/sample{suffix}?{urlencode(query, doseq=True)}"


def alpha(viewer: ViewerServer, index: int, suffix: str = "", **query: Any) -> Any:
    return viewer.get(url(viewer.jobs.suites["alpha-7b"], index, suffix, **query))


def plain(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def strip(page: str) -> str:
    return plain(page.partition('<div class="strip">')[2].partition("</div>")[0])


def linked(page: str, attribute: str) -> list[str]:
    """The addresses of links with an attribute."""
    tags = re.findall(r"<a [^>]+>", page.partition("<main")[2])
    return [html.unescape(re.findall(r'href="([^"]+)"', tag)[0]) for tag in tags if attribute in tag]


def panes(page: str) -> list[str]:
    """The markup of the texts of both panes."""
    both = page.partition('<div class="panes">')[2].partition("</div>")[0]
    return re.findall(r'<pre class="prose"[^>]*><bdi dir="auto">(.*?)</bdi>', both, re.DOTALL)


def test_the_strip_walks_through_the_samples_of_the_filter(viewer: ViewerServer):
    page = alpha(viewer, 0, id="q-00010", outcome="failed")
    assert strip(page).startswith("← 2 of 1,125 → next failed ✕ failed match 0.000 brevity 0.900 answer 110")
    (previous,), (following,) = linked(page, 'rel="prev"'), linked(page, 'rel="next"')
    assert "id=q-00009&outcome=failed" in previous
    assert "3 of 1,125" in strip(viewer.get(following))
    assert linked(page, 'data-shortcut="u"')[0].endswith("/samples?outcome=failed")
    outside = strip(alpha(viewer, 0, id="q-00000", outcome="failed"))
    assert "not in this filter" in outside
    assert "no sample matches" in strip(alpha(viewer, 0, id="q-00000", q="nowhere at all"))


def test_keys_lead_to_the_next_error_and_the_next_failed_sample(viewer: ViewerServer):
    page = alpha(viewer, 0, id="q-00000")
    assert "id=q-00007" in linked(page, 'data-shortcut="e"')[0]
    assert "id=q-00009" in linked(page, 'data-shortcut="m"')[0]
    assert linked(page, 'rel="prev"') == []
    last = alpha(viewer, 0, id="q-13999")
    assert linked(last, 'rel="next"') == []
    assert linked(last, 'data-shortcut="m"') == []


def test_differences_of_words_and_characters(viewer: ViewerServer):
    expected, response = panes(alpha(viewer, 3, id="fix-003"))
    assert "return <del>max</del>(xs)" in expected
    assert "return <ins>min</ins>(xs)" in response
    expected, _ = panes(alpha(viewer, 3, id="fix-003", diff="chars"))
    assert "m<del>ax</del>(xs)" in expected
    assert "<del>" not in panes(alpha(viewer, 3, id="fix-003", diff="off"))[0]
    assert (
        viewer.call("GET", url(viewer.jobs.suites["alpha-7b"], 3, id="fix-003", diff="lines")).status == 400
    )
    assert "Both are equal." in alpha(viewer, 1, id="sum-003", diff="words", ws="ignore")


def test_texts_that_are_not_alike_are_not_compared_by_default(viewer: ViewerServer):
    page = alpha(viewer, 0, id="q-00010")
    assert panes(page) == [
        "111",
        'Let me think. 70 + 41 = 110\nAnswer: <mark class="answer">110</mark>',
    ]
    assert "<ins>" in panes(alpha(viewer, 0, id="q-00010", diff="words"))[1]


def test_repeats_are_tabs(viewer: ViewerServer):
    page = alpha(viewer, 1, id="sum-003", epoch=2)
    tabs = page.partition('<nav class="tabs"')[2].partition("</nav>")[0]
    assert re.match(r".*[0-5]/5 passed 1 [✓✕] \w+ 2 [✓✕] \w+ 3 [✓✕]", plain(tabs))
    assert re.search(r'epoch=2&amp;id=sum-003" aria-current="page"', tabs)
    assert "4 of 80" in strip(page)
    each = alpha(viewer, 1, id="sum-003", epoch=2, repeats="each")
    assert "18 of 400" in strip(each)
    assert "4 of 80" in strip(alpha(viewer, 1, id="sum-003", epoch=2, epochs=[2], repeats="each"))
    assert viewer.call("GET", url(viewer.jobs.suites["alpha-7b"], 1, id="sum-003", epochs="x")).status == 400


def test_the_same_sample_in_other_jobs(viewer: ViewerServer):
    page = plain(alpha(viewer, 0, id="q-00010"))
    assert re.search(r"Passed in \d of 3 jobs", page)
    others = alpha(viewer, 0, ".json", id="q-00010")["other_jobs"]
    assert {each["model"] for each in others} == {"beta-13b", "gamma-70b"}
    assert all(each["same_content"] for each in others)
    assert all("/ui/compare?base=" in each["compare_url"] for each in others)


def test_messages_explanation_and_metadata(viewer: ViewerServer):
    page = alpha(viewer, 2, id="law/0007")
    assert "Scorer: The letter after 'the answer is' was compared" in plain(page)
    messages = plain(page.partition('id="messages"')[2].partition("</section>")[0])
    assert "system You are a careful lawyer. Answer with one letter. user Case 7." in messages
    assert "court court 7 year 1997" in plain(page)


def test_a_failed_sample_shows_its_error_first(viewer: ViewerServer):
    page = plain(alpha(viewer, 0, id="q-00007"))
    assert page.index("Error of the infrastructure") < page.index("Expected")
    assert "backend timeout after 30 s" in page


def test_texts_can_be_had_exactly_as_they_are(viewer: ViewerServer):
    bidi = storable(HOSTILE_TEXTS["bidi"])[:200]
    answer = viewer.call("GET", url(viewer.jobs.hostile, 0, "/text", id=bidi, member="target"))
    assert (answer.status, answer.body) == (200, HOSTILE_TEXTS["bidi"])
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-disposition"].startswith("attachment; ")
    assert answer.headers["content-security-policy"] == "sandbox"
    structure = viewer.call("GET", url(viewer.jobs.hostile, 0, "/text", id="deep", member="output"))
    assert structure.body == '{\n  "a": 1\n}'
    for missing in ({"id": "deep", "member": "nothing"}, {"id": "nothing", "member": "output"}):
        assert viewer.call("GET", url(viewer.jobs.hostile, 0, "/text", **missing)).status == 404


def test_long_texts_are_cut_with_a_way_to_the_whole(viewer: ViewerServer):
    page = viewer.get(url(viewer.jobs.hostile, 0, id="stack"))
    assert len(page) < 400_000
    assert "934,464 more characters" in plain(page)
    assert "Download all 100,001 characters" in plain(page)
    assert len(viewer.get(url(viewer.jobs.hostile, 0, "/text", id="stack", member="output"))) == 1_000_000


@pytest.mark.parametrize("name", ["closing tags", "bidi", "tag characters", "escape", "path"])
def test_hostile_samples_are_neutralised(viewer: ViewerServer, name: str):
    page = viewer.get(url(viewer.jobs.hostile, 0, id=storable(HOSTILE_TEXTS[name])[:200]))
    assert not any(each in page for each in ("\u202e", "\x1b", "\U000e0068", "<svg onload"))
    assert "of 27" in strip(page)


def test_samples_that_do_not_exist(viewer: ViewerServer):
    job_id = viewer.jobs.suites["alpha-7b"]
    assert viewer.call("GET", url(job_id, 0, id="nothing")).status == 404
    assert viewer.call("GET", url(job_id, 0, id="q-00000", epoch=3)).status == 404
    assert viewer.call("GET", url(job_id, 9, id="q-00000")).status == 404
    assert viewer.call("GET", f"/ui/jobs/{job_id}/b/0/sample").status == 400
    assert viewer.call("GET", url(viewer.jobs.running, 2, id="q")).status == 404


def test_a_sample_needs_two_reads_of_the_database(viewer: ViewerServer):
    before = viewer.reads()
    alpha(viewer, 0, id="q-00011", q="Question")
    assert viewer.reads() - before <= 2
