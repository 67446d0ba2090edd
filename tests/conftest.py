"""Fixtures for the whole tree."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import settings

from harness import fork_server, processes_with
from harness.certificates import Certificate, certificate
from harness.environments import installed
from harness.mlflow import REQUIREMENT, VERSION, MlflowServer

settings.register_profile("dev", max_examples=50, deadline=None)
pytest.register_assert_rewrite("evalhub_server.testing")

settings.register_profile(
    "ci", max_examples=50, deadline=None, derandomize=True, database=None, print_blob=True
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# With it, every server that a test starts would compile all of the server's modules, which doubles its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A background job and nohup ignore these signals, and every program that a test starts would inherit that.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_configure(config: pytest.Config) -> None:
    """Repeat a test that failed once in CI, and list it as rerun: with 9,000 tests, one that was starved would refuse any change."""
    if os.environ.get("CI"):
        config.option.reruns = 1
        config.option.reruns_delay = 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from harness.scheduling import FileScheduling

    return FileScheduling(config, log) if config.option.dist == "loadfile" else None


def pytest_itemcollected(item: pytest.Item) -> None:
    """Contract suites leave it to each project when to run their longer tests."""
    if getattr(getattr(item, "function", None), "takes_seconds", False):
        item.add_marker(pytest.mark.slow)


def pytest_sessionfinish() -> None:
    """End the process of :mod:`harness.fork_server`, and save what a worker measured: xdist kills one that takes more
    than ten seconds to exit."""
    fork_server.close()
    if "coverage" in sys.modules and (measuring := sys.modules["coverage"].Coverage.current()) is not None:
        measuring.stop()
        measuring.save()


@pytest.fixture(scope="session", autouse=True)
def workloads_end_with_the_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kill what servers with durable storage leave running for the next one, which never starts."""
    yield
    this = psutil.Process()
    ourselves = [this.pid, *(parent.pid for parent in this.parents())]  # they carry it, too, with --basetemp
    for pid in processes_with(str(tmp_path_factory.getbasetemp()), besides=ourselves):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.fixture(autouse=True)
def nothing_is_left_running(request: pytest.FixtureRequest) -> Iterator[None]:
    """No test that has a folder leaves a process behind that it started below it."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    folder = str(request.getfixturevalue("tmp_path"))
    before = psutil.pids()  # which need not be looked at: they run longer than the folder exists
    yield
    from evalhub_server.testing.processes import processes_of  # here, as in harness.waiting

    until = time.monotonic() + 5
    # The shim of a server that is gone ends a moment after its last adapter.
    while left := processes_of([folder], besides=before):
        if time.monotonic() > until or not all("shim_process" in line for line in left.values()):
            break
        time.sleep(0.02)
    assert left == {}


@pytest.fixture(scope="session")
def mlflow_environment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow, installed once per machine where pytest keeps a cache, else once per run."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("mlflow") if cache else tmp_path_factory.mktemp("mlflow")
    return installed(folder, VERSION, REQUIREMENT)


@pytest.fixture(scope="module")
def mlflow(mlflow_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with MlflowServer(mlflow_environment, tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture(scope="session")
def localhost(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for this name only, not for 127.0.0.1."""
    return certificate(tmp_path_factory.mktemp("certificate"), subjects="DNS:localhost")
