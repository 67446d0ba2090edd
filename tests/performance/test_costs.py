"""Limits of what requests and jobs cost, in counts that do not depend on the machine.

A limit is the present value. A change that lowers a cost lowers its limit, too; one that raises a limit has a reason.
"""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

import psutil
import pytest

from harness import Config, wait_until
from harness.counted_server import CountedServer, Mark
from harness.process_events import ProcessEvents
from harness.server import API

COMMITS_PER_JOB = 3
"""Of one benchmark that reports its result: job with the intent to launch, result with the handle, exit."""
STATEMENTS_PER_EVENT = 4
"""BEGIN, progress of the job, benchmark, COMMIT."""
PROCESSES_PER_BENCHMARK = 1
PROGRAMS_PER_BENCHMARK = 1
"""The adapter. The shim, its parent that survives the server, is started once."""
SUCCESS = "Request successful"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CountedServer]:
    folder = tmp_path_factory.mktemp("costs")
    config = Config(folder / "config", supervisor={"exit_grace": "0s"}, local={"max_parallel": 32})
    config.provider("true", provider_id="exits")
    config.scripted("completed", provider_id="reports")
    config.provider("exec sleep 600", provider_id="sleeps")
    with CountedServer(folder, config) as running:
        yield running


@pytest.fixture(scope="module")
def open_job(server: CountedServer) -> Iterator[str]:
    mark = server.mark()
    job_id = server.submit(provider="sleeps")

    reports = itertools.count(1)

    def launched() -> bool:
        report(server, job_id, f"report {next(reports)}")
        return any(b'"handle"'.hex() in each for each in mark.statements)

    wait_until(launched, "a stored handle")
    requests = next(reports)  # the create and the reports
    wait_until(lambda: mark.log_messages.count(SUCCESS) == requests, "the lines of all requests")
    yield job_id
    server.call("DELETE", f"{API}/jobs/{job_id}")


def report(server: CountedServer, job_id: str, text: str) -> None:
    event = {
        "provider_id": "sleeps",
        "id": "b",
        "benchmark_index": 0,
        "status": "running",
        "warning_message": {"message": text, "message_code": "progress"},
    }
    answer = server.call("POST", f"{API}/jobs/{job_id}/events", {"benchmark_status_event": event})
    assert answer.status == 204, answer


def closed(mark: Mark) -> None:
    """Wait until the job that was submitted since ``mark`` is stored as closed."""
    wait_until(lambda: any("is_open = 0" in each for each in mark.statements), "a closed job")
    wait_until(lambda: mark.statements[-1] == "COMMIT", "the end of the transaction")


def test_health_reads_and_logs_nothing(server: CountedServer, open_job: str) -> None:
    mark = server.mark()
    server.get("/api/v1/health")
    report(server, open_job, "after health")  # its line follows those of earlier requests
    wait_until(lambda: mark.log_messages, "the line of the report")
    assert mark.log_messages == [SUCCESS]
    assert len(mark.statements) == STATEMENTS_PER_EVENT


def test_a_job_is_read_without_the_database_and_logged_in_one_line(
    server: CountedServer, open_job: str
) -> None:
    mark = server.mark()
    for _ in range(5):
        server.get(f"{API}/jobs/{open_job}")
    wait_until(lambda: len(mark.log_messages) == 5, "a line per request")
    assert not mark.statements


def test_a_list_is_two_statements_and_an_unchanged_one_none(server: CountedServer, open_job: str) -> None:
    report(server, open_job, "a change")
    mark = server.mark()
    server.get(f"{API}/jobs?limit=10")
    assert len(mark.statements) <= 4  # with BEGIN and ROLLBACK
    before = len(mark.statements)
    server.get(f"{API}/jobs?limit=10")
    assert len(mark.statements) == before


def test_equal_lists_at_the_same_time_are_one_read(server: CountedServer, open_job: str) -> None:
    facets = "facets=status,owner,tags,model_name"
    report(server, open_job, "a change before the lists")
    mark = server.mark()
    server.get(f"{API}/jobs?limit=12&{facets}")
    once = len(mark.statements)
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=30) for _ in range(16)]
    for connection in connections:  # before the first one is answered
        request = f"GET {API}/jobs?limit=13&{facets} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n"
        connection.sendall(request.encode())
    for connection in connections:
        with connection, connection.makefile("rb") as answer:
            assert b" 200 " in answer.readline()
            answer.read()
    assert len(mark.statements) <= 2 * once


def test_an_event_is_one_transaction_of_two_writes(server: CountedServer, open_job: str) -> None:
    mark = server.mark()
    for number in range(5):
        report(server, open_job, f"event {number}")
    assert mark.commits == 5
    assert len(mark.statements) <= 5 * STATEMENTS_PER_EVENT


def test_a_job_of_one_benchmark_is_few_commits(server: CountedServer) -> None:
    mark = server.mark()
    server.submit(provider="reports")
    closed(mark)
    assert mark.commits <= COMMITS_PER_JOB


def test_what_a_job_writes_grows_with_its_benchmarks_and_not_their_square(server: CountedServer) -> None:
    written: list[int] = []
    for benchmarks in (5, 20):
        mark = server.mark()
        server.submit(*["b"] * benchmarks, provider="exits")
        closed(mark)
        written.append(sum(map(len, mark.statements)))
    assert written[1] <= 5 * written[0]


def test_a_write_of_a_collection_or_provider_reads_no_others(server: CountedServer) -> None:
    def created(kind: str, **fields: object) -> str:
        resource_id = server.call("POST", f"{API}/{kind}", {"name": "n", **fields}).body["resource"]["id"]
        return f"{API}/{kind}/{resource_id}"

    members = [{"id": "b", "provider_id": "reports"}]
    others = [created("collections", category="x", benchmarks=members) for _ in range(2)]
    provider = created("providers", benchmarks=[{"id": "b", "tasks": ["qa"]}])
    mark = server.mark()
    collection = created("collections", category="x", benchmarks=members)
    change = {"name": "o", "category": "x", "benchmarks": members}
    assert server.call("PUT", collection, change).status == 200
    assert server.call("PATCH", collection, {"name": "p"}).status == 200
    assert server.call("PATCH", provider, {"title": "t"}).status == 200
    for path in (collection, *others):
        assert server.call("DELETE", path).status == 204
    assert not [each for each in mark.statements if each.startswith("SELECT")]


def test_a_benchmark_starts_few_processes(server: CountedServer) -> None:
    mark = server.mark()
    server.submit(provider="exits")
    closed(mark)
    helpers = psutil.Process(server.pid).children(recursive=True)
    try:
        events = ProcessEvents(server.pid, *(helper.pid for helper in helpers))
    except OSError:
        pytest.skip("process events need the right to administrate the network")
    mark = server.mark()
    with events:
        server.submit(provider="exits")
        closed(mark)
    if not events.processes:
        pytest.skip("the kernel reports no process events in this namespace")
    assert events.processes <= PROCESSES_PER_BENCHMARK
    assert events.programs <= PROGRAMS_PER_BENCHMARK
