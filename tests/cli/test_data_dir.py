"""The data directory of real servers: prepared by another user, planted, removed, replaced, on a mounted volume."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from harness import Config, RunningServer, processes_with, wait_until
from harness.kube import FakeCluster
from harness.program import run_program
from harness.server import API, job_request

needs_users = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can run programs as other users"
)
ATTACKER, VICTIM, VOLUME_GROUP, RANDOM_USER = 54321, 54322, 54323, 1_000_680_000


def as_user(uid: int, gid: int | None = None, *groups: int) -> tuple[str, ...]:
    more = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    # Another user cannot write the measurements of coverage.
    unmeasured = ("env", "-u", "COVERAGE_PROCESS_START", "-u", "COVERAGE_PROCESS_CONFIG")
    return (*unmeasured, "setpriv", f"--reuid={uid}", f"--regid={uid if gid is None else gid}", more)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can reach; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="evalhub-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


def refusal(config: Config, data_dir: Path, prefix: Sequence[str] = ()) -> str:
    """Start a server that must refuse to; returns its error."""
    arguments = ("--local", "--configdir", str(config.folder), "--data-dir", str(data_dir))
    ended = run_program(*arguments, env={**os.environ, "PORT": "0", "HOME": "/"}, prefix=prefix)
    assert ended.returncode == 1, ended.stderr
    return ended.stderr.splitlines()[-1]


def in_data_dir(folder: Path, **local: int) -> Config:
    """A configuration with job directories in the data directory."""
    return Config(folder, local={"jobs_dir": "", **local})


def prepared(place: Path) -> tuple[Path, Path]:
    """A data directory in which a stored job waits to run the attacker's command; returns it and the command's trace.

    The trace has a file for each user that ran the command.
    """
    trace, folder = place / "trace", place / "prepared"
    trace.mkdir()
    trace.chmod(0o777)
    folder.mkdir()
    os.chown(folder, ATTACKER, ATTACKER)
    config = in_data_dir(place / "attacker", max_parallel=1)
    config.provider(f"echo $$ > {trace}/$(id -u); exec sleep 1000", provider_id="waits")
    running = trace / str(ATTACKER)
    with RunningServer(config.folder, data_dir=folder, prefix=as_user(ATTACKER)) as server:
        server.submit(provider="waits")
        assert server.job(server.submit(provider="waits"))["status"]["state"] == "pending"
        wait_until(lambda: running.exists() and running.read_text(), "the first job")
        server.kill()
        os.kill(int(running.read_text()), signal.SIGKILL)
    for file in [folder, *folder.rglob("*")]:
        file.chmod(0o777)
    return folder, trace


@pytest.mark.slow
@needs_users
@pytest.mark.parametrize("victim", [VICTIM, 0])
def test_a_directory_that_another_user_prepared_runs_no_command(place: Path, victim: int) -> None:
    folder, trace = prepared(place)
    config = in_data_dir(place / "config")
    prefix = as_user(victim) if victim else ()
    assert f"belongs to another user (uid {ATTACKER})" in refusal(config, folder, prefix)
    os.chown(folder, victim, victim)
    assert f"Run: chmod go-w {folder}" in refusal(config, folder, prefix)
    folder.chmod(0o700)  # the files in it are still the attacker's
    assert f"belongs to another user (uid {ATTACKER})" in refusal(config, folder, prefix)
    (folder / "evalhub.db").unlink()
    for suffix in (".lock", "-wal", "-shm"):
        (folder / f"evalhub.db{suffix}").unlink(missing_ok=True)
    assert f"jobs belongs to another user (uid {ATTACKER})" in refusal(config, folder, prefix)
    assert [file.name for file in trace.iterdir()] == [str(ATTACKER)]


def test_a_folder_of_samples_that_others_can_write_is_refused(place: Path) -> None:
    folder = place / "samples"
    folder.mkdir()
    folder.chmod(0o777)
    config = Config(place / "config", samples={"url": str(folder)})
    assert f"Run: chmod go-w {folder}" in refusal(config, place / "data")
    folder.chmod(0o700)
    (place / "link").symlink_to(folder)
    with RunningServer(
        Config(place / "linked", samples={"url": str(place / "link")}).folder, data_dir=place / "data"
    ):
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o775, 0o2775])
def test_a_directory_that_others_can_write_is_refused(place: Path, mode: int) -> None:
    data = place / "data"
    data.mkdir()
    data.chmod(mode)
    message = refusal(Config(place / "config"), data)
    assert "Give --data-dir a directory of your own, such as one in your home directory." in message
    if mode & stat.S_ISVTX:  # such as /tmp, which other users need
        assert message.rstrip().endswith("can be written by other users (mode 1777).")
    else:
        assert message.rstrip().endswith(f"Run: chmod go-w {data}")
    assert list(data.iterdir()) == []


def test_a_directory_in_one_that_others_can_write_is_refused_unless_they_cannot_replace_it(
    place: Path,
) -> None:
    parent = place / "parent"
    data = parent / "data"
    data.mkdir(mode=0o700, parents=True)
    parent.chmod(0o777)
    config = Config(place / "config")
    assert f"In {parent}, other users can replace what is in it" in refusal(config, data)
    assert f"In {parent}, other users" in refusal(config, parent / "missing")
    parent.chmod(0o1777)
    with RunningServer(config.folder, data_dir=data) as server:
        assert server.get(f"{API}/jobs")["total_count"] == 0


@needs_users
def test_an_own_link_to_a_directory_is_followed_and_anothers_refused(place: Path) -> None:
    data, link = place / "data", place / "link"
    data.mkdir()
    os.chown(data, VICTIM, VICTIM)
    link.symlink_to(data)
    os.chown(link, VICTIM, VICTIM, follow_symlinks=False)
    config = in_data_dir(place / "config")
    with RunningServer(config.folder, data_dir=link, prefix=as_user(VICTIM)) as server:
        assert server.get(f"{API}/jobs")["total_count"] == 0
    assert (data / "evalhub.db").exists()
    os.chown(link, ATTACKER, ATTACKER, follow_symlinks=False)
    text = refusal(config, link, as_user(VICTIM))
    assert f"{link} is a symbolic link of another user (uid {ATTACKER})" in text


@needs_users
@pytest.mark.parametrize("plant", [Path.symlink_to, Path.hardlink_to])
def test_a_planted_lock_truncates_no_file(place: Path, plant: Callable[[Path, Path], None]) -> None:
    data, precious = place / "data", place / "precious"
    data.mkdir()
    os.chown(data, VICTIM, VICTIM)
    precious.write_text("keep me")
    os.chown(precious, VICTIM, VICTIM)
    plant(data / "evalhub.db.lock", precious)
    assert "evalhub.db.lock" in refusal(Config(place / "config"), data, as_user(VICTIM))
    assert precious.read_text() == "keep me"


@pytest.mark.slow
@needs_users
@pytest.mark.parametrize(
    ("uid", "gid", "groups"),
    [(1000, 1000, (VOLUME_GROUP,)), (RANDOM_USER, 0, (VOLUME_GROUP,)), (RANDOM_USER, 0, (0,))],
    ids=["fsGroup", "random user with fsGroup", "random user of the root group"],
)
def test_a_server_in_a_cluster_uses_a_volume_of_its_group(
    place: Path, uid: int, gid: int, groups: tuple[int, ...]
) -> None:
    data = place / "data"
    data.mkdir()
    os.chown(data, 0, groups[0])
    data.chmod(0o2775)
    with FakeCluster() as cluster:
        kubeconfig = cluster.kubeconfig(place)
        kubeconfig.chmod(0o644)
        server = RunningServer(
            Config(place / "config").folder,
            data_dir=data,
            flags=("--configdir", str(place / "config")),
            env={"KUBECONFIG": str(kubeconfig), "HOME": "/"},
            prefix=as_user(uid, gid, *groups),
        )
        server.headers = {"X-Tenant": "team-a", "X-User": "alice"}
        for _ in range(2):
            with server:
                assert server.call("POST", f"{API}/providers", {"name": "p", "runtime": {}}).status < 500
            for file in data.iterdir():  # as the kubelet does when it mounts the volume again
                os.chown(file, -1, groups[0])
                file.chmod(file.stat().st_mode | 0o660)
    local = refusal(Config(place / "local"), data, as_user(uid, gid, *groups))
    assert f"Run: chmod go-w {data}" in local


# --- a running server loses its files


def remove_directory(data: Path) -> None:
    shutil.rmtree(data)


def move_directory(data: Path) -> None:
    data.rename(data.with_name("elsewhere"))


def replace_directory(data: Path) -> None:
    move_directory(data)
    data.mkdir(0o700)


def remove_database(data: Path) -> None:
    (data / "evalhub.db").unlink()


def remove_lock(data: Path) -> None:
    (data / "evalhub.db.lock").unlink()


@pytest.mark.parametrize(
    "lose",
    [
        pytest.param(remove_directory, marks=pytest.mark.slow),
        pytest.param(move_directory, marks=pytest.mark.slow),
        replace_directory,
        pytest.param(remove_database, marks=pytest.mark.slow),
        pytest.param(remove_lock, marks=pytest.mark.slow),
    ],
)
def test_a_server_that_loses_its_files_refuses_writes_and_exits(
    tmp_path: Path, lose: Callable[[Path], None]
) -> None:
    config = Config(tmp_path / "config")
    config.scripted("completed")
    data = tmp_path / "data"
    with RunningServer(config.folder, data_dir=data) as server:
        job_id = server.submit()
        server.finished(job_id)
        lose(data)
        answer = server.call("POST", f"{API}/jobs", job_request())
        assert answer.refusal == (503, "database_operation_failed")
        assert "start the server again" in answer.body["message"]
        assert server.job(job_id)["status"]["state"] == "completed"
        assert server.process is not None
        assert server.process.wait(30) == 1
        (line,) = [line for line in server.log_lines() if line["msg"].startswith("Storage lost")]
        assert "was " in line["error"]
        assert "start the server again" in server.log_text().splitlines()[-1]


def test_a_server_that_loses_its_database_does_not_claim_to_store_later_requests(tmp_path: Path) -> None:
    config = Config(tmp_path / "config")
    config.provider("exec sleep 1000")
    data = tmp_path / "data"
    with RunningServer(config.folder, data_dir=data) as server:
        job_id = server.submit()
        server.report(job_id, "running")
        remove_lock(data)
        event = server.report(job_id, "completed", metrics={"accuracy": 1.0})
        assert event.refusal == (503, "database_operation_failed")
        assert "The event is not stored" in event.body["message"]
        cancel = server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=false")
        assert cancel.refusal == (503, "database_operation_failed")
        assert "the cancellation is not stored" in cancel.body["message"]
        assert "in memory" not in event.body["message"] + cancel.body["message"]


def test_a_server_without_work_notices_a_removed_directory(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with RunningServer(Config(tmp_path / "config").folder, data_dir=data) as server:
        shutil.rmtree(data)
        assert server.process is not None
        assert server.process.wait(30) == 1


def test_a_removed_jobs_directory_stops_no_server(tmp_path: Path) -> None:
    config = Config(tmp_path / "config", local={"jobs_dir": str(tmp_path / "jobs")})
    config.scripted("completed")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        server.finished(server.submit())
        wait_until(
            lambda: not processes_with(str(tmp_path / "jobs")),
            "the exit of the adapter, which writes its status there",
        )
        shutil.rmtree(tmp_path / "jobs")
        assert server.finished(server.submit())["status"]["state"] == "completed"


@pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux has a lock that SQLite's do not conflict with"
)
def test_a_removed_lock_lets_no_second_server_on_the_database(tmp_path: Path) -> None:
    config = Config(tmp_path / "config")
    data = tmp_path / "data"
    with RunningServer(config.folder, data_dir=data) as server:
        os.kill(server.pid, signal.SIGSTOP)  # so that it cannot notice and give way
        try:
            (data / "evalhub.db.lock").unlink()
            assert "is in use by another server" in refusal(config, data)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        assert server.process is not None
        assert server.process.wait(30) == 1
        server.start()
        assert server.get(f"{API}/jobs")["total_count"] == 0
