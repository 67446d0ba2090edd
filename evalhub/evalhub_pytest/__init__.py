"""pytest plugin ``evalhub``: fixtures for the tests of EvalHub plugins and adapters.

pytest loads this module in every environment with the server, also for tests of other projects, so it imports pytest alone;
the fixtures import what they need when a test requests them. ``-p no:evalhub`` switches it off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from evalhub_server.testing import FilledRecords, ServerConfig, ServerProcess, TinyAdapter
    from evalhub_server.testing.server_process import Job

pytest.register_assert_rewrite("evalhub_server.testing")


@pytest.fixture(scope="session")
def evalhub_adapter() -> TinyAdapter:
    """The command of an adapter that does what the parameters of its job demand: report a score and samples, print lines, fail,
    exit or hang. Its process needs the variable ``EVALHUB_JOB_SPEC_PATH`` and this environment's Python."""
    from evalhub_server.testing import TinyAdapter

    return TinyAdapter()


@pytest.fixture
def evalhub_config(tmp_path: Path, evalhub_adapter: TinyAdapter) -> ServerConfig:
    """The configuration of :func:`evalhub_server`, with the provider ``tiny``, whose benchmark ``tiny`` runs
    :func:`evalhub_adapter` on the local runtime.

    A test module extends it in a fixture of the same name::

        @pytest.fixture
        def evalhub_config(evalhub_config):
            evalhub_config.sections["plugins"] = {"exporters": ["mine"]}
            evalhub_config.sections["mine"] = {"url": "http://127.0.0.1:9000"}
            return evalhub_config
    """
    from evalhub_server.testing import ServerConfig

    config = ServerConfig(tmp_path / "evalhub-config")
    config.add_provider("tiny", {"local": {"command": evalhub_adapter.shell_command}})
    return config


@pytest.fixture
def evalhub_server(
    request: pytest.FixtureRequest, tmp_path: Path, evalhub_config: ServerConfig
) -> Iterator[ServerProcess]:
    """A running ``eval-hub-server`` on a free loopback port, with a data directory of its own.

    At the end of the test its unfinished jobs are cancelled, and it must exit with status 0. The report of a failed test
    shows its log.
    """
    from evalhub_server.testing import ServerProcess

    server = ServerProcess(evalhub_config, tmp_path / "evalhub-data")
    try:
        with server:
            yield server
    finally:
        request.node.add_report_section("teardown", "eval-hub-server log", server.log_text())


@pytest.fixture
def evalhub_run_job(evalhub_server: ServerProcess) -> Callable[..., Job]:
    """A function that submits a job to :func:`evalhub_server`, waits for its end and returns it as the API does.

    Arguments are those of :meth:`ServerProcess.submit`, such as ``score`` and ``failure``.
    """
    return evalhub_server.run_job


@pytest.fixture
def evalhub_records() -> FilledRecords:
    """A job, a provider, a collection and a baseline in which no field has its default: tests of plugins find fields that are lost."""
    from evalhub_server.testing import FilledRecords

    return FilledRecords.build()
