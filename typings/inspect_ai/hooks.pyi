from collections.abc import Callable

from inspect_ai.log import EvalSample, EvalSpec

class TaskStart:
    eval_id: str
    spec: EvalSpec

class SampleEnd:
    eval_id: str
    sample: EvalSample

class Hooks:
    async def on_task_start(self, data: TaskStart) -> None: ...
    async def on_sample_end(self, data: SampleEnd) -> None: ...

def hooks(*, name: str, description: str) -> Callable[[type[Hooks]], type[Hooks]]: ...
