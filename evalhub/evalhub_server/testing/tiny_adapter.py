"""The adapter of the fixture ``evalhub_adapter``. Parameters of the job define what it does.

``log_lines`` are printed first. Then it hangs until it is stopped (``hangs``), exits without a result (``exit_status``), reports a
failure (``failure``, its text), or reports the metric ``score`` with ``samples`` samples.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import BenchmarkFailed
from evalhub_common.adapter.json_values import as_object
from evalhub_common.adapter.program import Adapter, Result, Run, run_adapter
from evalhub_common.adapter.sample_file import SampleFile


class _TinyAdapter(Adapter):
    name, version = "tiny-adapter", "1"

    def evaluate(self, run: Run) -> Result:
        parameters: dict[str, Any] = dict(as_object(run.document.get("parameters")) or {})
        for line in parameters.get("log_lines", ()):
            say(line)
        if parameters.get("hangs"):
            threading.Event().wait()  # until a signal
        if status := parameters.get("exit_status"):
            sys.exit(status)
        if failure := parameters.get("failure"):
            raise BenchmarkFailed(failure)
        metrics = {"score": float(parameters.get("score", 1.0))}
        if count := parameters.get("samples", 0):
            with SampleFile(run.samples) as samples:
                for number in range(count):
                    samples.write(
                        {"sample_id": str(number), "input": f"question {number}", "metrics": metrics}
                    )
        return Result(metrics=metrics)


if __name__ == "__main__":
    sys.exit(run_adapter(_TinyAdapter()))
