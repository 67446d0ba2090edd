"""One run of tasks of Inspect: creates them, checks what they need, evaluates, and collects metrics and samples.

Imports the framework.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

import inspect_ai
from inspect_ai import Task
from inspect_ai.model import GenerateConfig

from evalhub_adapters.data_folders import distinguish_folders
from evalhub_adapters.inspect_adapter.interruption import Interruption
from evalhub_adapters.inspect_adapter.names import ALIAS_PREFIX, short_name
from evalhub_adapters.inspect_adapter.observer import LogReader, Observer
from evalhub_adapters.inspect_adapter.parameters import Parameters
from evalhub_adapters.inspect_adapter.previous import with_previous
from evalhub_adapters.inspect_adapter.problems import explain_text
from evalhub_adapters.inspect_adapter.query import send_query
from evalhub_adapters.inspect_adapter.requirements import NO_KEY, Judge, check_docker, sandbox_types
from evalhub_adapters.inspect_adapter.results import TaskScores, pooled_scores, read_scores
from evalhub_adapters.inspect_adapter.samples import finished_scores, unscored_note
from evalhub_adapters.inspect_adapter.tasks import (
    DataSetLog,
    FoundTask,
    cache_apart,
    create_task,
    find_task,
    ignored_parameters,
    stop_retrying,
)
from evalhub_adapters.preparation import is_offline, test_data_directory
from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import NoResult, UnexpectedError
from evalhub_common.adapter.json_values import JsonObject, as_object
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.program import Result, Run
from evalhub_common.adapter.progress import ProgressReporter
from evalhub_common.adapter.sample_file import SampleFile, read_samples, replace_samples

DOCKER = "docker"


class Evaluation:
    """The evaluation of one benchmark, which has one task or several."""

    def __init__(self, run: Run, model: Model, parameters: Parameters, names: Sequence[str]) -> None:
        self._run = run
        self._model = model
        self._parameters = parameters
        self._names = names
        self._judge = Judge(parameters, model, run.environ)
        self._data_sets = DataSetLog()
        self._notes: list[str] = []

    def result(self) -> Result:
        """Evaluate.

        Raises:
            BenchmarkFailed: there is no result.
        """
        tasks = self._tasks()
        several = len(tasks) > 1
        finished = finished_scores(read_samples(self._run.previous_samples))
        planned: list[object] = []
        total = reused = 0
        for name, task in tasks.items():
            epochs = self._parameters.epochs or task.epochs or 1
            count = len(task.dataset)
            total += min(self._parameters.limit or count, count) * epochs
            known, number = with_previous(task, finished, short_name(name) if several else None, epochs)
            planned.append(known)
            reused += number
        reused = min(reused, total)
        if reused:
            say(f"{reused} of {total} samples are reused from the earlier run")
        if self._model.base.query:
            send_query(self._model.base.url, dict(parse_qsl(self._model.base.query)))
        self._run.events.running("running_evaluation", total=total)
        reader = LogReader(several=several, key=self._model.secret.api_key)
        with SampleFile(self._run.samples) as file, ProgressReporter(self._run.events) as progress:
            interruption = Interruption()
            Observer.start(reader, file, progress, interruption, total=total, reused=reused)
            with interruption:
                logs = inspect_ai.eval(planned, **self._options())
        return self._result(dict(zip(tasks, logs, strict=True)), reader, reused)

    def _tasks(self) -> dict[str, Task]:
        """The tasks with their data sets, after checks of what they need."""
        if is_offline(os.environ):
            stop_retrying()
        distinguish_folders()
        if test_data_directory(self._run.environ):
            cache_apart(self._run.address.directory / "data-sets")
        found = [find_task(name) for name in self._names]
        ignored = ignored_parameters(found, self._parameters)
        if ignored:
            self._notes.append(f"parameters that no task has were ignored: {', '.join(ignored)}")
        given = [*self._parameters.task_args, *self._parameters.rest]
        arguments = [self._judge.arguments(each, given) for each in found]
        for each in found:
            if each.sandbox and self._parameters.sandbox in (None, DOCKER):
                check_docker(each)
        os.environ.update(self._judge.variables)
        tasks: dict[str, Task] = {}
        with self._data_sets:
            for each, judge in zip(found, arguments, strict=True):
                try:
                    tasks[each.name] = create_task(each, self._parameters, judge)
                except Exception as error:
                    error.data_sets = self._data_sets.names  # type: ignore[attr-defined]
                    raise
        for each in found:
            self._check(each, tasks[each.name], given)
        return tasks

    def _check(self, found: FoundTask, task: Task, given: Sequence[str]) -> None:
        self._judge.check(found, task, given)
        if self._parameters.sandbox is None and DOCKER in sandbox_types(task) and not found.sandbox:
            check_docker(found)

    def _options(self) -> dict[str, object]:
        parameters, model = self._parameters, self._model
        known = GenerateConfig.model_fields
        generation = model.request({}, parameters.generation)
        del generation["model"]  # Inspect adds it
        own = {name: value for name, value in generation.items() if name in known}
        body = {name: value for name, value in generation.items() if name not in known}
        artifacts = self._run.artifacts or self._run.results
        options: dict[str, object] = {
            "model": f"openai-api/evalhub/{model.name}",
            "model_base_url": model.base.url,
            "model_args": {"api_key": model.secret.api_key or NO_KEY},
            "model_roles": self._judge.roles or None,
            "sandbox": parameters.sandbox,
            "limit": parameters.limit,
            "epochs": parameters.epochs,
            "fail_on_error": parameters.fail_on_error,
            "message_limit": parameters.message_limit,
            "token_limit": parameters.token_limit,
            "time_limit": parameters.time_limit_s,
            "max_tasks": 1,
            "max_connections": parameters.concurrency,
            "max_retries": parameters.max_retries,
            "attempt_timeout": int(parameters.timeout_s),
            "display": "none",
            "log_level": "warning",
            "log_dir": str(artifacts),
            "log_format": "eval",
            "log_realtime": False,
            "ctl_server": False,
            **({"extra_body": body} if body else {}),
            **own,
        }
        return {name: value for name, value in options.items() if value is not None}

    def _result(self, logs: Mapping[str, inspect_ai.log.EvalLog], reader: LogReader, reused: int) -> Result:
        scores: dict[str, TaskScores] = {}
        tasks: list[object] = []
        lines: list[JsonObject] = []
        dashed = self._run.address.benchmark_id.startswith(f"{ALIAS_PREFIX}/")
        for name, log in logs.items():
            lines += reader.lines(log)
            document = log.model_dump(mode="json", exclude={"samples", "reductions"})
            error = as_object(document.get("error")) or {}
            if log.status != "success":
                text = f"{error.get('message')} {error.get('traceback')}"
                failure = explain_text(text, name)
                raise failure or UnexpectedError(
                    f"Inspect could not evaluate {name}: {error.get('message') or log.status}. The traceback is in the "
                    "benchmark's log and in Inspect's log among its artifacts"
                )
            scores[name] = read_scores(as_object(document.get("results")) or {}, dashed=dashed)
            tasks.append(_description(name, as_object(document.get("eval")) or {}))
        replace_samples(self._run.samples, lines)
        errors = [str(line["error"]) for line in lines if line.get("error")]
        metrics = pooled_scores(scores)
        if errors and (len(errors) == len(lines) or not metrics):
            raise NoResult(f"all {len(errors)} samples failed; the first error: {errors[0]}")
        if errors:
            self._notes.append(
                f"{len(errors)} of {len(lines)} samples failed and are not part of the scores; the first error: {errors[0]}"
            )
        unscored = unscored_note(lines)
        if not metrics:
            cause = f": {unscored}" if unscored else ""
            raise NoResult(f"Inspect computed no metrics of {', '.join(logs)}{cause}")
        if unscored:
            self._notes.append(f"{unscored}; they are not part of the scores")
        return Result(
            metrics=metrics,
            additional_info={
                "tasks": tasks,
                "data_sets": self._data_sets.found(),
                "num_samples": len(lines),
                "failed_samples": len(errors),
                "reused_samples": reused,
            },
            warning="; ".join(self._notes) or None,
        )


def _description(name: str, header: JsonObject) -> JsonObject:
    """The task of a log: its version and its arguments."""
    version = (as_object(header.get("metadata")) or {}).get("full_task_version")
    described = {
        "name": name,
        "version": version or header.get("task_version"),
        "packages": header.get("packages"),
        "args": header.get("task_args"),
    }
    return {key: value for key, value in described.items() if value}
