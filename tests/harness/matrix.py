"""A matrix of models and benchmarks with known differences, run by a real adapter that repeats recorded runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.config import Config

ADAPTER = Path(__file__).with_name("matrix_adapter.py")
PROVIDER = "matrix"
BENCHMARK: dict[str, Any] = {
    "metrics": ["acc"],
    "primary_score": {"metric": "acc"},
    "metric_properties": [{"metric": "acc", "range": [0, 1], "sample_metric": "correct"}],
}


def matrix_config(config: Config, runs: Path, *benchmarks: str) -> None:
    """Add the provider ``matrix`` and the collection ``suite`` of its benchmarks."""
    config.provider(
        f"exec '{sys.executable}' -S -E '{ADAPTER}' '{runs}'",
        *benchmarks,
        provider_id=PROVIDER,
        benchmark=BENCHMARK,
    )
    members = [{"id": name, "provider_id": PROVIDER} for name in benchmarks]
    config.write(
        "collections/suite.yaml", {"id": "suite", "name": "Suite", "category": "test", "benchmarks": members}
    )


def record(
    runs: Path,
    model: str,
    benchmark: str,
    scores: Sequence[float] | None,
    *,
    reported: float | None = None,
    prompt: str = "Question",
    hold: Path | None = None,
    **metrics: float,
) -> None:
    """Record a run: a score for each sample, and the mean as the reported score unless another one is given.

    The adapter writes the samples when the file ``hold`` exists, after its report.
    """
    run: dict[str, Any] = {"metrics": metrics, **({"hold": str(hold)} if hold else {})}
    if scores is not None:
        run["metrics"]["acc"] = sum(scores) / len(scores) if reported is None else reported
        run["samples"] = [
            {"sample_id": f"q{number}", "metrics": {"correct": score}, "input": f"{prompt} {number}"}
            for number, score in enumerate(scores)
        ]
    file = runs / model / f"{benchmark}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(run), "utf-8")


def answers(right: int, wrong: int, *, flip_to_right: int = 0, flip_to_wrong: int = 0) -> list[float]:
    """Scores of a model beside one with ``right`` right answers, then ``wrong`` wrong ones: some are flipped."""
    scores = [1.0] * right + [0.0] * wrong
    for number in range(flip_to_wrong):
        scores[number] = 0.0
    for number in range(flip_to_right):
        scores[right + number] = 1.0
    return scores
