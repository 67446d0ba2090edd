"""Compiled templates that are kept for the next start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import DictLoader, Environment

from evalhub_server.viewer.compiled_templates import CompiledTemplates

COMPILED = """
import importlib.util
import sys
from pathlib import Path

from evalhub_server.viewer import templating

_, sys.pycache_prefix, keeps = sys.argv  # set here, so that only templates are compiled
sys.dont_write_bytecode = not int(keeps)
Path(importlib.util.cache_from_source(templating.__file__)).parent.mkdir(parents=True, exist_ok=True)
compiled = 0

def count(frame, event, _):
    global compiled
    compiled += event == "call" and frame.f_code.co_name == "_parse" and "jinja2" in frame.f_code.co_filename

sys.setprofile(count)
templating.load_templates(["error.html"])
sys.setprofile(None)
print(compiled)
"""


def templates_compiled(folder: Path, *, keeps: bool) -> int:
    """By a process that loads the page of errors and its layout, and keeps compiled modules in ``folder``."""
    command = [sys.executable, "-c", COMPILED, str(folder), str(int(keeps))]
    return int(subprocess.run(command, check=True, capture_output=True).stdout)


def test_a_second_process_compiles_no_template(tmp_path: Path):
    assert templates_compiled(tmp_path, keeps=True) == 2
    assert templates_compiled(tmp_path, keeps=True) == 0


def test_nothing_is_kept_where_python_keeps_no_modules(tmp_path: Path):
    assert templates_compiled(tmp_path, keeps=False) == 2
    assert list(tmp_path.rglob("*.template")) == []


def rendered(source: Path, text: str) -> str:
    """A page in an environment of its own; ``text`` is that of the template."""
    environment = Environment(
        autoescape=True,
        loader=DictLoader({"a.html": text}),
        bytecode_cache=CompiledTemplates(source, [source]),
    )
    environment.filters["own"] = lambda _: source.read_text()
    return environment.get_template("a.html").render()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    source = tmp_path / "filters.py"
    source.write_text("old")
    return source


def test_a_change_of_a_template_or_of_a_filter_counts(module: Path):
    (module.parent / "__pycache__").mkdir()
    assert rendered(module, "a {{ 'x' | own }}") == "a old"
    assert len(list(module.parent.rglob("*.template"))) == 1
    assert rendered(module, "b {{ 'x' | own }}") == "b old"
    module.write_text("newer")
    assert rendered(module, "b {{ 'x' | own }}") == "b newer"


def test_a_folder_that_is_missing_is_no_fault(module: Path):
    assert rendered(module, "a {{ 'x' | own }}") == "a old"
    assert list(module.parent.rglob("*.template")) == []
