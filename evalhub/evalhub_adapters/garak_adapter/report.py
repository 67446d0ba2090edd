"""Metrics and samples in the report of garak, a file of JSON lines.

An *attempt* is a prompt with several outputs, each scored by detectors from 0 to 1. An output is a hit of a detector, which is a
success of the attack, if its score is at least the threshold. The rate of a probe is that of its primary detector: averaging over
detectors would count some successes several times.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import fmean, variance

from evalhub_common.adapter.json_values import JsonObject, as_list, as_object

RATE = "attack_success_rate"
COMPLETE = 2
"""The status of an attempt that detectors have scored."""


@dataclass
class Rates:
    """Hits of the detectors of one probe: per detector a list with the verdicts about each prompt's outputs."""

    verdicts: dict[str, list[list[bool]]] = field(default_factory=lambda: defaultdict(list))

    def rate(self, detector: str) -> float | None:
        """The share of hits among the outputs; None without any that was scored."""
        outputs = [verdict for prompt in self.verdicts.get(detector, ()) for verdict in prompt]
        return fmean(outputs) if outputs else None

    def error_square(self, detector: str) -> float | None:
        """The squared standard error of the rate. Outputs of one prompt are similar, so prompts are what varies."""
        shares = [fmean(prompt) for prompt in self.verdicts.get(detector, ()) if prompt]
        return variance(shares) / len(shares) if len(shares) > 1 else None


class Report:
    """The scored attempts of a report. ``primary`` has the primary detector of each probe."""

    def __init__(self, entries: Iterable[JsonObject], primary: Mapping[str, str], threshold: float) -> None:
        self._primary = primary
        self._threshold = threshold
        self._attempts = [
            entry
            for entry in entries
            if entry.get("entry_type") == "attempt" and entry.get("status") == COMPLETE
        ]

    def metrics(self) -> dict[str, float]:
        """The rate of success: the mean over probes, and of each detector of each probe, as ``<probe>/<detector>``."""
        rates: dict[str, Rates] = {}
        for attempt in self._attempts:
            probe = rates.setdefault(_probe(attempt), Rates())
            for detector, scores in _detectors(attempt).items():
                probe.verdicts[detector].append(
                    [self._is_hit(score) for score in scores if score is not None]
                )
        found = {
            f"{name}/{detector}": rate
            for name, probe in sorted(rates.items())
            for detector in sorted(probe.verdicts)
            if (rate := probe.rate(detector)) is not None
        }
        main = {
            name: rate
            for name, probe in rates.items()
            if (rate := probe.rate(self._primary.get(name, ""))) is not None
        }
        if not main:
            return {}
        metrics = {RATE: fmean(main.values())}
        squares = [rates[name].error_square(self._primary[name]) for name in main]
        known = [square for square in squares if square is not None]
        # An error of 0, where all prompts fared alike, would claim certainty.
        if len(known) == len(squares) and sum(known) > 0:
            metrics[f"{RATE}_stderr"] = math.sqrt(sum(known)) / len(known)
        return metrics | found

    def samples(self) -> Iterator[JsonObject]:
        """One sample for each output."""
        seen: Counter[str] = Counter()
        for attempt in self._attempts:
            name = f"{_probe(attempt)}/{attempt.get('seq')}"
            seen[name] += 1
            # Probes that build on answers number their attempts again.
            sample_id = name if seen[name] == 1 else f"{name}-{seen[name]}"
            for number, output in enumerate(as_list(attempt.get("outputs")) or []):
                yield self._sample(sample_id, number, attempt, as_object(output))

    def _sample(
        self, sample_id: str, number: int, attempt: JsonObject, output: JsonObject | None
    ) -> JsonObject:
        probe = _probe(attempt)
        scores = {
            detector: values[number]
            for detector, values in _detectors(attempt).items()
            if number < len(values) and values[number] is not None
        }
        score = scores.get(self._primary.get(probe, ""))
        refused = output is None
        return {
            "sample_id": sample_id,
            "epoch": number,
            "metrics": {
                **({} if score is None else {RATE: float(self._is_hit(score))}),
                **scores,
            },
            "passed": None if score is None else not self._is_hit(score),
            "input": messages_of(attempt.get("prompt")),
            "output": None if output is None else output.get("text"),
            "error": "the endpoint refused the prompt" if refused else None,
            "error_kind": "model" if refused else None,
            "group": probe,
            "metadata": {"goal": attempt.get("goal"), "detectors": scores},
        }

    def _is_hit(self, score: float) -> bool:
        return score >= self._threshold


def messages_of(conversation: object) -> list[JsonObject]:
    """The turns of a conversation in the report, as messages of a request."""
    turns = as_list((as_object(conversation) or {}).get("turns")) or []
    return [
        {"role": turn.get("role"), "content": (as_object(turn.get("content")) or {}).get("text")}
        for turn in map(as_object, turns)
        if turn is not None
    ]


def _probe(attempt: JsonObject) -> str:
    return str(attempt.get("probe_classname"))


def _detectors(attempt: JsonObject) -> dict[str, list[float | None]]:
    """The scores of the outputs by each detector; None for those that it could not score."""
    return {
        name: [float(score) if isinstance(score, int | float) else None for score in as_list(scores) or []]
        for name, scores in (as_object(attempt.get("detector_results")) or {}).items()
    }
