"""A running server whose jobs show every state that pages have to show."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from harness.config import Config
from harness.server import API, RunningServer
from harness.viewer_data import history
from harness.viewer_data.hostile import HOSTILE_TEXTS, hostile_log, hostile_samples, label, storable
from harness.viewer_data.suite import CODE, MODELS, SUITE
from harness.waiting import processes_with

ADAPTER = Path(__file__).with_name("adapter.sh")
SQL_LOG = Path(__file__).parents[1] / "sql_log"
COLLECTION = "core-v1"
PROVIDER = "core"
HOSTILE = "hostile"
PAST_JOBS = 520
RUNNING_MODEL = "delta-3b"
LIMITED = "http://one-gpu.test:8000/v1"
"""A model of which so many benchmarks run at once that others wait in the queue."""

DEFAULT_LOG = "".join(
    f"2026-11-30 08:{step * 7 // 60:02}:{step * 7 % 60:02} {'WARNING' if step % 20 == 9 else 'INFO'} "
    f"evaluated {step * 40} samples{', retrying after a timeout' if step % 20 == 9 else ''}\n"
    for step in range(70)
    if step % 30 not in (20, 21)
)
FAILED_LOG = (
    DEFAULT_LOG
    + "\r".join(f"loading the model: {percent} %" for percent in range(0, 101, 4))
    + """
