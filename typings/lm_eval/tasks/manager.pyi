from pathlib import Path
from typing import TypedDict

from lm_eval.api.task import Task
from lm_eval.tasks._index import Entry

class TaskDict(TypedDict):
    tasks: dict[str, Task]
    groups: dict[str, object]
    group_map: dict[str, list[str]]

class TaskManager:
    def __init__(
        self,
        *,
        include_path: list[str | Path] | None = None,
        include_defaults: bool = True,
    ) -> None: ...
    @property
    def task_index(self) -> dict[str, Entry]: ...
    def load(self, task_list: list[str]) -> TaskDict: ...
