"""The provider resource: an evaluation framework, its benchmarks, and how each runtime starts its adapter."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from evalhub_server.models.common import Int64, Json, PassCriteria, PrimaryScore
from evalhub_server.models.rules import ALSO_REQUIRED, REQUIRED, TAG_NAME, max_length, one_of

SYSTEM_OWNER = "system"


class ResourceInfo(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Id, owner and times of a provider or collection; those from files are owned by ``system``."""

    id: str
    tenant: str = ""
    created_at: datetime
    updated_at: datetime
    owner: str = ""


class Agent(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Hints for agents that choose an evaluation."""

    summary: Annotated[str, max_length(200)] = ""
    evaluates: tuple[str, ...] = ()
    recommended_when: tuple[str, ...] = ()
    complements: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    result_interpretation: tuple[str, ...] = ()


class ProviderAgent(Agent, kw_only=True, frozen=True, omit_defaults=True):
    """Hints for agents that choose an evaluation; ``target_type`` is the kind of system it evaluates."""

    target_type: Annotated[str, one_of("model", "agent", "inference_server")] = ""


class ScoreRange(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The meaning of scores in a range."""

    range: Annotated[str, REQUIRED] = ""
    meaning: Annotated[str, REQUIRED] = ""


class BenchmarkAgent(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Hints for agents that read the scores."""

    result_interpretation: str = ""
    score_ranges: tuple[ScoreRange, ...] = ()


class MetricProperties(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What the values of a metric mean; comparisons rely on it, and nothing of it is inferred from data.

    ``range`` has the smallest and the largest possible value; without it the metric counts as unbounded. ``aggregation``
    is ``mean`` (the default) if the score is the mean of the samples' scores, ``other`` if it is not: comparisons then give
    no interval or verdict. ``sample_metric`` is the metric's name in samples, by default the same name.
    ``lower_is_better`` is for metrics other than the primary one, whose ``primary_score`` has it.
    ``alias_of`` is the name under which the metric is reported, if the benchmark lists it under another one: a result
    without the metric gets that one's value. ``filter`` is the framework's filter, which extracts the answer, if the metric is reported for several of them.
    """

    metric: Annotated[str, REQUIRED] = ""
    range: Annotated[tuple[float, ...], Meta(min_length=2, max_length=2)] | None = None
    aggregation: Annotated[str, one_of("mean", "other")] = ""
    sample_metric: str = ""
    lower_is_better: bool = False
    alias_of: str = ""
    filter: str = ""


REQUIREMENTS = ("chat", "prompt_logprobs", "sandbox", "judge", "embeddings", "gpu", "data")
"""What a benchmark may require, in this order; :mod:`evalhub_server.domain.requirements` explains them."""


class ProviderBenchmark(Struct, kw_only=True, frozen=True):
    """A benchmark that a provider offers.

    ``groups`` declares what the ``group`` of a sample is: ``clusters`` if groups are sampled units, such as passages with
    several questions; ``strata`` if they are a fixed list, such as subjects. Without it, comparisons ignore groups.

    ``alias_of`` is the id of the benchmark of the same provider that this one is another name of: jobs, events and results
    keep the name that the client sent, and the adapter gets both. ``requires`` lists what the benchmark needs: ``chat`` (chat
    completions), ``prompt_logprobs`` (completions with the log-probabilities of the prompt's tokens), ``sandbox`` (for
    code that the model writes), ``judge`` (a second model), ``embeddings`` (an embedding model), ``gpu``, and ``data`` (test data
    of the client's own). ``generating_twin`` is the id of a benchmark of the same provider with the same questions that
    needs chat completions only. ``chance_level`` is the primary score that guessing reaches. A job's parameters are added to ``default_parameters`` and take precedence.
    """

    # No omit_defaults: a field that is not UNSET is written even if it is empty.
    id: Annotated[str, ALSO_REQUIRED] = ""
    name: str = ""
    category: str = ""
    description: Annotated[str | UnsetType, max_length(1024)] = UNSET
    url: str | UnsetType = UNSET
    metrics: tuple[str, ...] | UnsetType = UNSET
    num_few_shot: Int64 = 0
    dataset_size: Int64 = 0
    tags: tuple[str, ...] | UnsetType = UNSET
    primary_score: PrimaryScore | UnsetType = UNSET
    pass_criteria: PassCriteria | UnsetType = UNSET
    chance_level: float | UnsetType = UNSET
    agent: BenchmarkAgent | UnsetType = UNSET
    metric_properties: tuple[MetricProperties, ...] | UnsetType = UNSET
    groups: Annotated[str | UnsetType, one_of("clusters", "strata")] = UNSET
    alias_of: str | UnsetType = UNSET
    requires: tuple[Annotated[str, one_of(*REQUIREMENTS)], ...] | UnsetType = UNSET
    generating_twin: str | UnsetType = UNSET
    default_parameters: Json | UnsetType = UNSET
    domains: tuple[str, ...] | UnsetType = UNSET
    tasks: tuple[str, ...] | UnsetType = UNSET
    modalities: tuple[str, ...] | UnsetType = UNSET
    evaluation_targets: tuple[str, ...] | UnsetType = UNSET


class ProviderConfig(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A provider as files and requests define it.

    ``runtime`` maps the name of a runtime (``local``, ``k8s``, or a plugin's) to its settings for this provider. With
    ``any_benchmark``, jobs may name tasks of the framework that ``benchmarks`` does not list.
    """

    name: Annotated[str, ALSO_REQUIRED] = ""
    title: str = ""
    description: Annotated[str, max_length(1024)] = ""
    tags: tuple[Annotated[str, TAG_NAME], ...] = ()
    benchmarks: tuple[ProviderBenchmark, ...] = ()
    any_benchmark: bool = False
    runtime: dict[str, Json] = {}
    agent: ProviderAgent | None = None
    custom: Json | None = None


class Runnable(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Whether the adapters of a provider can be started on this computer; if not, why, and what to do."""

    local: bool
    reason: str = ""
    fix: str = ""


class Provider(Struct, kw_only=True, frozen=True):
    """A provider in responses. ``runnable`` is present in local mode."""

    resource: ResourceInfo
    name: str
    title: str = ""
    description: str | UnsetType = UNSET
    tags: tuple[str, ...] | UnsetType = UNSET
    benchmarks: tuple[ProviderBenchmark, ...] = ()
    any_benchmark: bool | UnsetType = UNSET
    runtime: dict[str, Json] | UnsetType = UNSET
    agent: ProviderAgent | UnsetType = UNSET
    custom: Json | UnsetType = UNSET
    runnable: Runnable | UnsetType = UNSET
