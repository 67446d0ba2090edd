"""Adapters of real evaluation frameworks in tests: their environment, its search path, and a provider that runs them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import coverage

from evalhub_common.private_paths import check_directory, make_private
from harness.environments import installed
from harness.packaging import PROJECT

LM_EVAL = "lm-eval[api,ifeval]==0.4.13"
MEASURE = """
import os
if any(name.startswith("COVERAGE_PROCESS") for name in os.environ):
    import coverage
    coverage.process_startup()
"""


def machine_cache() -> Path:
    """A directory of this machine and user for what takes long to install: later runs, also of other checkouts, find it."""
    path = Path(tempfile.gettempdir()) / f"evalhub-tests-{os.geteuid()}"
    make_private(path)
    check_directory(path)
    return path


def lm_eval_python() -> Path:
    """The interpreter of an environment with lm-evaluation-harness. The first call downloads some hundred MB."""
    return installed(machine_cache(), "lm-eval-0.4.13", LM_EVAL) / "bin" / "python"


def search_path(folder: Path) -> str:
    """A directory for ``PYTHONPATH`` with the adapters' packages alone, and what measures coverage in a foreign environment."""
    folder.mkdir(exist_ok=True)
    for package in ("evalhub_adapters", "evalhub_common"):
        (folder / package).symlink_to(PROJECT / "evalhub" / package)
    (folder / "coverage").symlink_to(Path(coverage.__file__).parent)
    (folder / "sitecustomize.py").write_text(MEASURE, encoding="utf-8")
    return str(folder)


def offline(folder: Path) -> dict[str, str]:
    """Variables for data sets without a network, cached below ``folder``."""
    return {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "PYTHONPATH": search_path(folder / "path")}
