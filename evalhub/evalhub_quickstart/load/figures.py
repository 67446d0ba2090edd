"""Figures of one level of the load test: times with their intervals, and rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from evalhub_common.adapter.json_values import JsonObject
from evalhub_quickstart.load.client import Timed
from evalhub_quickstart.load.sweep import Request
from evalhub_quickstart.stats import percentile, quantile_interval, ratio, t_quantile

PERCENTILES = (50, 90, 95, 99)


def tokens_of(answer: Timed) -> int | None:
    """The number of output tokens: the reported one, else the pieces of the stream; None if neither is known."""
    return answer.output_tokens if answer.output_tokens is not None else answer.pieces or None


def ttft_ms(answer: Timed) -> float | None:
    """The time to the first token in milliseconds; None if the answer was not streamed."""
    return None if answer.first_s is None else answer.first_s * 1000


def gaps(answer: Timed) -> tuple[float, int] | None:
    """The time from the first to the last token in milliseconds, and the number of gaps between tokens; None without a gap.

    A server may send several tokens in one piece, so the gaps are those of tokens; with one piece there is nothing to time.
    """
    tokens = tokens_of(answer)
    if answer.first_s is None or answer.last_s is None or answer.pieces < 2 or tokens is None or tokens < 2:
        return None
    return (answer.last_s - answer.first_s) * 1000, tokens - 1


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """Mean and percentiles of a time in milliseconds, over requests; ``low`` and ``high`` are 95 % limits of the mean."""

    mean: float
    stderr: float | None
    low: float | None
    high: float | None
    percentiles: Mapping[int, tuple[float, float | None, float | None]]
    """For each percentile the value and its 95 % limits, None where there are too few requests for a limit."""

    def document(self) -> JsonObject:
        """The figures for ``additional_info``."""
        shown: JsonObject = {"mean": _value(self.mean, self.low, self.high)}
        return shown | {f"p{name}": _value(*values) for name, values in self.percentiles.items()}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of one level. Rates and times are of the requests that succeeded.

    ``times`` has the distributions of ``ttft_ms``, ``itl_ms`` and ``latency_ms`` as far as they are known.
    """

    level: int
    requests: int
    errors: int
    duration_s: float
    requests_per_second: float
    output_tokens_per_second: float | None
    mean_prompt_tokens: float | None
    mean_output_tokens: float | None
    times: Mapping[str, Distribution] = field(default_factory=dict[str, Distribution])

    def metrics(self) -> dict[str, float]:
        """All figures by metric; those that are unknown are left out."""
        metrics = self._rates()
        for name, times in self.times.items():
            metrics[f"mean_{name}"] = times.mean
            if times.stderr is not None:
                metrics[f"mean_{name}_stderr"] = times.stderr
            metrics |= {f"p{each}_{name}": value for each, (value, _, _) in times.percentiles.items()}
        return metrics

    def document(self) -> JsonObject:
        """The figures with their intervals, for ``additional_info``."""
        return {
            "concurrency": self.level,
            "requests": self.requests,
            "errors": self.errors,
            "duration_s": round(self.duration_s, 3),
            **self._rates(),
            **{name: times.document() for name, times in self.times.items()},
        }

    def _rates(self) -> dict[str, float]:
        """Those that are known."""
        rates = {
            "requests_per_second": self.requests_per_second,
            "output_tokens_per_second": self.output_tokens_per_second,
            "mean_prompt_tokens": self.mean_prompt_tokens,
            "mean_output_tokens": self.mean_output_tokens,
        }
        return {name: value for name, value in rates.items() if value is not None}


def figures(level: int, requests: Sequence[Request]) -> Figures:
    """The figures of a level with at least one request.

    The duration is that from the start of the level to the end of its last request.
    """
    answers = [request.answer for request in requests if request.answer is not None]
    duration_s = max(request.ended_s for request in requests)
    tokens = [count for answer in answers if (count := tokens_of(answer)) is not None]
    prompts = [answer.prompt_tokens for answer in answers if answer.prompt_tokens is not None]
    between = [pair for answer in answers if (pair := gaps(answer)) is not None]
    samples: dict[str, tuple[list[float], list[int] | None]] = {
        "ttft_ms": ([value for answer in answers if (value := ttft_ms(answer)) is not None], None),
        # Over all gaps, as GuideLLM has it: a long answer counts as much as its gaps.
        "itl_ms": ([total for total, _ in between], [count for _, count in between]),
        "latency_ms": ([answer.latency_s * 1000 for answer in answers], None),
    }
    return Figures(
        level=level,
        requests=len(requests),
        errors=len(requests) - len(answers),
        duration_s=duration_s,
        requests_per_second=len(answers) / duration_s,
        output_tokens_per_second=sum(tokens) / duration_s if tokens else None,
        mean_prompt_tokens=sum(prompts) / len(prompts) if prompts else None,
        mean_output_tokens=sum(tokens) / len(tokens) if tokens else None,
        times={name: _distribution(*pair) for name, pair in samples.items() if pair[0]},
    )


def _distribution(amounts: Sequence[float], counts: Sequence[int] | None) -> Distribution:
    weights = [1] * len(amounts) if counts is None else counts
    mean, stderr = ratio(amounts, weights)
    half = None if stderr is None else t_quantile(len(amounts) - 1) * stderr
    values = [amount / weight for amount, weight in zip(amounts, weights, strict=True)]
    return Distribution(
        mean=mean,
        stderr=stderr,
        low=None if half is None else max(mean - half, 0.0),
        high=None if half is None else mean + half,
        percentiles={
            each: (percentile(values, each / 100), *quantile_interval(values, each / 100))
            for each in PERCENTILES
        },
    )


def _value(value: float, low: float | None, high: float | None) -> JsonObject:
    shown: JsonObject = {"value": round(value, 3)}
    limits = {"low": low, "high": high}
    return shown | {name: round(limit, 3) for name, limit in limits.items() if limit is not None}
