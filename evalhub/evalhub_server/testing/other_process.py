"""A server in another process, for contract tests: creates what a contract test class defines, works, and is killed.

``python -m evalhub_server.testing.other_process FILE CLASS DIRECTORY TASK`` imports the module of the class from its file.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from inspect import getfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import msgspec

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.plugins.runtime import BenchmarkRun, Runtime
from evalhub_server.plugins.storage import Storage
from evalhub_server.testing.builders import a_job

_WRITERS = 4


class OtherProcess(NamedTuple):
    """A running process: its output, and how to kill it."""

    output: IO[bytes]
    kill: Callable[[], None]


@contextmanager
def other_process(case: object, directory: Path, task: str, content: bytes = b"") -> Generator[OtherProcess]:
    """Run a task with the class of ``case``, with ``content`` as its input. It is killed at the end."""
    kind = type(case)
    command = [sys.executable, "-m", __name__, getfile(kind), kind.__qualname__, str(directory), task]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(  # noqa: S603  this program
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    ) as process:
        assert process.stdin is not None  # noqa: S101  pipes
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(content)
            process.stdin.close()
            yield OtherProcess(process.stdout, process.kill)
        finally:
            process.kill()


class _Output:
    """What the starting process reads. The standard output of the plugin, such as its log, goes to standard error."""

    def __init__(self) -> None:
        self._file = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)

    def line(self, text: str) -> None:
        self._file.write(f"{text}\n".encode())


async def launch(output: _Output, runtime: Runtime, runs: Sequence[BenchmarkRun]) -> None:
    """Launch runs, print their handles in one line, and wait to be killed."""
    await runtime.check()
    handles = [await runtime.launch(run) for run in runs]
    output.line(msgspec.json.encode(handles).decode())
    await asyncio.Event().wait()


async def write(output: _Output, storage: Storage) -> None:
    """Add and change jobs until killed, and print each acknowledged change: the id of a job and a number."""
    await storage.open()

    async def writer() -> None:
        while True:
            job = a_job(size=3, tags=("x",))
            await storage.add_job(job)
            output.line(f"{job.id} 1")
            for number in range(2, 6):
                await storage.update_job(job.id, None, lambda now, number=number: numbered(now, number))
                output.line(f"{job.id} {number}")

    await asyncio.gather(*(writer() for _ in range(_WRITERS)))


def numbered(job: JobRecord, number: int) -> JobRecord:
    """Return the job with ``number`` in each of its benchmarks, which belong together."""
    benchmarks = tuple(msgspec.structs.replace(each, attempt=number) for each in job.benchmarks)
    return with_changes(job, benchmarks=benchmarks)


def _case(file: str, name: str) -> Any:
    spec = importlib.util.spec_from_file_location("contract_case", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part)
    return found()


def main(file: str, name: str, directory: str, task: str) -> None:
    """Do a task until killed."""
    output = _Output()
    case = _case(file, name)
    if task == "launch":
        runs = msgspec.json.decode(sys.stdin.buffer.read(), type=list[BenchmarkRun])
        asyncio.run(launch(output, case.make_runtime(Path(directory)), runs))
    else:
        asyncio.run(write(output, case.make_storage(Path(directory))))


if __name__ == "__main__":
    main(*sys.argv[1:])
