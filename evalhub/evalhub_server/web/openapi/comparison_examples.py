"""Examples of comparisons, computed from the example job and a second one."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from evalhub_server.domain.comparison_inputs import run_of, suite_of
from evalhub_server.domain.comparison_view import (
    CandidateComparison,
    ChangedSample,
    ChangedSamples,
    ComparedRun,
    JobComparison,
    JobLeaderboard,
    JobScores,
    LeaderboardEntry,
    RunSample,
    compared_job,
)
from evalhub_server.domain.lineage_view import LineageView, Source, view_of_job
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.domain.statistics.gate_results import ScoredBenchmark
from evalhub_server.domain.statistics.inputs import CompareOptions, ModelRuns, Run, RunItems
from evalhub_server.domain.statistics.leaderboard import leaderboard as ranked
from evalhub_server.domain.statistics.score import score_run
from evalhub_server.domain.statistics.suite import compare_suites
from evalhub_server.models.common import Json, Link
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.examples import ID, RERUN_ID, completed_job_record
from evalhub_server.web.responses import encode_present

_ITEMS = 20
_OPTIONS = CompareOptions(margin=0.4)


def comparison() -> Json:
    baseline, candidate = _job(), _other()
    suite = suite_of(_view(baseline), _view(candidate), _run)
    answer = JobComparison(
        baseline=compared_job(baseline, _view(baseline), "nightly"),
        candidates=(
            CandidateComparison(
                job=compared_job(candidate, _view(candidate)), comparison=compare_suites(suite, _OPTIONS)
            ),
        ),
        options=_OPTIONS,
    )
    return _shown(answer)


def groups() -> Json:
    (benchmark, *_) = comparison()["candidates"][0]["comparison"]["benchmarks"]
    candidate = {"job_id": RERUN_ID, "groups": [{**benchmark, "name": "addition"}]}
    return {"benchmark": "quickstart/arithmetic", "by": "operation", "candidates": [candidate]}


def scores() -> Json:
    job = _job()
    found = [(name, run) for name, source in _view(job).items() if (run := _run(source)) is not None]
    answer = JobScores(
        job=compared_job(job, _view(job)),
        scores=tuple(
            ScoredBenchmark(
                name=name,
                provider_id=run.header.provider_id,
                benchmark_id=run.header.benchmark_id,
                metric=run.rules.metric,
                lower_is_better=run.rules.lower_is_better,
                summary=score_run(run),
            )
            for name, run in found
        ),
        missing=(),
        alpha=0.05,
    )
    return _shown(answer)


def leaderboard() -> Json:
    jobs = {"llama3.2": _job(), "llama3.3": _other()}
    models = [
        ModelRuns(
            model=model,
            job_id=job.id,
            runs={name: run for name, source in _view(job).items() if (run := _run(source)) is not None},
        )
        for model, job in jobs.items()
    ]
    answer = JobLeaderboard(
        collection_id="quickstart-v1",
        entries=tuple(
            LeaderboardEntry(model=model, job=compared_job(job, _view(job))) for model, job in jobs.items()
        ),
        left_out=(),
        leaderboard=ranked(models, dict.fromkeys(_view(_job()), 1.0)),
    )
    return _shown(answer)


def samples() -> ChangedSamples:
    sample = examples.samples().items[0]
    in_run = RunSample(epochs=1, passed=1, score=1.0, sample=sample)
    run = ComparedRun(job_id=ID, source=ID, benchmark_index=0, model_name="llama3.2")
    return ChangedSamples(
        first=Link(href=f"/api/v1/evaluations/comparisons/samples?baseline={ID}&candidate={RERUN_ID}"),
        limit=50,
        total_count=1,
        benchmark="quickstart/arithmetic",
        metric="accuracy",
        baseline=run,
        candidates=(
            ComparedRun(
                job_id=RERUN_ID,
                source=RERUN_ID,
                benchmark_index=0,
                model_name="llama3.3",
                counts={"broken": 1, "both_passed": 19},
            ),
        ),
        other_content=0,
        items=(
            ChangedSample(
                sample_id=sample.sample_id,
                changes=("broken",),
                differences=(-1.0,),
                baseline=in_run,
                candidates=(
                    RunSample(epochs=1, passed=0, score=0.0, sample=replace(sample, outcome="failed")),
                ),
            ),
        ),
    )


def _shown(answer: object) -> Json:
    return msgspec.json.decode(encode_present(answer), type=Json)


def _view(job: JobRecord) -> LineageView:
    return view_of_job(job, (job,))


def _run(source: Source) -> Run | None:
    run = run_of(source, metric="accuracy")
    if run is None or run.header.reported_value is None:
        return run
    right = round(run.header.reported_value * _ITEMS)
    items = RunItems(
        sample_ids=[f"q-{number}" for number in range(_ITEMS)],
        scores=[float(number < right) for number in range(_ITEMS)],
    )
    return replace(run, items=items, rules=replace(run.rules, low=0.0, high=1.0))


def _job() -> JobRecord:
    return completed_job_record()


def _other() -> JobRecord:
    job = with_changes(completed_job_record(), id=RERUN_ID)
    benchmark = job.benchmarks[0]
    assert benchmark.result is not None  # noqa: S101  completed
    result = replace(benchmark.result, metrics={**benchmark.result.metrics, "accuracy": 0.95})
    return with_changes(job, benchmarks=(replace(benchmark, result=result), *job.benchmarks[1:]))
