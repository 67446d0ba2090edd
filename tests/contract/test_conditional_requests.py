"""Entity tags, conditional requests, compression and long polls over HTTP."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from harness import Config, RunningServer, wait_until
from harness.raw import head, raw_request
from harness.running import Answer
from harness.server import API

LISTS = ("jobs", "providers", "collections")
PROVIDER = {"name": "mine", "benchmarks": [{"id": "b", "name": "B", "category": "c"}]}
COLLECTION = {"name": "c", "category": "x", "benchmarks": [{"id": "b", "provider_id": "scripted"}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("conditional")
    config = Config(folder, service={"port": 0})
    config.provider("sleep 600 # waits for the test's own events", "b")
    config.provider("true", *[f"benchmark-number-{n}" for n in range(1500)], provider_id="large")
    with RunningServer(config.folder, data_dir=folder / "data") as running:
        yield running


def tag(answer: Answer) -> str:
    assert answer.status in (200, 201, 202), answer
    return answer.headers["etag"]


def conditional(server: RunningServer, path: str, etag: str) -> Answer:
    return server.call("GET", path, headers={"If-None-Match": etag})


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_that_has_not_changed_is_not_sent_again(server: RunningServer, kind: str):
    path = f"{API}/{kind}?limit=2"
    etag = tag(server.call("GET", path))
    answer = conditional(server, path, f'"other", W/{etag}')
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, "", etag)


def test_a_list_has_another_tag_after_any_change(server: RunningServer):
    for kind, body in (("providers", PROVIDER), ("collections", COLLECTION)):
        path = f"{API}/{kind}"
        etags = [tag(server.call("GET", path))]
        resource_id = server.call("POST", path, body).body["resource"]["id"]
        etags.append(tag(server.call("GET", path)))
        server.call("PATCH", f"{path}/{resource_id}", {"description": "new"})
        etags.append(tag(server.call("GET", path)))
        server.call("DELETE", f"{path}/{resource_id}")
        etags.append(tag(server.call("GET", path)))
        assert len(set(etags)) == 4
        assert [conditional(server, path, etag).status for etag in etags] == [200, 200, 200, 304]


def test_the_list_of_jobs_changes_with_creation_progress_and_deletion(server: RunningServer):
    path = f"{API}/jobs"
    etags = [tag(server.call("GET", path))]
    job_id = server.submit("b")
    etags.append(tag(server.call("GET", path)))
    server.report(job_id, "running", progress={"done": 1, "total": 2})
    etags.append(tag(server.call("GET", path)))
    server.call("DELETE", f"{path}/{job_id}?hard_delete=true")
    assert [conditional(server, path, etag).status for etag in etags] == [200, 200, 200]
    assert len(set(etags)) == 3


def test_the_tag_of_a_list_belongs_to_its_reader(server: RunningServer):
    path = f"{API}/jobs"
    etag = tag(server.call("GET", path, headers={"X-Tenant": "a"}))
    foreign = server.call("GET", path, headers={"X-Tenant": "b", "If-None-Match": etag})
    assert foreign.status == 200


def test_the_tag_of_a_resource_follows_its_content_and_survives_a_restart(server: RunningServer):
    job_id = server.submit("b")
    path = f"{API}/jobs/{job_id}"
    server.report(job_id, "running")
    etag = tag(server.call("GET", path))
    assert conditional(server, path, etag).status == 304
    assert conditional(server, path, "*").status == 304
    server.terminate()
    server.start()
    assert conditional(server, path, etag).status == 304
    server.report(job_id, "running", phase="loading_data")
    changed = conditional(server, path, etag)
    assert (changed.status, tag(changed) == etag) == (200, False)


@pytest.mark.parametrize(("kind", "body"), [("providers", PROVIDER), ("collections", COLLECTION)])
def test_if_match_refuses_a_change_of_another_version(server: RunningServer, kind: str, body: dict[str, Any]):
    created = server.call("POST", f"{API}/{kind}", body)
    path = f"{API}/{kind}/{created.body['resource']['id']}"
    first = tag(created)
    assert tag(server.call("GET", path)) == first
    changed = server.call("PATCH", path, {"description": "one"}, {"If-Match": first})
    second = tag(changed)
    for method, content in (("PATCH", {"description": "two"}), ("PUT", body)):
        for stale in (first, f"W/{second}", '"x"', "nonsense"):
            refused = server.call(method, path, content, {"If-Match": stale})
            assert (refused.status, refused.body["message_code"]) == (412, "precondition_failed")
    assert server.get(path)["description"] == "one"
    assert server.call("PUT", path, body, {"If-Match": f'"x", {second}'}).status == 200
    assert server.call("PUT", path, body, {"If-Match": "*"}).status == 200
    assert server.call("PUT", path, body).status == 200


def test_a_run_of_a_collection_does_not_invalidate_an_edit(server: RunningServer):
    created = server.call("POST", f"{API}/collections", COLLECTION)
    collection_id = created.body["resource"]["id"]
    path = f"{API}/collections/{collection_id}"
    server.submit(benchmarks=[], collection={"id": collection_id})
    assert conditional(server, path, tag(created)).status == 200  # the number of runs is part of it
    answer = server.call("PATCH", path, {"description": "d"}, {"If-Match": tag(created)})
    assert answer.status == 200


def fetch(server: RunningServer, path: str, encoding: str | None) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Accept-Encoding": encoding} if encoding else {})
        response = connection.getresponse()
        return response, response.read()


def test_large_answers_are_compressed_for_clients_that_accept_it(server: RunningServer):
    path = f"{API}/providers/large"
    plain, body = fetch(server, path, None)
    assert plain.getheader("content-encoding") is None
    assert len(body) > 64 * 1024
    for accepted in ("gzip", "br;q=1, gzip;q=0.5", "*", "deflate, GZIP"):
        response, compressed = fetch(server, path, accepted)
        assert response.getheader("content-encoding") == "gzip", accepted
        assert int(response.getheader("content-length") or 0) == len(compressed) < len(body) / 4
        assert gzip.decompress(compressed) == body
        assert response.getheader("etag") == f'{(plain.getheader("etag") or "")[:-1]}-gzip"'
        assert conditional(server, path, response.getheader("etag") or "").status == 304
    for refused in ("gzip;q=0", "identity", "br", "gzip;q=0, *"):
        response, same = fetch(server, path, refused)
        assert (response.getheader("content-encoding"), same) == (None, body), refused
    assert "Accept-Encoding" in (plain.getheader("vary") or "")


def test_small_answers_and_logs_are_never_compressed(server: RunningServer):
    job_id = server.submit("b")
    for path in (f"{API}/jobs/{job_id}", f"{API}/jobs/{job_id}/logs", "/api/v1/health"):
        response, _ = fetch(server, path, "gzip")
        assert response.getheader("content-encoding") is None


class Poll:
    """A long poll in a thread."""

    def __init__(self, server: RunningServer, path: str) -> None:
        self.answer: Answer | None = None
        self._thread = threading.Thread(target=self._run, args=(server, path))
        self._thread.start()

    def _run(self, server: RunningServer, path: str) -> None:
        self.answer = server.call("GET", path)

    def result(self) -> Answer:
        self._thread.join(30)
        assert self.answer is not None
        return self.answer


def connections(server: RunningServer) -> int:
    found = psutil.Process(server.pid).net_connections("tcp")
    return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port == server.port for c in found)


def test_a_long_poll_returns_with_the_next_change(server: RunningServer):
    job_id = server.submit("b")
    server.report(job_id, "running")
    path = f"{API}/jobs/{job_id}"
    etag = tag(server.call("GET", path))
    poll = Poll(server, f"{path}?wait=60s&since={etag.strip(chr(34))}")
    wait_until(lambda: connections(server) == 1, "the long poll")
    assert poll.answer is None
    server.report(job_id, "running", progress={"done": 1, "total": 2})
    answer = poll.result()
    assert answer.body["status"]["benchmarks"][0]["progress"]["done"] == 1
    assert tag(answer) != etag


def test_a_long_poll_with_an_older_tag_returns_at_once(server: RunningServer):
    job_id = server.submit("b")
    answer = server.call("GET", f"{API}/jobs/{job_id}?wait=60s&since=older")
    assert answer.status == 200


def test_a_long_poll_ends_with_its_time_limit(server: RunningServer):
    job_id = server.submit("b")
    server.in_state(job_id, "pending")
    path = f"{API}/jobs/{job_id}"
    server.report(job_id, "running")
    etag = tag(server.call("GET", path))
    assert tag(server.call("GET", f"{path}?wait=10ms&since={etag}")) == etag
    assert server.call("GET", f"{path}?wait=10ms", headers={"If-None-Match": etag}).status == 304


def test_a_job_that_has_ended_is_returned_at_once_and_a_deleted_one_is_not_found(server: RunningServer):
    job_id = server.submit("b")
    server.report(job_id, "completed", metrics={"acc": 1.0})
    path = f"{API}/jobs/{job_id}"
    assert server.call("GET", f"{path}?wait=60s").status == 200
    # Its process is stopped only now, which changes the record but not the resource.
    etag = tag(server.call("GET", path))
    poll = Poll(server, f"{path}?wait=60s&since={etag}")
    wait_until(lambda: connections(server) == 1, "the long poll")
    server.call("DELETE", f"{path}?hard_delete=true")
    assert poll.result().status == 404


@pytest.mark.parametrize("text", ["soon", "-1s", "1e3", "1 day"])
def test_a_wait_that_is_no_duration_is_refused(server: RunningServer, text: str):
    answer = server.call("GET", f"{API}/jobs/{server.submit('b')}?wait={text.replace(' ', '%20')}")
    assert (answer.status, answer.body["message_code"]) == (400, "query_parameter_invalid")


def test_a_client_that_leaves_ends_its_long_poll(server: RunningServer):
    job_id = server.submit("b")
    server.report(job_id, "running")
    path = f"{API}/jobs/{job_id}?wait=60s&since={tag(server.call('GET', f'{API}/jobs/{job_id}'))}"
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head("GET", path, f"Host: localhost:{server.port}"))
        wait_until(lambda: connections(server) == 1, "the long poll")
    wait_until(lambda: connections(server) == 0, "its end")
    line = wait_until(
        lambda: [line for line in server.log_lines() if line.get("uri") == path], "the line of the access log"
    )
    assert line[0]["code"] == 200


def test_the_end_of_the_server_ends_long_polls(server: RunningServer):
    job_id = server.submit("b")
    server.report(job_id, "running")
    etag = tag(server.call("GET", f"{API}/jobs/{job_id}"))
    poll = Poll(server, f"{API}/jobs/{job_id}?wait=60s&since={etag}")
    wait_until(lambda: connections(server) == 1, "the long poll")
    assert server.terminate() == 0
    assert tag(poll.result()) == etag
    server.start()


def test_http_1_0_clients_get_tags_and_304(server: RunningServer):
    answer = raw_request(server.port, "GET", f"{API}/jobs", version="1.0")
    etag = answer.headers["etag"]
    again = raw_request(server.port, "GET", f"{API}/jobs", f"If-None-Match: {etag}", version="1.0")
    assert (again.status, json.dumps(again.body)) == (304, '""')
