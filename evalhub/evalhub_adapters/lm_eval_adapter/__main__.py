"""The program: checks what can be checked without the framework, then evaluates with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from evalhub_adapters import __version__
from evalhub_adapters.framework_adapter import FrameworkAdapter
from evalhub_adapters.lm_eval_adapter.parameters import Parameters, read_parameters
from evalhub_adapters.lm_eval_adapter.problems import INSTALL, explain
from evalhub_adapters.preparation import prepare
from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import BenchmarkFailed
from evalhub_common.adapter.job import read_num_examples
from evalhub_common.adapter.job import read_parameters as parameters_of
from evalhub_common.adapter.model import Model, read_model
from evalhub_common.adapter.program import Result, Run, run_adapter


class LmEvalAdapter(FrameworkAdapter):
    """The adapter of the provider ``lm_evaluation_harness``."""

    name, version = "evalhub-lm-eval", __version__
    framework, distribution, install = "lm-evaluation-harness", "lm_eval", INSTALL

    def __init__(self) -> None:
        self._data_sets: Sequence[str] = ()

    def evaluate_with(self, run: Run, framework_version: str) -> Result:
        model = read_model(run.document.get("model"), run.environ)
        parameters = read_parameters(parameters_of(run.document), read_num_examples(run.document))
        _prepare(run, model, parameters)
        run.events.running("loading_data")
        say(
            f"{self.framework} {framework_version}: task {run.task}; model '{model.name}' at {model.base.url}"
        )
        from evalhub_adapters.lm_eval_adapter.run import Evaluation

        evaluation = Evaluation(run, model, parameters)
        self._data_sets = evaluation.data_sets
        return evaluation.result()

    def explain(self, error: Exception, run: Run) -> BenchmarkFailed | None:
        return explain(error, run.task, self._data_sets)


def _prepare(run: Run, model: Model, parameters: Parameters) -> None:
    """Set what the framework reads from the environment, before it is imported."""
    prepare(run, model, os.environ)
    os.environ.setdefault("DISABLE_MULTIPROC", "1")  # for the bootstrap
    if parameters.confirm_run_unsafe_code:
        os.environ["HF_ALLOW_CODE_EVAL"] = "1"


def main() -> int:
    """Run one benchmark and return the exit status."""
    return run_adapter(LmEvalAdapter())


if __name__ == "__main__":
    sys.exit(main())
