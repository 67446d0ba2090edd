"""The program: checks what can be checked without the framework, then evaluates with it."""

from __future__ import annotations

import os
import sys

from evalhub_adapters import __version__
from evalhub_adapters.framework_adapter import FrameworkAdapter
from evalhub_adapters.inspect_adapter.names import task_names
from evalhub_adapters.inspect_adapter.parameters import read_parameters
from evalhub_adapters.inspect_adapter.problems import INSTALL, explain
from evalhub_adapters.preparation import prepare
from evalhub_adapters.probe import probe_chat
from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import BenchmarkFailed
from evalhub_common.adapter.job import read_num_examples
from evalhub_common.adapter.job import read_parameters as parameters_of
from evalhub_common.adapter.model import read_model
from evalhub_common.adapter.program import Result, Run, run_adapter


class InspectAdapter(FrameworkAdapter):
    """The adapter of the provider ``inspect``."""

    name, version = "evalhub-inspect", __version__
    framework, distribution, install = "Inspect", "inspect_ai", INSTALL

    def evaluate_with(self, run: Run, framework_version: str) -> Result:
        model = read_model(run.document.get("model"), run.environ)
        parameters = read_parameters(parameters_of(run.document), read_num_examples(run.document))
        names = task_names(run.task, parameters.tasks)
        prepare(run, model, os.environ)
        run.events.running("loading_data")
        say(f"Inspect {framework_version}: {', '.join(names)}; model '{model.name}' at {model.base.url}")
        probe_chat(model, timeout_s=parameters.timeout_s, max_retries=parameters.max_retries)
        from evalhub_adapters.inspect_adapter.run import Evaluation

        return Evaluation(run, model, parameters, names).result()

    def explain(self, error: Exception, run: Run) -> BenchmarkFailed | None:
        return explain(error, run.address.benchmark_id)


def main() -> int:
    """Run one benchmark and return the exit status."""
    return run_adapter(InspectAdapter())


if __name__ == "__main__":
    sys.exit(main())
