"""Measure the Kubernetes runtime with many open benchmarks in many tenants: requests, bytes, CPU time, memory, delays.

    python -m benchmarks.cluster [--quick] [--tenants 50] [--benchmarks 2000] [--idle-s 60]

A real server on the fake API server of the tests, which runs in a process of its own and counts requests. Prints tables in Markdown:
requests by verb and resource while benchmarks are launched and while nothing happens, with the right to watch and without it; the time
from the exit of an adapter to the stored failure of its benchmark; and what happens while the API server refuses most requests with
429. Bytes are uncompressed, without headers. Needs the packages of the extra ``dev``.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks.report import print_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from harness import Config, RunningServer, wait_until
from harness.kube import FakeCluster, RateLimit
from harness.kube.kinds import labels_of
from harness.kube.rights import OPERATOR, WITH_WATCH

IMAGE = "script.test/runs"
BENCHMARKS_PER_JOB = 10
BOOKMARK_S = 60.0
"""As in a real API server."""
LIMIT_PER_S = 20
LONG_S = 900.0


class Traffic(NamedTuple):
    """Requests and bytes by ``verb resource``; when the first Job of each namespace was created, on the monotonic clock."""

    requests: Counter[str]
    bytes: Counter[str]
    first_jobs: dict[str, float]


class Exits(NamedTuple):
    """Unix times of exits by job id and index of the benchmark."""

    at_s: dict[tuple[str, int], float]


# --- the cluster, in another process ------------------------------------------------------------------------------


class Controls:
    """What the benchmark does to the cluster; each method is called over a pipe."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        cluster.bookmark_interval(BOOKMARK_S)

    def kubeconfig(self, folder: Path) -> Path:
        return self._cluster.kubeconfig(folder)

    def may_watch(self, allowed: bool) -> None:
        self._cluster.grant(WITH_WATCH if allowed else OPERATOR)
        self._cluster.drop_watches()

    def traffic(self) -> Traffic:
        calls, sent = self._cluster.take_traffic()
        first: dict[str, float] = {}
        for call in calls:
            if call.short == "create jobs":
                first.setdefault(call.namespace, call.at_s)
        return Traffic(Counter(call.short for call in calls), sent, first)

    def running(self) -> int:
        """The number of running pods."""
        return self._cluster.running_pods

    def watches(self) -> int:
        return self._cluster.open_watches

    def end(self, count: int, over_s: float) -> Exits:
        """Let adapters of random benchmarks exit with code 3, one after another."""
        pods = random.Random(1).sample(self._cluster.running(), count)  # noqa: S311
        at_s: dict[tuple[str, int], float] = {}
        start_s = time.monotonic()
        for number, pod in enumerate(pods):
            labels = labels_of(pod)
            time.sleep(max(0.0, start_s + over_s * number / count - time.monotonic()))
            at_s[labels["job_id"], int(labels["benchmark_index"])] = time.time()
            self._cluster.end_pod(pod, 3)
        return Exits(at_s)

    def limit(self, per_s: int) -> None:
        self._cluster.inject(RateLimit(per_s))

    def heal(self) -> None:
        self._cluster.heal()


def serve(connection: Connection, tenants: Sequence[str]) -> None:
    with FakeCluster(tenants) as cluster:
        controls = Controls(cluster)
        while (message := connection.recv()) is not None:
            name, arguments = message
            connection.send(getattr(controls, name)(*arguments))


