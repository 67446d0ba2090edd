"""The program: checks what can be checked without the framework, then runs the probes with it."""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import PackageNotFoundError, version

from evalhub_adapters import __version__
from evalhub_adapters.failures import explain_text, text_of
from evalhub_adapters.garak_adapter.parameters import read_parameters
from evalhub_adapters.garak_adapter.selection import select_probes
from evalhub_adapters.preparation import prepare
from evalhub_adapters.probe import probe_chat
from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import AdapterError, FrameworkMissing
from evalhub_common.adapter.job import read_num_examples
from evalhub_common.adapter.job import read_parameters as parameters_of
from evalhub_common.adapter.model import read_model
from evalhub_common.adapter.program import Adapter, Result, Run, run_adapter

DISTRIBUTION = "garak"
INSTALL = "eval-hub-server adapters install garak"


class GarakAdapter(Adapter):
    """The adapter of the provider ``garak``."""

    name, version = "evalhub-garak", __version__

    def evaluate(self, run: Run) -> Result:
        try:
            framework = version(DISTRIBUTION)
        except PackageNotFoundError as error:
            raise FrameworkMissing(
                f"garak is not installed in the environment of {sys.executable}. Install it with: {INSTALL}"
            ) from error
        model = read_model(run.document.get("model"), run.environ)
        parameters = read_parameters(parameters_of(run.document), read_num_examples(run.document))
        selection = select_probes(run.task, parameters.probes, parameters.probe_tags)
        prepare(run, model, os.environ)
        run.events.running("loading_data")
        say(f"garak {framework}: {selection}; model '{model.name}' at {model.base.url}")
        probe_chat(model, timeout_s=parameters.timeout_s, max_retries=parameters.max_retries)
        started = time.monotonic()
        try:
            from evalhub_adapters.garak_adapter.run import Scan

            result = Scan(run, model, parameters, selection).result()
        except AdapterError:
            raise
        except Exception as error:
            failure = explain_text(text_of(error), run.address.benchmark_id, (), INSTALL)
            if failure is None:
                raise
            raise failure from error
        result.additional_info["framework"] = {"name": "garak", "version": framework}
        result.additional_info["evaluation_s"] = round(time.monotonic() - started, 3)
        return result


def main() -> int:
    """Run one benchmark and return the exit status."""
    return run_adapter(GarakAdapter())


if __name__ == "__main__":
    sys.exit(main())
