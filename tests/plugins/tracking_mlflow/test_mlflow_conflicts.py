"""What other clients of MLflow do between two requests of the tracker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from evalhub_server.plugins import ExportOutcome, OutboxEntry, PluginContext, State, with_changes
from evalhub_server.testing.builders import a_job
from evalhub_tracking_mlflow.client import Client, MlflowError
from evalhub_tracking_mlflow.content import milliseconds
from evalhub_tracking_mlflow.credentials import Credentials
from evalhub_tracking_mlflow.experiments import Experiments
from evalhub_tracking_mlflow.plugin import make_tracker
from evalhub_tracking_mlflow.settings import MlflowSettings, tls_context
from evalhub_tracking_mlflow.workspaces import Workspaces
from harness.answering import AnsweringServer, Reply, Request

EXISTS = "RESOURCE_ALREADY_EXISTS"
MISSING = "RESOURCE_DOES_NOT_EXIST"
FOUND = {"experiment": {"experiment_id": "7"}}


def refusal(status: int, code: str) -> Reply:
    return Reply(status, body=json.dumps({"error_code": code, "message": "no"}).encode())


def reply(document: Mapping[str, Any]) -> Reply:
    return Reply(body=json.dumps(document).encode())


class Script:
    """Answers each request with the first reply that is left for the last word of its path."""

    def __init__(self, **replies: list[Reply]) -> None:
        self._replies = {name.replace("_", "-"): each for name, each in replies.items()}

    def __call__(self, request: Request) -> Reply:
        return self._replies[request.path.partition("?")[0].rpartition("/")[2]].pop(0)


def client_of(server: AnsweringServer) -> Client:
    settings = MlflowSettings(tracking_uri=server.url)
    return Client(Credentials(settings), settings.http_timeout, tls_context(settings))


async def resolved(script: Script) -> str:
    with AnsweringServer(script) as server:
        client = client_of(server)
        try:
            return await Experiments(client).resolve("e", {"team": "a"}, "s3://bucket", "")
        finally:
            await client.close()


async def test_an_experiment_that_another_client_creates_meanwhile_is_used():
    none = refusal(404, MISSING)
    assert await resolved(Script(get_by_name=[none, reply(FOUND)])) == "7"  # before the second look
    exists = [refusal(400, EXISTS)]
    assert await resolved(Script(get_by_name=[none, none, reply(FOUND)], create=exists)) == "7"  # after it


@pytest.mark.parametrize(
    ("looks", "refused"),
    [(2, refusal(403, "PERMISSION_DENIED")), (3, refusal(400, EXISTS))],
    ids=["not allowed", "exists, and is not found"],
)
async def test_a_refused_experiment_is_an_error(looks: int, refused: Reply):
    with pytest.raises(MlflowError, match="no"):
        await resolved(Script(get_by_name=[refusal(404, MISSING)] * looks, create=[refused]))


async def test_an_experiment_that_cannot_be_looked_up_is_an_error():
    with pytest.raises(MlflowError, match="PERMISSION_DENIED"):
        await resolved(Script(get_by_name=[refusal(403, "PERMISSION_DENIED")]))


async def test_only_an_experiment_that_exists_can_be_deleted():
    deleted = reply({"experiment": {"experiment_id": "7", "lifecycle_stage": "deleted"}})
    with AnsweringServer(
        Script(get=[refusal(404, MISSING), reply(FOUND), deleted, refusal(403, "X")])
    ) as server:
        client = client_of(server)
        experiments = Experiments(client)
        assert [await experiments.is_deleted("7", "") for _ in range(3)] == [False, False, True]
        with pytest.raises(MlflowError, match="403 X"):
            await experiments.is_deleted("7", "")
        await client.close()


async def test_a_workspace_that_another_client_creates_meanwhile_is_used():
    script = Script(
        a=[refusal(404, MISSING)],
        b=[refusal(404, MISSING)],
        c=[refusal(403, "X")],
        workspaces=[refusal(400, EXISTS), refusal(403, "PERMISSION_DENIED")],
    )
    with AnsweringServer(script) as server:
        client = client_of(server)
        workspaces = Workspaces(client, "")
        await workspaces.ensure("a")
        await workspaces.ensure("a")  # without a request
        for workspace, code in (("b", "PERMISSION_DENIED"), ("c", "403 X")):
            with pytest.raises(MlflowError, match=code):
                await workspaces.ensure(workspace)
        assert len(server.requests) == 5
        await client.close()


async def test_a_run_in_an_experiment_that_is_gone_ends_without_an_error():
    job = a_job(experiment_id="7", tracker="mlflow", state=State.COMPLETED)
    with AnsweringServer(
        Script(server_info=[Reply(404)], search=[refusal(404, MISSING), refusal(500, "X")])
    ) as server:
        tracker = make_tracker(MlflowSettings(tracking_uri=server.url), PluginContext())
        await tracker.end_run(a_job(state=State.COMPLETED))
        assert server.requests == []
        await tracker.end_run(job)
        with pytest.raises(MlflowError, match="500 X"):
            await tracker.end_run(job)
        await tracker.close()


async def test_late_runs_besides_the_recorded_one_are_deleted():
    job = a_job(experiment_id="7", tracker="mlflow", state=State.COMPLETED)
    entry = OutboxEntry(
        kind="tracker",
        name="mlflow",
        event="run",
        since=job.created_at,
        state="succeeded",
        outcome=ExportOutcome(reference="recorded"),
    )
    recorded = with_changes(job, outbox=(entry,))
    started = milliseconds(job.created_at)
    runs = [
        {"info": {"run_id": run_id, "start_time": start}}
        for run_id, start in {"late": started, "recorded": started, "a copy of a user": started + 1}.items()
    ]
    searches = [reply({"runs": runs}), refusal(404, MISSING), refusal(500, "X"), reply({"runs": []})]
    with AnsweringServer(Script(server_info=[Reply(404)], search=searches, delete=[reply({})])) as server:
        tracker = make_tracker(MlflowSettings(tracking_uri=server.url), PluginContext())
        await tracker.settle(job)
        await tracker.settle(with_changes(recorded, experiments={}))
        assert server.requests == [], "nothing was recorded"
        await tracker.settle(recorded)
        assert [each.document for each in server.requests if each.path.endswith("/delete")] == [
            {"run_id": "late"}
        ]
        await tracker.settle(recorded)  # in an experiment that is gone
        with pytest.raises(MlflowError, match="500 X"):
            await tracker.settle(recorded)
        await tracker.settle(recorded)
        await tracker.close()
