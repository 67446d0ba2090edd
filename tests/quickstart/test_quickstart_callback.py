"""Events while the server is unavailable, busy, or refuses them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalhub_common.adapter.connection import parse_url
from evalhub_common.adapter.errors import EventRefused
from evalhub_common.adapter.events import EventSender
from evalhub_common.adapter.job import JobAddress
from evalhub_quickstart.endpoint import DemoEndpoint
from harness.answering import AnsweringServer, Reply, Request
from harness.quickstart import (
    NO_CONTENT,
    CallbackServer,
    JobDirectory,
    chat_answer,
    error_answer,
    finish,
)


def status_of(received: Request) -> str:
    return received.document["benchmark_status_event"]["status"]


def test_a_result_waits_for_a_server_that_comes_back(tmp_path: Path, demo: DemoEndpoint) -> None:
    with CallbackServer() as reserved:
        port = reserved.port
    job = JobDirectory(tmp_path / "job", callback_url=f"http://127.0.0.1:{port}")
    job.use(demo.url)
    process = job.start()
    assert process.stdout is not None
    for line in process.stdout:  # ends with the process, so this cannot wait for ever
        if "event 'completed' not delivered yet (connection refused)" in line:
            break
    with CallbackServer(port=port) as callback:
        finished = finish(process)
        assert finished.status == 0, finished
        assert [event["status"] for event in callback.events] == ["completed"]


def test_events_are_repeated_until_the_server_takes_them(tmp_path: Path, demo: DemoEndpoint) -> None:
    def stumble(received: Request) -> Reply:
        trouble = {0: error_answer(500, "starting"), 1: error_answer(429, "busy"), 4: error_answer(503, "")}
        return trouble.get(received.number, NO_CONTENT)

    with CallbackServer(stumble) as callback:
        job = JobDirectory(tmp_path / "job", callback_url=callback.url)
        job.use(demo.url)
        assert job.run().status == 0
    phases = [event["phase"] for event in callback.events]
    assert phases[:3] == ["initializing"] * 3
    assert phases[4:6] == ["running_evaluation"] * 2
    assert phases[-1] == "completed"
    assert callback.events[0] == callback.events[2]


def test_a_server_that_drops_connections_gets_the_event_again(tmp_path: Path, demo: DemoEndpoint) -> None:
    def drop_some(received: Request) -> Reply | None:
        return None if received.number % 3 == 1 else NO_CONTENT

    with AnsweringServer(drop_some) as server:
        job = JobDirectory(tmp_path / "job", callback_url=server.url)
        job.use(demo.url)
        assert job.run().status == 0
    assert status_of(server.requests[-1]) == "completed"


@pytest.mark.parametrize("closing", ["running", "completed"])
def test_the_adapter_exits_with_status_0_when_the_job_is_closed(closing: str, tmp_path: Path) -> None:
    def close(received: Request) -> Reply:
        if status_of(received) == closing:
            return Reply(409, json.dumps({"message": "the job is cancelled", "message_code": "x"}).encode())
        return NO_CONTENT

    with CallbackServer(close) as callback, AnsweringServer(lambda _: chat_answer("1")) as model:
        job = JobDirectory(tmp_path / "job", callback_url=callback.url)
        job.use(model.url)
        finished = job.run()
    assert finished.status == 0
    assert finished.errors == ""
    assert "the job is closed: stopping (409: the job is cancelled)" in finished.output
    assert status_of(callback.requests[-1]) == closing
    assert len(model.requests) == (0 if closing == "running" else 51)


@pytest.mark.parametrize("status", [400, 401, 404])
def test_the_adapter_exits_when_the_server_refuses_events(status: int, tmp_path: Path) -> None:
    with CallbackServer(lambda _: error_answer(status, "not known here")) as callback:
        job = JobDirectory(tmp_path / "job", callback_url=callback.url)
        job.use("http://127.0.0.1:9/v1")
        finished = job.run()
    assert finished.status == 1
    assert f"answered {status}: not known here" in finished.output
    assert len(callback.requests) == 1


def test_a_path_in_the_callback_url_is_used(tmp_path: Path, demo: DemoEndpoint) -> None:
    with CallbackServer() as callback:
        job = JobDirectory(tmp_path / "job", callback_url=callback.url + "/sidecar/")
        job.use(demo.url)
        job.document["id"] = "a/b c"
        assert job.run().status == 0
    assert callback.requests[0].path == "/sidecar/api/v1/evaluations/jobs/a%2Fb%20c/events"


def test_a_token_file_authorises_the_events(
    job: JobDirectory, callback: CallbackServer, demo: DemoEndpoint, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    job.use(demo.url)
    assert job.run(EVALHUB_AUTH_TOKEN_PATH=str(tmp_path / "token")).status == 0
    assert callback.requests[0].headers["Authorization"] == "Bearer t0ken"


def test_a_token_file_that_is_missing_is_named(job: JobDirectory, tmp_path: Path) -> None:
    job.use("http://127.0.0.1:9/v1")
    finished = job.run(EVALHUB_AUTH_TOKEN_PATH=str(tmp_path / "missing"))
    assert finished.status == 2
    assert str(tmp_path / "missing") in finished.errors


@pytest.fixture
def unreachable(tmp_path: Path) -> JobAddress:
    """The address of a job with an unreachable server."""
    with CallbackServer() as gone:
        callback = parse_url(gone.url)
    return JobAddress(
        job_id="j",
        provider_id="quickstart",
        benchmark_id="arithmetic",
        benchmark_index=0,
        callback=callback,
        directory=tmp_path,
    )


def test_an_undelivered_result_is_logged(
    unreachable: JobAddress, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evalhub_common.adapter.events.TERMINAL_PATIENCE_S", 0.3)
    sender = EventSender(unreachable, {})
    with pytest.raises(EventRefused, match=r"could not be reached for 0\.3 s"):
        sender.completed({"accuracy": 0.5}, additional_info={}, samples_file=Path("/s"), warning=None)
    sender.close()
    output = capsys.readouterr().out
    assert "event 'completed' not delivered yet (connection refused): retrying" in output
    assert '"metrics": {"accuracy": 0.5}' in output.splitlines()[-1]


def test_phase_events_do_not_hold_up_the_work(
    unreachable: JobAddress, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("evalhub_common.adapter.events.PHASE_PATIENCE_S", 0.2)
    sender = EventSender(unreachable, {})
    sender.running("initializing")
    assert "retrying" in capsys.readouterr().out
    sender.running("loading_data")  # only tried once after the first was lost
    assert capsys.readouterr().out == "event 'loading_data' was not delivered: continuing without it\n"
    with CallbackServer(port=unreachable.callback.port) as callback:
        sender.running("running_evaluation")
        assert [event["phase"] for event in callback.events] == ["running_evaluation"]
        sender.close()


def test_progress_is_reported_once_per_interval_with_the_metrics_so_far(
    unreachable: JobAddress,
) -> None:
    with CallbackServer(port=unreachable.callback.port) as callback:
        sender = EventSender(unreachable, {}, progress_interval_s=0.0)
        sender.running("running_evaluation", total=4)
        sender.progress(1, 4, lambda: {"accuracy": 1.0})
        sender.progress(2, 4, lambda: {"accuracy": 0.5})
        sender.close()
        patient = EventSender(unreachable, {}, progress_interval_s=3600.0)
        patient.running("running_evaluation", total=4)
        patient.progress(3, 4, lambda: {"accuracy": 0.5})
        patient.running("post_processing")
        patient.close()
    assert [(event["progress"], event["metrics"]) for event in callback.progress] == [
        ({"done": 1, "total": 4}, {"accuracy": 1.0}),
        ({"done": 2, "total": 4}, {"accuracy": 0.5}),
    ]
    assert [event["progress"]["done"] for event in callback.events] == [0, 0, 3]


def test_lost_progress_is_not_retried(unreachable: JobAddress, capsys: pytest.CaptureFixture[str]) -> None:
    sender = EventSender(unreachable, {}, progress_interval_s=0.0)
    sender.progress(1, 4, dict)
    with CallbackServer(port=unreachable.callback.port) as callback:
        sender.progress(2, 4, dict)  # a server that was away is left alone for a while
    sender.close()
    assert callback.progress == []
    assert "retrying" not in capsys.readouterr().out
