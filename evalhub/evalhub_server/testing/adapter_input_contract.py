"""Contract tests for what adapters get from their runtime; a part of ``RuntimeContract``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalhub_server.models.job import Model
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.plugins.runtime import BenchmarkRun, Runtime
from evalhub_server.testing.filled_record import filled
from evalhub_server.testing.runtime_case import RuntimeCase

SECRET = "value-of-a-secret-of-the-server"  # noqa: S105  of a test

SHOW_MODES = """
import json, os, pathlib
path = pathlib.Path(os.environ["EVALHUB_JOB_SPEC_PATH"]).absolute()
print(json.dumps({str(each): each.stat().st_mode & 0o777 for each in (path, *path.parents)}))
"""
SHOW_PLACES = """
import json, os
with open(os.environ["EVALHUB_JOB_SPEC_PATH"], encoding="utf-8") as file:
    spec = json.load(file)
samples, artifacts = spec["samples_path"], spec["artifacts_path"]
print(json.dumps({
    "job.json": [samples, artifacts],
    "variables": [os.environ.get("EVALHUB_SAMPLES_PATH"), os.environ.get("EVALHUB_ARTIFACTS_PATH")],
    "samples exist": os.path.exists(samples),
    "their directory exists": os.path.isdir(os.path.dirname(samples)),
    "artifacts are a directory": os.path.isdir(artifacts),
}))
"""
SHOW_PREVIOUS = """
import os
path = os.environ.get("EVALHUB_PREVIOUS_SAMPLES_PATH")
if path:
    print(open(path).read(), end="")
    try:
        os.truncate(path, 0)
    except OSError:
        pass
"""
SHOW_TEST_DATA = """
import os
print(open(os.path.join(os.environ["EVALHUB_TEST_DATA_DIR"], "a.txt")).read())
"""

OF_THE_RUNTIME = ("samples_path", "artifacts_path", "previous_samples_path", "callback_url")
"""Fields of ``job.json`` that a runtime sets or replaces."""


@pytest.mark.asyncio
class AdapterInputContract(RuntimeCase):
    """A base class of ``RuntimeContract``, for runtimes with ``gives_input``."""

    def with_everything(self) -> BenchmarkRun:
        """Return a run whose job specification has all fields, and with variables of trackers."""
        if not self.gives_input:
            pytest.skip("gives_input = False")
        run = self.succeeds()
        spec = filled(
            JobSpec,
            id=run.spec.id,
            provider_id="provider-a",
            benchmark_id="bench-0",
            benchmark_index=0,
            callback_url=run.spec.callback_url,
            model=filled(Model, auth=msgspec.UNSET),
            **dict.fromkeys(OF_THE_RUNTIME[:3], msgspec.UNSET),
        )
        return msgspec.structs.replace(run, spec=spec, environment=self.environment)

    async def test_the_job_specification_arrives_complete(self, runtime: Runtime) -> None:
        run = self.with_everything()
        found = (await self.input_of(runtime, run)).job_spec
        given: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(run.spec))
        if runtime.sidecar is not None:  # its adapters reach the model through the sidecar
            given["model"]["url"] = found["model"]["url"]
        differing = {
            name: (value, found.get(name, "missing"))
            for name, value in given.items()
            if name not in OF_THE_RUNTIME and found.get(name) != value
        }
        assert not differing, f"job.json differs; by field, the given and the found value: {differing}"
        added = found.keys() - given.keys() - set(OF_THE_RUNTIME)
        assert not added, f"job.json has other fields than the job specification: {added}"
        assert found.get("callback_url"), "job.json has no callback_url"

    async def test_variables_of_trackers_arrive(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in self.environment:
            monkeypatch.setenv(name, "inherited from the server")
        found = (await self.input_of(runtime, self.with_everything())).environment
        differing = {
            name: (value, found.get(name, "missing"))
            for name, value in self.environment.items()
            if found.get(name) != value
        }
        assert not differing, f"variables; by name, the given and the found value: {differing}"

    # --- adapters that are processes of this host

    def of_a_process(self) -> BenchmarkRun:
        if not self.starts_processes:
            pytest.skip("starts_processes = False")
        return self.with_everything()

    async def test_variables_name_the_mode_and_the_interpreter(self, runtime: Runtime) -> None:
        found = (await self.input_of(runtime, self.of_a_process())).environment
        expected = {"EVALHUB_MODE": "local", "EVALHUB_PYTHON": sys.executable}
        differing = {
            name: found.get(name, "missing") for name, value in expected.items() if found.get(name) != value
        }
        assert not differing, f"variables of an adapter on this host; expected are {expected}: {differing}"

    async def test_secrets_of_the_server_do_not_arrive(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = self.of_a_process()
        for name in self.secrets:
            monkeypatch.setenv(name, SECRET)
        directory = tmp_path / "with secrets"
        directory.mkdir()
        async with self.opened(self.make_runtime(directory), directory) as runtime:
            found = (await self.input_of(runtime, run)).environment
        inherited = sorted(name for name, value in found.items() if SECRET in value)
        assert not inherited, f"variables with secrets of the server reach adapters: {inherited}"

    async def test_the_job_specification_is_private(self, runtime: Runtime, tmp_path: Path) -> None:
        text = await self.printed_by(runtime, self.of_a_process(), SHOW_MODES)
        modes: dict[str, int] = msgspec.json.decode(text)
        path = Path(next(iter(modes)))
        below = {each: mode for each, mode in modes.items() if tmp_path in Path(each).parents} or modes
        readable = all(mode & (4 if Path(each) == path else 1) for each, mode in below.items())
        shown = {each: f"{mode:o}" for each, mode in below.items()}
        assert not readable, (
            f"all users of the host can read job.json; modes of the file and its directories: {shown}"
        )

    async def test_variables_name_the_places_of_samples(self, runtime: Runtime) -> None:
        run = self.of_a_process()
        if not runtime.hands_over_samples:
            pytest.skip("hands_over_samples = False")
        found: dict[str, Any] = msgspec.json.decode(await self.printed_by(runtime, run, SHOW_PLACES))
        assert found["variables"] == found["job.json"], f"paths of samples and artifacts: {found}"
        states = found["samples exist"], found["their directory exists"], found["artifacts are a directory"]
        assert states == (False, True, True), f"places of samples and artifacts before the start: {found}"

    async def test_earlier_samples_are_a_copy(self, runtime: Runtime, tmp_path: Path) -> None:
        """Or nothing, for a runtime that does not hand them over."""
        previous = tmp_path / "previous.jsonl"
        previous.write_text('{"sample_id": "1"}\n', "utf-8")
        run = msgspec.structs.replace(self.of_a_process(), previous_samples=previous)
        text = await self.printed_by(runtime, run, SHOW_PREVIOUS)
        assert text.strip() in ("", '{"sample_id": "1"}'), f"samples of an earlier run: {text!r}"
        kept = previous.read_text("utf-8")
        assert kept == '{"sample_id": "1"}\n', (
            f"an adapter has changed the server's own file of samples: {kept!r}"
        )

    async def test_test_data_of_this_host_arrive(self, runtime: Runtime, tmp_path: Path) -> None:
        run = self.of_a_process()
        if not runtime.takes_test_data_paths:
            pytest.skip("takes_test_data_paths = False")
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "a.txt").write_text("test data", "utf-8")
        run = msgspec.structs.replace(run, test_data_path=str(tmp_path / "data"))
        found = await self.printed_by(runtime, run, SHOW_TEST_DATA)
        assert found == "test data\n", f"a.txt in $EVALHUB_TEST_DATA_DIR: {found!r}"
