"""Commands that are clients of a server: exit statuses, output, and the choice of the server."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest

from evalhub_server.plugins import JobFacetName
from harness import Config, RunningServer, free_port, processes_with, wait_until
from harness.answering import AnsweringServer, Reply
from harness.config import steps_command
from harness.model_server import Kind, ModelServer
from harness.program import run_program
from harness.quickstart import error_answer
from harness.released import ReleasedServer, error
from harness.server import API
from harness.terminal import run_in_terminal

PROGRAM = [sys.executable, "-m", "evalhub_server"]
MODEL = ("--model", "m=http://model.test/v1")
QUICK = (*MODEL, "-b", "quick/q")
SLOW = (*MODEL, "-b", "slow/s")
ALL_COMMANDS = (
    *("run", "jobs", "show", "logs", "samples", "rerun", "cancel", "export"),
    *("compare", "leaderboard", "gate", "baseline"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("commands")
    config = Config(folder)
    config.provider(
        steps_command("running:loading_data", "say:hello", 'completed:{"acc": 0.5}'),
        "q",
        "q2",
        provider_id="quick",
    )
    config.provider(steps_command("failed:it broke"), "f", provider_id="broken")
    config.provider("sleep 600", "s", provider_id="slow")
    needs = {"requires": ["prompt_logprobs", "data"], "generating_twin": "generating"}
    config.provider(steps_command("completed"), "needy", provider_id="demanding", benchmark=needs)
    judged = {"requires": ["judge", "sandbox", "data"]}
    config.provider(steps_command("completed"), "judged", provider_id="judging", benchmark=judged)
    anything = {"id": "anything", "any_benchmark": True, "runtime": {"local": {"command": "true"}}}
    config.write("providers/anything.yaml", anything)
    members = [{"id": "q", "provider_id": "quick"}, {"id": "q2", "provider_id": "quick"}]
    config.provider(steps_command("completed"), "shared", "same/whole", provider_id="same")
    alias = {"alias_of": "aliased_task"}
    config.provider(steps_command("completed"), "other/alias", provider_id="other", benchmark=alias)
    nowhere = {"id": "nowhere", "name": "nowhere", "benchmarks": [{"id": "shared", "name": "shared"}]}
    config.write("providers/nowhere.yaml", nowhere)
    config.write(
        "collections/two.yaml", {"id": "two", "name": "two", "category": "test", "benchmarks": members}
    )
    with RunningServer(config.folder, data_dir=folder / "data") as running:
        yield running


@pytest.fixture
def env(server: RunningServer) -> dict[str, str]:
    return {**os.environ, "EVALHUB_BASE_URL": f"http://localhost:{server.port}"}


def command(env: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_program(*arguments, env=env)


def output(env: dict[str, str], *arguments: str) -> Any:
    done = command(env, *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_run_completes_with_0_and_shows_progress_and_results(env: dict[str, str]):
    done = command(
        env, "run", "--model", "a=http://x/v1", "--model", "b=http://x/v1", "-b", "quick/q", "-b", "q2"
    )
    assert (done.returncode, done.stderr) == (0, "")
    for text in ("a  quick/q: completed", "b  quick/q2: completed", "acc=0.5", "is completed"):
        assert text in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.endswith("Show one again with: eval-hub-server show JOB\n")


def test_run_of_one_job_names_it_in_the_suggested_command(env: dict[str, str]):
    done = command(env, "run", *QUICK)
    *_, job_line, hint = done.stdout.splitlines()
    assert hint == f"Show it again with: eval-hub-server show {job_line.split()[1]}"


def test_run_submits_what_options_and_file_say(env: dict[str, str], tmp_path: Path):
    file = tmp_path / "matrix.yaml"
    document = {
        "name": "from the file",
        "models": [{"name": "a", "url": "http://x/v1"}, {"name": "b", "url": "http://x/v1"}],
        "benchmarks": ["quick/q", {"id": "q2", "provider_id": "quick", "parameters": {"top": 2}}],
        "parameters": {"top": 1, "kept": "yes"},
    }
    file.write_text(json.dumps(document))
    options = (
        "--num-examples",
        "7",
        "--param",
        "top=3",
        "--param",
        "list=[1, 2]",
        "--name",
        "mine",
        "--tag",
        "t",
    )
    jobs = output(env, "run", str(file), *options)
    assert [job["name"] for job in jobs] == ["mine: a", "mine: b"]
    assert jobs[0]["tags"] == ["t"]
    shared = {"kept": "yes", "list": [1, 2], "num_examples": 7}
    assert [each["parameters"] for each in jobs[0]["benchmarks"]] == [
        {**shared, "top": 3},
        {**shared, "top": 2},
    ]


def test_run_of_a_collection_passes_parameters_on(env: dict[str, str]):
    (job,) = output(env, "run", *MODEL, "--collection", "two", "--num-examples", "3")
    assert [each["parameters"] for each in job["collection"]["benchmarks"]] == [{"num_examples": 3}] * 2


def test_run_passes_a_directory_of_test_data_on(env: dict[str, str], tmp_path: Path):
    own = {
        "id": "q",
        "provider_id": "quick",
        "test_data_ref": {"git": {"url": "https://x.test/r", "ref": "v1"}},
    }
    file = tmp_path / "matrix.yaml"
    file.write_text(json.dumps({"benchmarks": ["quick/q", own]}))
    here = os.path.relpath(tmp_path)
    (job,) = output(env, "run", str(file), *MODEL, "--test-data", here, "--no-wait")
    first, second = job["benchmarks"]
    assert (first["test_data_path"], "test_data_path" in second) == (str(tmp_path.resolve()), False)
    command(env, "cancel", job["resource"]["id"])
    (job,) = output(env, "run", *MODEL, "--collection", "two", "--test-data", str(tmp_path))
    assert {each["test_data_path"] for each in job["collection"]["benchmarks"]} == {str(tmp_path.resolve())}
    done = command(env, "run", *MODEL, "-b", "quick/q", "--test-data", str(tmp_path / "nothing"))
    assert done.returncode == 64
    assert "test_data_path" in done.stderr


def test_run_finds_the_provider_that_can_run_and_ids_that_begin_like_their_provider(env: dict[str, str]):
    (job,) = output(env, "run", *MODEL, "-b", "shared", "-b", "same/whole", "-b", "other/other/alias")
    assert [(each["provider_id"], each["id"]) for each in job["benchmarks"]] == [
        ("same", "shared"),
        ("same", "same/whole"),
        ("other", "other/alias"),
    ]
    done = command(env, "run", *MODEL, "-b", "other/alias")
    assert "The benchmark with id 'aliased_task' does not exist" in done.stderr
    done = command(env, "run", *MODEL, "-b", "no-such/whole")
    assert done.returncode == 64
    assert "no-such" in done.stderr


def test_ids_in_a_narrow_terminal_are_whole(env: dict[str, str]):
    job_id = output(env, "run", *QUICK)[0]["resource"]["id"]
    _, text = run_in_terminal([*PROGRAM, "jobs", "--limit", "1"], env, columns=60)
    assert "…" not in text
    cells = [line.split("│")[1].strip() for line in text.splitlines() if line.count("│") > 2]
    assert "".join(cells) == job_id


def notes_of_run(env: dict[str, str], url: str, name: str = "test-model", **variables: str) -> list[str]:
    """The notes of a run whose benchmark needs log-probabilities of prompts and test data."""
    done = command({**env, **variables}, "run", "--model", f"{name}={url}", "-b", "demanding/needy")
    assert done.returncode == 0
    *notes, last = done.stderr.splitlines()
    assert last == "Note: needy needs test data of your own."
    return notes


def test_run_names_what_cannot_start_and_not_what_the_job_has(env: dict[str, str], tmp_path: Path):
    options = ("-b", "judging/judged", "--test-data", str(tmp_path), "--param", "judge_model=j")
    done = command(env, "run", *MODEL, *options, "--param", "sandbox=local")
    assert (done.returncode, done.stderr) == (0, "")
    (note,) = command(env, "run", *MODEL, "-b", "nowhere/shared").stderr.splitlines()
    assert note == (
        "Note: shared will fail to start: the provider 'nowhere' has no adapter for the runtime 'local'."
    )


TWIN = "; 'generating' has the same questions for chat endpoints."


@pytest.mark.parametrize("kind", ["vllm", "ollama", "llama.cpp", "null"])
def test_run_names_what_the_endpoint_lacks_before_it_submits(env: dict[str, str], kind: Kind):
    with ModelServer(kind, api_key="k") as endpoint:
        notes = notes_of_run(env, endpoint.url, OPENAI_API_KEY="k")  # the adapters, too, add /v1
    if kind == "vllm":
        assert not notes
        return
    (note,) = notes
    assert note.startswith("Note: needy cannot run: it needs the log-probabilities of prompts")
    assert note.endswith(f"which {endpoint.url} does not return{TWIN}")


def test_run_takes_a_refused_request_for_missing_log_probabilities_if_the_endpoint_can_chat(
    env: dict[str, str],
):
    with ModelServer() as endpoint:
        endpoint.fail(1, 501)
        (note,) = notes_of_run(env, endpoint.base)
    assert "cannot run" in note


@pytest.mark.parametrize(
    ("answer", "name", "fault"),
    [
        (Reply(200, b"<html>"), "test-model", "it answered 200, but not with a completion"),
        (error_answer(401, "no key"), "test-model", "it answered 401: no key. Check the credentials"),
        (None, "wrong", "does the endpoint serve a model named 'wrong'?"),
    ],
)
def test_run_names_an_endpoint_that_cannot_be_used_before_it_submits(
    env: dict[str, str], answer: Reply | None, name: str, fault: str
):
    with ModelServer() as endpoint:
        if answer is not None:
            endpoint.answer = lambda _: answer
        first, second = notes_of_run(env, endpoint.base, name)
    assert first.startswith("Note: from this computer, the model endpoint http://localhost:")
    assert fault in first
    assert second.startswith("Note: needy needs the log-probabilities of prompts")
    assert second.endswith(TWIN)


def test_run_names_a_model_url_that_cannot_be_used_before_it_submits(env: dict[str, str]):
    first, _ = notes_of_run(env, "localhost:1234/v1")
    assert first == (
        "Note: from this computer, model.url cannot be used: it must be an absolute URL such as http://127.0.0.1:8000/v1."
    )


def test_run_exits_with_1_if_a_job_failed_or_failed_in_part(env: dict[str, str]):
    failed = command(env, "run", *MODEL, "-b", "broken/f")
    assert failed.returncode == 1
    assert "it broke" in failed.stdout
    partly = command(env, "run", *QUICK, "-b", "broken/f", "--json")
    assert partly.returncode == 1
    assert json.loads(partly.stdout)[0]["status"]["state"] == "partially_failed"


@contextmanager
def started(env: dict[str, str], *arguments: str, **options: Any) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [*PROGRAM, *arguments],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()  # so that a failed test does not wait


def first_job(process: subprocess.Popen[str]) -> str:
    """The job that ``run`` has submitted, once it is displayed."""
    assert process.stdout is not None
    job_id = re.match(r"Job ([0-9a-f-]{36})", process.stdout.readline())
    assert job_id
    while "slow/s" not in process.stdout.readline():
        pass
    return job_id[1]


def test_run_exits_with_130_if_the_job_is_cancelled(env: dict[str, str], server: RunningServer):
    with started(env, "run", *SLOW) as process:
        job_id = first_job(process)
        assert command(env, "cancel", job_id).returncode == 0
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert server.job(job_id)["status"]["state"] == "cancelled"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_without_a_terminal_an_interrupt_detaches(env: dict[str, str], server: RunningServer, number: int):
    with started(env, "run", *SLOW, stdin=subprocess.DEVNULL) as process:
        job_id = first_job(process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Detached; the jobs go on." in errors
    assert server.job(job_id)["status"]["state"] in ("pending", "running")
    assert output(env, "cancel", job_id) == {"cancelled": [job_id], "refused": []}


def test_an_interrupt_cancels_if_that_is_wanted(env: dict[str, str], server: RunningServer):
    with started(env, "run", *SLOW, "--on-interrupt", "cancel") as process:
        job_id = first_job(process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert server.job(job_id)["status"]["state"] == "cancelled"


@pytest.mark.parametrize(("key", "state"), [("c", "cancelled"), ("d", "pending")])
def test_on_a_terminal_an_interrupt_asks(env: dict[str, str], server: RunningServer, key: str, state: str):
    sent: set[str] = set()

    def until(text: str, process: subprocess.Popen[bytes]) -> None:
        if "Left" in text and "signal" not in sent:
            sent.add("signal")
            process.send_signal(signal.SIGINT)

    status, text = run_in_terminal(
        [*PROGRAM, "run", *SLOW], env, columns=100, until=until, typed={"go on waiting": f"{key}\n"}
    )
    assert status == 130, text
    job_id = re.search(r"Job ([0-9a-f-]{36})", text)
    assert job_id
    assert server.job(job_id[1])["status"]["state"] == state
    command(env, "cancel", job_id[1])


def test_on_a_terminal_run_shows_a_table_with_progress(env: dict[str, str], server: RunningServer):
    reported: set[int] = set()

    def until(text: str, process: subprocess.Popen[bytes]) -> None:
        found = re.search(r"Job ([0-9a-f-]{36})", text)
        if not found:
            return
        for done in (1, 2, 40):
            if done not in reported and (done == 1 or f"{ {2: 1, 40: 2}[done] }/40" in text):
                reported.add(done)
                event = {"provider_id": "slow", "id": "s", "benchmark_index": 0, "status": "running"}
                event["progress"] = {"done": done, "total": 40}
                if done == 40:
                    event |= {"status": "completed", "metrics": {"acc": 0.25}}
                server.call("POST", f"{API}/jobs/{found[1]}/events", {"benchmark_status_event": event})
                return

    status, text = run_in_terminal([*PROGRAM, "run", *SLOW], env, columns=100, until=until)
    assert status == 0, text
    assert "┃" in text
    assert "2/40" in text
    assert re.search(r"2/40 │ \d:\d\d:\d\d", text)
    assert "acc=0.25" in text


def test_run_without_waiting_submits_and_exits(env: dict[str, str], server: RunningServer):
    (job,) = output(env, "run", *SLOW, "--no-wait")
    assert server.job(job["resource"]["id"])["status"]["state"] in ("pending", "running")
    done = command(env, "cancel", job["resource"]["id"], "--delete")
    assert done.stdout == f"Job {job['resource']['id']} is deleted\n"
    assert command(env, "show", job["resource"]["id"]).returncode == 64


def test_jobs_show_logs_and_cancel(env: dict[str, str]):
    (job,) = output(env, "run", *QUICK, "--name", "looked at")
    job_id = job["resource"]["id"]
    assert job_id in command(env, "jobs", "--model", "m", "--state", "completed", "--limit", "100").stdout
    assert output(env, "jobs", "--benchmark", "q", "--limit", "1")["items"]
    counted = output(env, "jobs", "--count-by", "model_name", "--model", "m")
    assert "m" in [each["value"] for each in counted["values"]]
    help_text = command(env, "jobs", "--help").stdout
    assert [name for name in get_args(JobFacetName) if name not in help_text] == []
    lines = command(env, "jobs", "--count-by", "status").stdout.splitlines()
    assert lines[0].split() == ["status", "Jobs"]
    assert "completed" in [line.split()[0] for line in lines[1:]]
    shown = command(env, "show", job_id).stdout
    for text in ("looked at", "m at http://model.test/v1", "quick/q", "acc=0.5", "loading data 0:00:0"):
        assert text in shown
    assert output(env, "show", job_id)["resource"]["id"] == job_id
    assert command(env, "logs", job_id, "--benchmark", "0").stdout == "hello\n"
    assert json.loads(command(env, "logs", job_id, "--benchmark", "0", "--json").stdout) == {"line": "hello"}
    again = command(env, "cancel", job_id)
    assert again.returncode == 1
    assert "because it is 'completed'" in again.stderr


def test_a_rerun_repeats_what_failed_in_a_new_job(env: dict[str, str]):
    partly = json.loads(command(env, "run", *QUICK, "-b", "broken/f", "--json").stdout)[0]["resource"]["id"]
    done = command(env, "rerun", partly, "--json")
    assert done.returncode == 1
    (job,) = json.loads(done.stdout)
    assert job["resource"]["derived_from"] == partly
    assert [each["id"] for each in job["status"]["benchmarks"]] == ["f"]
    assert len(output(env, "rerun", partly, "--only", "0", "--no-wait")) == 1


def test_logs_are_followed_until_the_end(env: dict[str, str]):
    (job,) = output(env, "run", *QUICK, "--no-wait")
    done = command(env, "logs", "-f", job["resource"]["id"], "--benchmark", "0")
    assert (done.returncode, done.stdout) == (0, "hello\n")


def test_an_export_is_a_file_in_the_format_of_its_name(env: dict[str, str], tmp_path: Path):
    (job,) = output(env, "run", *QUICK, "--tag", "exported")
    file = tmp_path / "table.json"
    assert command(env, "export", job["resource"]["id"], "-o", str(file)).returncode == 0
    assert json.loads(file.read_text("utf-8"))[0]["job_id"] == job["resource"]["id"]
    assert [each.name for each in tmp_path.iterdir()] == ["table.json"]
    assert job["resource"]["id"] in command(env, "export", "--tag", "exported").stdout
    done = command(env, "export", job["resource"]["id"], "-o", "/nope/x.csv")
    assert (done.returncode, done.stderr) == (
        69,
        "eval-hub-server: /nope/x.csv: No such file or directory.\n",
    )
    assert command(env, "export", "nope", "-o", str(tmp_path / "x.csv")).returncode == 64
    assert not (tmp_path / "x.csv").exists()


def test_a_benchmark_that_no_provider_lists_is_looked_for_in_those_that_accept_any(env: dict[str, str]):
    done = command(env, "run", *MODEL, "-b", "neddy")
    assert done.returncode == 64
    assert (
        "No provider has the benchmark 'neddy'. Did you mean 'demanding/needy'?"
        " For a task that is not listed, name its provider: anything/neddy."
    ) in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-b", "demanding/neddy"], "has no benchmark 'neddy'. Did you mean 'demanding/needy'?"),
        (["-b", "quik/q"], "provider resource 'quik' was not found. Did you mean 'quick'?"),
        (["--collection", "tow"], "collection resource 'tow' was not found. Did you mean 'two'?"),
        (["-b", "zzzzzzzz/q"], "provider resource 'zzzzzzzz' was not found."),
        (["-b", "quick/q", "--param", "num_examples=many"], "--param num_examples=many: expected a number."),
    ],
)
def test_a_misspelt_name_is_answered_with_a_suggestion(
    env: dict[str, str], arguments: list[str], message: str
):
    done = command(env, "run", *MODEL, *arguments)
    assert done.returncode == 64
    assert " ".join(done.stderr.split()).endswith(message)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", *MODEL],
        ["run", "-b", "quick/q"],
        ["run", *QUICK, "--collection", "two"],
        ["run", "--model", "nothing", "-b", "quick/q"],
        ["run", "--model-url", "http://x", "-b", "quick/q"],
        ["run", *QUICK, "--param", "x"],
        ["run", *QUICK, "--num-examples", "0"],
        ["run", *MODEL, "-b", "qq"],
        ["run", *MODEL, "-b", "quick/nope"],
        ["run", *MODEL, "--collection", "nope"],
        ["run", "missing.yaml"],
        ["run", *QUICK, "--server", "localhost"],
        ["show"],
        ["show", "nope"],
        ["logs", "nope", "--tail", "0"],
        ["samples", "nope", "--outcome", "x"],
        ["rerun", "nope", "--only", "some"],
        ["export", "x", "--model", "m"],
        ["export", "--json", "--format", "csv"],
        ["jobs", "--nope"],
    ],
)
def test_wrong_usage_exits_with_64(env: dict[str, str], arguments: list[str]):
    done = command(env, *arguments)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr


def test_an_unknown_key_of_a_matrix_is_reported_with_its_line(env: dict[str, str], tmp_path: Path):
    file = tmp_path / "m.yaml"
    file.write_text("models:\n- nam: a\nbenchmarks: [quick/q]\n")
    done = command(env, "run", str(file))
    assert done.returncode == 64
    assert f"{file}:2: models[0].nam: unknown key (did you mean name?)" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", *QUICK],
        ["jobs"],
        ["show", "x"],
        ["logs", "x"],
        ["samples", "x"],
        ["rerun", "x"],
        ["cancel", "x"],
        ["export"],
    ],
)
def test_an_unreachable_server_exits_with_69(env: dict[str, str], arguments: list[str]):
    done = command({**env, "EVALHUB_BASE_URL": f"http://localhost:{free_port()}"}, *arguments)
    assert (done.returncode, done.stdout) == (69, "")
    assert "cannot be reached" in done.stderr


def test_refused_credentials_exit_with_69(env: dict[str, str]):
    with AnsweringServer(lambda _: error(401, "unauthorized", "This server requires a token.")) as refusing:
        done = command(env, "jobs", "--server", refusing.url)
    assert done.returncode == 69
    assert "requires a token. The token is read from EVALHUB_TOKEN" in done.stderr


def test_a_failing_server_exits_with_69(env: dict[str, str]):
    with AnsweringServer(lambda _: error(500, "database_operation_failed", "It failed.")) as failing:
        assert command(env, "jobs", "--server", failing.url).returncode == 69


def test_a_reader_that_closes_the_pipe_exits_with_69(env: dict[str, str]):
    with started(env, "jobs", "--json") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == ""
        assert process.wait(30) == 69


def test_the_released_server_is_used_as_far_as_it_goes(env: dict[str, str]):
    with AnsweringServer(ReleasedServer(reads=2)) as released:
        env = {**env, "EVALHUB_BASE_URL": released.url}
        (job,) = output(env, "run", *MODEL, "-b", "p/b")
        job_id = job["resource"]["id"]
        assert job_id in command(env, "jobs").stdout
        assert command(env, "logs", "-f", job_id).stdout == "=== benchmark_index=0 ===\nfirst\nsecond\n"
        for arguments in (["rerun", job_id], ["samples", job_id], ["export", job_id]):
            done = command(env, *arguments)
            assert done.returncode == 69
            assert "has no " in done.stderr
        done = command(env, "jobs", "--model", "m")
        assert done.returncode == 69
        assert "'model_name'" in done.stderr


def assert_ends_with_its_job(env: dict[str, str], job_id: str, data_dir: Path) -> None:
    """The job of a temporary server completes, and after the next command nothing runs any more."""

    def state() -> str:
        return json.loads(command(env, "show", job_id, "--json").stdout)["status"]["state"]

    wait_until(lambda: state() == "completed", "the end of the job")
    assert command(env, "jobs").returncode == 0
    assert processes_with(str(data_dir)) == []


class TestWithoutAServer:
    """Commands start a server, share it and leave none behind."""

    @pytest.fixture
    def env(self, tmp_path: Path) -> dict[str, str]:
        config = Config(tmp_path / "config")
        config.provider(steps_command("say:hello", "completed"), "q", provider_id="quick")
        config.provider(steps_command(f"await:{tmp_path}/go", "completed"), "s", provider_id="slow")
        unset = ("EVALHUB_BASE_URL", "EVALHUB_DATA_DIR", "XDG_DATA_HOME")
        return {
            **{name: value for name, value in os.environ.items() if name not in unset},
            "PORT": str(free_port()),
            "HOME": str(tmp_path),
            "DB_URL": "postgres://nowhere",
            "EVAL_HUB_CONFIG_DIR": str(config.folder),
        }

    def test_run_starts_one_and_other_commands_find_the_results(self, env: dict[str, str], tmp_path: Path):
        done = command(env, "run", *QUICK)
        assert done.returncode == 0
        data_dir = tmp_path / ".local" / "share" / "evalhub"
        assert f"starting one with the data directory {data_dir}" in done.stderr
        listed = json.loads(command(env, "jobs", "--json").stdout)
        assert [job["status"]["state"] for job in listed["items"]] == ["completed"]
        assert processes_with(str(data_dir)) == []

    @pytest.mark.slow
    def test_a_detached_job_keeps_it_and_the_last_command_stops_it(self, env: dict[str, str], tmp_path: Path):
        data_dir = tmp_path / "data"
        env["EVALHUB_DATA_DIR"] = str(data_dir)
        with started(env, "run", *SLOW, stdin=subprocess.DEVNULL) as process:
            job_id = first_job(process)
            assert command(env, "show", job_id).returncode == 0  # on the same server
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "because jobs are unfinished" in errors
        assert processes_with(str(data_dir))
        (tmp_path / "go").touch()
        assert_ends_with_its_job(env, job_id, data_dir)

    @pytest.mark.slow
    def test_adapters_of_one_that_was_killed_report_to_the_next_one(
        self, env: dict[str, str], tmp_path: Path
    ):
        data_dir = tmp_path / "data"
        env["EVALHUB_DATA_DIR"] = str(data_dir)
        (job,) = json.loads(command(env, "run", *SLOW, "--no-wait", "--json").stdout)
        job_id = job["resource"]["id"]
        wait_until(lambda: list(tmp_path.rglob("attempt-1.handle.json")), "the adapter")
        server = json.loads((data_dir / "temporary-server.json").read_text())
        os.kill(server["pid"], signal.SIGKILL)
        assert command(env, "jobs").returncode == 0
        assert json.loads((data_dir / "temporary-server.json").read_text())["url"] == server["url"]
        (tmp_path / "go").touch()
        assert_ends_with_its_job(env, job_id, data_dir)

    @pytest.mark.slow
    def test_commands_that_start_at_once_share_one_server(self, env: dict[str, str], tmp_path: Path):
        (tmp_path / "go").touch()
        with ExitStack() as stack:
            running = [stack.enter_context(started(env, "run", *SLOW)) for _ in range(3)]
            ended = [(process.communicate(timeout=90)[1], process.returncode) for process in running]
        assert [status for _, status in ended] == [0, 0, 0], ended
        listed = json.loads(command(env, "jobs", "--json").stdout)
        assert [job["status"]["state"] for job in listed["items"]] == ["completed"] * 3
        assert processes_with(str(tmp_path / ".local" / "share" / "evalhub")) == []

    def test_a_server_that_cannot_start_exits_with_69_and_the_reason(
        self, env: dict[str, str], tmp_path: Path
    ):
        (tmp_path / "file").touch()
        done = command({**env, "EVALHUB_DATA_DIR": str(tmp_path / "file" / "x")}, "jobs")
        assert done.returncode == 69
        assert "no server can be started" in done.stderr
        broken = tmp_path / "broken"
        broken.mkdir()
        (broken / "config.yaml").write_text("database: {driver: none}")
        done = command({**env, "EVAL_HUB_CONFIG_DIR": str(broken)}, "jobs")
        assert done.returncode == 69
        assert "no server can be started: " in done.stderr

    def test_the_server_at_the_default_address_is_used(self, env: dict[str, str], server: RunningServer):
        done = command({**env, "PORT": str(server.port)}, "run", *QUICK)
        assert (done.returncode, done.stderr) == (0, f"Server: http://localhost:{server.port}\n")


@pytest.mark.parametrize("name", ALL_COMMANDS)
def test_help_of_client_commands_fits_into_80_columns(name: str, env: dict[str, str]):
    text = command({**env, "COLUMNS": "80"}, name, "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert "--json" in text


def test_help_imports_nothing_heavy():
    program = (
        "import sys; from evalhub_server.cli import main\nmain(['--help'])\n"
        "heavy = {'litestar', 'uvicorn', 'asyncio', 'rich', 'urllib.request', 'yaml', 'structlog'}\n"
        "sys.stderr.write(str(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "set()"
