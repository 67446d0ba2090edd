"""Spans of benchmarks, from launch to exit, and their propagation to adapters."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import BenchmarkRecord, JobRecord
from evalhub_server.models.common import State

_propagator = TraceContextTextMapPropagator()


class BenchmarkSpans:
    """Starts and ends spans; :meth:`on_change` must be called for every committed change.

    A benchmark's span is a child of the request that created the job, in the same trace. Open spans exist in this process
    only: they end with the server, and the next server does not continue them.
    """

    def __init__(self, tracer: Tracer, runtime: str) -> None:
        self._tracer = tracer
        self._runtime = runtime
        self._requests: dict[str, SpanContext] = {}
        self._spans: dict[tuple[str, int], Span] = {}

    def on_change(self, change: JobChanged) -> None:
        before, after = change.before, change.after
        if after is None:
            if before is not None:
                self._forget(before)
            return
        if before is None:
            if (request := get_current_span().get_span_context()).is_valid:
                self._requests[after.id] = request
            for benchmark in after.benchmarks:
                if benchmark.launched_at is not None:
                    self._start(after, benchmark)
            return
        for old, new in change.benchmarks:
            if old.launched_at is None and new.launched_at is not None:
                self._start(after, new)
            if old.exit is None and new.exit is not None:
                self._end(after, new)
        if not after.unfinished:
            self._requests.pop(after.id, None)

    def environment(self, job: JobRecord, index: int) -> Mapping[str, str]:
        """``TRACEPARENT`` and ``TRACESTATE`` for the adapter, whose spans become children of the benchmark's."""
        carrier: dict[str, str] = {}
        _propagator.inject(carrier, self.context(job.id, index))
        return {name.upper(): value for name, value in carrier.items()}

    def context(self, job_id: str, index: int) -> Context:
        """Context with the open span of a benchmark; empty if there is none."""
        span = self._spans.get((job_id, index))
        return Context() if span is None else set_span_in_context(span, Context())

    def close(self) -> None:
        """End all open spans, marked as interrupted."""
        for span in self._spans.values():
            span.set_attribute("benchmark.interrupted", value=True)
            span.end()
        self._spans.clear()

    def _start(self, job: JobRecord, benchmark: BenchmarkRecord) -> None:
        context = Context()
        request = self._requests.get(job.id)
        if request is not None:
            context = set_span_in_context(NonRecordingSpan(request), context)
        planned = job.plan.benchmarks[benchmark.index]
        self._spans[job.id, benchmark.index] = self._tracer.start_span(
            f"{self._runtime}.run_benchmark",
            context,
            attributes={
                "evalhub.job.id": job.id,
                "benchmark.id": planned.id,
                "benchmark.index": benchmark.index,
                "provider.id": planned.provider_id,
            },
        )

    def _end(self, job: JobRecord, benchmark: BenchmarkRecord) -> None:
        span = self._spans.pop((job.id, benchmark.index), None)
        if span is None:
            return
        span.set_attribute("benchmark.state", benchmark.state.value)
        if benchmark.exit is not None and benchmark.exit.code is not None:
            span.set_attribute("process.exit.code", benchmark.exit.code)
        if benchmark.state is State.FAILED:
            text = (
                benchmark.error.message.partition("\n")[0] if benchmark.error else None
            )  # the last lines of a log may follow
            span.set_status(Status(StatusCode.ERROR, text))
        span.end()

    def _forget(self, job: JobRecord) -> None:
        self._requests.pop(job.id, None)
        for benchmark in job.benchmarks:
            span = self._spans.pop((job.id, benchmark.index), None)
            if span is not None:
                span.end()
