"""The adapters as programs, where their frameworks are not installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.quickstart import CallbackServer, JobDirectory


@pytest.mark.parametrize(
    ("module", "benchmark", "environment"),
    [
        ("lm_eval_adapter", "gsm8k", "lm_evaluation_harness"),
        ("inspect_adapter", "gsm8k", "inspect"),
        ("garak_adapter", "dan", "garak"),
    ],
)
def test_a_missing_framework_is_reported_with_the_command_that_installs_it(
    tmp_path: Path, module: str, benchmark: str, environment: str
) -> None:
    with CallbackServer() as callback:
        program = [sys.executable, "-m", f"evalhub_adapters.{module}"]
        job = JobDirectory(tmp_path / "job", callback_url=callback.url, program=program)
        job.use("http://127.0.0.1:9/v1", benchmark)
        finished = job.run()
    assert finished.status == 1, finished
    assert callback.error["message_code"] == "framework_missing"
    assert f"not installed in the environment of {sys.executable}" in callback.error["message"]
    assert f"eval-hub-server adapters install {environment}" in callback.error["message"]
