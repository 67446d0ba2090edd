"""The page of a log over HTTP."""

from __future__ import annotations

import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from harness import Config, RunningServer
from harness.viewer_data import ViewerServer
from harness.waiting import wait_until

COUNT = 1200
LONG = 300_000
LONG_LOG = (
    'import sys, time; sys.stdout.reconfigure(encoding="utf-8"); '
    f'print("one", chr(120) + chr(233) * {LONG}, "three", "no end", sep=chr(10), end="", flush=True); time.sleep(600)'
)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that the adapter of the server below prints until the test ends."""
    path = tmp_path_factory.mktemp("output") / "log"
    path.write_text("".join(f"line {number}\n" for number in range(1, COUNT + 1)))
    return path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, output: Path) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("log-page") / "config")
    config.provider(f"exec tail -n +1 -f '{output}'", "b")
    config.provider("exec sleep 600", "c", provider_id="quiet")
    config.provider(f"exec '{sys.executable}' -c '{LONG_LOG}'", "d", provider_id="long")
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture(scope="module")
def path(server: RunningServer) -> str:
    """The page of the log of a running benchmark that has written everything."""
    job_id = server.submit("b", name="talkative")
    path = f"/ui/jobs/{job_id}/b/0/logs"
    wait_until(lambda: f"{COUNT:,} lines" in server.get(path), "the whole log")
    return path


def lines(page: str) -> list[tuple[int, str]]:
    """Numbers and texts of the lines of a page."""
    found = re.findall(
        r'<div id="L(\d+)" class="line[^"]*"><(?:a|span) class="no"[^>]*>\d+</(?:a|span)><span>(.*?)</span>(?:<span class="gap".*?</span>)?</div>',
        page,
    )
    return [(int(number), html.unescape(re.sub(r"<[^>]+>", "", text))) for number, text in found]


def link(page: str, text: str) -> str:
    (found,) = re.findall(rf'<a [^>]*?href="([^"]+)"[^>]*>{text}</a>', page)
    return html.unescape(found)


def test_the_last_lines_come_first_and_earlier_ones_are_linked(server: RunningServer, path: str):
    page = server.get(path)
    shown = lines(page)
    assert shown[0] == (701, "line 701")
    assert shown[-1] == (1200, "line 1200")
    before = server.get(link(page, "↑ earlier lines"))
    assert [number for number, _ in lines(before)][::499] == [201, 700]
    first = server.get(link(before, "↑ earlier lines"))
    assert "beginning of the log" in first
    assert lines(first)[0][0] == 1
    assert lines(server.get(link(first, "↓ later lines")))[0][0] == 501
    assert lines(server.get(f"{path}?from=-2")) == [(1199, "line 1199"), (1200, "line 1200")]
    assert "The log ends before this line" in server.get(f"{path}?from=5000")


def test_a_search_counts_its_hits_and_links_to_their_places(server: RunningServer, path: str):
    page = server.get(f"{path}?q=LINE+77")
    assert [number for number, _ in lines(page)] == [77, *range(770, 780)]
    assert "11 lines match" in page
    assert "<mark>line 77</mark>8" in page
    assert 'href="' + f"{path}?from=758#L778" in page
    assert "No line matches" in server.get(f"{path}?q=nothing")
    assert server.get(f"{path}.json?q=line+77")["matches"] == 11


def test_a_following_page_gets_what_was_written_since(server: RunningServer, path: str, output: Path):
    page = server.get(path)
    (at,) = re.findall(r'data-log="follow" data-at="(\d+)" data-next="1201"', page)
    empty = server.get(f"{path}?part=live&at={at}&next=1201")
    assert lines(empty) == []
    assert f'data-log="follow" data-at="{at}" data-next="1201"' in empty
    with output.open("a") as file:
        file.write("line 1201\n\x1b[31mred\x1b[0m <b>\nhalf")
    query = f"{path}?part=live&at={at}&next=1201"
    fresh = wait_until(lambda: len(lines(page := server.get(query))) == 2 and page, "two lines")
    assert isinstance(fresh, str)
    assert lines(fresh) == [(1201, "line 1201"), (1202, "red <b>")]
    assert '<span class="ansi-1">red</span> &lt;b&gt;' in fresh
    assert 'data-next="1203"' in fresh
    output.write_text("".join(f"line {number}\n" for number in range(1, COUNT + 1)))


def test_a_following_page_gets_the_rest_of_a_log_that_has_ended(viewer: ViewerServer):
    path = f"/ui/jobs/{viewer.jobs.suites['gamma-70b']}/b/3/logs"
    rest = viewer.get(f"{path}?part=live&at=1&next=73")
    assert [number for number, _ in lines(rest)] == [73, 74]
    assert 'data-log="ended"' in rest
    assert 'data-next="75"' in rest


def test_without_output_the_page_says_why(server: RunningServer, viewer: ViewerServer):
    job_id = server.submit("c", provider="quiet")
    server_page = f"/ui/jobs/{job_id}/b/0/logs"
    assert wait_until(lambda: "No output yet: the adapter was started" in server.get(server_page), "a start")
    waiting = viewer.get(f"/ui/jobs/{viewer.jobs.queued}/b/5/logs")
    assert "The adapter has not started yet." in waiting
    assert server.call("DELETE", f"/api/v1/evaluations/jobs/{job_id}").status == 204
    assert "The log is empty" in server.get(server_page)


def test_progress_bars_levels_and_gaps(viewer: ViewerServer):
    path = f"/ui/jobs/{viewer.jobs.suites['gamma-70b']}/b/3/logs"
    page = viewer.get(path)
    assert "loading the model: 100 %" in page
    assert "loading the model: 96 %" not in page
    assert '<span class="badge">25 rewrites</span>' in page
    assert ">+21 s</span>" in page
    errors = viewer.get(f"{path}?level=error")
    assert "sandbox does not start" in errors
    assert "evaluated" not in errors
    assert "BackendTimeout(f" in errors
    assert viewer.get(f"{path}?level=warning").count("retrying after a timeout") == 4
    assert f'href="/ui/api/v1/evaluations{path[3:].replace("/b/", "/benchmarks/")}?tail_lines=-1"' in page


def test_equal_lines_are_collapsed_and_can_be_shown(viewer: ViewerServer):
    path = f"/ui/jobs/{viewer.jobs.hostile}/b/0/logs"
    page = viewer.get(path)
    assert re.search(r"the same line</bdi> <span class=\"badge\">×[\d,]+, to line \d+</span>", page)
    assert viewer.get(f"{path}?dedup=off").count("the same line</bdi>") > 10
    assert not re.search("[\x00-\x08\x1b\x80-\x9f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]", page)
    assert "nowrap-lines" in viewer.get(f"{path}?wrap=0")


@pytest.mark.parametrize(
    "query",
    [
        {"from": "0"},
        {"from": "x"},
        {"from": "-2001"},
        {"from": "9" * 20},
        {"level": "loud"},
        {"wrap": "2"},
        {"q": "x" * 1001},
        {"at": "-1"},
    ],
)
def test_malformed_parameters_are_refused(viewer: ViewerServer, query: dict[str, str]):
    answer = viewer.call("GET", f"/ui/jobs/{viewer.jobs.queued}/b/0/logs?{urlencode(query)}")
    assert answer.status == 400
    assert 'class="line' not in answer.body


def test_an_unknown_benchmark_is_a_404_page(viewer: ViewerServer):
    assert viewer.call("GET", f"/ui/jobs/{viewer.jobs.queued}/b/99/logs").status == 404
    assert viewer.call("GET", "/ui/jobs/none/b/0/logs").status == 404


@pytest.fixture(scope="module")
def long_path(server: RunningServer) -> str:
    """The page of a log with a line of 300,000 characters of two bytes, and an unfinished one at the end."""
    path = f"/ui/jobs/{server.submit('d', provider='long')}/b/0/logs"
    wait_until(lambda: "no end" in server.get(path), "the whole log")
    return path


def test_a_long_log_is_read_in_parts_by_links(server: RunningServer, long_path: str):
    page = server.get(long_path)
    assert "more characters" not in page
    part = server.get(link(page, "whole line, 586 KiB"))
    texts: list[str] = []
    for _ in range(10):
        texts += [text.removesuffix("\n") for number, text in lines(part) if number == 2]
        following = re.findall(r'<a rel="next" href="([^"]+)">↓ next 256 KiB</a>', part)
        if not following:
            break
        part = server.get(html.unescape(following[0]))
    assert len(texts) > 1
    assert "".join(texts) == "x" + "é" * LONG, "no character is cut"
    assert lines(part)[-2:] == [(3, "three"), (4, "no end")]
    assert "end of the log" in part
    assert link(part, "last lines") == long_path
    around = link(server.get(f"{long_path}?at=4&next=2"), "↑ lines around this one")
    assert lines(server.get(around))[0] == (1, "one")
    searched = server.get(f"{long_path}?q=%C3%A9")
    assert link(searched, "whole line, 586 KiB") == f"{long_path}?at=4&next=2"
    beyond = server.get(f"{long_path}?at=9999999&next=5")
    assert "nothing after this position" in beyond
    assert server.get(f"{long_path}.json?at=0&next=1")["items"][0] == {
        "line": 1,
        "text": "one",
        "rewrites": 0,
    }
    assert server.call("GET", f"{long_path}?at=4").status == 400
