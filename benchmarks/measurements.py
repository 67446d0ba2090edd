"""What is measured, in phases: servers with the same data are up at the same time and are visited in turns."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks import load
from benchmarks.copies import multiply
from benchmarks.load import CONNECTIONS, Request
from benchmarks.subject import API, Subject, Version, on_core

TEMPLATES = 200
BURST = 300
REFERENCE = "imports"
"""In place of a server: an interpreter that imports litestar and uvicorn."""

Figures = Mapping[str, float]
"""Values by unit."""
Measure = Callable[[Subject], Figures]


class Size(NamedTuple):
    """How much is measured."""

    rounds: int
    seconds: float
    """Of each load."""
    jobs: int
    many_jobs: int
    """Of the database for filters."""
    benchmarks: Sequence[int]
    """Numbers of benchmarks in a job."""


class Row(NamedTuple):
    """A figure in the table, with the least ratio that it should reach."""

    name: str
    unit: str
    target: float | None = None
    against: str = "released"
    more_is_better: bool = False


ROWS = (
    Row("health", "CPU µs", 0.8),
    Row("get a job of 4 benchmarks", "CPU µs", 1.4),
    Row("list 10 jobs", "CPU µs", 6),
    Row("list 50 jobs", "CPU µs", 15),
    Row("list providers", "CPU µs", 30),
    Row("event", "CPU µs", 5),
    Row("create a job", "CPU µs", 1.5),
    Row("filter by state", "CPU µs", 100),
    Row("filter by name", "CPU µs", 100),
    Row("filter by tag", "CPU µs", 100),
    Row("job of 1", "ms", 1.1),
    Row("job of 50", "ms", 2),
    Row("job of 200", "ms", 4),
    Row("job of 800", "ms", 10),
    Row("job of 1", "CPU ms"),
    Row("job of 50", "CPU ms"),
    Row("job of 200", "CPU ms"),
    Row("job of 800", "CPU ms"),
    Row(f"{BURST} jobs at once", "jobs/s", 1.2, more_is_better=True),
    Row(f"{BURST} jobs at once", "CPU ms per job"),
    Row("start to first answer", "ms"),
    Row("start to first answer, against the imports", "ms", 1, against=REFERENCE),
    Row("start to first list", "ms"),
    Row("memory after start", "MiB", 1 / 1.2),
    Row("memory with finished jobs", "MiB", 1 / 1.3),
)


class Bench:
    """Runs the measurements whose names contain one of ``only``."""

    def __init__(
        self,
        versions: Sequence[Version],
        size: Size,
        folder: Path,
        *,
        adapter: str,
        cores: tuple[int | None, int | None],
        only: Sequence[str] = (),
    ) -> None:
        self.versions = versions
        self.size = size
        self.values: dict[tuple[str, str], dict[str, list[float]]] = {}
        """By (name, unit), then by version; the values of a round have the same index."""
        self._folder = folder
        self._adapter = adapter
        self._core, self._client_core = cores
        self._only = only

    def run(self) -> None:
        self._stored()
        self._filters()
        self._work()
        self._starts()

    def _wants(self, *names: str) -> bool:
        return not self._only or any(word in name for word in self._only for name in names)

    def _record(self, name: str, version: str, figures: Figures) -> None:
        for unit, value in figures.items():
            self.values.setdefault((name, unit), {}).setdefault(version, []).append(value)

    def _in_turns(self, subjects: Sequence[Subject], measures: Mapping[str, Measure]) -> None:
        for number in range(self.size.rounds):
            for name, measure in measures.items():
                if self._wants(name):
                    for subject in subjects if number % 2 else reversed(subjects):
                        self._record(name, subject.name, measure(subject))
            print(f"round {number + 1} of {self.size.rounds}: {', '.join(measures)}", file=sys.stderr)

    @contextmanager
    def _servers(self, purpose: str, jobs: int = 0) -> Generator[Sequence[Subject]]:
        """A running server of each version with ``jobs`` finished jobs."""
        subjects: list[Subject] = []
        try:
            for version in self.versions:
                folder = self._folder / purpose / version.name
                folder.parent.mkdir(exist_ok=True)
                subject = Subject(version, folder, adapter=self._adapter, core=self._core)
                subject.start()
                subjects.append(subject)
                if jobs:
                    fill(subject, jobs)
                subject.settle()
                subject.keep_helpers()
            yield subjects
        finally:
            for subject in subjects:
                subject.stop()

    def _load(self, request: Callable[[Subject], Request], connections: int = CONNECTIONS) -> Measure:
        def measure(subject: Subject) -> Figures:
            before = subject.cpu_s()
            sent = load.run(
                subject.port,
                request(subject),
                self.size.seconds,
                connections=connections,
                core=self._client_core,
            )
            if request(subject).method != "GET":
                subject.settle()  # what the requests caused is a part of their cost
            cpu_s = subject.cpu_s() - before
            return {
                "CPU µs": cpu_s / sent.requests * 1e6,
                "requests/s": sent.requests / sent.seconds,
                "p50 ms": sent.p50_ms,
                "p99 ms": sent.p99_ms,
            }

        return measure

    # --- phases ---------------------------------------------------------------------------------------------------

    def _stored(self) -> None:
        """Requests to a server with finished jobs and one that runs."""
        names = (
            "health",
            "get a job of 4 benchmarks",
            "list 10 jobs",
            "list 50 jobs",
            "list providers",
            "event",
        )
        if not self._wants(*names, "memory with finished jobs"):
            return
        with self._servers("stored", self.size.jobs) as subjects:
            open_jobs = {subject.name: subject.submit("sleeps", 4) for subject in subjects}
            finished = {
                subject.name: subject.call("GET", f"{API}/jobs?limit=1&status=completed")["items"][0][
                    "resource"
                ]["id"]
                for subject in subjects
            }
            requests: tuple[Callable[[Subject], Request], ...] = (
                lambda _: Request("/api/v1/health"),
                lambda subject: Request(f"{API}/jobs/{finished[subject.name]}"),
                lambda _: Request(f"{API}/jobs?limit=10"),
                lambda _: Request(f"{API}/jobs?limit=50"),
                lambda _: Request(f"{API}/providers?limit=50"),
                lambda subject: load.event(open_jobs[subject.name]),
            )
            self._in_turns(
                subjects,
                {name: self._load(request) for name, request in zip(names, requests, strict=True)},
            )
            if self._wants("memory with finished jobs"):
                for subject in subjects:
                    for offset in range(0, min(self.size.jobs, 500), 50):
                        subject.call("GET", f"{API}/jobs?limit=50&offset={offset}")
                    self._record("memory with finished jobs", subject.name, {"MiB": subject.rss_mib()})

    def _filters(self) -> None:
        """Lists of many jobs by what they have. One connection: at the released server, such a request takes seconds."""
        names = {
            "filter by state": "status=failed",
            "filter by name": "name=job-7",
            "filter by tag": "tags=tag-3",
        }
        if not self._wants(*names):
            return
        with self._servers("filters", self.size.many_jobs) as subjects:
            requests = {name: Request(f"{API}/jobs?limit=10&{query}") for name, query in names.items()}
            self._in_turns(
                subjects,
                {name: self._load(lambda _, each=each: each, 1) for name, each in requests.items()},
            )

    def _work(self) -> None:
        """Creates, and jobs from the request to the stored end."""
        jobs: dict[str, Measure] = {
            f"job of {count}": lambda subject, count=count: turnaround(subject, count)
            for count in self.size.benchmarks
        }
        burst: dict[str, Measure] = {f"{BURST} jobs at once": at_once}
        creates: dict[str, Measure] = {"create a job": self._load(lambda _: load.create("none"))}
        for measures in (jobs | burst, creates):
            if self._wants(*measures):
                with self._servers(f"work-{len(measures)}") as subjects:
                    for subject in subjects:  # this server starts a helper with its first adapter
                        subject.wait(subject.submit("reports"))
                        subject.settle()
                        subject.keep_helpers()
                    self._in_turns(subjects, measures)

    def _starts(self) -> None:
        names = (
            "start to first answer",
            "start to first answer, against the imports",
            "start to first list",
            "memory after start",
        )
        if not self._wants(*names):
            return
        subjects: list[Subject] = []
        for version in self.versions:
            folder = self._folder / "starts" / version.name
            folder.parent.mkdir(exist_ok=True)
            subjects.append(Subject(version, folder, core=self._core))
        for number in range(-1, self.size.rounds):  # the first start creates the database
            for subject in subjects:
                started = time.perf_counter()
                seconds = subject.start()
                try:
                    subject.call("GET", f"{API}/jobs?limit=1")
                    listed = time.perf_counter() - started
                    subject.settle()
                    subject.keep_helpers()
                    if number >= 0:
                        figures = {"ms": seconds * 1000, "CPU ms": subject.cpu_s() * 1000}
                        self._record(names[0], subject.name, figures)
                        self._record(names[1], subject.name, figures)
                        self._record(names[2], subject.name, {"ms": listed * 1000})
                        self._record(names[3], subject.name, {"MiB": subject.rss_mib()})
                finally:
                    subject.stop()
            started = time.perf_counter()
            command = [*on_core(self._core), sys.executable, "-c", "import litestar, uvicorn"]
            subprocess.run(command, check=True)
            if number >= 0:
                self._record(names[1], REFERENCE, {"ms": (time.perf_counter() - started) * 1000})
        print("starts measured", file=sys.stderr)


def fill(subject: Subject, jobs: int) -> None:
    """Store ``jobs`` finished jobs of 4 benchmarks: 1 of 20 failed; 20 tags and as many names as templates."""
    templates = min(jobs, TEMPLATES)
    for number in range(templates):
        provider = "none" if number % 20 == 0 else "reports"
        job_id = subject.submit(provider, 4, name=f"job-{number}", tags=[f"tag-{number % 20}"])
        if number % 10 == 9:
            subject.wait(job_id)
    for item in subject.call("GET", f"{API}/jobs?limit={templates}")["items"]:
        subject.wait(item["resource"]["id"])
    subject.stop()
    multiply(subject.database, templates, jobs)
    subject.start()


def turnaround(subject: Subject, benchmarks: int) -> Figures:
    """From the request to the completed job."""
    times: list[float] = []
    used = subject.cpu_s()
    repeats = 20 if benchmarks == 1 else 1
    for _ in range(repeats):
        started = time.perf_counter()
        subject.wait(subject.submit("reports", benchmarks))
        times.append(time.perf_counter() - started)
    subject.settle()
    return {
        "ms": statistics.median(times) * 1000,
        "CPU ms": (subject.cpu_s() - used) * 1000 / repeats,
    }


def at_once(subject: Subject) -> Figures:
    """Jobs of one benchmark that are submitted by several clients, until the last is completed."""
    used, started = subject.cpu_s(), time.perf_counter()
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for job_id in list(pool.map(subject.submit, ["reports"] * BURST)):
            subject.wait(job_id)
    seconds = time.perf_counter() - started
    subject.settle()
    return {"jobs/s": BURST / seconds, "CPU ms per job": (subject.cpu_s() - used) * 1000 / BURST}
