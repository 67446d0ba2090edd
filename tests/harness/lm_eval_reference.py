"""A run of lm-evaluation-harness with its own client and the endpoint's tokenizer: ``python lm_eval_reference.py URL MODEL TASK``.

Prints the log-probabilities of all requests by sample, and the metrics, as JSON. Runs in an environment with the framework.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import lm_eval.tasks
from lm_eval.evaluator import simple_evaluate
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.tasks import TaskManager


def main(url: str, model: str, task: str) -> None:
    lm = LocalCompletionsAPI(
        base_url=f"{url}/completions", model=model, tokenizer_backend="remote", num_concurrent=4
    )
    # All tasks of the framework would take it long to read.
    tasks = TaskManager(include_path=Path(lm_eval.tasks.__file__).with_name("arc"), include_defaults=False)
    results = simple_evaluate(lm, tasks=[task], task_manager=tasks, num_fewshot=2)
    rows = {row["doc_id"]: [answers[0] for answers in row["resps"]] for row in results["samples"][task]}
    print(json.dumps({"samples": rows, "metrics": results["results"][task]}, default=str))


if __name__ == "__main__":
    main(*sys.argv[1:])
