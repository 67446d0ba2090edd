"""Measure the pages against their budgets: times, bytes, queries, the browser, other clients, start and memory.

    python -m benchmarks.viewer [--quick] [--past-jobs 20000] [--rounds 60] [--only jobs,samples] [--realtime]

Starts a server with the data of the tests (three models on six benchmarks, one of 14,000 samples) and ``--past-jobs`` small jobs, and
prints tables in Markdown. Each page is requested after a change, and then again with its entity tag. Times are those of a client on
the same machine; CPU time is the server's, for a page that is built for each request. On a machine that others use, ``--realtime``
gives the measured programs precedence. Needs the packages of the extra ``dev`` and Chromium.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks.report import print_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness.browser import CHROMIUM, Browser
from harness.server import API
from harness.viewer_data import ViewerServer
from harness.viewer_data.views import url_of, views

TABS, TURNS = 20, 4
BUDGETS_MS = {"samples": 60, "sample": 15, "compare": 150, "leaderboard": 80, "health": 20}
"""By the first word of a view's name; 30 for all others."""
IN_BROWSER = ("jobs", "job", "samples", "sample", "compare", "leaderboard")

_PAINT = """() => {
  const navigation = performance.getEntriesByType("navigation")[0];
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return { paint: paint ? paint.startTime : navigation.domContentLoadedEventEnd, done: navigation.loadEventEnd };
}"""


class Served(NamedTuple):
    """One response and the time that it took."""

    status: int
    bytes: int
    tag: str
    ms: float


class Client:
    """A kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str, **headers: str) -> Served:
        sent = {
            "Accept-Encoding": "gzip",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        start = time.perf_counter()
        self._connection.request("GET", path, headers=sent)
        answer = self._connection.getresponse()
        body = answer.read()
        return Served(
            answer.status, len(body), answer.headers.get("etag", ""), (time.perf_counter() - start) * 1000
        )


def percentile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def measure_pages(server: ViewerServer, names: Sequence[str], rounds: int) -> None:
    """Times, bytes and reads of each page."""
    client, process = Client(server.port), psutil.Process(server.pid)
    rows: list[tuple[object, ...]] = []
    for name in names:
        url = url_of(server, name)
        full: list[Served] = []
        unchanged: list[Served] = []
        reads: list[int] = []
        for number in range(rounds):
            server.advance(700 + number % 400)
            before = server.reads()
            full.append(client.get(url))
            reads.append(server.reads() - before)
            unchanged.append(client.get(url, If_None_Match=full[-1].tag))
        start = sum(process.cpu_times()[:2])
        for number in range(rounds):
            client.get(url, X_User=f"user-{number}")  # users do not share pages
        cpu_ms = (sum(process.cpu_times()[:2]) - start) * 1000 / rounds
        budget = BUDGETS_MS.get(name.partition("-")[0], 30)
        times = [each.ms for each in full]
        rows.append(
            (
                name,
                f"{statistics.median(times):.1f}",
                f"{percentile(times, 0.95):.1f}",
                budget,
                f"{cpu_ms:.1f}",
                f"{max(each.bytes for each in full) / 1000:.1f}",
                max(reads),
                f"{percentile([each.ms for each in unchanged], 0.95):.1f}",
                "/".join(sorted({str(each.status) for each in unchanged})),
            )
        )
    print_table(
        (
            "page",
            "median ms",
            "p95 ms",
            "budget ms",
            "CPU ms",
            "kB (gzip)",
            "reads",
            "unchanged p95 ms",
            "status",
        ),
        rows,
    )


def measure_browser(server: ViewerServer, names: Sequence[str]) -> None:
    """First paint, script time, nodes and heap in Chromium."""
    rows: list[tuple[object, ...]] = []
    with Browser() as browser:
        for name in names:
            url = f"http://127.0.0.1:{server.port}{url_of(server, name)}"
            with browser.tab() as tab:
                times: list[float] = []
                tab.devtools.send("Performance.enable")
                for _ in range(4):
                    tab.open(url, idle=True)
                    times.append(tab.page.evaluate(_PAINT)["paint"])
                got = {
                    each["name"]: each["value"]
                    for each in tab.devtools.send("Performance.getMetrics")["metrics"]
                }
                rows.append(
                    (
                        name,
                        f"{times[0]:.0f}",
                        f"{statistics.median(times[1:]):.0f}",
                        f"{got['ScriptDuration'] * 1000 / 4:.0f}",
                        tab.nodes(),
                        f"{got['JSHeapUsedSize'] / 2**20:.1f}",
                    )
                )
    print_table(("page", "first paint ms, cold", "warm", "script ms", "nodes", "heap MiB"), rows)


@contextmanager
def open_tabs(server: ViewerServer, count: int) -> Iterator[None]:
    """Clients that request the live part of the jobs as open tabs do, every three seconds."""
    stopped = threading.Event()

    def poll(number: int) -> None:
        client, tag = Client(server.port), ""
        stopped.wait(3 * number / max(count, 1))
        while not stopped.is_set():
            answer = client.get("/ui/jobs?part=live", **({"If_None_Match": tag} if tag else {}))
            tag = answer.tag or tag
            stopped.wait(3)

    threads = [threading.Thread(target=poll, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def measure_others(server: ViewerServer, seconds: float) -> None:
    """The API's latency without and with open tabs, while a job reports progress once per second. In turn."""
    path = f"{API}/jobs/{server.jobs.suites['alpha-7b']}"
    found: dict[int, list[float]] = {0: [], TABS: []}
    cpu_s = dict.fromkeys(found, 0.0)
    process = psutil.Process(server.pid)
    for _ in range(TURNS):
        for tabs, times in found.items():
            start = sum(process.cpu_times()[:2])
            with open_tabs(server, tabs):
                client, end, reported = Client(server.port), time.monotonic() + seconds, 0.0
                while time.monotonic() < end:
                    if time.monotonic() - reported > 1:
                        reported = time.monotonic()
                        server.advance(700 + int(reported) % 400)
                    times.append(client.get(path).ms)
                    time.sleep(0.005)
            cpu_s[tabs] += sum(process.cpu_times()[:2]) - start
    rows = [
        (
            tabs,
            len(times),
            f"{statistics.median(times):.2f}",
            f"{percentile(times, 0.99):.2f}",
            f"{cpu_s[tabs] * 1000 / (TURNS * seconds):.0f}",
        )
        for tabs, times in found.items()
    ]
    print_table(("open tabs", "requests for a job", "median ms", "p99 ms", "CPU ms per second"), rows)


