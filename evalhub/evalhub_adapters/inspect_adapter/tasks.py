"""Tasks of Inspect, found by name in the installed packages, and the data sets that they load.

Imports the framework.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import cast

import datasets
from inspect_ai import Task

from evalhub_adapters.inspect_adapter.names import EVALS
from evalhub_adapters.inspect_adapter.parameters import Parameters
from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.json_values import JsonObject

TaskFunction = Callable[..., Task]
_SANDBOX = re.compile(r"^[ ]+sandbox:", re.MULTILINE)


@dataclass(frozen=True)
class FoundTask:
    """A task that can be created. ``sandbox``: its listing says that it runs code or tools in one."""

    name: str
    function: TaskFunction
    sandbox: bool

    @property
    def arguments(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the function."""
        return inspect.signature(self.function).parameters


def find_task(name: str) -> FoundTask:
    """The task ``package/task``.

    Raises:
        JobInvalid: the package is not installed, or has no such task.
    """
    package, _, task = name.partition("/")
    found = next(iter(entry_points(group="inspect_ai", name=package)), None)
    if found is None:
        raise JobInvalid(
            f"benchmark {name} is a task of the package {package}, which is not installed in this environment"
        )
    # Importing one evaluation is faster than importing all of them.
    listing = _listing(task) if package == EVALS else None
    text = listing.read_text(encoding="utf-8") if listing else ""
    modules = [f"{EVALS}.{listing.parent.name}"] if listing else []
    for module in [*modules, found.value]:
        function = getattr(importlib.import_module(module), task, None)
        if callable(function):
            return FoundTask(name, cast("TaskFunction", function), bool(_SANDBOX.search(text)))
    near = get_close_matches(task, dir(importlib.import_module(found.value)), 3)
    hint = f" (did you mean {', '.join(f'{package}/{each}' for each in near)}?)" if near else ""
    raise JobInvalid(
        f"the installed {package} has no task '{task}'{hint}. parameters.tasks can name those of another package, as package/task"
    )


def create_task(found: FoundTask, parameters: Parameters, judge: Mapping[str, object]) -> Task:
    """Create the task, which loads its data set. ``judge`` has arguments that name the judge model.

    Raises:
        JobInvalid: an argument in the job is not one of the task's.
    """
    own = found.arguments
    unknown = sorted(parameters.task_args.keys() - own.keys())
    if unknown:
        raise JobInvalid(
            f"parameters.task_args has '{unknown[0]}', which task {found.name} does not have: it has {', '.join(own) or 'none'}"
        )
    arguments = {name: value for name, value in _offered(parameters).items() if name in own}
    return found.function(**{**judge, **arguments, **parameters.task_args})


def ignored_parameters(tasks: Sequence[FoundTask], parameters: Parameters) -> list[str]:
    """The names of parameters that none of the tasks has."""
    return sorted(_offered(parameters).keys() - {name for task in tasks for name in task.arguments})


class DataSetLog:
    """Notes which data sets are loaded by the package ``datasets``, in which revision, while it is entered."""

    def __init__(self) -> None:
        self._found: dict[str, JsonObject] = {}
        self._load = datasets.load_dataset

    def __enter__(self) -> DataSetLog:
        datasets.load_dataset = self._noting
        return self

    def __exit__(self, *_: object) -> None:
        datasets.load_dataset = self._load

    @property
    def names(self) -> list[str]:
        """The paths of the data sets."""
        return list(self._found)

    def found(self) -> list[object]:
        """The data sets with their subsets, and the revision or the folder that was read instead of the Hub's."""
        return list(self._found.values())

    def _noting(self, path: str, name: str | None = None, *args: object, **options: object) -> object:
        entry = self._found.setdefault(path, {"path": path, "subsets": []})
        subset = name or options.get("data_dir")
        subsets = cast("list[object]", entry["subsets"])
        if subset is not None and subset not in subsets:
            subsets.append(subset)
        if Path(path).is_dir():
            entry["folder"] = str(Path(path).resolve())
        elif options.get("revision"):
            entry["revision"] = options["revision"]
        return self._load(path, name, *args, **options)


def cache_apart(directory: Path) -> None:
    """Let Inspect keep its copies of data sets in ``directory`` instead of the user's cache, which names them after the Hub's."""

    def cache_dir(subdir: str | None, create: bool = True) -> Path:
        path = directory / (subdir or "")
        path.mkdir(parents=True, exist_ok=True)
        return path

    module = importlib.import_module("inspect_ai.dataset._sources.hf")
    if hasattr(module, "inspect_cache_dir"):
        setattr(module, "inspect_cache_dir", cache_dir)  # noqa: B010  a private module has no types


def stop_retrying() -> None:
    """Let packages report at once that data cannot be downloaded: without a network their retries take minutes."""
    for module, name in (
        ("inspect_evals.utils.huggingface", "should_retry"),
        ("inspect_ai.dataset._sources.hf", "_should_retry_hf_error"),
    ):
        found: ModuleType = importlib.import_module(module)
        if hasattr(found, name):
            setattr(found, name, _never)


def _offered(parameters: Parameters) -> dict[str, object]:
    """Parameters that are arguments of tasks that have them."""
    shots = {} if parameters.num_fewshot is None else {"fewshot": parameters.num_fewshot}
    return {**shots, **parameters.rest}


def _never(error: BaseException) -> bool:
    return False


def _listing(task: str) -> Path | None:
    """The file that lists a task of ``inspect_evals``."""
    origin = importlib.import_module(EVALS).__file__
    pattern = re.compile(rf"^\s*-?\s*name:\s*[\"']?{re.escape(task)}[\"']?\s*$", re.MULTILINE)
    for path in sorted(Path(origin or ".").parent.glob("*/eval.yaml")):
        if pattern.search(path.read_text(encoding="utf-8")):
            return path
    return None
