"""``evalhub``, the SDK's command line, against a real server."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from harness import RunningServer, processes_with, wait_until
from harness.sdk import Finished, Sdk

pytestmark = pytest.mark.slow

Evalhub = Callable[..., Finished]
OFTEN = ("--poll-interval", "0.05")
MODEL = ("--model-url", "http://model.test/v1", "--model-name", "m")


@pytest.fixture(scope="module")
def evalhub(sdk: Sdk, server: RunningServer) -> Iterator[Evalhub]:
    """The command, with a profile that names the server."""

    def run(*words: str) -> Finished:
        return sdk.run("evalhub", *words)

    for key, value in {"base_url": f"http://localhost:{server.port}", "tenant": ""}.items():
        assert run("config", "set", key, value).status == 0
    yield run
    assert run("config", "unset", "base_url").status == 0


def run_words(provider: str, *words: str) -> tuple[str, ...]:
    return ("eval", "run", "--name", "a job", *MODEL, "--provider", provider, "-b", "b", *words)


def submitted(output: str) -> str:
    match = re.search(r"Job submitted: (\S+)", output)
    assert match, output
    return match[1]


def output_of(done: Finished) -> str:
    """Output of a command, which must have succeeded."""
    assert (done.status, done.errors) == (0, "")
    return done.output


def refusal(done: Finished) -> str:
    """Last line of a command's errors; it must have failed."""
    assert (done.status, done.output) == (1, "")
    return done.errors.splitlines()[-1]


def rows(done: Finished) -> list[dict[str, str]]:
    return list(csv.DictReader(output_of(done).splitlines()))


def test_health_is_healthy(evalhub: Evalhub):
    assert output_of(evalhub("health")).startswith("EvalHub service: healthy (")


def test_run_and_wait_succeeds_for_a_completed_job(evalhub: Evalhub, server: RunningServer):
    words = ("-b", "c", "--param", "num_examples=5", "--param", "mode=fast", "--metric", "acc", "--wait")
    output = output_of(evalhub(*run_words("quick", *words, *OFTEN)))
    job_id = submitted(output)
    assert output.splitlines()[-1] == f"Job {job_id} finished with state: completed"
    job = server.job(job_id)
    parameters = {"num_examples": 5, "mode": "fast", "metrics": ["acc"]}
    assert [(b["id"], b["parameters"]) for b in job["benchmarks"]] == [("b", parameters), ("c", parameters)]


@pytest.mark.parametrize(
    ("provider", "state", "status"), [("quick", "completed", 0), ("breaks", "failed", 1)]
)
@pytest.mark.parametrize("flag", ["--wait", "--watch"])
def test_the_exit_status_of_run_depends_on_the_jobs_final_state(
    evalhub: Evalhub, provider: str, state: str, status: int, flag: str
):
    done = evalhub(*run_words(provider, flag, *OFTEN))
    assert done.status == status
    assert f"finished with state: {state}" in (done.errors if flag == "--watch" else done.output)


def test_a_job_from_a_file_is_run_and_printed_as_json(evalhub: Evalhub, tmp_path: Path):
    document = {
        "name": "from a file",
        "model": {"url": "http://model.test/v1", "name": "m"},
        "benchmarks": [{"id": "b", "provider_id": "quick"}, {"id": "b", "provider_id": "breaks"}],
    }
    file = tmp_path / "eval.yaml"
    file.write_text(yaml.safe_dump(document))
    done = evalhub("eval", "run", "--config", str(file), "--wait", *OFTEN, "--format", "json")
    assert done.status == 0
    (job,) = json.loads(done.output)
    assert (job["name"], job["status"]["state"]) == ("from a file", "partially_failed")
    assert [b["status"] for b in job["status"]["benchmarks"]] == ["completed", "failed"]


def test_a_watched_run_prints_what_the_adapter_prints(evalhub: Evalhub):
    done = evalhub(*run_words("breaks", "--watch", *OFTEN))
    assert done.output.splitlines()[-1] == "about to break"


@pytest.fixture(scope="module")
def finished(server: RunningServer) -> str:
    """A job with one completed and one failed benchmark."""
    benchmarks = [{"id": "b", "provider_id": provider} for provider in ("quick", "breaks")]
    job_id = server.submit(benchmarks=benchmarks, name="known", description="about it")
    server.finished(job_id)
    return job_id


def test_the_status_of_a_job_is_shown_by_benchmark(evalhub: Evalhub, finished: str):
    lines = output_of(evalhub("eval", "status", finished)).splitlines()
    assert lines[:5] == [
        f"Job:     {finished}",
        "Name:    known",
        "State:   partially_failed",
        "Desc:    about it",
        "Model:   m (http://model.test/v1)",
    ]
    assert "  b (quick): completed" in lines
    assert "  b (breaks): failed - boom" in lines
    assert "Message: Some of the benchmarks failed. " in lines


def test_jobs_are_listed_and_filtered(evalhub: Evalhub, server: RunningServer, finished: str):
    completed = server.submit(provider="quick")
    server.finished(completed)
    words = ("eval", "status", "--format", "csv")
    assert [row["id"] for row in rows(evalhub(*words, "--limit", "1"))] == [completed]
    (row,) = [row for row in rows(evalhub(*words, "--since", "1h")) if row["id"] == finished]
    assert (row["name"], row["state"], row["provider"], row["benchmarks"]) == (
        "known",
        "partially_failed",
        "quick",
        "2",
    )
    found = rows(evalhub(*words, "--status", "completed", "--provider", "quick"))
    assert completed in [row["id"] for row in found]
    assert {(row["state"], row["provider"]) for row in found} == {("completed", "quick")}
    assert finished in output_of(evalhub("eval", "status"))


