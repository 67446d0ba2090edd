"""One run of a task of lm-evaluation-harness: probes the endpoint, evaluates, and collects metrics and samples.

Imports the framework.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import cast

from lm_eval.api.task import Task
from lm_eval.evaluator import simple_evaluate

from evalhub_adapters import __version__
from evalhub_adapters.data_folders import distinguish_folders
from evalhub_adapters.lm_eval_adapter.calls import (
    Call,
    CallLog,
    CallRunner,
    SampleKey,
    Value,
    finished_calls,
)
from evalhub_adapters.lm_eval_adapter.model import EndpointModel
from evalhub_adapters.lm_eval_adapter.parameters import Parameters
from evalhub_adapters.lm_eval_adapter.probe import Probe
from evalhub_adapters.lm_eval_adapter.resources import check_resources
from evalhub_adapters.lm_eval_adapter.results import (
    Row,
    mean_scores,
    read_scores,
    sample_lines,
)
from evalhub_adapters.lm_eval_adapter.running import RunningScores
from evalhub_adapters.lm_eval_adapter.tasks import (
    GENERATION,
    data_set_names,
    data_sets,
    find_tasks,
    output_types,
)
from evalhub_adapters.lm_eval_adapter.twins import generating_twin
from evalhub_common.adapter.declared import declared_filters
from evalhub_common.adapter.declared import generating_twin as declared_twin
from evalhub_common.adapter.errors import JobInvalid, ModelUnusable, RequestFailed
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.model_errors import endpoint_advice
from evalhub_common.adapter.program import Result, Run
from evalhub_common.adapter.progress import ProgressReporter
from evalhub_common.adapter.sample_file import SampleFile, read_samples, replace_samples


class Evaluation:
    """A task with the model and the parameters of a job."""

    def __init__(self, run: Run, model: Model, parameters: Parameters) -> None:
        self._run = run
        self._model = model
        self._parameters = parameters
        self._task = run.task
        self.data_sets: list[str] = []
        """The names of the task's data sets, as soon as they are known."""

    def result(self) -> Result:
        """Run the task and write the samples.

        Raises:
            BenchmarkFailed: with one sentence for the user, if the cause is known.
            JobClosed, EventRefused: from the events.
        """
        distinguish_folders()
        found, names = find_tasks(self._task)
        configurations = found.configurations()
        self.data_sets[:] = data_set_names(configurations)
        self._check_code(configurations)
        types = output_types(configurations)
        parameters = self._parameters
        with ModelClient(
            self._model,
            user_agent=f"evalhub-lm-eval/{__version__}",
            timeout_s=parameters.timeout_s,
            max_retries=parameters.max_retries,
            retry_timeouts=True,
        ) as client:
            twin = declared_twin(self._run.document) or generating_twin(self._task, names.__contains__)
            probe = Probe(client, self._model, self._task, twin)
            self._probe(probe, types)
            loaded = found.load([self._task])
            tasks = loaded["tasks"]
            loaded_types = {task.OUTPUT_TYPE for task in tasks.values() if task.OUTPUT_TYPE}
            self._probe(probe, loaded_types - types)
            types |= loaded_types
            check_resources(tasks.values(), parameters.limit)
            session = _Session(self._run, client, self._model, parameters, tasks)
            with session:
                document = simple_evaluate(
                    EndpointModel(session.runner, self._model, parameters),
                    tasks=[self._task],
                    num_fewshot=parameters.num_fewshot,
                    limit=parameters.limit,
                    bootstrap_iters=parameters.bootstrap_iterations,
                    log_samples=True,
                    system_instruction=parameters.system_instruction,
                    apply_chat_template=types == {GENERATION} and parameters.endpoint == "chat",
                    fewshot_as_multiturn=parameters.fewshot_as_multiturn,
                    task_manager=found,
                    confirm_run_unsafe_code=parameters.confirm_run_unsafe_code,
                )
        self._run.events.running("post_processing")
        return self._report(document or {}, tasks, session)

    def _probe(self, probe: Probe, types: set[str]) -> None:
        if types - {GENERATION}:
            probe.prompt_logprobs()
        if GENERATION in types:
            probe.generation(self._parameters.endpoint)

    def _check_code(self, configurations: Iterable[Mapping[str, object]]) -> None:
        unsafe = any(each.get("unsafe_code") for each in configurations)
        if unsafe and not self._parameters.confirm_run_unsafe_code:
            raise JobInvalid(
                f"benchmark {self._task} runs program code that the model writes, on the adapter's machine: to permit it, set "
                "parameters.confirm_run_unsafe_code to true"
            )

    def _report(self, document: Mapping[str, object], tasks: Mapping[str, Task], session: _Session) -> Result:
        rows = cast("Mapping[str, Row]", document["results"])
        declared = declared_filters(self._run.document)
        scores = read_scores(rows.get(self._task, {}), declared)
        aggregation: JsonObject = {}
        if not scores.metrics:
            scores = mean_scores([rows[name] for name in tasks], declared)
            aggregation = {"aggregation": f"mean over {len(tasks)} tasks"}
        samples = cast("Mapping[str, Sequence[Row]]", document["samples"])
        count = session.write_samples(samples)
        versions = cast("Mapping[str, object]", document.get("versions", {}))
        few_shot = cast("Mapping[str, object]", document.get("n-shot", {}))
        runner = session.runner
        info: JsonObject = {
            "task": self._task,
            "task_version": versions.get(self._task),
            "num_few_shot": few_shot.get(self._task),
            "data_sets": data_sets(tasks.values()),
            "filters": {name: used for name, used in scores.filters.items() if used != "none"},
            "model_url": self._model.base.url,
            "model_name": self._model.name,
            "concurrency": self._parameters.concurrency,
            "requests": session.done,
            "reused_requests": runner.reused,
            "retries": runner.retries,
            "num_samples": count,
            **aggregation,
        }
        if len(tasks) > 1:
            info["tasks"] = {
                name: _subtask(rows.get(name, {}), samples.get(name, ()), declared) for name in tasks
            }
        return Result(
            metrics=scores.metrics,
            additional_info={name: value for name, value in info.items() if value not in (None, {}, [])},
            warning=self._warning(session, tasks),
        )

    def _warning(self, session: _Session, tasks: Mapping[str, Task]) -> str | None:
        notes: list[str] = []
        if self._parameters.ignored:
            notes.append(
                f"parameters unknown to this adapter were ignored: {', '.join(self._parameters.ignored)}"
            )
        if session.empty:
            notes.append(
                f"{session.empty} of {session.done} answers are empty: a model that reasons may need a higher max_tokens"
            )
        if self._parameters.limit is not None and len(tasks) > 1:
            notes.append(f"num_examples counts for each of the {len(tasks)} tasks")
        return "; ".join(notes) or None


