"""Tasks of lm-evaluation-harness: found by name, with what they need, before any data set is loaded.

Imports the framework.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import lm_eval.tasks
from lm_eval.api.task import Task
from lm_eval.tasks._index import Entry, Kind
from lm_eval.tasks.manager import TaskDict, TaskManager

from evalhub_adapters.lm_eval_adapter.index import directories, task_files
from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.json_values import JsonObject, as_list, as_object

GENERATION = "generate_until"
SHOWN_SUBSETS = 10
ROOT = Path(lm_eval.tasks.__file__).parent
_COMMIT = re.compile(r"@([0-9a-f]{40})")


class FoundTasks(TaskManager):
    """The framework's index of one task, group or tag, and of what belongs to it."""

    def __init__(self, name: str, include_path: Sequence[Path], *, include_defaults: bool = False) -> None:
        super().__init__(include_path=list(include_path), include_defaults=include_defaults)
        self.name = name
        self._loaded: TaskDict | None = None

    def load(self, task_list: list[str]) -> TaskDict:
        """Load the tasks with their data sets, once: the framework calls this, too."""
        if self._loaded is None:
            self._loaded = super().load(task_list)
        return self._loaded

    def configurations(self) -> list[Mapping[str, object]]:
        """The configurations of all single tasks, as far as their files have them."""
        return list(self._configurations(self.task_index[self.name], {}))

    def unknown_members(self) -> set[str]:
        """Names that groups refer to and that are not in the index."""
        return {
            name
            for entry in self.task_index.values()
            if entry.kind is Kind.GROUP
            for name in _member_names(entry.cfg or {})
            if name not in self.task_index
        }

    def _configurations(
        self, entry: Entry, overrides: Mapping[str, object]
    ) -> Iterator[Mapping[str, object]]:
        if entry.kind is Kind.TAG:
            for name in sorted(entry.tags):
                yield from self._configurations(self.task_index[name], overrides)
        elif entry.kind is Kind.GROUP:
            yield from self._members(entry.cfg or {}, overrides)
        else:
            yield {**(entry.cfg or {}), **overrides}

    def _members(
        self, group: Mapping[str, object], overrides: Mapping[str, object]
    ) -> Iterator[Mapping[str, object]]:
        for item in as_list(group.get("task")) or []:
            inline = as_object(item) or {}
            name = item if isinstance(item, str) else inline.get("group", inline.get("task"))
            entry = self.task_index.get(str(name))
            if entry is not None:
                own = {key: value for key, value in inline.items() if key not in ("task", "group")}
                yield from self._configurations(entry, {**overrides, **own})
            elif "group" in inline:
                yield from self._members(inline, overrides)
            else:
                yield {**inline, **overrides}


def find_tasks(name: str) -> tuple[FoundTasks, set[str]]:
    """The index of what ``name`` means, and all names that the framework has.

    Raises:
        JobInvalid: the framework has no such task.
    """
    files = task_files(ROOT)
    if name not in files:
        raise JobInvalid(
            f"benchmark {name} is not a task, group or tag of the installed lm-evaluation-harness: check its spelling"
        )
    wanted = {name}
    while True:
        found = FoundTasks(name, directories(wanted, files))
        missing = found.unknown_members() & files.keys() - wanted if name in found.task_index else set[str]()
        if not missing:
            break
        wanted |= missing
    if name not in found.task_index:
        say(f"task {name} is not defined where its name is: reading all tasks of the framework")
        found = FoundTasks(name, (), include_defaults=True)
    return found, set(files)


def output_types(configurations: Iterable[Mapping[str, object]]) -> set[str]:
    """How the tasks are evaluated: ``generate_until``, ``multiple_choice``, …; tasks written in Python are left out."""
    return {str(each.get("output_type", GENERATION)) for each in configurations if "class" not in each}


def data_set_names(configurations: Iterable[Mapping[str, object]]) -> list[str]:
    """The data sets of the tasks, in their order."""
    named = [each.get("dataset_path") for each in configurations]
    return list(dict.fromkeys(name for name in named if isinstance(name, str)))


def data_sets(tasks: Iterable[Task]) -> list[object]:
    """The data sets that are loaded: with the commit, if its files name one, or the folder that was read instead of the Hub's."""
    found: dict[str, JsonObject] = {}
    subsets: dict[str, set[str]] = defaultdict(set)
    for task in tasks:
        path = getattr(task.config, "dataset_path", None)
        if not isinstance(path, str):
            continue
        if task.config.dataset_name:
            subsets[path].add(task.config.dataset_name)
        folder = str(Path(path).resolve()) if Path(path).is_dir() else None
        found[path] = {"path": path, "folder": folder, "revision": _revision(task.dataset)}
    for path, entry in found.items():
        names = sorted(subsets[path])
        entry["subsets"] = names if len(names) <= SHOWN_SUBSETS else len(names)
    return [{key: value for key, value in entry.items() if value} for entry in found.values()]


def _revision(data: object) -> str | None:
    """The commit in the addresses that a data set was downloaded from."""
    splits = cast("Mapping[str, object]", data).values() if isinstance(data, Mapping) else ()
    for split in splits:
        sources = getattr(getattr(split, "info", None), "download_checksums", None)
        for address in as_object(sources) or {}:
            match = _COMMIT.search(address)
            if match:
                return match[1]
    return None


def _member_names(group: Mapping[str, object]) -> Iterator[str]:
    for item in as_list(group.get("task")) or []:
        inline = as_object(item)
        if inline is None:
            yield str(item)
        elif "group" in inline and isinstance(inline.get("task"), list):
            yield from _member_names(inline)
        else:
            yield str(inline.get("group", inline.get("task")))
