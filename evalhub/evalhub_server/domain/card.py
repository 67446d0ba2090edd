"""Evaluation card: a job record converted to the document that clients and exporters get, without secrets."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import msgspec
from msgspec import UNSET

from evalhub_server.domain.job_view import complete_metrics_schema
from evalhub_server.domain.record import BenchmarkRecord, JobRecord, PlannedBenchmark
from evalhub_server.domain.redaction import redacted, redacted_message, redacted_text
from evalhub_server.domain.workload_framework import framework_of
from evalhub_server.models.card import (
    CardBenchmark,
    CardBenchmarkTest,
    CardCollection,
    CardContext,
    CardContextBenchmark,
    CardMetadata,
    CardModel,
    CardResults,
    CardStatus,
    EvaluationCard,
)
from evalhub_server.models.job import BenchmarkRef, BenchmarkTest, Model

CARD_FILE = "evaluation-card.json"

_encode = msgspec.json.Encoder().encode


def evaluation_card(job: JobRecord) -> EvaluationCard:
    """The card of a job in its current state, which ``results.status`` gives."""
    collection = job.request.collection
    # The card has the verdict; what the mean does not contain is part of the job.
    test = msgspec.structs.replace(job.progress.test, left_out=()) if job.progress.test else None
    return EvaluationCard(
        metadata=CardMetadata(
            evaluation_job_id=job.id,
            created_at=_whole_seconds(job.created_at),
            updated_at=_whole_seconds(job.progress.updated_at),
        ),
        context=CardContext(
            model=_model(job.request.model or Model()),
            collection_id=collection.id if collection else UNSET,
            benchmarks=UNSET if collection else tuple(_context(ref) for ref in job.request.benchmarks),
        ),
        results=CardResults(
            status=CardStatus(state=job.state, message=redacted_message(job.progress.message)),
            benchmarks=tuple(_benchmark(job.plan.benchmarks[b.index], b) for b in job.benchmarks),
            test=None if collection else test,
            collection=CardCollection(test=test) if collection and test else None,
        ),
    )


def card_json(job: JobRecord) -> bytes:
    """The card as exporters send it; equal records have equal bytes."""
    return _encode(evaluation_card(job))


def _model(model: Model) -> CardModel:
    return CardModel(
        url=redacted_text(model.url),
        name=redacted_text(model.name),
        model_card_url=redacted_text(model.card_url) if model.card_url else UNSET,
    )


def _context(ref: BenchmarkRef) -> CardContextBenchmark:
    return CardContextBenchmark(
        id=ref.id,
        provider_id=ref.provider_id,
        parameters=redacted(ref.parameters),
        primary_score=ref.primary_score,
        pass_criteria=ref.pass_criteria,
        weight=ref.weight or UNSET,
    )


def _benchmark(planned: PlannedBenchmark, benchmark: BenchmarkRecord) -> CardBenchmark:
    card = CardBenchmark(
        id=planned.id,
        provider_id=planned.provider_id,
        status=benchmark.state,
        error_message=redacted_message(benchmark.error) if benchmark.error else None,
        warning_message=redacted_message(benchmark.warning) if benchmark.warning else None,
        framework=framework_of(benchmark.handle),
    )
    result = benchmark.result
    if result is None:
        return card
    return msgspec.structs.replace(
        card,
        metrics=redacted(result.metrics),
        metrics_schema=complete_metrics_schema(result),
        additional_info=redacted(result.additional_info),
        artifacts=redacted(result.artifacts),
        mlflow_run_id=result.mlflow_run_id,
        logs_path=redacted_text(result.logs_path),
        test=_test(result.test) if result.test else None,
    )


def _test(test: BenchmarkTest) -> CardBenchmarkTest:
    return CardBenchmarkTest(
        primary_score=format_g(test.primary_score), threshold=format_g(test.threshold), passed=test.passed
    )


def format_g(number: float) -> str:
    """Format a finite double like Go's ``%g``: shortest exact digits, an exponent from 1e6 and below 1e-4."""
    shortest = Decimal(repr(number)).normalize()
    if not shortest or -5 < shortest.adjusted() < 6:
        return format(shortest, "f")
    return f"{number:.{len(shortest.as_tuple().digits) - 1}e}"


def _whole_seconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
