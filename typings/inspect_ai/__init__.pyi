"""What the Inspect adapter uses of inspect_ai."""

from collections.abc import Iterator, Sequence

from inspect_ai import log as log

class SandboxSpec:
    type: str

class Sample:
    id: int | str | None
    input: object
    sandbox: SandboxSpec | None

class Dataset:
    shuffled: bool
    def __iter__(self) -> Iterator[Sample]: ...
    def __len__(self) -> int: ...

class Task:
    name: str
    dataset: Dataset
    sandbox: SandboxSpec | None
    scorer: object
    epochs: int | None

def eval(tasks: Sequence[object], **options: object) -> list[log.EvalLog]: ...  # noqa: A001
