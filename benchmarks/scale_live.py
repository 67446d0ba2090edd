"""Costs of a server with many benchmarks in a job, adapters, followers of a stream, or tenants."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from benchmarks.load import CONNECTIONS, event, run
from benchmarks.subject import API, ROOT, Subject, adapter_command, source_tree

Figures = Mapping[str, float]
IDLE_S = 5.0
EVENTS = 50


def _subject(folder: Path, **options: int) -> Subject:
    folder.mkdir(parents=True)
    subject = Subject(source_tree("this", ROOT), folder / "server", adapter=adapter_command(folder))
    subject.configure(**options)
    subject.start()
    subject.settle()
    return subject


def _mib(subject: Subject) -> float:
    return psutil.Process(subject.process.pid).memory_info().rss / 2**20


def benchmarks(number: int, folder: Path) -> Figures:
    """A job of so many benchmarks, each with an adapter that reports its result."""
    subject = _subject(folder)
    try:
        before, used, started = _mib(subject), subject.cpu_s(), time.perf_counter()
        job_id = subject.submit("reports", number)
        created = time.perf_counter() - started
        subject.wait(job_id, 0.02 if number < 1000 else 1)  # a read of a large job costs milliseconds
        seconds = time.perf_counter() - started
        subject.settle()
        started = time.perf_counter()
        subject.call("GET", f"{API}/jobs/{job_id}")
        read = time.perf_counter() - started
        return {
            "create, ms": created * 1000,
            "ms per benchmark": seconds * 1000 / number,
            "CPU ms per benchmark": (subject.cpu_s() - used) * 1000 / number,
            "read the job, ms": read * 1000,
            "memory more, MiB": _mib(subject) - before,
        }
    finally:
        subject.stop()


def adapters(number: int, folder: Path) -> Figures:
    """Adapters that run at the same time and report nothing."""
    subject = _subject(folder, max_parallel=number)
    process = psutil.Process(subject.process.pid)
    try:
        before, used, started = _mib(subject), subject.cpu_s(), time.perf_counter()
        job_id = subject.submit("sleeps", number)
        while sum(child.name() == "sleep" for child in process.children(recursive=True)) < number:
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        subject.settle()
        launched = subject.cpu_s() - used
        used = subject.cpu_s()
        time.sleep(IDLE_S)
        idle = subject.cpu_s() - used
        memory = _mib(subject) - before
        used = subject.cpu_s()
        sent = run(subject.port, event(job_id), 2, connections=CONNECTIONS, core=None)
        events = (subject.cpu_s() - used) / sent.requests
        started = time.perf_counter()
        subject.call("DELETE", f"{API}/jobs/{job_id}")
        while process.children():
            time.sleep(0.05)
        return {
            "launch, ms per adapter": seconds * 1000 / number,
            "launch, CPU ms per adapter": launched * 1000 / number,
            "CPU while nothing happens, %": idle / IDLE_S * 100,
            "memory, KiB per adapter": memory * 1024 / number,
            "event, CPU µs": events * 1e6,
            "event, p99 ms": sent.p99_ms,
            "cancel, ms": (time.perf_counter() - started) * 1000,
        }
    finally:
        subject.stop()


def followers(number: int, folder: Path) -> Figures:
    """Clients that follow a job as server-sent events, while it reports."""
    subject = _subject(folder)
    try:
        job_id = subject.submit("sleeps")
        before = _mib(subject)
        return asyncio.run(_followed(subject, job_id, number, before))
    finally:
        subject.stop()


async def _followed(subject: Subject, job_id: str, number: int, before: float) -> Figures:
    head = f"GET {API}/jobs/{job_id}/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()

    async def follow() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", subject.port, limit=2**20)
        writer.write(head)
        await reader.readuntil(b"event: benchmark")
        return reader, writer  # the connection is closed when nothing refers to the writer

    connections = [await follow() for _ in range(number)]
    subject.settle()
    memory = _mib(subject) - before
    used, delays = subject.cpu_s(), list[float]()
    for count in range(EVENTS):
        text = f"step-{count}-"
        started = time.perf_counter()
        await asyncio.to_thread(_report, subject, job_id, text)
        await asyncio.gather(*(reader.readuntil(text.encode()) for reader, _ in connections))
        delays.append((time.perf_counter() - started) * 1000)
    cpu_s = subject.cpu_s() - used
    return {
        "change, CPU ms": cpu_s * 1000 / EVENTS,
        "change, CPU µs per follower": cpu_s * 1e6 / EVENTS / number,
        "from the report to the last follower, ms": statistics.median(delays),
        "memory, KiB per follower": memory * 1024 / number,
    }


def _report(subject: Subject, job_id: str, text: str) -> None:
    report = {
        "provider_id": "sleeps",
        "id": "b",
        "benchmark_index": 0,
        "status": "running",
        "warning_message": {"message": text, "message_code": "progress"},
    }
    subject.call("POST", f"{API}/jobs/{job_id}/events", {"benchmark_status_event": report})


def tenants(number: int, folder: Path) -> Figures:
    """So many tenants that submit 400 jobs in total at the same time, and list their own."""
    subject = _subject(folder)
    names = [{"X-Tenant": f"tenant-{each % number}", "X-User": "user"} for each in range(400)]
    try:
        used, started = subject.cpu_s(), time.perf_counter()
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            jobs = list(pool.map(lambda headers: subject.submit("reports", headers=headers), names))
        for job_id, headers in zip(jobs, names, strict=True):
            path = f"{API}/jobs/{job_id}"
            while subject.call("GET", path, headers=headers)["status"]["state"] in ("pending", "running"):
                time.sleep(0.01)
        seconds = time.perf_counter() - started
        subject.settle()
        jobs_ms = (subject.cpu_s() - used) * 1000 / len(jobs)
        used = subject.cpu_s()
        for headers in names:
            subject.call("GET", f"{API}/jobs?limit=10", headers=headers)
        return {
            "jobs/s": len(jobs) / seconds,
            "CPU ms per job": jobs_ms,
            "list of 10 jobs, CPU µs": (subject.cpu_s() - used) * 1e6 / len(names),
        }
    finally:
        subject.stop()
