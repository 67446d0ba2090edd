"""Response times of the endpoint under the job's concurrency, whatever the content of the responses.

Latency is the time from sending a request to the last byte of its response, without the delays of retries and, after
the first request of each worker, without connecting. The prompts were written for this project; they repeat
if the job has more requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalhub_quickstart.benchmarks.base import Benchmark, Outcome, Sample, load_rows, shares
from evalhub_quickstart.stats import mean, mean_stderr, percentile


class Latency(Benchmark):
    """Scores 1 for each response; latencies are separate metrics."""

    primary_mark = "success_rate"
    reusable = False
    max_tokens = 128

    def samples(self, requests: int | None) -> list[Sample]:
        rows = load_rows("latency.jsonl")
        return [
            Sample(index, str(row["id"]), str(row["prompt"]), {}, epoch=index // len(rows))
            for index in range(requests or len(rows))
            for row in (rows[index % len(rows)],)
        ]

    def marks(self, sample: Sample, answer: str) -> Mapping[str, bool]:
        return {"success_rate": True}

    def metrics(self, outcomes: Sequence[Outcome], wall_s: float) -> dict[str, float]:
        metrics = shares(outcomes, ("success_rate",))
        latencies_s = [outcome.latency_s for outcome in outcomes if outcome.latency_s is not None]
        metrics["latency_p50_s"] = percentile(latencies_s, 0.50)
        metrics["latency_p95_s"] = percentile(latencies_s, 0.95)
        metrics["latency_mean_s"] = mean(latencies_s)
        stderr = mean_stderr(latencies_s)
        if stderr is not None:
            metrics["latency_mean_stderr_s"] = stderr
        metrics["requests_per_s"] = len(latencies_s) / wall_s
        # Without token counts the rate is unknown, not 0.
        counts = [outcome.output_tokens for outcome in outcomes if outcome.output_tokens is not None]
        if counts:
            metrics["output_tokens_per_s"] = sum(counts) / wall_s
        return metrics


BENCHMARK = Latency()