def measure_imports(rounds: int) -> float:
    """What importing the viewer adds to a start, in milliseconds; the median."""
    code = (
        "import evalhub_server.cli.server, evalhub_server.web.app, evalhub_server.cli.viewer, time; s = time.perf_counter();"
        "import evalhub_server.viewer.app, evalhub_server.viewer.page; print((time.perf_counter() - s) * 1000)"
    )
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    times = [
        float(
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
            ).stdout
        )
        for _ in range(rounds)
    ]
    return statistics.median(times)


def measure_memory(server: ViewerServer, names: Sequence[str]) -> None:
    """Resident memory, and first requests: after a start, after the API has read the same data, and after all pages.

    Samples that are read and pages of the database are kept in memory for the API, too.
    """
    client, process = Client(server.port), psutil.Process(server.pid)

    def mib() -> float:
        return process.memory_info().rss / 2**20

    alpha, beta, gamma = (server.jobs.suites[model] for model in ("alpha-7b", "beta-13b", "gamma-70b"))
    client.get(f"{API}/jobs?limit=100")
    started = mib()
    facets = "facets=status,model_name,provider_id,tags"
    for path in (
        f"{API}/jobs?limit=100&{facets}",
        f"{API}/jobs?limit=100&status=failed",
        *(f"{API}/jobs/{job}/benchmarks/{index}/samples" for job in (alpha, beta) for index in range(6)),
        *(
            f"{API.removesuffix('/jobs')}/comparisons?baseline={alpha}&candidate={job}"
            for job in (beta, gamma)
        ),
    ):
        client.get(path)
    read = mib()
    first = {name: client.get(url_of(server, name)).ms for name in names}
    print(
        f"Memory: {started:.0f} MiB, after the API has read the data {read:.0f} MiB, after all pages {mib():.0f} MiB\n"
    )
    slowest = sorted(first.items(), key=lambda each: -each[1])[:3]
    print("Slowest first requests:", ", ".join(f"{name} {ms:.0f} ms" for name, ms in slowest), "\n")


def take_precedence(pid: int) -> None:
    """Let a process and its threads run before those of other programs."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setscheduler(int(task.name), os.SCHED_FIFO, os.sched_param(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="fewer jobs and rounds, without the clients beside"
    )
    parser.add_argument("--past-jobs", type=int)
    parser.add_argument("--only", default="", help="names of views, separated by commas; default: all")
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--realtime", action="store_true", help="with real-time priority; needs the permission"
    )
    options = parser.parse_args()
    if options.realtime:
        take_precedence(os.getpid())
    past_jobs: int = options.past_jobs or (500 if options.quick else 20_000)
    rounds: int = options.rounds or (10 if options.quick else 60)
    chosen = options.only.split(",")
    print(f"Import of the viewer: {measure_imports(5 if options.quick else 11):.0f} ms\n")
    with (
        tempfile.TemporaryDirectory(prefix="viewer-benchmark-") as folder,
        ViewerServer(Path(folder), past_jobs=past_jobs) as server,
    ):
        if options.realtime:
            take_precedence(server.pid)
        names = [name for name in views() if not options.only or name in chosen]
        measure_memory(server, names)
        measure_pages(server, names, rounds)
        if CHROMIUM:
            measure_browser(server, [name for name in names if name in IN_BROWSER])
        if not options.quick:
            measure_others(server, 8)


if __name__ == "__main__":
    main()
