"""Short writing tasks with instructions that code can verify.

The data were written for this project. Scoring instructions by code, per prompt and per instruction, follows IFEval
(Zhou et al. 2023, arXiv:2311.07911).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalhub_common.adapter.json_values import JsonObject, as_list, as_object
from evalhub_quickstart.benchmarks.base import Benchmark, Outcome, Sample, load_rows, shares
from evalhub_quickstart.benchmarks.constraints import holds
from evalhub_quickstart.stats import clustered_stderr, mean, share_stderr


class InstructionFollowing(Benchmark):
    """Scores 1 if an answer follows all the instructions of its prompt."""

    primary_mark = "prompt_accuracy"
    max_tokens = 512

    def samples(self, requests: int | None) -> list[Sample]:
        return [
            Sample(index, str(row["id"]), str(row["prompt"]), {"constraints": row["constraints"]})
            for index, row in enumerate(load_rows("instruction_following.jsonl"))
        ]

    def marks(self, sample: Sample, answer: str) -> Mapping[str, bool]:
        followed = {
            _name(i, constraint): holds(constraint, answer)
            for i, constraint in enumerate(_constraints(sample))
        }
        return {"prompt_accuracy": all(followed.values()), **followed}

    def sample_metrics(self, outcome: Outcome) -> dict[str, float]:
        followed = [
            float(outcome.marks.get(_name(i, constraint), False))
            for i, constraint in enumerate(_constraints(outcome.sample))
        ]
        passed = outcome.marks.get("prompt_accuracy", False)
        return {"prompt_accuracy": float(passed), "followed": mean(followed)}

    def metrics(self, outcomes: Sequence[Outcome], wall_s: float) -> dict[str, float]:
        metrics = shares(outcomes, ("prompt_accuracy",))
        per_prompt = [
            [
                float(outcome.marks.get(_name(i, constraint), False))
                for i, constraint in enumerate(_constraints(outcome.sample))
            ]
            for outcome in outcomes
        ]
        values = [value for values in per_prompt for value in values]
        metrics["instruction_accuracy"] = mean(values)
        clustered, plain = clustered_stderr(per_prompt), share_stderr(sum(values), len(values))
        if clustered is not None and plain is not None:
            # The clustered one is 0 if all values are equal, which is never the uncertainty.
            metrics["instruction_accuracy_stderr"] = max(clustered, plain)
        return metrics


def _constraints(sample: Sample) -> list[JsonObject]:
    listed = as_list(sample.expected["constraints"]) or []
    return [constraint for constraint in map(as_object, listed) if constraint is not None]


def _name(index: int, constraint: JsonObject) -> str:
    """The mark of one constraint; the index distinguishes constraints of one kind."""
    return f"{index}:{constraint['kind']}"


BENCHMARK = InstructionFollowing()
