"""Reuse of the finished samples of an earlier run, by Inspect's own means for a retry.

Parts of Inspect that are not its public interface are imported: if these have changed, everything is evaluated.

Imports the framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from uuid import uuid4

from inspect_ai import Task
from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalSample, EvalSpec

from evalhub_adapters.inspect_adapter.samples import previous_sample, sample_key, shown_input
from evalhub_common.adapter.console import say
from evalhub_common.adapter.json_values import JsonObject, as_list

if TYPE_CHECKING:
    from inspect_ai.log import Model

Finished = Mapping[tuple[str, int], JsonObject]


def with_previous(task: Task, finished: Finished, label: str | None, epochs: int) -> tuple[object, int]:
    """``task``, with the samples that are finished and whose input is the same; and their number."""
    samples: list[EvalSample] = []
    try:
        from inspect_ai._eval.task import PreviousTask
        from inspect_ai._util.registry import registry_params

        for number, sample in enumerate(task.dataset, 1):
            # Inspect numbers samples without an id.
            own = number if sample.id is None else sample.id
            for epoch in range(1, epochs + 1):
                line = finished.get((sample_key(own, label), epoch))
                if line is not None and line.get("input") == shown_input(_plain(sample.input)):
                    samples.append(EvalSample(**previous_sample(line, own, epoch, sample.input)))
        if not samples:
            return task, 0
        log = EvalLog(
            status="error",
            eval=EvalSpec(
                created=datetime.now(UTC).isoformat(),
                task=task.name,
                dataset=EvalDataset(samples=len(task.dataset), shuffled=task.dataset.shuffled),
                model="none",
                config=EvalConfig(epochs=epochs),
            ),
            samples=samples,
        )
        previous = PreviousTask(
            id=uuid4().hex,
            task=task,
            task_args=dict(registry_params(task)),
            model=None,
            model_roles=None,
            sandbox=task.sandbox,
            log=log,
            log_info=None,
        )
    except (ImportError, TypeError, ValueError) as error:
        say(f"finished samples of the earlier run cannot be reused with this version of Inspect: {error}")
        return task, 0
    return previous, len(samples)


def _plain(value: object) -> object:
    """The input of a sample as a log has it."""
    if isinstance(value, str):
        return value
    return [cast("Model", message).model_dump(mode="json") for message in as_list(value) or []]