class _Session:
    """The requests of a run, with their progress and their samples; a context manager for the time of the requests."""

    def __init__(
        self,
        run: Run,
        client: ModelClient,
        model: Model,
        parameters: Parameters,
        tasks: Mapping[str, Task],
    ) -> None:
        self._run = run
        self._model = model
        self._several = len(tasks) > 1
        self._declared = declared_filters(run.document)
        self._running = RunningScores(tasks, self._declared)
        self._pending: dict[SampleKey, list[tuple[object, Value]]] = defaultdict(list)
        previous = finished_calls(read_samples(run.previous_samples))
        self._file = SampleFile(run.samples)
        self._log = CallLog(self._file, lambda sample: self.sample_id(*sample))
        self.runner = CallRunner(
            client, self._log, concurrency=parameters.concurrency, previous=previous, done=self._note
        )
        self._progress = ProgressReporter(run.events)
        self.done = 0
        self.empty = 0

    def __enter__(self) -> None:
        self._run.events.running("running_evaluation")
        self._progress.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._progress.__exit__(kind, error, None)
        self._file.__exit__(kind, error, None)
        if isinstance(error, RequestFailed):
            raise self._interrupted(error) from error

    def sample_id(self, task: str, number: int) -> str:
        """The id of a sample: the number of its document, after its task if there are several."""
        return f"{task}/{number}" if self._several else str(number)

    def write_samples(self, samples: Mapping[str, Sequence[Row]]) -> int:
        """Replace the file of samples by one with the scores; returns their number."""
        lines = (
            sample_lines(
                task,
                rows,
                sample_id=self.sample_id,
                group=task if self._several else None,
                requests=lambda name, number: self._log.requests((name, number)),
                declared=self._declared,
            )
            for task, rows in samples.items()
        )
        return replace_samples(self._run.samples, chain.from_iterable(lines))

    def _note(self, call: Call, value: Value, complete: bool) -> None:
        self.done += 1
        self.empty += value == ""
        self._pending[call.sample].append((call.request, value))
        if complete:
            self._running.add(call.sample, self._pending.pop(call.sample))
        self._progress.update(self.done, self._log.total, self._running.means())

    def _interrupted(self, failure: RequestFailed) -> ModelUnusable:
        return ModelUnusable(
            f"the model endpoint {self._model.base.url} failed after {self.done} of {self._log.total} requests: {failure}. "
            f"{endpoint_advice(failure, self._model)} A rerun repeats only what is missing"
        )


def _subtask(row: Row, samples: Sequence[Row], declared: Mapping[str, str]) -> JsonObject:
    return {
        **read_scores(row, declared).metrics,
        "num_samples": len({sample.get("doc_id") for sample in samples}),
    }
