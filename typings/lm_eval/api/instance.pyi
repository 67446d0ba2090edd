from typing import Any

class Instance:
    request_type: str
    doc: dict[str, Any]
    idx: int
    resps: list[object]
    filtered_resps: dict[str, object]
    task_name: str | None
    doc_id: int | None
    @property
    def args(self) -> tuple[object, ...]: ...
