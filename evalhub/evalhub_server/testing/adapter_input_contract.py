"""Contract tests for what adapters get from their runtime; a part of ``RuntimeContract``."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evalhub_server.models.job import Model
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.plugins.runtime import BenchmarkRun, Runtime
from evalhub_server.testing.filled_record import filled
from evalhub_server.testing.runtime_case import RuntimeCase

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

    async def test_variables_of_trackers_arrive(self, runtime: Runtime) -> None:
        found = (await self.input_of(runtime, self.with_everything())).environment
        differing = {
            name: (value, found.get(name, "missing"))
            for name, value in self.environment.items()
            if found.get(name) != value
        }
        assert not differing, f"variables; by name, the given and the found value: {differing}"
