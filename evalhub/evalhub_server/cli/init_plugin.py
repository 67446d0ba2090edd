"""``eval-hub-server init-plugin``: creates a distribution with a plugin that works, and its tests."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Literal

import yaml

from evalhub_server.cli.init import write_new_files
from evalhub_server.cli.output import write
from evalhub_server.errors import StartupError
from evalhub_server.plugins.descriptors import RESERVED_NAMES, RESERVED_SECTIONS

Kind = Literal["runtime", "storage", "tracker", "exporter", "observer"]

TEMPLATES = Path(__file__).parent / "templates" / "plugin"
SUMMARIES: dict[Kind, str] = {
    "runtime": "Adapters as processes of this host that outlive the server",
    "storage": "Jobs, providers and collections in a journal, one file",
    "tracker": "Experiments as directories, and runs as files",
    "exporter": "Evaluation cards as files of a directory",
    "observer": "A line in a file for each change of a job's state",
}
SECTIONS: dict[Kind, dict[str, str]] = {
    "runtime": {},
    "storage": {},
    "tracker": {"directory": "experiments"},
    "exporter": {"directory": "cards"},
    "observer": {"file": "job-changes.txt"},
}
"""The plugin's own section of the example configuration."""
LISTS = {"tracker": "trackers", "exporter": "exporters", "observer": "observers"}
"""Kinds of which a server uses several, with their key below ``plugins:``."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_NEXT = """\
Created {count} files in {folder}. Next:

  cd {quoted}
  python3 -m venv .venv
  .venv/bin/pip install -e '.[dev]'
  .venv/bin/python -m pytest                 runs the contract suite for {kind}s
  .venv/bin/eval-hub-server plugins          lists the plugin

The {kind} is in src/{module}/__init__.py; config.yaml selects it.
"""


def init_plugin(name: str, kind: Kind, folder: Path) -> int:
    """Create the files. Raises :class:`StartupError` before anything is written if the name or the directory cannot be used."""
    if not _NAME.fullmatch(name) or len(name) > 63 or name in RESERVED_NAMES | RESERVED_SECTIONS:
        raise StartupError(
            f"{name!r} cannot be the name of a plugin. Use lower-case letters, digits and single dashes, beginning with a letter; "
            f"not {', '.join(sorted(RESERVED_NAMES | RESERVED_SECTIONS))}."
        )
    folder = folder.expanduser().absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StartupError(f"{folder}: exists and is not an empty directory. Choose another one.")
    files = _files(name, kind)
    write_new_files({folder / path: text for path, text in files.items()})
    write(
        _NEXT.format(
            count=len(files),
            folder=folder,
            quoted=shlex.quote(str(folder)),
            kind=kind,
            module=_module(name),
        )
    )
    return 0


def _files(name: str, kind: Kind) -> dict[str, str]:
    """Path below the directory → content."""
    module = _module(name)
    texts = {
        "pyproject.toml": _template("pyproject.toml.txt"),
        "README.md": _template("README.md.txt"),
        ".github/workflows/tests.yml": _template("workflow.yml.txt"),
        f"src/{module}/__init__.py": _template(f"{kind}.py"),
        f"src/{module}/py.typed": "",
        f"tests/test_{kind}_contract.py": _template(f"test_{kind}.py.txt"),
        f"tests/test_{kind}_job.py": _template(f"job_{kind}.py.txt"),
        "tests/test_installed.py": _template("test_installed.py.txt"),
        "config.yaml": _configuration(kind),
    }
    return {path: _named(text, name, kind) for path, text in texts.items()}


def _template(name: str) -> str:
    return (TEMPLATES / name).read_text("utf-8")


def _configuration(kind: Kind) -> str:
    selected: str | list[str] = ["my-plugin"] if kind in LISTS else "my-plugin"
    if kind == "exporter":
        selected = ["oci", "my-plugin"]  # a list replaces the default
    document = {"plugins": {LISTS.get(kind, kind): selected}}
    section = {"my-plugin": SECTIONS[kind]} if SECTIONS[kind] else {}
    return yaml.safe_dump({**document, **section}, sort_keys=False)


def _named(text: str, name: str, kind: Kind) -> str:
    title = "".join(word.capitalize() for word in name.split("-"))
    replaced = {
        "MyPlugin": title,
        "MY_PLUGIN": _module(name).upper(),
        "my_plugin": _module(name),
        "my-plugin": name,
        "@KIND@": kind,
        "@SUMMARY@": SUMMARIES[kind],
        "@SECTION@": json.dumps(SECTIONS[kind]),
    }
    for old, new in replaced.items():
        text = text.replace(old, new)
    return text


def _module(name: str) -> str:
    return name.replace("-", "_")
