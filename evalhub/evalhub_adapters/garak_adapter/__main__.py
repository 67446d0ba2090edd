"""The program: checks what can be checked without the framework, then runs the probes with it."""

from __future__ import annotations

import os
import sys

from evalhub_adapters import __version__
from evalhub_adapters.failures import explain_text, text_of
from evalhub_adapters.framework_adapter import FrameworkAdapter
from evalhub_adapters.garak_adapter.parameters import read_parameters
from evalhub_adapters.garak_adapter.selection import select_probes
from evalhub_adapters.preparation import prepare
from evalhub_adapters.probe import probe_chat
from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import BenchmarkFailed
from evalhub_common.adapter.job import read_num_examples
from evalhub_common.adapter.job import read_parameters as parameters_of
from evalhub_common.adapter.model import read_model
from evalhub_common.adapter.program import Result, Run, run_adapter


class GarakAdapter(FrameworkAdapter):
    """The adapter of the provider ``garak``."""

    name, version = "evalhub-garak", __version__
    framework, distribution, install = "garak", "garak", "eval-hub-server adapters install garak"

    def evaluate_with(self, run: Run, framework_version: str) -> Result:
        model = read_model(run.document.get("model"), run.environ)
        parameters = read_parameters(parameters_of(run.document), read_num_examples(run.document))
        selection = select_probes(run.task, parameters.probes, parameters.probe_tags)
        prepare(run, model, os.environ)
        run.events.running("loading_data")
        say(f"garak {framework_version}: {selection}; model '{model.name}' at {model.base.url}")
        probe_chat(model, timeout_s=parameters.timeout_s, max_retries=parameters.max_retries)
        from evalhub_adapters.garak_adapter.run import Scan

        return Scan(run, model, parameters, selection).result()

    def explain(self, error: Exception, run: Run) -> BenchmarkFailed | None:
        return explain_text(text_of(error), run.address.benchmark_id, (), self.install)


def main() -> int:
    """Run one benchmark and return the exit status."""
    return run_adapter(GarakAdapter())


if __name__ == "__main__":
    sys.exit(main())
