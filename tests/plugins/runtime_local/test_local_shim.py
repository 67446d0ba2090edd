"""The shim: the parent process of the adapters, which survives its server and may itself be killed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from evalhub_runtime_local import shim as shim_module
from evalhub_runtime_local.attempt_files import Attempt
from evalhub_runtime_local.paths import create_own
from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_runtime_local.shim import ARGUMENTS, Launch, Shim
from evalhub_runtime_local.shim_process import frame, take_messages
from evalhub_server.errors import RuntimeUnavailable
from evalhub_server.plugins import Exit, Handle, LaunchError
from evalhub_server.testing.runs import a_run
from harness import wait_until

Eventually = Callable[[Callable[[], object], str], Awaitable[object]]


def test_messages_are_taken_from_any_pieces_of_them() -> None:
    sent: list[tuple[Any, ...]] = [
        ("start", 1, "/bin/sh", ("sh", "-c", "true\udcff"), {"A": "é" * 70_000}, "", "log", "record"),
        ("reap", 12),
        ("failed", 3, 2, "No such file or directory", None),
    ]
    data = b"".join(frame(*message) for message in sent)
    for size in (1, 3, 4096, len(data)):
        buffer, taken = bytearray(), []
        for start in range(0, len(data), size):
            buffer += data[start : start + size]
            taken += take_messages(buffer)
        assert taken == sent
        assert not buffer


class Peer:
    """A server's end of the connection to a real shim process."""

    def __init__(self, connection: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self.connection = connection
        self.process = process
        self._buffer = bytearray()
        self._messages: list[tuple[Any, ...]] = []

    def start(self, number: int, tmp_path: Path, command: str, **changes: Any) -> None:
        log, record = tmp_path / "log", tmp_path / f"record-{number}"
        log.touch()
        launch = Launch("/bin/sh", ("sh", "-c", command), dict(os.environ), "", str(log), str(record))
        self.connection.sendall(frame("start", number, *launch._replace(**changes)))

    def next(self) -> tuple[Any, ...]:
        while not self._messages:
            chunk = self.connection.recv(1 << 16)
            assert chunk, "the shim has ended"
            self._buffer += chunk
            self._messages += take_messages(self._buffer)
        return self._messages.pop(0)


@contextmanager
def a_shim() -> Iterator[Peer]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen([sys.executable, *ARGUMENTS], stdin=theirs, stderr=subprocess.PIPE)
    with ours, process:
        ours.settimeout(30)
        try:
            yield Peer(ours, process)
        finally:
            ours.close()
            _, errors = process.communicate(timeout=30)
            assert not errors


def is_zombie(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_an_exit_is_recorded_before_it_is_reported_and_the_process_is_reaped_on_request(
    tmp_path: Path,
) -> None:
    with a_shim() as shim:
        shim.start(7, tmp_path, "echo hello; exit 3")
        started, exited = shim.next(), shim.next()
        pid = started[2]
        assert started == ("started", 7, pid)
        assert exited == ("exited", pid, 3)
        assert (tmp_path / "record-7").read_text() == f"{pid}\n3\n"
        assert (tmp_path / "log").read_text() == "hello\n"
        assert is_zombie(pid)
        shim.connection.sendall(frame("reap", pid))
        wait_until(lambda: not psutil.pid_exists(pid), "the process to be reaped")


def test_a_process_id_that_could_not_be_written_is_recorded_with_the_exit(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with a_shim() as shim:
        shim.start(1, tmp_path, f"read line < {tmp_path}/fifo")
        pid = shim.next()[2]
        record = tmp_path / "record-1"
        record.write_bytes(b"")  # as if the disk was full
        (tmp_path / "fifo").write_text("go\n")
        assert shim.next() == ("exited", pid, 0)
        assert record.read_text() == f"{pid}\n0\n"


def test_a_signal_is_recorded_as_in_shells(tmp_path: Path) -> None:
    with a_shim() as shim:
        shim.start(1, tmp_path, "kill -KILL $$")
        pid = shim.next()[2]
        assert shim.next() == ("exited", pid, 128 + signal.SIGKILL)
        assert (tmp_path / "record-1").read_text() == f"{pid}\n137\n"


@pytest.mark.parametrize(
    "changes",
    [
        {"program": "/no/such/program"},
        {"program": "/etc/passwd"},
        {"cwd": "/no/such/directory"},
        {"log": "/no/such/log"},
        {"environment": {"A": "x" * 10_000_000}},
        {"arguments": ("sh", "a\0b")},
    ],
)
def test_what_cannot_be_started_is_reported_and_may_be_tried_again(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    with a_shim() as shim:
        shim.start(1, tmp_path, "exit 0", **changes)
        kind, number, code, text, _ = shim.next()
        assert (kind, number) == ("failed", 1)
        assert text
        assert (code == 0) == ("arguments" in changes)
        assert not (tmp_path / "record-1").exists()
        shim.start(1, tmp_path, "exit 0")
        assert shim.next()[0] == "started"
        assert shim.next()[2] == 0


def test_a_directory_to_start_in_is_only_that_of_one_adapter(tmp_path: Path) -> None:
    with a_shim() as shim:
        shim.start(1, tmp_path, "pwd -P", cwd="/")
        shim.start(2, tmp_path, "pwd -P")
        kinds = [shim.next()[0] for _ in range(4)]
    assert sorted(kinds) == ["exited", "exited", "started", "started"]
    assert sorted((tmp_path / "log").read_text().split()) == sorted(["/", str(Path.cwd().resolve())])


def test_without_its_server_it_records_exits_and_ends_with_the_last_adapter(tmp_path: Path) -> None:
    with a_shim() as shim:
        for number in (1, 2):
            shim.start(
                number, tmp_path, f"while [ ! -e '{tmp_path}/go-{number}' ]; do sleep 0.01; done; exit 4"
            )
        pids = [shim.next()[2] for _ in range(2)]
        shim.connection.shutdown(socket.SHUT_WR)
        for signum in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            shim.process.send_signal(signum)
        (tmp_path / "go-1").touch()
        wait_until(lambda: not psutil.pid_exists(pids[0]), "the first adapter to be reaped")
        assert (tmp_path / "record-1").read_text() == f"{pids[0]}\n4\n"
        assert shim.process.poll() is None
        (tmp_path / "go-2").touch()
        assert shim.process.wait(30) == 0
        assert (tmp_path / "record-2").read_text() == f"{pids[1]}\n4\n"


def test_it_ends_with_a_server_that_has_no_adapter(tmp_path: Path) -> None:
    with a_shim() as shim:
        shim.start(1, tmp_path, "exit 0")
        assert [shim.next()[0] for _ in range(2)] == ["started", "exited"]
        shim.connection.close()
        assert shim.process.wait(30) == 0


def log_text(handle: Handle) -> str:
    return Path(handle["dir"], "jobrun.log").read_text()


def kill_shim(runtime: LocalRuntime) -> None:
    pid = runtime._shim.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@pytest.mark.asyncio
@pytest.mark.skipif(sys.platform != "linux", reason="no other system lets the server adopt the adapters")
async def test_adapters_of_a_killed_shim_are_adopted_and_later_ones_have_another(
    runtime: LocalRuntime, new_runtime: Callable[..., LocalRuntime], tmp_path: Path, eventually: Eventually
) -> None:
    command = f"while [ ! -e '{tmp_path}/go' ]; do sleep 0.01; done; exit 6"
    first = await runtime.launch(a_run({"command": command}, id="first"))
    waiting = asyncio.create_task(runtime.wait(first))
    await asyncio.sleep(0)
    killed = runtime._shim.pid
    kill_shim(runtime)
    await eventually(lambda: runtime._shim.pid is None, "the shim's end is noticed")
    await eventually(lambda: psutil.Process(first["pid"]).ppid() == os.getpid(), "the adapter is adopted")
    second = await runtime.launch(a_run({"command": "exit 7"}, id="second"))
    assert runtime._shim.pid != killed
    assert await runtime.wait(second) == Exit(code=7)
    assert not waiting.done()
    (tmp_path / "go").touch()
    assert await waiting == Exit(code=6)
    for handle in (first, second):
        await runtime.stop(handle, 1)
    # Recorded for a server that is restarted.
    assert await new_runtime().wait(first) == Exit(code=6)
    await eventually(lambda: killed not in psutil.pids(), "the killed shim is reaped")


@pytest.mark.asyncio
@pytest.mark.skipif(sys.platform != "linux", reason="no other system lets the server adopt the adapters")
async def test_adapters_of_a_killed_shim_are_stopped(runtime: LocalRuntime, eventually: Eventually) -> None:
    command = "trap '' TERM; setsid sleep 600 & echo ready; sleep 600; sleep 600"
    handle = await runtime.launch(a_run({"command": command}))
    await eventually(lambda: "ready" in log_text(handle), "the adapter is ready")
    kill_shim(runtime)
    await runtime.stop(handle, 0.1)
    assert (await runtime.wait(handle)).signal == "SIGKILL"


@pytest.mark.asyncio
async def test_a_stopped_shim_does_not_stop_the_event_loop(runtime: LocalRuntime) -> None:
    warm = await runtime.launch(a_run({"command": "exit 0"}, id="warm"))
    await runtime.wait(warm)
    await runtime.stop(warm, 1)
    pid = runtime._shim.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    launching = asyncio.create_task(runtime.launch(a_run({"command": "exit 5"})))
    await asyncio.sleep(0.1)
    assert not launching.done()
    os.kill(pid, signal.SIGCONT)
    handle = await launching
    assert await runtime.wait(handle) == Exit(code=5)
    await runtime.stop(handle, 1)


@pytest.mark.asyncio
async def test_a_cancelled_launch_is_found_and_stopped(runtime: LocalRuntime) -> None:
    run = a_run({"command": "sleep 600"})
    launching = asyncio.create_task(runtime.launch(run))
    await asyncio.sleep(0)
    launching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await launching
    handle = await runtime.find(run)
    assert handle is not None
    await runtime.stop(handle, 30)
    assert (await runtime.wait(handle)).signal == "SIGTERM"


@pytest.mark.asyncio
async def test_a_script_without_an_interpreter_line_is_run_by_the_shell(
    runtime: LocalRuntime, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text("exit 9\n")
    script.chmod(0o700)
    handle = await runtime.launch(a_run({"command": str(script)}))
    assert await runtime.wait(handle) == Exit(code=9)
    await runtime.stop(handle, 1)


@pytest.mark.asyncio
async def test_a_missing_interpreter_is_named_in_the_log(runtime: LocalRuntime, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o700)
    handle = await runtime.launch(a_run({"command": str(script)}))
    exit_ = await runtime.wait(handle)
    await runtime.stop(handle, 1)
    assert exit_.code in (126, 127)
    assert str(script) in log_text(handle)


@pytest.mark.asyncio
async def test_an_environment_that_is_too_large_is_an_error_and_leaves_nothing(runtime: LocalRuntime) -> None:
    env = [{"name": "LARGE", "value": "x" * 10_000_000}]
    run = a_run({"command": "true", "env": env})
    with pytest.raises(LaunchError, match="Argument list too long"):
        await runtime.launch(run)
    assert await runtime.find(run) is None


@pytest.mark.asyncio
async def test_launches_at_the_same_time_share_one_shim(runtime: LocalRuntime) -> None:
    runs = [a_run({"command": "sleep 600"}, id=f"job-{number}") for number in range(5)]
    handles = await asyncio.gather(*map(runtime.launch, runs))
    parents = {psutil.Process(handle["pid"]).ppid() for handle in handles}
    assert parents == {runtime._shim.pid}
    await asyncio.gather(*(runtime.stop(handle, 30) for handle in handles))


@pytest.mark.asyncio
async def test_a_shim_without_adapters_ends_with_its_runtime(tmp_path: Path) -> None:
    attempt = Attempt(directory=str(tmp_path), number=1)
    shim = Shim()
    await shim.close()  # none was started
    create_own(attempt.meta)
    os.close(attempt.open_log())
    pid = await shim.start(Launch("/bin/sh", ("sh", "-c", "exit 0"), {}, "", attempt.log, attempt.pid_file))
    exited = shim.exit_of(pid)
    assert exited is not None
    assert await exited == 0
    parent = shim.pid
    await shim.close()
    assert shim.pid is None
    assert parent is not None
    assert not psutil.pid_exists(parent)


@pytest.mark.asyncio
async def test_a_runtime_closes_at_once_although_an_adapter_runs(
    new_runtime: Callable[..., LocalRuntime], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evalhub_runtime_local.shim.CLOSE_WAIT_S", 600.0)
    first = new_runtime()
    handle = await first.launch(a_run({"command": "sleep 600"}))
    shim = first._shim.pid
    assert shim is not None
    async with asyncio.timeout(60):
        await first.close()
    second = new_runtime()
    await second.stop(handle, 30)
    assert (await second.wait(handle)).signal == "SIGTERM"
    await second.close()
    await asyncio.to_thread(os.waitpid, shim, 0)


@pytest.mark.asyncio
async def test_a_shim_that_hangs_is_killed_and_the_launch_may_be_repeated(
    runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    warm = await runtime.launch(a_run({"command": "exit 0"}, id="warm"))
    assert await runtime.wait(warm) == Exit(code=0)
    await runtime.stop(warm, 1)
    monkeypatch.setattr("evalhub_runtime_local.shim.START_WAIT_S", 0.2)
    pid = runtime._shim.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    run = a_run({"command": "exit 5"})
    with pytest.raises(RuntimeUnavailable, match="did not start one within"):
        await runtime.launch(run)
    monkeypatch.undo()
    await eventually(lambda: runtime._shim.pid is None, "the shim's end is noticed")
    handle = await runtime.launch(run)
    assert await runtime.wait(handle) == Exit(code=5)
    await runtime.stop(handle, 1)


@pytest.mark.asyncio
async def test_a_launch_whose_shim_is_killed_may_be_repeated(
    runtime: LocalRuntime, eventually: Eventually
) -> None:
    warm = await runtime.launch(a_run({"command": "exit 0"}, id="warm"))
    assert await runtime.wait(warm) == Exit(code=0)
    await runtime.stop(warm, 1)
    pid = runtime._shim.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    run = a_run({"command": "exit 5"})
    launching = asyncio.create_task(runtime.launch(run))
    await asyncio.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(
        RuntimeUnavailable, match=r"The parent process of the adapters ended \(it was killed\)"
    ):
        await launching
    handle = await runtime.launch(run)
    assert await runtime.wait(handle) == Exit(code=5)
    await runtime.stop(handle, 1)
    await eventually(lambda: not psutil.pid_exists(pid), "the killed shim is reaped")


@pytest.mark.asyncio
async def test_a_launch_tells_why_no_shim_can_run(
    runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr(shim_module, "ARGUMENTS", ("-c", "import no_such_module"))
        with pytest.raises(RuntimeUnavailable, match="No module named 'no_such_module'"):
            await runtime.launch(a_run({"command": "exit 5"}))
    handle = await runtime.launch(a_run({"command": "exit 5"}))
    assert await runtime.wait(handle) == Exit(code=5)
    await runtime.stop(handle, 1)


@pytest.mark.asyncio
async def test_an_attempt_that_another_shim_has_just_started_is_found(
    runtime: LocalRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shim of a server that was killed may still start what was sent to it."""
    other = Shim()

    class Slower(Shim):
        async def start(self, launch: Launch) -> int:
            await other.start(launch)
            return await super().start(launch)

    monkeypatch.setattr(runtime._launcher, "_shim", Slower())
    handle = await runtime.launch(a_run({"command": "exit 6"}))
    assert await runtime.wait(handle) == Exit(code=6)
    await runtime.stop(handle, 1)
    await other.close()
    await runtime._launcher._shim.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_shim_starts_adapters_in_a_directory_that_it_may_not_read(tmp_path: Path) -> None:
    (tmp_path / "private").mkdir(mode=0o700)
    as_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [*as_user, sys.executable, *ARGUMENTS], stdin=theirs, cwd=tmp_path / "private"
        )
    with ours, process, tempfile.TemporaryDirectory() as place:
        os.chown(place, 65534, 65534)
        shim = Peer(ours, process)
        shim.start(1, Path(place), "exit 3", log=os.devnull)
        assert shim.next()[0] == "started"
        assert shim.next()[2] == 3
        ours.close()
        assert process.wait(30) == 0
