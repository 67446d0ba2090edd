"""A third-party plugin in its own distribution: installed, listed, selected, run, and excluded from loading."""

from __future__ import annotations

import json
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from harness import RunningServer
from harness.packaging import EXAMPLE, Built, Environment, run


@pytest.fixture(scope="module")
def third_party(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """An environment with only the server, the example, and the dependencies that these two declare."""
    environment = Environment.create(tmp_path_factory.mktemp("third-party") / "env")
    environment.pip("install", str(built.wheel), str(EXAMPLE))
    yield environment
    shutil.rmtree(environment.folder)


@pytest.fixture
def configdir(tmp_path: Path) -> Path:
    """A copy of the example's configuration, because the server's log is written beside it."""
    return shutil.copytree(EXAMPLE / "example" / "config", tmp_path / "config")


def serve(third_party: Environment, configdir: Path) -> RunningServer:
    return RunningServer(configdir, env={"PORT": "0"}, python=third_party.python)


@pytest.mark.slow
def test_the_plugin_is_listed_with_its_distribution_and_version(third_party: Environment):
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text("utf-8"))["project"]
    listed = json.loads(third_party.run("eval-hub-server", "plugins", "--json").stdout)
    (plugin,) = [plugin for plugin in listed if plugin["name"] == "thread"]
    assert plugin["help"]
    del plugin["help"]
    assert plugin == {
        "name": "thread",
        "kind": "runtime",
        "distribution": project["name"],
        "version": project["version"],
        "api": "1",
        "state": "available",
    }


@pytest.mark.slow
def test_a_job_runs_on_the_plugins_runtime(third_party: Environment, configdir: Path):
    with serve(third_party, configdir) as server:
        job_id = server.submit("multiple_choice", provider="guessing")
        job = server.finished(job_id)
        log = server.logs(job_id)
    assert job["status"]["state"] == "completed", job
    (result,) = job["results"]["benchmarks"]
    assert result["metrics"]["num_samples"] == 100
    assert f"{round(100 * result['metrics']['accuracy'])} of 100 guesses were right" in log


@pytest.mark.slow
def test_the_error_of_a_launch_it_refuses_is_shown_in_the_job(third_party: Environment, configdir: Path):
    file = configdir / "providers" / "guessing.yaml"
    provider = yaml.safe_load(file.read_text("utf-8"))
    provider["runtime"]["thread"]["callable"] = "os:abort"
    file.write_text(yaml.safe_dump(provider), "utf-8")
    with serve(third_party, configdir) as server:
        job = server.finished(server.submit("multiple_choice", provider="guessing"))
    assert job["status"]["state"] == "failed"
    (benchmark,) = job["status"]["benchmarks"]
    assert "'os:abort' is not in a module of thread.modules" in benchmark["error_message"]["message"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "hint"),
    [
        (
            "thread: {max_thread: 2}",
            "config.yaml:2: thread.max_thread: unknown key (did you mean max_threads?)",
        ),
        ("thread: {modules: [no_such_module]}", "thread.modules: no_such_module"),
    ],
)
def test_the_plugins_settings_are_checked_at_start(
    third_party: Environment, tmp_path: Path, section: str, hint: str
):
    (tmp_path / "config.yaml").write_text(f"plugins: {{runtime: thread}}\n{section}\n", "utf-8")
    flags = ("--local", "--configdir", str(tmp_path))
    done = third_party.run("eval-hub-server", *flags, env={"PORT": "0"}, status=1)
    assert hint in done.stderr


@pytest.mark.slow
def test_the_error_for_a_plugin_excluded_from_loading_names_distribution_and_variable(
    third_party: Environment, configdir: Path
):
    env = {"EVALHUB_LOAD_PLUGINS": "", "PORT": "0"}
    flags = ("--local", "--configdir", str(configdir))
    done = third_party.run("eval-hub-server", *flags, env=env, status=1)
    text = done.stderr.splitlines()[-1]
    for fragment in (
        "runtime 'thread' is selected",
        "evalhub-runtime-thread",
        "EVALHUB_LOAD_PLUGINS does not",
    ):
        assert fragment in text


def test_the_plugin_passes_the_contract_suite_for_runtimes():
    done = run([sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(EXAMPLE)], EXAMPLE)
    assert " passed" in done.stdout
