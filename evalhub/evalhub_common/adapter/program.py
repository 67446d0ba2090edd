"""The course of an adapter's run: reads job.json, evaluates, reports the result or the failure.

Exit status: 0 the result was reported, or the job was closed meanwhile; 1 the benchmark failed, or could not be
reported; 2 the job specification is unusable; 143 or 130 stopped by a signal.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from evalhub_common.adapter.console import complain, say
from evalhub_common.adapter.declared import task_name, with_declared_metrics
from evalhub_common.adapter.errors import (
    BenchmarkFailed,
    EventRefused,
    JobClosed,
    JobSpecUnusable,
    UnexpectedError,
)
from evalhub_common.adapter.events import EventSender
from evalhub_common.adapter.job import JobAddress, open_job
from evalhub_common.adapter.json_values import JsonObject, dump


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run of an adapter: what to evaluate, and where to report and to write.

    ``document`` is the whole job.json. ``previous_samples`` is a file with samples of an earlier run, ``artifacts`` a
    directory for other files to keep; None where the server offers neither.
    """

    address: JobAddress
    document: JsonObject
    environ: Mapping[str, str]
    events: EventSender
    samples: Path
    previous_samples: Path | None
    artifacts: Path | None

    @property
    def task(self) -> str:
        """The framework's name of the benchmark, which events do not use."""
        return task_name(self.document)

    @property
    def results(self) -> Path:
        """The directory of the result, in the job directory."""
        return self.address.directory / "results"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a benchmark yielded. All metrics are finite numbers; ``warning`` is one sentence, or None."""

    metrics: Mapping[str, float]
    additional_info: JsonObject = field(default_factory=dict[str, object])
    warning: str | None = None


class Adapter(ABC):
    """One adapter: its name and version, for logs and results, and its evaluation."""

    name: str
    version: str

    @abstractmethod
    def evaluate(self, run: Run) -> Result:
        """Run the benchmark; writes the samples to ``run.samples``, if any.

        Raises:
            BenchmarkFailed: there is no result; the text is the message for the user.
            JobClosed, EventRefused: from ``run.events``.
        """


def run_adapter(adapter: Adapter, environ: Mapping[str, str] = os.environ) -> int:
    """Run one benchmark and return the exit status."""
    signal.signal(signal.SIGTERM, _exit)
    signal.signal(signal.SIGINT, _exit)
    try:
        address, document = open_job(environ)
        events = EventSender(address, environ)
    except JobSpecUnusable as error:
        complain(adapter.name, str(error))
        return 2
    except (OSError, ValueError) as error:
        complain(adapter.name, f"cannot prepare the connection to the server: {error}")
        return 2
    previous, artifacts = (
        environ.get(name) for name in ("EVALHUB_PREVIOUS_SAMPLES_PATH", "EVALHUB_ARTIFACTS_PATH")
    )
    run = Run(
        address=address,
        document=document,
        environ=environ,
        events=events,
        # Servers that collect samples name the file.
        samples=Path(environ.get("EVALHUB_SAMPLES_PATH") or address.directory / "results" / "samples.jsonl"),
        previous_samples=Path(previous) if previous else None,
        artifacts=Path(artifacts) if artifacts else None,
    )
    try:
        return _report(adapter, run)
    except JobClosed as error:
        say(f"the job is closed: stopping ({error})")
        return 0
    except EventRefused as error:
        say(f"the result cannot be reported: {error}")
        return 1
    finally:
        events.close()


def _report(adapter: Adapter, run: Run) -> int:
    try:
        _complete(adapter, run)
        return 0
    except (JobClosed, EventRefused):
        raise
    except BenchmarkFailed as error:
        failure = error
    except Exception as error:  # noqa: BLE001  every failure is reported to the server
        import traceback  # an expensive import that few runs need

        traceback.print_exc(file=sys.stdout)
        failure = UnexpectedError(
            f"unexpected {type(error).__name__}: {str(error).rstrip('.')}. The traceback is in the benchmark's log"
        )
    say(f"failed: {failure}")
    run.events.failed(failure)
    return 1


def _complete(adapter: Adapter, run: Run) -> None:
    started = time.monotonic()
    address = run.address
    say(
        f"{adapter.name} {adapter.version}: {address.benchmark_id}, "
        f"benchmark {address.benchmark_index} of job {address.job_id}"
    )
    run.events.running("initializing")
    result = adapter.evaluate(run)
    metrics = with_declared_metrics(result.metrics, run.document)
    run.events.running("persisting_artifacts")
    # Written to disk, so that the result survives if the last event is never accepted.
    run.results.mkdir(parents=True, exist_ok=True)
    (run.results / "metrics.json").write_text(dump(metrics) + "\n", encoding="utf-8")
    if result.warning:
        say(f"warning: {result.warning}")
    say("result: " + ", ".join(f"{name} {value:.4g}" for name, value in metrics.items()))
    run.events.completed(
        metrics,
        additional_info={
            "adapter": f"{adapter.name} {adapter.version}",
            **result.additional_info,
            "total_s": round(time.monotonic() - started, 3),
        },
        samples_file=run.samples if run.samples.exists() else None,
        warning=result.warning,
    )
    say("reported")


def _exit(number: int, frame: FrameType | None) -> None:
    """Exit at once: the server is waiting, and all outcomes are on disk."""
    os.write(1, f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)