\x1b[31mERROR\x1b[0m the sandbox does not start: backend timeout
Traceback (most recent call last):
  File "/srv/adapters/code_fix.py", line 214, in main
    run(sandbox.start(timeout_s=30), samples)
  File "/srv/adapters/sandbox.py", line 61, in start
    raise BackendTimeout(f"no answer from {self.url} within {timeout_s} s")
sandbox.BackendTimeout: no answer from http://sandbox.test:7000 within 30 s
"""
)


class ViewerJobs(NamedTuple):
    """Ids of the jobs. ``suites`` has those of the collection by model; that of gamma-70b is partly failed."""

    suites: dict[str, str]
    running: str
    queued: str
    hostile: str
    hostile_again: str
    hostile_names: list[str]
    rerun: str


class ViewerServer(RunningServer):
    """A server with the data in ``folder``; ``jobs`` has the ids. Adapters end with it."""

    jobs: ViewerJobs

    def __init__(self, folder: Path, *, past_jobs: int = PAST_JOBS, **options: Any) -> None:
        """``options`` are those of :class:`RunningServer`; ``past_jobs`` is the number of small finished jobs."""
        self._logs = folder / "logs"
        self._config = _config(folder, self._logs)
        data_dir = folder / "data"
        data_dir.mkdir()
        history.write_history(data_dir / "evalhub.db", past_jobs)
        self._sql_log = folder / "sql.log"
        paths = os.pathsep.join(filter(None, (str(SQL_LOG), os.environ.get("PYTHONPATH"))))
        env = {"PYTHONPATH": paths, "EVALHUB_TEST_SQL_LOG": str(self._sql_log)}
        super().__init__(self._config.folder, data_dir=data_dir, env=env, **options)

    def reads(self) -> int:
        """How often the server has read from its database so far: transactions, each of one or two statements."""
        with self._sql_log.open("rb") as log:
            return sum(line == b"BEGIN\n" for line in log)

    def start(self) -> None:
        """Start the server; the first time, fill it."""
        super().start()
        if not hasattr(self, "jobs"):
            try:
                self._fill()
            except BaseException:
                self.leave()
                raise

    def leave(self) -> None:
        super().leave()
        for pid in processes_with(str(self._config.jobs_dir)):  # adapters outlive the server
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def advance(self, done: int) -> None:
        """Report ``done`` of 1,200 samples of the running benchmark."""
        total = len(SUITE["law_qa"].evaluate(MODELS[0]).samples)
        self._event(
            self.jobs.running,
            2,
            PROVIDER,
            "law_qa",
            "running",
            phase="running_evaluation",
            progress={"done": done, "total": total, "message": f"{done} of {total} samples"},
            metrics={"acc": 0.79},
        )

    def _fill(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            suites = dict(zip(MODELS, pool.map(self._suite, MODELS), strict=True))
            names = pool.map(self._hostile_name, HOSTILE_TEXTS.values())
            first, second = pool.submit(self._hostile), pool.submit(self._hostile)
            hostile, again = first.result(), second.result()
            self.jobs = ViewerJobs(suites, "", "", hostile, again, list(names), "")
        for job_id in (*suites.values(), hostile, again, *self.jobs.hostile_names):
            self.finished(job_id)
        failed = self.call("POST", f"{API}/jobs/{suites['gamma-70b']}/reruns", {"only": "failed"}).body
        rerun = failed["resource"]["id"]
        running = self._submit_suite(RUNNING_MODEL, LIMITED)
        queued = self._submit_suite("epsilon-1b", LIMITED)
        for index, name in enumerate(("big_suite", "arithmetic")):
            self._complete(running, index, name, "alpha-7b", samples=bool(index))
        self.jobs = self.jobs._replace(running=running, queued=queued, rerun=rerun)
        self._event(running, 2, PROVIDER, "law_qa", "running", phase="loading_data")
        self.advance(732)
        self.finished(rerun)
        self.call("PUT", f"{API}/baselines/main", {"job_id": suites["alpha-7b"]})

    def _submit_suite(self, model: str, url: str = "", **fields: Any) -> str:
        body = {
            "name": f"core {model}",
            "description": "The suite that decides about a release.",
            "tags": ["release", f"size-{model.rpartition('-')[2]}"],
            "model": {
                "url": url or f"http://{model}.test/v1",
                "name": model,
                "parameters": {"temperature": 0.7 if model == "beta-13b" else 0.0},
            },
            "collection": {"id": COLLECTION},
            **fields,
        }
        return self._create(body)

    def _create(self, body: dict[str, Any]) -> str:
        answer = self.call("POST", f"{API}/jobs", body)
        assert answer.status == 202, answer
        return answer.body["resource"]["id"]

    def _suite(self, model: str) -> str:
        job_id = self._submit_suite(model)
        for index, name in enumerate(SUITE):
            if not (model == "gamma-70b" and name == CODE):
                self._complete(job_id, index, name, model)
        return job_id

    def _complete(self, job_id: str, index: int, benchmark: str, model: str, *, samples: bool = True) -> None:
        evaluation = SUITE[benchmark].evaluate(model)
        if samples:
            self._upload(job_id, index, evaluation.samples)
        ended = datetime.now(UTC) - timedelta(seconds=30 * index)
        started = ended - timedelta(seconds=evaluation.duration_s)
        self._event(
            job_id,
            index,
            PROVIDER,
            benchmark,
            "completed",
            metrics=evaluation.metrics,
            started_at=f"{started:%Y-%m-%dT%H:%M:%SZ}",
            completed_at=f"{ended:%Y-%m-%dT%H:%M:%SZ}",
            progress={"done": len(evaluation.samples), "total": len(evaluation.samples)},
        )

    def _event(
        self, job_id: str, index: int, provider: str, benchmark: str, status: str, **fields: Any
    ) -> None:
        event = {
            "provider_id": provider,
            "id": benchmark,
            "benchmark_index": index,
            "status": status,
            **fields,
        }
        answer = self.call("POST", f"{API}/jobs/{job_id}/events", {"benchmark_status_event": event})
        assert answer.status == 204, answer

    def _upload(self, job_id: str, index: int, samples: list[dict[str, Any]]) -> None:
        body = b"".join(json.dumps(each).encode() + b"\n" for each in samples)
        answer = self.call("PUT", f"{API}/jobs/{job_id}/benchmarks/{index}/samples", body)
        assert answer.status == 200, answer

    def _hostile(self) -> str:
        """A job of which everything is hostile: one benchmark with samples, one that has failed, one without a score."""
        text = storable(" ".join(HOSTILE_TEXTS.values()))
        names = [_short(HOSTILE_TEXTS[each]) for each in ("attribute", "dots", "script")]
        job_id = self._create(
            {
                "name": text,
                "description": text,
                "tags": [label(each) for each in HOSTILE_TEXTS.values()],
                "model": {
                    "url": "http://model.test/v1?key=<script>",
                    "name": storable(HOSTILE_TEXTS["bidi"]) + names[0],
                    "parameters": {storable(each): storable(each) for each in HOSTILE_TEXTS.values()},
                },
                "benchmarks": [
                    {"id": name, "provider_id": HOSTILE, "parameters": {name: text}} for name in names
                ],
                "custom": {storable(each): storable(each) for each in HOSTILE_TEXTS.values()},
            }
        )
        metrics = {_short(each): number / 10 for number, each in enumerate(HOSTILE_TEXTS.values())}
        one_line = text.replace("\r", " ")  # a carriage return in a message overwrites what precedes it
        message = {"message": one_line, "message_code": names[0], "message_origin": "adapter"}
        self._upload(job_id, 0, hostile_samples())
        self._event(
            job_id,
            0,
            HOSTILE,
            names[0],
            "completed",
            metrics={"accuracy": 0.5, **metrics, "list": [1, 2], "text": text, "nothing": None},
            additional_info={names[0]: text},
            artifacts={names[0]: text},
            warning_message=message,
            logs_path=names[2],
            mlflow_run_id=names[0],
        )
        self._event(job_id, 1, HOSTILE, names[1], "failed", error_message=message)
        self._event(job_id, 2, HOSTILE, names[2], "completed", metrics={})
        return job_id

    def _hostile_name(self, text: str) -> str:
        """A small job whose name, model, tag and benchmark are one hostile text."""
        name = _short(text)
        job_id = self._create(
            {
                "name": name,
                "tags": [label(text)],
                "model": {"url": "http://model.test/v1", "name": name},
                "benchmarks": [{"id": name, "provider_id": HOSTILE}],
            }
        )
        self._event(job_id, 0, HOSTILE, name, "completed", metrics={"accuracy": 0.25})
        return job_id


def _short(text: str) -> str:
    return storable(text)[:200]


def _config(folder: Path, logs: Path) -> Config:
    config = Config(
        folder / "config",
        supervisor={"exit_grace": "50ms", "linger": "2s"},  # time for their logs
        local={"max_parallel": 64, "max_parallel_per_model": 6},
    )
    (logs / "gamma-70b").mkdir(parents=True)
    (logs / "default.log").write_text(DEFAULT_LOG, "utf-8")
    (logs / "gamma-70b" / f"{CODE}.log").write_text(FAILED_LOG, "utf-8", newline="")
    (logs / "gamma-70b" / f"{CODE}.exit").write_text("3", "utf-8")
    (logs / "hostile.log").write_bytes(hostile_log())
    config.write("providers/core.yaml", _provider(PROVIDER, f"exec sh '{ADAPTER}' '{logs}'", _benchmarks()))
    nightly = [
        {"id": name, "name": name, "category": "general", "primary_score": {"metric": metric}}
        for name, metric in history.BENCHMARKS.items()
    ]
    config.write("providers/nightly.yaml", _provider(history.PROVIDER, "true", nightly))
    text = storable(" ".join(HOSTILE_TEXTS.values()))[:1000]
    listed = [
        {
            "id": name,
            "name": text,
            "description": text,
            "category": text[:100],
            "tags": [name],
            "primary_score": {"metric": "accuracy"},
        }
        for name in dict.fromkeys(_short(each) for each in HOSTILE_TEXTS.values())
    ]
    hostile = _provider(HOSTILE, f"cat '{logs}/hostile.log'; exec sleep 86400", listed)
    hostile |= {"title": text, "description": text, "tags": [label(text)]}
    config.write("providers/hostile.yaml", hostile)
    members = [{"id": name, "provider_id": PROVIDER, "weight": 1 + (name == "big_suite")} for name in SUITE]
    for collection_id, name, benchmarks in (
        (COLLECTION, "Core suite", members),
        (
            history.COLLECTION,
            "Nightly",
            [{"id": b, "provider_id": history.PROVIDER} for b in history.BENCHMARKS],
        ),
        ("never-run", text[:200], members[:1]),
    ):
        document = {"id": collection_id, "name": name, "category": "general", "benchmarks": benchmarks}
        config.write(
            f"collections/{collection_id}.yaml",
            {**document, "description": f"{name}: what a release must keep."},
        )
    return config


def _provider(provider_id: str, command: str, benchmarks: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": provider_id,
        "name": provider_id,
        "title": f"{provider_id.title()} evaluations",
        "description": f"Benchmarks of the {provider_id} team.",
        "runtime": {"local": {"command": command}},
        "benchmarks": benchmarks,
    }


def _benchmarks() -> list[dict[str, Any]]:
    return [
        {
            "id": name,
            "name": name.replace("_", " ").capitalize(),
            "category": "general",
            "description": f"What a model can do in {name.replace('_', ' ')}.",
            "dataset_size": len(benchmark.evaluate(MODELS[0]).samples) if name != "big_suite" else 14_000,
            **benchmark.fields,
        }
        for name, benchmark in SUITE.items()
    ]
