"""Many small finished jobs of the last month, written into a database before the server starts."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from evalhub_server.domain.record import (
    BenchmarkRecord,
    Exit,
    JobPlan,
    JobRecord,
    PlannedBenchmark,
    ResultRecord,
)
from evalhub_server.models.common import Message, PrimaryScore, State
from evalhub_server.models.job import BenchmarkTest, CollectionRef, JobRequest, JobTest, Model
from evalhub_server.testing.builders import a_job
from evalhub_storage_sqlite.storage import SqliteStorage
from harness.viewer_data.suite import dice

PROVIDER = "nightly"
COLLECTION = "nightly-v1"
BENCHMARKS = {"smoke": "acc", "regression": "acc"}
MODELS = ("alpha-7b", "beta-13b", "gamma-70b", "delta-3b")
THRESHOLD = 0.7
_STATES = (State.COMPLETED,) * 17 + (State.FAILED, State.PARTIALLY_FAILED, State.CANCELLED)
_CREATED = Message(
    message="Evaluation job created", message_code="evaluation_job_created", message_origin="server"
)
_TIMEOUT = Message(
    message="The model did not answer within 30 s, six times in a row",
    message_code="model_unreachable",
    message_origin="adapter",
)


def past_job(number: int, now: datetime) -> JobRecord:
    """The job ``number`` back in time: one of four models, every 80 minutes."""
    numbers = dice(number)
    state = _STATES[number % len(_STATES)]
    created = now - timedelta(minutes=80 * (number + 1), seconds=numbers.randrange(3_000))
    drift = 0.001 * (number // 20)
    scores = [
        0.68 + 0.05 * MODELS.index(MODELS[number % 4]) + numbers.uniform(-0.02, 0.02) - drift
        for _ in BENCHMARKS
    ]
    benchmarks = tuple(
        _benchmark(index, _benchmark_state(state, index), created, scores[index], 40 + numbers.randrange(400))
        for index in range(len(BENCHMARKS))
    )
    score = sum(scores) / len(scores)
    tested = JobTest(score=score, threshold=THRESHOLD, passed=score >= THRESHOLD)
    return a_job(
        id=str(UUID(int=numbers.getrandbits(128), version=4)),
        created_at=created,
        updated_at=created + timedelta(minutes=10),
        request=JobRequest(
            name=f"nightly-{number:03}",
            tags=("nightly", f"commit-{number // 4 % 9}"),
            model=Model(name=MODELS[number % 4], url=f"http://{MODELS[number % 4]}.test/v1"),
            collection=CollectionRef(id=COLLECTION),
        ),
        plan=JobPlan(
            benchmarks=tuple(
                PlannedBenchmark(
                    id=name,
                    provider_id=PROVIDER,
                    primary_score=PrimaryScore(metric=metric),
                    threshold=THRESHOLD,
                )
                for name, metric in BENCHMARKS.items()
            ),
            threshold=THRESHOLD,
        ),
        state=state,
        message=_CREATED,
        cancelled=state is State.CANCELLED,
        test=tested if state is State.COMPLETED else None,
        benchmarks=benchmarks,
    )


def _benchmark_state(state: State, index: int) -> State:
    if state is State.PARTIALLY_FAILED:
        return State.FAILED if index else State.COMPLETED
    return state


def _benchmark(index: int, state: State, created: datetime, score: float, duration_s: int) -> BenchmarkRecord:
    started, ended = created + timedelta(seconds=2), created + timedelta(seconds=2 + duration_s)
    result = None
    if state is State.COMPLETED:
        test = BenchmarkTest(
            primary_score=score, primary_score_metric="acc", threshold=THRESHOLD, passed=score >= THRESHOLD
        )
        result = ResultRecord(metrics={"acc": score, "acc_stderr": 0.011}, test=test)
    return BenchmarkRecord(
        index=index,
        state=state,
        started_at=started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        completed_at=ended.strftime("%Y-%m-%dT%H:%M:%SZ"),
        result=result,
        error=_TIMEOUT if state is State.FAILED else None,
        launched_at=started,
        runtime="local",
        exit=Exit(code=1 if state is State.FAILED else 0),
    )


def write_history(database: Path, count: int) -> None:
    """Write ``count`` jobs into a new database."""

    async def write() -> None:
        storage = SqliteStorage(database)
        await storage.open()
        now = datetime.now(UTC)
        await asyncio.gather(*(storage.add_job(past_job(number, now)) for number in range(count)))
        await storage.close()

    asyncio.run(write())
