"""What the package imports."""

from __future__ import annotations

import json
import pkgutil
import subprocess
import sys

import evalhub_common

IMPORT = """
import importlib, json, sys
before = set(sys.modules)
for name in sys.argv[1:]:
    importlib.import_module(name)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def test_importing_any_module_imports_the_standard_library_only():
    modules = [f"evalhub_common.{module.name}" for module in pkgutil.iter_modules(evalhub_common.__path__)]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, *modules], capture_output=True, text=True, check=True
    )
    assert set(json.loads(done.stdout)) <= {*sys.stdlib_module_names, "evalhub_common"}
