"""What an ordinary benchmark costs, in counts: threads, processes, files and commits."""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from msgspec.structs import replace

from evalhub_runtime_local.command import plain_words
from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_server.domain import transitions
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.domain.sample_transitions import nothing_left
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.plugins import Exit
from evalhub_server.settings import SupervisorSettings
from evalhub_server.testing.builders import EPOCH, a_job
from evalhub_server.testing.memory import MemoryStorage
from evalhub_server.testing.runs import a_run

PATH = "/usr/bin:/bin"
Eventually = Callable[[Callable[[], object], str], Awaitable[object]]


class CountingExecutor(ThreadPoolExecutor):
    """Counts the functions that the event loop runs in threads."""

    def __init__(self) -> None:
        super().__init__()
        self.submitted = 0

    def submit(self, *args: Any, **kwargs: Any) -> Any:
        self.submitted += 1
        return super().submit(*args, **kwargs)


def names_in(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.rglob("*"))


@pytest.mark.asyncio
async def test_an_ordinary_benchmark_needs_no_thread_two_tasks_and_few_files(runtime: LocalRuntime) -> None:
    executor = CountingExecutor()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(executor)
    tasks: list[str] = []

    def create(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        tasks.append(coroutine.__qualname__)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop.set_task_factory(create)
    run = a_run({"command": "true"})
    handle = await runtime.launch(run)
    assert await runtime.wait(handle) == Exit(code=0)
    await runtime.stop(handle, 1)
    assert tasks == ["Launches._launch", "ExitWatcher._watch"]
    assert executor.submitted == 0
    assert names_in(Path(handle["dir"])) == [
        "artifacts-1",
        "attempt-1.handle.json",
        "attempt-1.pid",
        "job.json",
        "jobrun.log",
        "meta",
    ]


@pytest.mark.asyncio
async def test_an_ordinary_benchmark_opens_three_files_and_creates_each_directory_once(
    runtime: LocalRuntime, jobs: Path
) -> None:
    accesses: list[str] = []
    counting = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if counting and event in ("open", "os.mkdir", "os.listdir", "os.scandir", "os.remove"):
            path = str(arguments[0])
            if path.startswith(f"{jobs}/"):
                accesses.append(f"{event} {Path(path).name}")

    run = a_run({"command": "true"})
    sys.addaudithook(note)
    try:
        handle = await runtime.launch(run)
        await runtime.wait(handle)
        await runtime.stop(handle, 1)
    finally:
        counting = False
    assert accesses == [
        *(f"os.mkdir {name}" for name in (run.spec.id, "0", "provider-a", "bench-0", "meta", "artifacts-1")),
        "open job.json",
        "open jobrun.log",
        "open attempt-1.handle.json",
    ]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("command", "programs"), [("sleep 600", ["sleep"]), ("sleep 600; true", ["sh", "sleep"])]
)
async def test_a_command_without_shell_syntax_runs_without_a_shell(
    runtime: LocalRuntime, eventually: Eventually, command: str, programs: list[str]
) -> None:
    handle = await runtime.launch(a_run({"command": command}))

    def names() -> list[str]:
        adapter = psutil.Process(handle["pid"])
        lines = [each.cmdline() for each in (adapter, *adapter.children(recursive=True))]
        return sorted(Path(line[0]).name for line in lines if line)  # none for a moment of execve()

    try:
        await eventually(lambda: names() == programs, f"{command} runs as {programs}")
    finally:
        await runtime.stop(handle, 1)


@pytest.mark.asyncio
async def test_a_benchmark_is_four_commits_with_its_job(runtime: LocalRuntime, tmp_path: Path) -> None:
    store = JobStore(MemoryStorage())
    runs = RunBuilder("http://127.0.0.1:1", runtime.provider_key, [])
    supervisor = Supervisor(store, runtime, runs, SupervisorSettings(), lambda: EPOCH)
    commits: list[JobRecord] = []
    ended = asyncio.Event()

    def on_change(change: JobChanged) -> None:
        assert change.after is not None
        commits.append(change.after)
        if not change.after.unfinished:
            ended.set()

    store.listen(on_change)
    await supervisor.start()
    command = f"while [ ! -e '{tmp_path}/go' ]; do sleep 0.01; done"
    planned = a_job()
    runtimes = {each.provider_id: {"local": {"command": command}} for each in planned.plan.benchmarks}
    job = supervisor.reserve(with_changes(planned, plan=replace(planned.plan, runtimes=runtimes)))
    await store.add(job)
    supervisor.submit(job)
    async with asyncio.timeout(60):
        while commits[-1].benchmarks[0].handle is None:
            await asyncio.sleep(0.005)
        each = job.plan.benchmarks[0]
        event = BenchmarkEvent(
            provider_id=each.provider_id,
            id=each.id,
            benchmark_index=0,
            status="completed",
            metrics={"acc": 1.0},
        )
        await store.update(job.id, None, lambda now: transitions.apply_event(now, event, EPOCH))
        (tmp_path / "go").touch()
        await ended.wait()
    await supervisor.close()
    assert len(commits) == 4, "the job with the intent, the handle, the event, the exit with the samples"
    assert commits[-1].benchmarks[0].samples == nothing_left(1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("true", ("true",)),
        (" sleep  600\n", ("sleep", "600")),
        ("exec sleep 1", ("sleep", "1")),
        ("/bin/sleep --help=a,b:c @x", ("/bin/sleep", "--help=a,b:c", "@x")),
        ("exec", None),
        ("exit 3", None),
        ("A=b sleep 1", None),
        ("sleep 1\nsleep 2", None),
        ("sleep 1; sleep 2", None),
        ("sleep $N", None),
        ("sleep ~", None),
        ("sleep '1'", None),
        ("sleep *", None),
        ("./sleep 1", None),
        ("no-such-program-anywhere", None),
        ("/etc/passwd", None),
    ],
)
def test_only_plain_words_with_a_program_need_no_shell(text: str, words: tuple[str, ...] | None) -> None:
    found = plain_words(text, PATH)
    if words is None:
        assert found is None
    else:
        program = words[0] if "/" in words[0] else shutil.which(words[0], path=PATH)
        assert found == (program, words)


def test_a_program_of_a_relative_path_needs_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    monkeypatch.chdir(tmp_path)
    assert not plain_words("program", ".")
    assert not plain_words("./program", PATH)
