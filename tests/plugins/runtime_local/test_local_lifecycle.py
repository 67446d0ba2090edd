"""From launch to exit: what an adapter gets, and what is said of its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_server.domain.record import Exit
from evalhub_server.errors import LaunchError
from evalhub_server.plugins import BenchmarkRun, Handle, LogOptions
from evalhub_server.testing.runs import a_run

pytestmark = pytest.mark.asyncio


async def wait_for_exit(runtime: LocalRuntime, run: BenchmarkRun) -> tuple[Handle, Exit]:
    handle = await runtime.launch(run)
    exit_ = await runtime.wait(handle)
    await runtime.stop(handle, 1)
    return handle, exit_


def log_text(handle: Handle) -> str:
    return Path(handle["dir"], "jobrun.log").read_text()


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.rglob("*")]


async def log_of(runtime: LocalRuntime, handle: Handle) -> str:
    return b"".join([chunk async for chunk in runtime.logs(handle, LogOptions(tail_lines=-1))]).decode()


async def output(runtime: LocalRuntime, command: str, **options: object) -> str:
    handle, _ = await wait_for_exit(runtime, a_run({"command": command, **options}))
    return await log_of(runtime, handle)


@pytest.mark.parametrize(
    ("command", "exit_"),
    [
        ("exit 0", Exit(code=0)),
        ("exit 3", Exit(code=3)),
        ("no-such-command-anywhere", Exit(code=127)),
        ("/etc/passwd", Exit(code=126)),
        ("kill -KILL $$", Exit(signal="SIGKILL")),
        ("kill -SEGV $$", Exit(signal="SIGSEGV")),
        ("sh -c 'kill -TERM $$'; exit $?", Exit(signal="SIGTERM")),
        ("exit 255", Exit(code=255)),
        ("exit 128", Exit(code=128)),
        ("kill -TERM 0; exit 9", Exit(signal="SIGTERM")),
        ("trap 'exit 9' INT; kill -INT 0; exit 1", Exit(code=9)),
        ("\nif true\nthen\n  exit 4\nfi\n", Exit(code=4)),
    ],
)
async def test_the_exit_of_a_command_is_reported(runtime: LocalRuntime, command: str, exit_: Exit) -> None:
    assert (await wait_for_exit(runtime, a_run({"command": command})))[1] == exit_


async def test_a_killed_shell_is_reported_and_stop_ends_its_command(
    runtime: LocalRuntime, new_runtime: Callable[..., LocalRuntime]
) -> None:
    handle = await runtime.launch(a_run({"command": "sleep 600; exit 1"}))
    os.kill(handle["pid"], signal.SIGKILL)
    exit_ = await runtime.wait(handle)
    await runtime.stop(handle, 1)
    assert (exit_.signal, exit_.lost) == ("SIGKILL", False)
    assert await new_runtime().wait(handle) == exit_


@pytest.fixture(params=[0o000, 0o022, 0o027])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def modes_in(directory: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mode & 0o777 for path in directory.rglob("*") if path.is_file()}


async def test_files_of_an_attempt_are_private_and_the_adapter_has_the_servers_umask(
    umask: int, runtime: LocalRuntime
) -> None:
    handle = await runtime.launch(a_run({"command": "umask"}))
    await runtime.wait(handle)
    await runtime.stop(handle, 1)
    modes = modes_in(Path(handle["dir"]))
    assert set(modes.values()) == {0o600}, modes
    assert {"attempt-1.pid", "job.json", "jobrun.log"} <= set(modes)
    assert int(await log_of(runtime, handle), 8) == umask


async def test_sixty_start_at_once(runtime: LocalRuntime) -> None:
    runs = [a_run({"command": f"exit {index}"}) for index in range(60)]
    exits = await asyncio.gather(*(wait_for_exit(runtime, run) for run in runs))
    assert [exit_.code for _, exit_ in exits] == list(range(60))


LOCAL = "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("variables", "no_proxy"),
    [
        ({}, (None, None)),
        ({"NO_PROXY": "a"}, ("a", None)),
        ({"HTTP_PROXY": "http://p:1"}, (f"server.test,{LOCAL}", f"server.test,{LOCAL}")),
        ({"all_proxy": "http://p:1", "NO_PROXY": "a, ::1"}, ("a,::1,server.test,localhost,127.0.0.1",) * 2),
        ({"https_proxy": "http://p:1", "no_proxy": "*"}, ("*", "*")),
        (
            {"http_proxy": "http://p:1", "no_proxy": "a", "NO_PROXY": "b"},
            (f"b,server.test,{LOCAL}", f"a,server.test,{LOCAL}"),
        ),
        ({"HTTP_PROXY": ""}, (None, None)),
    ],
)
@pytest.mark.parametrize("by_provider", [False, True])
async def test_a_proxy_does_not_receive_the_reports(
    new_runtime: Callable[..., LocalRuntime],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    no_proxy: tuple[str | None, str | None],
    by_provider: bool,
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    env = [{"name": name, "value": value} for name, value in variables.items()]
    if not by_provider:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
    runtime = new_runtime()
    show = f'"$EVALHUB_PYTHON" -c {json.dumps("import os, json; print(json.dumps(dict(os.environ)))")}'
    run = a_run({"command": show, "env": env if by_provider else []})
    run = replace(run, spec=replace(run.spec, callback_url="http://server.test:8080"))
    handle, _ = await wait_for_exit(runtime, run)
    seen = json.loads(log_text(handle))
    await runtime.close()
    assert (seen.get("NO_PROXY"), seen.get("no_proxy")) == no_proxy


async def test_the_environment_is_layered(
    new_runtime: Callable[..., LocalRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DB_URL", "INHERITED", "TRACKED", "PROVIDED", "EVALHUB_MODE", "EVALHUB_JOB_SPEC_PATH"):
        monkeypatch.setenv(name, "from-server")
    runtime = new_runtime(secrets=frozenset({"DB_URL"}))
    show = f'"$EVALHUB_PYTHON" -c {json.dumps("import os, json; print(json.dumps(dict(os.environ)))")}'
    env = [
        {"name": "PROVIDED", "value": "from-provider"},
        {"Name": "LITERAL", "Value": "$HOME"},
        {"name": "NUMBER", "value": 5},
        {"name": "YES", "value": True},
        {"name": "NO", "value": False},
        {"name": "ONE", "value": 1.0},
        {"name": "NOTHING"},
        {"name": "", "value": "skipped"},
    ]
    run = a_run(
        {"command": show, "env": env}, environment={"TRACKED": "from-tracker", "PROVIDED": "from-tracker"}
    )
    handle, exit_ = await wait_for_exit(runtime, run)
    seen = json.loads(log_text(handle))
    await runtime.close()
    assert exit_.code == 0
    assert "DB_URL" not in seen
    expected = {
        "INHERITED": "from-server",
        "TRACKED": "from-tracker",
        "PROVIDED": "from-provider",
        "LITERAL": "$HOME",
        "NUMBER": "5",
        "YES": "1",
        "NO": "0",
        "ONE": "1",
        "NOTHING": "",
        "EVALHUB_MODE": "local",
        "EVALHUB_PYTHON": sys.executable,
        "EVALHUB_JOB_SPEC_PATH": handle["job_spec"],
    }
    assert {name: seen.get(name) for name in expected} == expected


async def test_a_provider_may_override_anything_and_still_be_stopped(runtime: LocalRuntime) -> None:
    env = [{"name": "EVALHUB_JOB_SPEC_PATH", "value": "/elsewhere"}, {"name": "PATH", "value": "/nowhere"}]
    run = a_run(
        {"command": 'echo "$EVALHUB_JOB_SPEC_PATH"; /usr/bin/setsid /bin/sleep 600 & exit 3', "env": env}
    )
    handle, exit_ = await wait_for_exit(runtime, run)
    assert exit_.code == 3
    assert log_text(handle) == "/elsewhere\n"


async def test_an_adapter_starts_with_default_signals_and_an_empty_stdin(runtime: LocalRuntime) -> None:
    text = await output(runtime, "cat; grep -E 'Sig(Ign|Blk)' /proc/self/status; ps -o sid= -p $$; echo $$")
    ignored, blocked, session, shell = text.split("\n")[:4]
    assert int(ignored.split()[1], 16) == 0
    # Signals 32 and 33 belong to the C library's threads.
    assert int(blocked.split()[1], 16) & ~(3 << 31) == 0
    assert session.strip() == shell


async def test_output_and_errors_share_the_log(runtime: LocalRuntime) -> None:
    assert await output(runtime, "echo a; echo b >&2; echo c; kill -TERM $$") == "a\nb\nc\n"


async def test_an_adapter_starts_where_the_server_was_started(runtime: LocalRuntime) -> None:
    assert await output(runtime, "pwd -P") == f"{Path.cwd().resolve()}\n"


async def test_an_adapter_starts_in_the_configured_directory(
    new_runtime: Callable[..., LocalRuntime], tmp_path: Path
) -> None:
    default, own = tmp_path / "the default", tmp_path / "-own"
    default.mkdir()
    own.mkdir()
    runtime = new_runtime(cwd=str(default))
    await runtime.check()
    assert await output(runtime, "pwd -P") == f"{default.resolve()}\n"
    assert await output(runtime, "pwd -P", cwd=str(own)) == f"{own.resolve()}\n"
    await runtime.close()


async def test_files_are_private_and_as_documented(runtime: LocalRuntime, jobs: Path) -> None:
    run = a_run({"command": "true"}, benchmark_id="inspect/petri-x", benchmark_index=7, num_examples=3)
    handle, _ = await wait_for_exit(runtime, run)
    leaf = jobs / run.spec.id / "7" / "provider-a" / "inspect" / "petri-x"
    assert handle["dir"] == str(leaf)
    assert handle["job_spec"] == str(leaf / "meta" / "job.json")
    for directory in (leaf / "meta", *[leaf, *leaf.parents][:6]):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700, directory
    for file in (leaf / "meta" / "job.json", leaf / "jobrun.log"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    text = (leaf / "meta" / "job.json").read_text()
    assert text.startswith('{\n  "id": "')
    assert not text.endswith("\n")
    assert list(json.loads(text)) == [
        "id",
        "provider_id",
        "benchmark_id",
        "benchmark_index",
        "model",
        "num_examples",
        "parameters",
        "callback_url",
        "samples_path",
        "artifacts_path",
    ]


async def test_a_new_attempt_starts_a_new_log_and_stops_what_the_last_one_left(
    runtime: LocalRuntime, eventually: Callable[..., object]
) -> None:
    first = await runtime.launch(a_run({"command": "echo one; sleep 600"}, id="job"))
    again = await runtime.launch(
        a_run(
            {"command": "echo two"},
            id="job",
        )
    )
    assert again == first
    await eventually(
        lambda: log_text(first), "it is past the shell's first steps, where a signal can get lost"
    )
    second, exit_ = await wait_for_exit(runtime, a_run({"command": "echo two"}, id="job", attempt=2))
    assert exit_.code == 0
    assert (await runtime.wait(first)).signal == "SIGTERM"
    assert log_text(second) == "two\n"
    assert await runtime.find(a_run(id="job")) == first


@pytest.mark.parametrize("config", [None, {}, {"command": ""}, {"command": " \n"}, {"command": None}])
async def test_a_provider_without_a_command_is_refused(
    runtime: LocalRuntime, jobs: Path, config: dict[str, object] | None
) -> None:
    with pytest.raises(LaunchError) as refused:
        await runtime.launch(a_run(config))
    assert str(refused.value) == (
        "Local runtime is not enabled for provider 'provider-a'. "
        "Please configure a local runtime command for this provider and try again."
    )
    assert names_in(jobs) == []


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"command": 5}, "runtime.local.command"),
        ({"command": "a\0b"}, "runtime.local.command"),
        ({"command": "true", "env": {"A": "b"}}, "runtime.local.env must"),
        ({"command": "true", "env": ["A=b"]}, "runtime.local.env[0]"),
        ({"command": "true", "env": [{"name": "A=b", "value": ""}]}, "runtime.local.env[0].name"),
        ({"command": "true", "env": [{"name": "A", "value": ["b"]}]}, "runtime.local.env[0].value"),
        ({"command": "true", "env": [{"name": "A", "value": "b\0"}]}, "runtime.local.env[0].value"),
        ({"command": "true", "cwd": 5}, "runtime.local.cwd"),
        ({"command": "true", "cwd": "/no/such/directory"}, "runtime.local.cwd"),
    ],
)
async def test_a_malformed_configuration_is_refused(
    runtime: LocalRuntime, jobs: Path, config: dict[str, object], key: str
) -> None:
    with pytest.raises(LaunchError) as refused:
        await runtime.launch(a_run(config))
    assert "'provider-a'" in str(refused.value)
    assert key in str(refused.value)
    assert names_in(jobs) == []


@pytest.mark.parametrize("command", ["x" * 200_000, "echo \udfff\ud800"])
async def test_a_command_that_the_system_refuses_leaves_no_files(
    runtime: LocalRuntime, jobs: Path, command: str
) -> None:
    run = a_run({"command": command})
    with pytest.raises(LaunchError, match="could not start benchmark 'bench-0' of provider 'provider-a'"):
        await runtime.launch(run)
    assert not {"job.json", "jobrun.log"} & set(names_in(jobs))
    assert await runtime.find(run) is None


async def test_a_jobs_directory_that_became_unsafe_is_not_used(runtime: LocalRuntime, jobs: Path) -> None:
    os.chmod(jobs, 0o777)  # noqa: PTH101
    with pytest.raises(LaunchError, match="can be written by other users"):
        await runtime.launch(a_run({"command": "true"}))


async def test_the_steps_of_a_launch_are_logged(runtime: LocalRuntime) -> None:
    run = a_run({"command": "true", "env": [{"name": "KEY", "value": "s3cret"}]})
    with capture_logs() as lines:
        handle, _ = await wait_for_exit(runtime, run)
        await runtime.remove(run.spec.id, "")
    ids = {
        "job_id": run.spec.id,
        "benchmark_id": "bench-0",
        "benchmark_index": 0,
        "provider_id": "provider-a",
        "log_level": "info",
    }
    log_file = str(Path(handle["dir"], "jobrun.log"))
    assert lines[:3] == [
        {"event": "local runtime job spec written", "job_spec_path": handle["job_spec"], **ids},
        {"event": "local runtime log file created", "log_file": log_file, **ids},
        {"event": "local runtime process started", "pid": handle["pid"], "command": "true", **ids},
    ]
    assert [line["event"] for line in lines[3:]] == ["removed local runtime job directory"]
    assert "s3cret" not in repr(lines)


async def test_a_handle_of_an_unknown_form_is_lost(runtime: LocalRuntime) -> None:
    handle = {"pod": "from-another-runtime"}
    assert (await runtime.wait(handle)).lost
    await runtime.stop(handle, 1)
    assert [chunk async for chunk in runtime.logs(handle, LogOptions())] == []


@pytest.mark.skipif(
    not Path("/proc/self/attr").is_dir(), reason="needs a file system from which nothing can be removed"
)
async def test_a_job_that_cannot_be_removed_is_logged(new_runtime: Callable[..., LocalRuntime]) -> None:
    # Even root cannot remove anything from /proc.
    runtime = new_runtime(jobs_dir="/proc/self")
    with capture_logs() as lines:
        await runtime.remove("attr", "")
    await runtime.close()
    (line,) = lines
    assert line["event"] == "failed to remove local runtime job directory"
    assert (line["job_id"], line["directory"], line["log_level"]) == ("attr", "/proc/self/attr", "error")
