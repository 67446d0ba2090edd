"""CPU time of the server per benchmark in local mode.

Jobs of one-line adapters, which report with ``curl`` and exit; user and system time of the server process alone, the median of
several rounds. ``python benchmarks/cpu_per_benchmark.py [SOURCE]``: SOURCE is the tree of another version.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import psutil

BENCHMARKS = 200
ROUNDS = 5
API = "/api/v1/evaluations/jobs"
COMMAND = """\
exec curl -s -o /dev/null -X POST "$URL/api/v1/evaluations/jobs/$(echo $EVALHUB_JOB_SPEC_PATH | cut -d/ -f5)/events" \
 -d '{"benchmark_status_event": {"provider_id": "p", "id": "b", "benchmark_index": '"$(echo $EVALHUB_JOB_SPEC_PATH | cut -d/ -f6)"', \
"status": "completed", "metrics": {"acc": 1}}}'
"""


def main(source: Path) -> None:
    paths = [source / "evalhub", *sorted((source / "plugins").iterdir())]
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cpu") as made:
        folder = Path(made)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        write_config(folder, url)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "PORT": str(port)}
        command = [
            sys.executable,
            "-m",
            "evalhub_server",
            "--local",
            "--configdir",
            made,
            "--data-dir",
            f"{made}/data",
        ]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, env=env, stderr=log)
        try:
            print(json.dumps(measured(server.pid, url)))
        finally:
            server.terminate()
            server.wait(30)


def write_config(folder: Path, url: str) -> None:
    (folder / "providers").mkdir()
    (folder / "collections").mkdir()
    (folder / "config.yaml").write_text(json.dumps({"local": {"jobs_dir": f"{folder}/j", "max_parallel": 8}}))
    local = {"command": COMMAND, "env": [{"name": "URL", "value": url}]}
    provider = {
        "id": "p",
        "name": "p",
        "runtime": {"local": local},
        "benchmarks": [{"id": "b", "name": "b", "category": "c"}],
    }
    (folder / "providers" / "p.yaml").write_text(json.dumps(provider))


def measured(pid: int, url: str) -> dict[str, Any]:
    until_answered(url)
    run_job(url)  # warms up
    rounds: list[float] = []
    for _ in range(ROUNDS):
        before = cpu_s(pid)
        run_job(url)
        rounds.append((cpu_s(pid) - before) / BENCHMARKS * 1000)
    return {
        "cpu_ms_per_benchmark": round(statistics.median(rounds), 2),
        "rounds": [round(each, 2) for each in rounds],
    }


def cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def run_job(url: str) -> None:
    benchmarks = [{"id": "b", "provider_id": "p"}] * BENCHMARKS
    body = {"name": "cpu", "model": {"url": "http://localhost:1/v1", "name": "m"}, "benchmarks": benchmarks}
    job_id = call(f"{url}{API}", body)["resource"]["id"]
    while (job := call(f"{url}{API}/{job_id}"))["status"]["state"] not in (
        "completed",
        "failed",
        "partially_failed",
    ):
        time.sleep(0.5)
    if job["status"]["state"] != "completed":
        raise SystemExit(json.dumps(job["status"])[:2000])


def until_answered(url: str) -> None:
    while True:
        try:
            call(f"{url}/api/v1/health")
        except urllib.error.URLError:
            time.sleep(0.1)
        else:
            return


def call(url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).absolute())
