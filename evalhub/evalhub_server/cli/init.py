"""``eval-hub-server init DIR``: creates a configuration with a working sample provider."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from evalhub_server.cli.output import write
from evalhub_server.errors import StartupError
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import all_keys

TEMPLATES = Path(__file__).parent / "templates"
FILES = {
    "config.yaml": "config.yaml",
    "provider.yaml": "providers/sample.yaml",
    "collection.yaml": "collections/sample.yaml",
    "adapter.py": "sample_adapter.py",
}
"""Template → file below the directory."""
_SETTING = re.compile(r"^(?P<before>[# ]*)@(?P<path>[\w.]+)(?:=(?P<value>.+))?@$", re.MULTILINE)
"""A line of the template that stands for a setting, with its description above; ``value`` overrides default and example."""

_NEXT = """\
Created {files} in {folder}. Next:

  eval-hub-server check --local --configdir {quoted}    validates the files after a change
  eval-hub-server --local --configdir {quoted}          serves the API at http://localhost:8080

and in another terminal:

  curl -s -X POST localhost:8080/api/v1/evaluations/jobs -d '{{
    "name": "first", "collection": {{"id": "sample"}},
    "model": {{"url": "http://localhost:11434/v1", "name": "my-model"}}}}'

The sample adapter ({adapter}) does not call the model yet: do so in its function "answer".
"""


def init(folder: Path) -> int:
    """Create the files. Raises :class:`StartupError` before anything is written if one of them exists."""
    folder = folder.expanduser().absolute()
    targets = {template: folder / name for template, name in FILES.items()}
    existing = [str(target) for target in targets.values() if target.exists() or target.is_symlink()]
    if existing:
        raise StartupError(f"{', '.join(existing)}: exists and is not overwritten. Choose another directory.")
    # A JSON string is valid YAML, so the path may contain any character.
    command = json.dumps(f'"$EVALHUB_PYTHON" {shlex.quote(str(targets["adapter.py"]))}')
    write_new_files(
        {
            target: template_text(template).replace("@COMMAND@", command)
            for template, target in targets.items()
        }
    )
    write(
        _NEXT.format(
            files=", ".join(FILES.values()),
            folder=folder,
            quoted=shlex.quote(str(folder)),
            adapter=targets["adapter.py"],
        )
    )
    return 0


def write_new_files(texts: Mapping[Path, str]) -> None:
    """Create files with the directories above them. Raises :class:`StartupError` if one exists or cannot be written."""
    try:
        for target, text in texts.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise StartupError(f"{error.filename}: cannot be written: {error.strerror}.") from None


def template_text(template: str) -> str:
    """A template with its settings filled in from their descriptions."""
    text = (TEMPLATES / template).read_text("utf-8")
    if not _SETTING.search(text):
        return text
    keys = all_keys(load_plugins(environ={"EVALHUB_LOAD_PLUGINS": ""}).sections())

    def filled(match: re.Match[str]) -> str:
        key = keys[match["path"]][-1]
        before = match["before"]
        # A section that is commented as a whole keeps its descriptions as comments when a user uncomments it.
        margin = f"{before}# " if before.startswith("#") else f"{before.rstrip('# ')}{' ' * 2}# "
        value = match["value"] or _flow(key.example if key.default is None else key.default)
        description = textwrap.wrap(key.description.replace("`", ""), 100 - len(margin))
        lines = [f"{margin}{line}" for line in description]
        return "\n".join([*lines, f"{before}{key.path.rpartition('.')[2]}: {value}"])

    return _SETTING.sub(filled, text)


def _flow(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).partition("\n")[0]
