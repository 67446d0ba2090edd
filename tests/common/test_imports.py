"""What the package imports."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import evalhub_adapters
import evalhub_common

IMPORT = """
import importlib, json, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""

MARK = "\n\nImports the framework.\n"
"""The end of a module's docstring."""


def imported_by(*modules: str) -> set[str]:
    """The top-level modules that importing the modules imports."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, *modules], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout))


def modules_of(package: ModuleType) -> list[str]:
    return [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]


def test_importing_any_module_imports_the_standard_library_only():
    modules = modules_of(evalhub_common)
    assert "evalhub_common.adapter.program" in modules
    assert imported_by(*modules) <= {*sys.stdlib_module_names, "evalhub_common"}


def test_only_marked_modules_of_an_adapter_import_its_framework():
    modules = [
        name
        for name in modules_of(evalhub_adapters)
        if MARK not in Path(str(find_spec(name).origin)).read_text("utf-8")  # type: ignore[union-attr]
    ]
    assert "evalhub_adapters.lm_eval_adapter.__main__" in modules
    allowed = {*sys.stdlib_module_names, "evalhub_common", "evalhub_adapters"}
    assert imported_by("evalhub_adapters", *modules) <= allowed


def test_no_module_of_an_adapter_hides_one_of_the_standard_library_or_a_framework():
    names = {name.rpartition(".")[2] for name in modules_of(evalhub_adapters)}
    assert not names & {
        *sys.stdlib_module_names,
        "lm_eval",
        "inspect_ai",
        "inspect_evals",
        "garak",
        "datasets",
    }
