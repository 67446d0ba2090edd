"""``python -m evalhub_adapters.lm_eval_adapter``: runs a benchmark of lm-evaluation-harness in this process.

Tasks that generate text use the chat endpoint. Tasks that compare log-probabilities of given answers use completions that repeat
the prompt (``echo``), without a tokenizer; an endpoint that does not report them is refused before the run.
"""

from __future__ import annotations

import os
import sys
import time
from importlib.metadata import PackageNotFoundError, version

from evalhub_adapters import __version__
from evalhub_adapters.lm_eval_names import task_name
from evalhub_adapters.lm_eval_parameters import Parameters, read_parameters
from evalhub_adapters.lm_eval_problems import INSTALL, explain
from evalhub_adapters.preparation import prepare
from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import AdapterError, FrameworkMissing
from evalhub_common.adapter.job import read_num_examples
from evalhub_common.adapter.job import read_parameters as parameters_of
from evalhub_common.adapter.model import Model, read_model
from evalhub_common.adapter.program import Adapter, Result, Run, run_adapter

DISTRIBUTION = "lm_eval"


class LmEvalAdapter(Adapter):
    """The adapter of the provider ``lm_evaluation_harness``."""

    name, version = "evalhub-lm-eval", __version__

    def evaluate(self, run: Run) -> Result:
        try:
            framework = version(DISTRIBUTION)
        except PackageNotFoundError as error:
            raise FrameworkMissing(
                f"lm-evaluation-harness is not installed in the environment of {sys.executable}. Install it with: {INSTALL}"
            ) from error
        model = read_model(run.document.get("model"), run.environ)
        parameters = read_parameters(parameters_of(run.document), read_num_examples(run.document))
        _prepare(run, model, parameters)
        task = task_name(run.task)
        run.events.running("loading_data")
        say(f"lm-evaluation-harness {framework}: task {task}; model '{model.name}' at {model.base.url}")
        started = time.monotonic()
        evaluation = None
        try:
            from evalhub_adapters.lm_eval_run import Evaluation

            evaluation = Evaluation(run, model, parameters, task, framework)
            result = evaluation.result()
        except AdapterError:
            raise
        except Exception as error:
            failure = explain(error, task, evaluation.data_sets if evaluation else ())
            if failure is None:
                raise
            raise failure from error
        result.additional_info["evaluation_s"] = round(time.monotonic() - started, 3)
        return result


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
