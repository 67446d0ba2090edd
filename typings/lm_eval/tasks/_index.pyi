from enum import Enum
from pathlib import Path

class Kind(Enum):
    TASK = 1
    PY_TASK = 2
    GROUP = 3
    TAG = 4
    UNKNOWN = 5

class Entry:
    name: str
    kind: Kind
    yaml_path: Path | None
    cfg: dict[str, object] | None
    tags: set[str]
