"""Samples that an earlier run of the benchmark has finished, to be reused instead of sent again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from evalhub_common.adapter.json_values import JsonObject, as_object
from evalhub_common.adapter.sample_file import read_samples
from evalhub_quickstart.benchmarks.base import Benchmark, Outcome, Sample, visible_answer

Key = tuple[str, int]
"""The id of a sample and its epoch."""


def read_previous(path: Path | None, benchmark: Benchmark, samples: Sequence[Sample]) -> dict[Key, Outcome]:
    """The outcomes of ``samples`` that the sample file at ``path`` has answers for; none without a path.

    An answer is reused if it belongs to the same prompt and target, and is scored again. Samples that failed, lines that
    cannot be read and benchmarks that measure times are left out. Later lines count.

    Raises:
        OSError: the file cannot be read.
    """
    if not benchmark.reusable:
        return {}
    wanted = {(sample.id, sample.epoch): sample for sample in samples}
    found: dict[Key, Outcome] = {}
    for record in read_samples(path):
        epoch = record.get("epoch", 0)
        if not isinstance(epoch, int):
            continue
        sample = wanted.get((str(record.get("sample_id")), epoch))
        if sample is not None and (outcome := _outcome(record, sample, benchmark)):
            found[sample.id, sample.epoch] = outcome
    return found


def _outcome(record: JsonObject, sample: Sample, benchmark: Benchmark) -> Outcome | None:
    output = record.get("output")
    same = record.get("input") == sample.prompt and record.get("target") == (sample.expected or None)
    if record.get("error") is not None or not isinstance(output, str) or not same:
        return None
    latency_s = record.get("latency_s")
    tokens = (as_object(record.get("usage")) or {}).get("output_tokens")
    attempts = (as_object(record.get("metadata")) or {}).get("attempts")
    return Outcome(
        sample=sample,
        response=output,
        marks=benchmark.marks(sample, visible_answer(output)),
        latency_s=float(latency_s) if isinstance(latency_s, int | float) else None,
        output_tokens=tokens if isinstance(tokens, int) else None,
        attempts=attempts if isinstance(attempts, int) and attempts > 0 else 1,
    )
