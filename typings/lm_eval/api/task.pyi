from collections.abc import Iterable, Mapping, Sequence

from lm_eval.api.filter import FilterEnsemble
from lm_eval.api.instance import Instance

class TaskConfig:
    dataset_path: str | None
    dataset_name: str | None
    process_results: object

class Task:
    OUTPUT_TYPE: str | None
    config: TaskConfig
    dataset: object
    eval_docs: Iterable[object]
    instances: list[Instance]
    task_name: str
    _filters: list[FilterEnsemble]
    _metric_fn_list: Mapping[str, object]
    def process_results(self, doc: object, results: Sequence[object]) -> dict[str, object]: ...
