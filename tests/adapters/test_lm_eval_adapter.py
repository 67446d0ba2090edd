"""The adapter as a program, where its framework is not installed."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.quickstart import CallbackServer, JobDirectory


def test_a_missing_framework_is_reported_with_the_command_that_installs_it(tmp_path: Path) -> None:
    with CallbackServer() as callback:
        job = JobDirectory(
            tmp_path / "job",
            callback_url=callback.url,
            program=[sys.executable, "-m", "evalhub_adapters.lm_eval_adapter"],
        )
        job.use("http://127.0.0.1:9/v1", "gsm8k")
        finished = job.run()
    assert finished.status == 1, finished
    assert callback.error["message_code"] == "framework_missing"
    assert f"not installed in the environment of {sys.executable}" in callback.error["message"]
    assert "eval-hub-server adapters install lm_evaluation_harness" in callback.error["message"]
