"""Samples and metrics of a suite of six benchmarks for three models, with known differences between the models."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

MODELS = ("alpha-7b", "beta-13b", "gamma-70b")
BIG, ARITHMETIC, LAW, CODE, TOXICITY, READING = (
    "big_suite",
    "arithmetic",
    "law_qa",
    "code_fix",
    "toxicity",
    "reading",
)
BIG_COUNT = 14_000
BIG_START = datetime(2026, 11, 29, 21, 0, tzinfo=UTC)
"""When the first of them ended."""
TOPICS = ("law", "code", "medicine", "history", "arithmetic")
FILLER = "The committee considered the evidence that the parties had submitted before the hearing. "


class Evaluation(NamedTuple):
    """What the adapter of one benchmark reports for one model."""

    samples: list[dict[str, Any]]
    metrics: dict[str, float]
    duration_s: int


class SuiteBenchmark(NamedTuple):
    """A benchmark of the suite: the fields of the provider file, and what a model gets in it."""

    fields: dict[str, Any]
    evaluate: Callable[[str], Evaluation]


def dice(seed: str | int) -> random.Random:
    """Random numbers that are the same in every run."""
    return random.Random(seed)  # noqa: S311 - no secrets


def _share(metric: str, threshold: float, **fields: Any) -> dict[str, Any]:
    return {
        "metrics": [metric],
        "primary_score": {"metric": metric},
        "pass_criteria": {"threshold": threshold},
        "metric_properties": [{"metric": metric, "range": [0, 1]}],
        **fields,
    }


def _scores(evaluated: list[dict[str, Any]], metric: str) -> float:
    """The mean over samples, repeats averaged first, as the reported score."""
    by_sample: dict[str, list[float]] = {}
    for each in evaluated:
        if metric in each.get("metrics", ()):
            by_sample.setdefault(each["sample_id"], []).append(each["metrics"][metric])
    return statistics.fmean(statistics.fmean(values) for values in by_sample.values())


def _passes(model: str, number: int, shares: dict[str, float], salt: str) -> bool:
    """Whether a model passes a sample: mostly the same ones for all models, so that pairs tell more than means."""
    easy = dice(f"{salt} {number}").random()
    noise = dice(f"{salt} {number} {model}").random()
    return 0.8 * easy + 0.2 * noise < shares[model]


def _big(model: str) -> Evaluation:
    shares = {"alpha-7b": 0.84, "beta-13b": 0.79, "gamma-70b": 0.845}
    samples: list[dict[str, Any]] = []
    for number in range(BIG_COUNT):
        topic = TOPICS[number % 5]
        left, right = number * 7 % 97, number * 13 % 89
        passed = _passes(model, number, shares, "big")
        answer = left + right if passed else left + right - 1
        sample: dict[str, Any] = {
            "sample_id": f"q-{number:05}",
            "input": f"[{topic}] Question {number}: What is {left} + {right}? Answer with the number only.",
            "output": f"Let me think. {left} + {right} = {answer}\nAnswer: {answer}",
            "target": str(left + right),
            "answer": str(answer),
            "metrics": {"match": int(passed), "brevity": round(1 - (number % 64) / 100, 2)},
            "group": topic,
            "tags": ["long"] if number % 10 == 0 else [],
            "metadata": {"topic": topic, "difficulty": number % 3 + 1, "source": f"set-{number % 7}"},
            "latency_s": round(0.2 + (number * 37 % 100) / 80, 3),
            "ended_at": (BIG_START + timedelta(seconds=number // 10 + number // 4000 * 60)).isoformat(),
            "usage": {"input_tokens": 21 + number % 9, "output_tokens": 12 + number % 30},
        }
        if number % 2333 == 7:
            sample |= {"error": "backend timeout after 30 s", "error_kind": "infrastructure"}
            del sample["metrics"], sample["answer"]
        samples.append(sample)
    metrics = {"match": _scores(samples, "match"), "brevity": _scores(samples, "brevity")}
    return Evaluation(samples, metrics, 1475)


def _arithmetic(model: str) -> Evaluation:
    shares = {"alpha-7b": 0.72, "beta-13b": 0.74, "gamma-70b": 0.9}
    samples = [
        {
            "sample_id": f"sum-{number:03}",
            "epoch": epoch,
            "input": f"{number} + {number * 3} =",
            "output": str(4 * number) if passed else f"{4 * number + epoch + 1}, I believe",
            "target": str(4 * number),
            "metrics": {"exact_match": int(passed)},
        }
        for number in range(80)
        for epoch in range(5)
        for passed in [_passes(model, number * 7 + epoch % 3, shares, "sum")]
    ]
    return Evaluation(samples, {"exact_match": _scores(samples, "exact_match")}, 64)


def _law(model: str) -> Evaluation:
    shares = {"alpha-7b": 0.8, "beta-13b": 0.76, "gamma-70b": 0.83}
    samples: list[dict[str, Any]] = []
    for number in range(1_200):
        passed = _passes(model, number, shares, "law")
        question = f"Case {number}. {FILLER * (number % 4 + 1)}Is the contract valid?"
        expected = "ABCD"[number % 4]
        chosen = expected if passed else "ABCD"[(number + 1) % 4]
        samples.append(
            {
                "sample_id": f"law/{number:04}",
                "input": question,
                "target": expected,
                "output": f"{FILLER * (number % 3)}Therefore the answer is {chosen}.",
                "answer": chosen,
                "explanation": "The letter after 'the answer is' was compared with the target.",
                "metrics": {"acc": int(passed)},
                "metadata": {"court": f"court {number % 12}", "year": 1990 + number % 30},
                "messages": [
                    {"role": "system", "content": "You are a careful lawyer. Answer with one letter."},
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": f"Therefore the answer is {chosen}."},
                ],
            }
        )
    score = _scores(samples, "acc")
    return Evaluation(samples, {"acc": score, "acc_stderr": (score * (1 - score) / 1_200) ** 0.5}, 402)


def _code(model: str) -> Evaluation:
    shares = {"alpha-7b": 0.41, "beta-13b": 0.43, "gamma-70b": 0.6}
    samples = [
        {
            "sample_id": f"fix-{number:03}",
            "input": f"def f_{number}(xs):\n    # returns the largest element\n    return sorted(xs)[0]\n",
            "output": f"def f_{number}(xs):\n    return {'max' if passed else 'min'}(xs)\n",
            "target": f"def f_{number}(xs):\n    return max(xs)\n",
            "passed": passed,
            "metrics": {"pass_at_1": int(passed)},
            "explanation": "3 of 3 tests passed" if passed else "AssertionError: f([1, 2]) == 2",
            "metadata": {"language": ("python", "rust", "c")[number % 3]},
        }
        for number in range(300)
        for passed in [_passes(model, number, shares, "fix")]
    ]
    return Evaluation(samples, {"pass_at_1": _scores(samples, "pass_at_1")}, 655)


def _toxicity(model: str) -> Evaluation:
    base = {"alpha-7b": 0.12, "beta-13b": 0.1, "gamma-70b": 0.055}[model]
    samples = [
        {
            "sample_id": f"prompt-{number:03}",
            "input": f"Continue the conversation number {number}.",
            "output": FILLER * (number % 5 + 1),
            "metrics": {"toxicity": round(min(1.0, dice(f"{model} {number}").expovariate(1 / base)), 4)},
        }
        for number in range(500)
    ]
    return Evaluation(samples, {"toxicity": _scores(samples, "toxicity")}, 210)


def _reading(model: str) -> Evaluation:
    shares = {"alpha-7b": 0.66, "beta-13b": 0.67, "gamma-70b": 0.78}
    samples = [
        {
            "sample_id": f"passage-{passage:03}.{question}",
            "group": f"passage-{passage:03}",
            "input": f"{FILLER * 3}\nQuestion {question} about passage {passage}: who submitted evidence?",
            "output": "The parties" if passed else "The committee",
            "target": "The parties",
            "metrics": {"acc": int(passed)},
        }
        for passage in range(160)
        for question in range(4)
        for passed in [_passes(model, passage + question // 3, shares, "passage")]
    ]
    return Evaluation(samples, {"acc": _scores(samples, "acc")}, 131)


SUITE = {
    BIG: SuiteBenchmark(_share("match", 0.8, groups="strata", metrics=["match", "brevity"]), _big),
    ARITHMETIC: SuiteBenchmark(_share("exact_match", 0.6), _arithmetic),
    LAW: SuiteBenchmark(_share("acc", 0.82), _law),
    CODE: SuiteBenchmark(_share("pass_at_1", 0.5, requires=["sandbox"]), _code),
    TOXICITY: SuiteBenchmark(
        _share("toxicity", 0.1, primary_score={"metric": "toxicity", "lower_is_better": True}), _toxicity
    ),
    READING: SuiteBenchmark(_share("acc", 0.6, groups="clusters"), _reading),
}
"""By benchmark id."""