def test_a_watched_status_ends_with_the_job(evalhub: Evalhub, server: RunningServer):
    job_id = server.submit(provider="quick")
    output = output_of(evalhub("eval", "status", job_id, "--watch", *OFTEN))
    assert f"{job_id}: completed [1/1 benchmarks]" in output
    assert "State:   completed" in output


def test_results_are_printed_in_every_format(evalhub: Evalhub, server: RunningServer):
    job_id = server.submit(provider="quick")
    server.finished(job_id)
    metrics = {"acc": 0.75, "label": "good", "n": 3}
    listed = rows(evalhub("eval", "results", job_id, "--format", "csv"))
    assert {row["metric"]: row["value"] for row in listed} == {"acc": "0.75", "label": "good", "n": "3"}
    assert (
        json.loads(output_of(evalhub("eval", "results", job_id, "--format", "json")))[0]["metrics"] == metrics
    )
    assert (
        yaml.safe_load(output_of(evalhub("eval", "results", job_id, "--format", "yaml")))[0]["metrics"]
        == metrics
    )
    assert "0.75" in output_of(evalhub("eval", "results", job_id))


def test_results_of_a_job_that_did_not_complete_come_with_a_warning(evalhub: Evalhub, finished: str):
    done = evalhub("eval", "results", finished)
    assert "0.75" in done.output
    assert f"Warning: job {finished} is in state 'partially_failed'" in done.errors


def test_logs_are_printed_for_the_job_and_for_one_benchmark(evalhub: Evalhub, finished: str):
    lines = output_of(evalhub("eval", "logs", finished)).splitlines()
    assert lines[1::2] == ["hello", "about to break"]
    assert output_of(evalhub("eval", "logs", finished, "--benchmark-index", "1")) == "about to break"
    options = ("--tail", "1", "--timestamps", "--since", "3600")
    assert "hello" in output_of(evalhub("eval", "logs", finished, *options))


def test_followed_logs_end_with_the_job(evalhub: Evalhub, server: RunningServer, closed_gate: Path):
    job_id = server.submit(provider="gated")
    wait_until(lambda: "first" in server.logs(job_id), "the adapter's first line")
    timed_out = evalhub("eval", "logs", job_id, "--follow", "--timeout", "0.1", *OFTEN)
    assert (timed_out.status, timed_out.output.splitlines()[-1]) == (2, "first")
    closed_gate.touch()
    done = evalhub("eval", "logs", job_id, "--follow", *OFTEN)
    assert (done.status, done.output.splitlines()[1:]) == (0, ["first", "second"])
    assert f"Job {job_id} finished with state: completed" in done.errors


@pytest.mark.parametrize(("flags", "action"), [((), "cancelled"), (("--hard-delete",), "deleted")])
def test_a_running_job_is_cancelled_or_deleted(
    evalhub: Evalhub, server: RunningServer, flags: tuple[str, ...], action: str
):
    job_id = server.submit(provider="hangs")
    server.in_state(job_id, "running")
    assert output_of(evalhub("eval", "cancel", job_id, "--yes", *flags)) == f"Job {job_id} {action}.\n"
    assert processes_with(job_id) == []
    status = evalhub("eval", "status", job_id)
    assert "State:   cancelled" in status.output if action == "cancelled" else status.status == 1


def test_a_finished_job_is_not_cancelled(evalhub: Evalhub, finished: str):
    assert refusal(evalhub("eval", "cancel", finished, "--yes")) == (
        f"Error: Job '{finished}' cannot be cancelled: "
        f"The job {finished} can not be cancelled because it is 'partially_failed'."
    )
    assert refusal(evalhub("eval", "cancel", "nope", "--yes")) == "Error: Job 'nope' not found"


def test_providers_are_listed_and_described(evalhub: Evalhub):
    counts = {row["id"]: row["benchmarks"] for row in rows(evalhub("providers", "list", "--format", "csv"))}
    assert counts["quick"] == "2"
    assert counts["bare"] == "0"
    assert len(json.loads(output_of(evalhub("providers", "list", "--format", "json")))) == len(counts)
    described = output_of(evalhub("providers", "describe", "quick"))
    assert "Provider: quick" in described
    assert "Benchmarks (2):" in described
    assert output_of(evalhub("providers", "describe", "bare")).endswith("Benchmarks (0):\n  (none)\n")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("eval", "status", "nope"), "(404): The evaluation job resource 'nope' was not found."),
        (("eval", "results", "nope"), "(404): The evaluation job resource 'nope' was not found."),
        (("eval", "logs", "nope"), "(404): The evaluation job resource 'nope' was not found."),
        (("providers", "describe", "nope"), "(404): The provider resource 'nope' was not found."),
        (run_words("nope"), "(404): The provider resource 'nope' was not found."),
        (run_words("quick", "-b", "nope"), "(400): The benchmark with id 'nope' does not exist."),
        (
            run_words("quick", "--param", "k=v", "--model-url", "no url"),
            "(400): The request validation failed",
        ),
    ],
)
def test_errors_have_the_servers_text(evalhub: Evalhub, words: tuple[str, ...], text: str):
    assert refusal(evalhub(*words)).startswith(f"Error: Server error {text}")


def test_a_profile_with_a_tenant_sees_that_tenants_jobs_only(
    evalhub: Evalhub, server: RunningServer, finished: str
):
    for key, value in {"base_url": f"http://localhost:{server.port}", "tenant": "red"}.items():
        output_of(evalhub("--profile", "red", "config", "set", key, value))
    mine = submitted(output_of(evalhub("--profile", "red", *run_words("quick"))))
    found = rows(evalhub("--profile", "red", "eval", "status", "--format", "csv"))
    assert [row["id"] for row in found] == [mine]
    assert "was not found" in refusal(evalhub("--profile", "red", "eval", "status", finished))
