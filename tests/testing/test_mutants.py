"""Tests of the contract suites: each mutant fails with a message that names the promise it breaks, good ones pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.mutants import first_failures
from harness.mutants.exporter_cases import EXPORTERS
from harness.mutants.exporter_outcome_cases import EXPORTER_OUTCOMES
from harness.mutants.observer_cases import OBSERVERS
from harness.mutants.observer_target_cases import OBSERVER_TARGETS
from harness.mutants.runtime_cases import RUNTIMES
from harness.mutants.runtime_process_cases import RUNTIME_PROCESSES
from harness.mutants.storage_cases import STORAGES
from harness.mutants.storage_scope_cases import STORAGE_SCOPES
from harness.mutants.storage_value_cases import STORAGE_VALUES
from harness.mutants.tracker_cases import TRACKERS
from harness.mutants.tracker_outcome_cases import TRACKER_OUTCOMES

pytestmark = pytest.mark.slow

MUTANTS = Path(first_failures.__file__).parent
KINDS = {
    "runtime": RUNTIMES,
    "runtime_process": RUNTIME_PROCESSES,
    "storage": STORAGES,
    "storage_scope": STORAGE_SCOPES,
    "storage_value": STORAGE_VALUES,
    "tracker": TRACKERS,
    "tracker_outcome": TRACKER_OUTCOMES,
    "exporter": EXPORTERS,
    "exporter_outcome": EXPORTER_OUTCOMES,
    "observer": OBSERVERS,
    "observer_target": OBSERVER_TARGETS,
}
LEAST = {"runtime": 20, "storage": 20, "tracker": 10, "exporter": 10, "observer": 3}
ALL = [(kind, name) for kind, mutants in KINDS.items() for name in mutants]


class Run:
    """The first failure of each test class of a file, and what pytest printed."""

    def __init__(self, name: str, folder: Path) -> None:
        report = folder / f"{name}.json"
        # No name is the beginning of another one: a session kills at its end what has its directory in the command line.
        base = str(folder / f"{name}.tmp")
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", str(MUTANTS / f"{name}_cases.py")),
                *("-q", "-n", "0", "-m", "", "-p", "no:cacheprovider", "--no-header", "--tb", "short"),
                *("-p", "harness.mutants.first_failures", "--basetemp", base),
            ],
            env={key: value for key, value in os.environ.items() if key != "CI"}
            | {"MUTANT_FAILURES": str(report), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
        self.output = done.stdout[-5000:] + done.stderr[-5000:]
        self.failures: dict[str, str] = json.loads(report.read_text("utf-8")) if report.exists() else {}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Run]]]:
    folder = tmp_path_factory.mktemp("mutants")
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(Run, name, folder) for name in KINDS}


@pytest.mark.parametrize(("kind", "name"), ALL, ids=[f"{kind}-{name}" for kind, name in ALL])
def test_a_mutant_fails_with_a_message_that_names_the_promise(
    runs: dict[str, Future[Run]], kind: str, name: str
) -> None:
    run, mutants = runs[kind].result(), KINDS[kind]
    failure = run.failures.get(f"Test{name}", "")
    assert failure, f"it passes its suite. {run.output}"
    assert failure.startswith(mutants[name].test), f"another test failed: {failure}"
    assert mutants[name].message in failure


@pytest.mark.parametrize("kind", [*LEAST, "observer_target"])
def test_the_good_implementation_passes(runs: dict[str, Future[Run]], kind: str) -> None:
    run = runs[kind].result()
    good = [name for name in run.failures if name.startswith("TestGood")]
    assert [run.failures[name] for name in good] == []
    assert "passed" in run.output


def test_there_are_enough_mutants() -> None:
    assert {kind: len(KINDS[kind]) for kind, least in LEAST.items() if len(KINDS[kind]) < least} == {}
