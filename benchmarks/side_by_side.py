"""Compare this server with the released one, side by side in the same run.

    python benchmarks/side_by_side.py [--released EXECUTABLE] [--rounds 3] [--jobs 1000]

``--released`` names the executable of the released server, for example ``eval-hub-server`` from an environment with
``pip install eval-hub-server==1.0.2``; without it only this server is measured. Both get the same provider files and
a database file each, and are measured in turn, in reverse order in each second round. The figure is the server's CPU time per
request (user and system, in microseconds), median of the rounds; times are wall clock. Machines are noisy: only the
ratios (released / ours, above 1 is better) are meaningful. CPU time is counted in steps of 10 ms, so each measurement
covers enough requests to take some tenths of a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

API = "/api/v1/evaluations"
CONNECTIONS = 16
# Built-in commands of the shell only, besides curl: the adapter should cost little, and the same for both.
REPORT = (
    "d=${EVALHUB_JOB_SPEC_PATH%/*/*/*/*}; i=${d##*/}; d=${d%/*}; j=${d##*/}; exec curl -s -o /dev/null -X POST "
    '-d "{\\"benchmark_status_event\\":{\\"provider_id\\":\\"curl\\",\\"id\\":\\"b\\",\\"benchmark_index\\":$i,'
    '\\"status\\":\\"completed\\",\\"metrics\\":{\\"acc\\":0.5}}}" '
    "http://127.0.0.1:PORT/api/v1/evaluations/jobs/$j/events"
)


class Subject:
    """A server under measurement, in a folder of its own."""

    def __init__(self, name: str, command: list[str], folder: Path) -> None:
        self.name = name
        self.port = _free_port()
        (folder / "providers").mkdir(parents=True)
        (folder / "collections").mkdir()
        for provider, runtime in {
            "none": "local: null",
            "sleeps": "local: {command: 'sleep 600'}",
            "curl": "local:\n    command: |\n      " + REPORT.replace("PORT", str(self.port)),
        }.items():
            (folder / f"providers/{provider}.yaml").write_text(
                f"id: {provider}\nname: {provider}\nruntime:\n  {runtime}\n"
                "benchmarks:\n  - {id: b, name: b, category: x, metrics: [acc]}\n"
            )
        (folder / "config.yaml").write_text(
            f"service: {{port: {self.port}, host: 127.0.0.1}}\n"
            f"database: {{driver: sqlite, url: 'file:{folder}/db.sqlite'}}\n"
            f"local: {{max_parallel: 64, jobs_dir: '{folder}/jobs'}}\n"
        )
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen([*command, "--local", "--configdir", str(folder)], stderr=log)
        started = time.perf_counter()
        while not self._healthy():
            time.sleep(0.002)
        self.start_s = time.perf_counter() - started

    def _healthy(self) -> bool:
        if self.process.poll() is not None:
            raise SystemExit(f"{self.name} ended with {self.process.returncode}")
        try:
            self.call("GET", "/api/v1/health")
        except OSError:
            return False
        return True

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, method=method)
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def submit(self, provider: str, benchmarks: int = 1) -> str:
        body = {
            "name": "job",
            "model": {"url": "http://m.example/v1", "name": "m"},
            "benchmarks": [{"id": "b", "provider_id": provider}] * benchmarks,
        }
        return self.call("POST", f"{API}/jobs", body)["resource"]["id"]

    def cpu_s(self) -> float:
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    def rss_mib(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 2**20


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


async def _load(port: int, make: Callable[[int], bytes], count: int) -> None:
    """Send ``count`` requests over keep-alive connections; every answer must be a success."""
    numbers = iter(range(count))

    async def one() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        for number in numbers:
            writer.write(make(number))
            head = await reader.readuntil(b"\r\n\r\n")
            if head[9:10] != b"2":
                raise SystemExit(head.decode())
            length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            if length:
                await reader.readexactly(int(length[0].partition(b":")[2]))
            elif b"chunked" in head.lower():
                await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


def requests(subject: Subject, make: Callable[[int], bytes], count: int) -> float:
    """CPU microseconds of the server per request."""
    before = subject.cpu_s()
    asyncio.run(_load(subject.port, make, count))
    return (subject.cpu_s() - before) / count * 1e6


def turnaround(subject: Subject, benchmarks: int, *, cpu: bool = False) -> float:
    """Milliseconds from submit to the completed job; with ``cpu`` those that the server itself computed."""
    started, used = time.perf_counter(), subject.cpu_s()
    job_id = subject.submit("curl", benchmarks)
    while subject.call("GET", f"{API}/jobs/{job_id}")["status"]["state"] in ("pending", "running"):
        time.sleep(0.002)
    return (subject.cpu_s() - used if cpu else time.perf_counter() - started) * 1000


def _get(path: str) -> Callable[[int], bytes]:
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    return lambda _: request


def _event(job_id: str) -> Callable[[int], bytes]:
    def make(number: int) -> bytes:
        event = {
            "provider_id": "sleeps",
            "id": "b",
            "benchmark_index": number % 4,
            "status": "running",
            # Varies, since a database skips a write of the same bytes.
            "warning_message": {"message": f"step {number}", "message_code": "progress"},
        }
        body = json.dumps({"benchmark_status_event": event}).encode()
        head = f"POST {API}/jobs/{job_id}/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        return head.encode() + body

    return make


def scenarios(subject: Subject, jobs: int) -> dict[str, Callable[[], float]]:
    """Name → measurement; fills the server first."""
    finished = [subject.submit("none", 4) for _ in range(jobs)][-1]
    running = subject.submit("sleeps", 4)
    return {
        "health, us": lambda: requests(subject, _get("/api/v1/health"), 8000),
        "get job of 4, us": lambda: requests(subject, _get(f"{API}/jobs/{finished}"), 5000),
        "list 10, us": lambda: requests(subject, _get(f"{API}/jobs?limit=10"), 2000),
        "list 50, us": lambda: requests(subject, _get(f"{API}/jobs?limit=50"), 1000),
        "list by status, us": lambda: requests(subject, _get(f"{API}/jobs?status=failed&limit=10"), 1000),
        "event, us": lambda: requests(subject, _event(running), 4000),
        "job of 1, ms": lambda: turnaround(subject, 1),
        "job of 50, ms": lambda: turnaround(subject, 50),
        "job of 50, CPU ms": lambda: turnaround(subject, 50, cpu=True),
        "job of 200, ms": lambda: turnaround(subject, 200),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--released", metavar="EXECUTABLE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1000)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="evalhub-benchmark-"))
    commands = {"ours": [sys.executable, "-m", "evalhub_server"]}
    if arguments.released:
        commands["released"] = [arguments.released]
    subjects = {name: Subject(name, command, folder / name) for name, command in commands.items()}
    try:
        measured = {name: scenarios(subject, arguments.jobs) for name, subject in subjects.items()}
        rows: dict[str, dict[str, list[float]]] = {}
        for number in range(arguments.rounds):
            order = list(subjects) if number % 2 else list(reversed(subjects))
            for row in measured["ours"]:
                for name in order:
                    rows.setdefault(row, {}).setdefault(name, []).append(measured[name][row]())
        rows["start, ms"] = {name: [subject.start_s * 1000] for name, subject in subjects.items()}
        rows["memory, MiB"] = {name: [subject.rss_mib()] for name, subject in subjects.items()}
        _print(rows)
    finally:
        for subject in subjects.values():
            for item in subject.call("GET", f"{API}/jobs?limit=1000&status=running|pending")["items"]:
                subject.call("DELETE", f"{API}/jobs/{item['resource']['id']}")
            subject.process.kill()  # the released one can hang on SIGTERM
            subject.process.wait(30)
        shutil.rmtree(folder)


def _print(rows: dict[str, dict[str, list[float]]]) -> None:
    print(f"{'':22}{'ours':>10}{'released':>10}{'ratio':>8}")
    for row, figures in rows.items():
        ours = statistics.median(figures["ours"])
        line = f"{row:22}{ours:10.1f}"
        if "released" in figures:
            released = statistics.median(figures["released"])
            line += f"{released:10.1f}{released / ours:8.1f}"
        print(line)


if __name__ == "__main__":
    main()