class RemoteCluster:
    """:class:`Controls` in another process."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            self._connection.send((name, arguments))
            return self._connection.recv()

        return call


@contextmanager
def remote_cluster(tenants: Sequence[str]) -> Iterator[RemoteCluster]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, tenants), daemon=True)
    process.start()
    try:
        yield RemoteCluster(here)
        here.send(None)
        process.join(60)
    finally:
        process.kill()


# --- measurements -------------------------------------------------------------------------------------------------


class Phase(NamedTuple):
    name: str
    seconds: float
    traffic: Traffic
    cpu_s: float
    rss_mib: float


class Bench:
    def __init__(self, server: RunningServer, cluster: RemoteCluster, tenants: Sequence[str]) -> None:
        self.server = server
        self.cluster = cluster
        self.tenants = tenants
        self.jobs: dict[str, str] = {}
        """Tenants by job id."""

    @property
    def rss_mib(self) -> float:
        return psutil.Process(self.server.pid).memory_info().rss / 2**20

    @property
    def cpu_s(self) -> float:
        return sum(psutil.Process(self.server.pid).cpu_times()[:2])

    def phase(self, name: str, action: Callable[[], object]) -> Phase:
        self.cluster.traffic()
        cpu_s, start_s = self.cpu_s, time.monotonic()
        action()
        seconds = time.monotonic() - start_s
        return Phase(name, seconds, self.cluster.traffic(), self.cpu_s - cpu_s, self.rss_mib)

    def submit(self, benchmarks: int) -> None:
        for number, tenant in zip(
            range(benchmarks // BENCHMARKS_PER_JOB), itertools.cycle(self.tenants), strict=False
        ):
            self.server.headers = {"X-Tenant": tenant, "X-User": "alice"}
            job_id = self.server.submit(*["b"] * BENCHMARKS_PER_JOB, provider="runs", name=f"job {number}")
            self.jobs[job_id] = tenant

    def launch(self, benchmarks: int) -> None:
        expected = self.cluster.running() + benchmarks
        self.submit(benchmarks)
        until_s = time.monotonic() + LONG_S
        while self.cluster.running() < expected:
            if time.monotonic() > until_s:
                raise SystemExit(f"{self.cluster.running()} of {expected} pods run after {LONG_S:.0f} s")
            time.sleep(0.25)  # each look costs the cluster a few milliseconds

    def job(self, job_id: str) -> dict[str, Any]:
        self.server.headers = {"X-Tenant": self.jobs[job_id], "X-User": "alice"}
        return self.server.job(job_id)

    def delays(self, exits: Exits) -> list[float]:
        """Seconds from each exit to the stored failure."""
        jobs = {job_id for job_id, _ in exits.at_s}

        def stored() -> list[float]:
            ends: dict[tuple[str, int], str] = {}
            for job_id in jobs:
                for benchmark in self.job(job_id)["status"]["benchmarks"]:
                    ends[job_id, benchmark["benchmark_index"]] = benchmark.get("completed_at", "")
            if not all(ends[key] for key in exits.at_s):
                return []
            return [datetime.fromisoformat(ends[key]).timestamp() - at_s for key, at_s in exits.at_s.items()]

        return wait_until(stored, "all exits are stored", 120)

    def failures(self) -> int:
        """Benchmarks that have failed."""
        states = Counter(
            benchmark["status"]
            for job_id in self.jobs
            for benchmark in self.job(job_id)["status"]["benchmarks"]
        )
        return states["failed"]


def print_phases(phases: Sequence[Phase]) -> None:
    print_table(
        ("", *(phase.name for phase in phases)),
        [
            ("seconds", *(f"{phase.seconds:.0f}" for phase in phases)),
            ("requests", *(phase.traffic.requests.total() for phase in phases)),
            ("requests/s", *(f"{phase.traffic.requests.total() / phase.seconds:.1f}" for phase in phases)),
            ("kB/s", *(f"{phase.traffic.bytes.total() / 1000 / phase.seconds:.0f}" for phase in phases)),
            ("CPU of the server, %", *(f"{100 * phase.cpu_s / phase.seconds:.1f}" for phase in phases)),
            ("memory of the server, MiB", *(f"{phase.rss_mib:.0f}" for phase in phases)),
        ],
    )
    for phase in phases:
        if phase.traffic.requests:
            rows = [
                (
                    short,
                    number,
                    f"{number / phase.seconds:.2f}",
                    f"{phase.traffic.bytes[short] / number / 1000:.1f}",
                )
                for short, number in phase.traffic.requests.most_common()
            ]
            print(f"{phase.name}:\n")
            print_table(("request", "number", "per second", "kB each"), rows)


def print_delays(delays: dict[str, list[float]]) -> None:
    rows: list[tuple[object, ...]] = []
    for name, values in delays.items():
        ordered = sorted(values)
        shares = (ordered[int(len(ordered) * share)] for share in (0.5, 0.95))
        rows.append((name, len(ordered), *(f"{value:.2f}" for value in (*shares, ordered[-1]))))
    print_table(("exit to stored state, s", "exits", "median", "p95", "maximum"), rows)


def measure(bench: Bench, benchmarks: int, idle_s: float, exits: int) -> None:
    cluster = bench.cluster
    cluster.may_watch(True)
    before_mib = bench.rss_mib
    start_s = time.monotonic()
    launched = bench.phase("launch", lambda: bench.launch(benchmarks))
    first = sorted(at_s - start_s for at_s in launched.traffic.first_jobs.values())
    print(
        f"{benchmarks} benchmarks of {len(bench.tenants)} tenants launched in {launched.seconds:.1f} s "
        f"({benchmarks / launched.seconds:.0f} per second). First Job after {first[0]:.2f} s, first Job of the last tenant "
        f"after {first[-1]:.2f} s. {(launched.rss_mib - before_mib) * 1024 / benchmarks:.1f} KiB of memory per open benchmark.\n"
    )
    time.sleep(15)  # status events and first looks
    watching = bench.phase("idle, watch", lambda: time.sleep(idle_s))
    delays = {"with watch": bench.delays(cluster.end(exits, exits / 10))}
    cluster.may_watch(False)
    wait_until(lambda: cluster.watches() == 0, "no watches", 60)
    time.sleep(20)  # every namespace has tried to watch again
    polling = bench.phase("idle, poll", lambda: time.sleep(idle_s))
    delays["without watch"] = bench.delays(cluster.end(exits, exits / 10))
    failed = bench.failures()
    more = 5 * BENCHMARKS_PER_JOB

    def limited() -> None:
        cluster.limit(LIMIT_PER_S)
        bench.launch(more)
        time.sleep(idle_s / 2)
        cluster.heal()

    refusing = bench.phase(f"429 above {LIMIT_PER_S}/s, {more} launches", limited)
    delays["after the 429"] = bench.delays(cluster.end(exits // 4, 2))
    print_phases((launched, watching, polling, refusing))
    print_delays(delays)
    others = bench.failures() - failed - exits // 4
    print(f"Benchmarks that failed because of 429: {others}.\n")
    restart(bench)


def restart(bench: Bench) -> None:
    """Stop the server and start it again with the open benchmarks."""
    bench.server.terminate()
    bench.cluster.may_watch(True)
    bench.cluster.traffic()
    start_s = time.monotonic()
    bench.server.start()
    seconds = time.monotonic() - start_s
    wait_until(lambda: bench.cluster.watches() == 2 * len(bench.tenants), "all namespaces are watched", 120)
    observed_s = time.monotonic() - start_s
    traffic: Traffic = bench.cluster.traffic()
    cpu_s = bench.cpu_s
    requests = ", ".join(f"{number} {short}" for short, number in traffic.requests.most_common())
    print(
        f"Restart with the open benchmarks: answers after {seconds:.1f} s, observes all of them after {observed_s:.1f} s "
        f"({requests}); {cpu_s:.1f} s of CPU time, {bench.rss_mib:.0f} MiB.\n"
    )


def main(tenants: int, benchmarks: int, idle_s: float, exits: int) -> None:
    names = [f"tenant-{number}" for number in range(tenants)]
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="cluster") as made, remote_cluster(names) as cluster:
        folder = Path(made)
        config = Config(folder / "config", kubernetes={"exit_grace": "0s"}, supervisor={"exit_grace": "0s"})
        config.image(IMAGE, "b", provider_id="runs")
        server = RunningServer(
            config.folder,
            data_dir=folder / "data",
            flags=("--configdir", str(config.folder)),
            env={"KUBECONFIG": str(cluster.kubeconfig(folder))},
        )
        with server:
            measure(Bench(server, cluster, names), benchmarks, idle_s, exits)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few benchmarks and short phases")
    parser.add_argument("--tenants", type=int, default=50)
    parser.add_argument("--benchmarks", type=int, default=2000)
    parser.add_argument("--idle-s", type=float, default=60.0)
    parser.add_argument("--exits", type=int, default=200)
    options = parser.parse_args()
    if options.quick:
        main(5, 100, 10.0, 20)
    else:
        main(options.tenants, options.benchmarks, options.idle_s, options.exits)
