"""The policy of a quality gate: which benchmarks must not be worse, must be better, or must reach a threshold."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from evalhub_server.domain.statistics.inputs import CompareOptions, MissingPolicy, Share, WeightKind
from evalhub_server.domain.statistics.planning import MIN_MARGIN, min_n_for_margin, smallest_margin

GateKind = Literal["non_inferiority", "superiority", "threshold"]
PositiveMargin = Annotated[float, Meta(ge=MIN_MARGIN)]


class PolicyError(ValueError):
    """A policy cannot be evaluated. ``problems`` has one text per fault, each with the key that causes it."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(self.problems))


class GateBenchmark(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a policy requires of one benchmark. What is absent comes from the policy itself."""

    provider_id: Annotated[str, Meta(min_length=1, description="Id of the provider.")]
    id: Annotated[str, Meta(min_length=1, description="Id of the benchmark.")]
    kind: Annotated[
        GateKind | None,
        Meta(
            description="`non_inferiority`: not worse by more than the margin. `superiority`: better. `threshold`: the score "
            "reaches the threshold."
        ),
    ] = None
    margin: Annotated[
        PositiveMargin | None,
        Meta(description="Largest acceptable loss, in the metric's unit: 0.02 is two points of [0, 1]."),
    ] = None
    relative_margin: Annotated[
        Share | None, Meta(description="Largest acceptable loss as a share of the baseline's score.")
    ] = None
    threshold: Annotated[
        float | None, Meta(description="Score to reach; not to exceed where lower is better.")
    ] = None
    confidence: Annotated[
        Literal["interval", "point"],
        Meta(
            description="What is compared with the threshold: the limit of the score's interval, or the score itself, which "
            "allows nothing for chance."
        ),
    ] = "interval"
    required: Annotated[
        bool, Meta(description="Whether the benchmark decides; otherwise it is shown only.")
    ] = True

    @property
    def name(self) -> str:
        """``provider_id/id``."""
        return f"{self.provider_id}/{self.id}"


class GatePolicy(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A gate policy, as in a policy file. Without ``benchmarks`` it holds for every benchmark of the baseline."""

    kind: Annotated[GateKind, Meta(description="Kind of the benchmarks that name none.")] = "non_inferiority"
    margin: Annotated[
        PositiveMargin | None,
        Meta(description="Margin of the benchmarks that name none, in the metric's unit."),
    ] = None
    relative_margin: Annotated[
        Share | None, Meta(description="Relative margin of the benchmarks that name none.")
    ] = None
    alpha: Annotated[Share, Meta(description="Two-sided error probability: 0.05 for 95 % confidence.")] = 0.05
    weights: Annotated[
        WeightKind, Meta(description="Weights of the suite's mean: `macro`, `pooled` or `declared`.")
    ] = "declared"
    unpaired: Annotated[
        Literal["refuse", "allow"],
        Meta(description="Whether benchmarks without samples may pass on an unpaired comparison."),
    ] = "refuse"
    allow_parameters: Annotated[
        tuple[str, ...], Meta(description="Parameters that may differ between the runs.")
    ] = ()
    allow_prompt_change: Annotated[
        bool,
        Meta(description="Whether inputs and targets of an item may differ: the prompt is what is tested."),
    ] = False
    allow_subset: Annotated[
        bool,
        Meta(description="Whether runs of different numbers of examples are compared on their common items."),
    ] = False
    exact: Annotated[bool, Meta(description="Exact McNemar test instead of mid-p.")] = False
    model_errors: Annotated[
        MissingPolicy, Meta(description="Failures that the model caused: `wrong`, `exclude` or `refuse`.")
    ] = "wrong"
    infrastructure_errors: Annotated[
        MissingPolicy, Meta(description="Other failures and missing samples: `wrong`, `exclude` or `refuse`.")
    ] = "exclude"
    benchmarks: Annotated[
        tuple[GateBenchmark, ...], Meta(description="What is required of single benchmarks.")
    ] = ()

    def options(self) -> CompareOptions:
        """The options of the comparison that this policy judges."""
        return CompareOptions(
            alpha=self.alpha,
            margin=self.margin,
            exact=self.exact,
            allow_parameters=self.allow_parameters,
            allow_prompt_change=self.allow_prompt_change,
            allow_subset=self.allow_subset,
            model_errors=self.model_errors,
            infrastructure_errors=self.infrastructure_errors,
        )

    def kind_of(self, benchmark: GateBenchmark) -> GateKind:
        """The benchmark's own kind; ``threshold`` if it has only a threshold; else the policy's."""
        if benchmark.kind is not None:
            return benchmark.kind
        own = benchmark.margin is not None or benchmark.relative_margin is not None
        return "threshold" if benchmark.threshold is not None and not own else self.kind

    def margins_of(self, benchmark: GateBenchmark) -> tuple[float | None, float | None]:
        """The absolute and the relative margin that hold for a benchmark; one of them is None."""
        if benchmark.margin is not None or benchmark.relative_margin is not None:
            return benchmark.margin, benchmark.relative_margin
        return self.margin, self.relative_margin


def check_policy(policy: GatePolicy, known: Iterable[str] | None = None) -> None:
    """Refuse a policy that contradicts itself, or names a benchmark that is not among ``known`` (``provider_id/id``).

    Raises:
        PolicyError: with all faults.
    """
    problems: list[str] = []
    names = None if known is None else set(known)
    if policy.margin is not None and policy.relative_margin is not None:
        problems.append("margin: give either margin or relative_margin")
    if policy.kind == "threshold" and not policy.benchmarks:
        problems.append("benchmarks: a policy of kind threshold names its benchmarks with their thresholds")
    if (
        policy.kind == "non_inferiority"
        and not policy.benchmarks
        and _no_margin(policy.margin, policy.relative_margin)
    ):
        problems.append("margin: non_inferiority needs margin or relative_margin")
    seen: set[str] = set()
    for index, benchmark in enumerate(policy.benchmarks):
        key = f"benchmarks[{index}]"
        if benchmark.name in seen:
            problems.append(f"{key}: '{benchmark.name}' is listed twice")
        seen.add(benchmark.name)
        if names is not None and benchmark.name not in names:
            problems.append(
                f"{key}: there is no benchmark '{benchmark.name}' in the runs; they have {_listed(names)}"
            )
        kind = policy.kind_of(benchmark)
        if benchmark.margin is not None and benchmark.relative_margin is not None:
            problems.append(f"{key}.margin: give either margin or relative_margin")
        if kind == "threshold" and benchmark.threshold is None:
            problems.append(f"{key}.threshold: kind threshold needs a threshold")
        if kind != "threshold" and benchmark.threshold is not None:
            problems.append(
                f"{key}.threshold: has no effect with kind {kind}; remove it or set kind to threshold"
            )
        if kind == "non_inferiority" and _no_margin(*policy.margins_of(benchmark)):
            problems.append(f"{key}.margin: non_inferiority needs margin or relative_margin")
    if policy.benchmarks and not any(each.required for each in policy.benchmarks):
        problems.append("benchmarks: none is required, so nothing would be evaluated")
    if problems:
        raise PolicyError(problems)


def check_margins(policy: GatePolicy, counts: Mapping[str, int]) -> None:
    """Refuse margins that cannot be confirmed with the numbers of items, whatever the results are.

    ``counts`` has the number of items by name of the benchmark, for right/wrong answers.

    Raises:
        PolicyError: with all margins below their floors, and the smallest margins that the items support.
    """
    listed = {
        each.name: policy.margins_of(each)[0]
        for each in policy.benchmarks
        if policy.kind_of(each) == "non_inferiority"
    }
    if not policy.benchmarks and policy.kind == "non_inferiority":
        listed = dict.fromkeys(counts, policy.margin)
    problems = [
        margin_problem(
            name, margin, counts[name], policy.alpha, smallest_margin(max(1, counts[name]), policy.alpha)
        )
        for name, margin in listed.items()
        if margin is not None and name in counts and counts[name] < min_n_for_margin(margin, policy.alpha)
    ]
    if problems:
        raise PolicyError(problems)


def margin_problem(name: str, margin: float, n: int, alpha: float, floor: float) -> str:
    """The text for a margin that ``n`` items cannot support: it is not above the floor."""
    return (
        f"{name}: {n} items cannot support a margin of {margin:g}; use a margin above {rounded_up(floor):g}, "
        f"or about {max(n + 1, math.ceil(n * floor / margin))} items"
    )


def rounded_up(value: float) -> float:
    """A margin rounded up to two significant digits."""
    if value <= 0:
        return 0.0
    scale = 10 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / scale - 1e-9) * scale, 12)


def _no_margin(margin: float | None, relative: float | None) -> bool:
    return margin is None and relative is None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)) or "none"
