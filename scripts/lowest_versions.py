"""Constraints for pip that select the lowest version that pyproject.toml allows of each run-time dependency.

python scripts/lowest_versions.py > constraints.txt
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"
BOUNDED = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*>=\s*(?P<lowest>[0-9][0-9A-Za-z.]*)")
NOT_SHIPPED = {"all", "dev", "docs", "testing"}
"""Extras that repeat others, or that no server needs; tests run with current tools."""


def main() -> int:
    sys.stdout.write("\n".join(constraints(tomllib.loads(PYPROJECT.read_text("utf-8"))["project"])) + "\n")
    return 0


def constraints(project: dict[str, Any]) -> list[str]:
    """``name==version`` of every direct dependency, those of extras included.

    Raises :class:`ValueError` for a dependency without a lower bound.
    """
    extras = project["optional-dependencies"]
    lists = [project["dependencies"], *(extras[name] for name in extras if name not in NOT_SHIPPED)]
    found = {_lowest(requirement) for requirements in lists for requirement in requirements}
    return sorted(found)


def _lowest(requirement: str) -> str:
    match = BOUNDED.match(requirement)
    if match is None:
        raise ValueError(f"no lower bound: {requirement}")
    return f"{match['name']}=={match['lowest']}"


if __name__ == "__main__":
    raise SystemExit(main())
