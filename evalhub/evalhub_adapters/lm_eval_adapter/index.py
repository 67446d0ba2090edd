"""The files that define tasks of lm-evaluation-harness, found by their text.

The framework parses all of its 14,000 YAML files at every start, which takes 6 to 24 seconds. Reading the names only takes a
fraction of that; the framework is then given the directories of one task.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

_NAME = re.compile(
    r"""^["']?(?:task|group)["']?:[ \t]*["']?([^\s"'#\[{][^"'#\n]*?)["']?[ \t]*(?:#.*)?$""", re.MULTILINE
)
_TAG = re.compile(r"""^["']?tag["']?:(.*(?:\n[ \t]*-.*)*)""", re.MULTILINE)
_WORD = re.compile(r"""[^\s"'\[\],#]+""")


def task_files(root: Path) -> dict[str, set[Path]]:
    """The files below ``root`` in which each name is defined: of a task, of a group, or of a tag of tasks.

    A tag may be in a file that those of the tasks include, often one without an extension (``_default_template_yaml``).
    """
    files: dict[str, set[Path]] = defaultdict(set)
    for path in root.rglob("*"):
        if path.suffix not in ("", ".yaml", ".yml") or path.is_dir():
            continue
        for name in names_in(path.read_text(encoding="utf-8", errors="replace")):
            files[name].add(path)
    return dict(files)


def names_in(text: str) -> set[str]:
    """The names of tasks, groups and tags in the text of a task's file."""
    names = {match[1] for match in _NAME.finditer(text)}
    for match in _TAG.finditer(text):
        names.update(word for word in _WORD.findall(match[1]) if word != "-")
    return names


def directories(names: Iterable[str], files: Mapping[str, set[Path]]) -> list[Path]:
    """The directories with the files of ``names``, sorted, without those that are below another of them."""
    found = {path.parent for name in names for path in files.get(name, ())}
    return sorted(directory for directory in found if not found.intersection(directory.parents))
