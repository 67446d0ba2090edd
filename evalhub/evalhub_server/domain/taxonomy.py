"""Taxonomy and URLs of a collection that are derived from the providers of its benchmarks.

They are computed from the current providers; the lists are sorted, so that all readers get the same result.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET
from msgspec.structs import replace

from evalhub_server.domain.resource import CollectionRecord
from evalhub_server.models.collection import CollectionBenchmark, CollectionConfig
from evalhub_server.models.job import BenchmarkRef
from evalhub_server.models.provider import ProviderBenchmark, ProviderConfig

DERIVED_TAXONOMY = ("domains", "tasks", "modalities", "evaluation_targets")
"""The lists that a collection can derive; benchmarks of providers have no ``industries``."""

VisibleBenchmarks = Mapping[tuple[str, str], ProviderBenchmark]
"""The benchmarks that a tenant can see, by provider id and benchmark id."""

Taxonomy = dict[str, tuple[str, ...]]


def visible_benchmarks(providers: Mapping[str, ProviderConfig]) -> VisibleBenchmarks:
    """Index the benchmarks of ``providers`` (by id). Of benchmarks with the same id, the first counts."""
    return {
        (provider_id, benchmark.id): benchmark
        for provider_id, config in providers.items()
        for benchmark in reversed(config.benchmarks)
    }


def taxonomy_of(config: ProviderConfig) -> dict[str, Taxonomy]:
    """The terms of a provider's benchmarks by id, from which its collections derive theirs; without any, a benchmark is left out."""
    terms = {
        benchmark.id: {name: listed for name in DERIVED_TAXONOMY if (listed := getattr(benchmark, name))}
        for benchmark in reversed(config.benchmarks)
    }
    return {benchmark_id: found for benchmark_id, found in terms.items() if found}


def unknown_members(config: CollectionConfig, visible: VisibleBenchmarks) -> tuple[BenchmarkRef, ...]:
    """The benchmarks that no visible provider has: the collection is accepted, its jobs are refused."""
    return tuple(ref for ref in config.benchmarks if (ref.provider_id, ref.id) not in visible)


def with_urls(config: CollectionConfig, visible: VisibleBenchmarks) -> tuple[CollectionBenchmark, ...]:
    """The collection's benchmarks for a response, with the URLs from their providers."""
    return tuple(_with_url(ref, visible.get((ref.provider_id, ref.id))) for ref in config.benchmarks)


def _with_url(ref: BenchmarkRef, benchmark: ProviderBenchmark | None) -> CollectionBenchmark:
    url = "" if benchmark is None or benchmark.url is UNSET else benchmark.url
    return CollectionBenchmark(
        **{name: getattr(ref, name) for name in BenchmarkRef.__struct_fields__}, url=url
    )


def derived_taxonomy(config: CollectionConfig, visible: VisibleBenchmarks) -> Taxonomy:
    """The unions of the benchmarks' terms, for the lists that are empty in ``config``; empty unions are left out."""
    members = [visible.get((ref.provider_id, ref.id)) for ref in config.benchmarks]
    derived: Taxonomy = {}
    for name in DERIVED_TAXONOMY:
        if getattr(config, name):
            continue
        terms = {
            term
            for member in members
            if member is not None and (listed := getattr(member, name)) is not UNSET
            for term in listed
        }
        if terms:
            derived[name] = tuple(sorted(terms))
    return derived


def with_derived(record: CollectionRecord, visible: VisibleBenchmarks) -> CollectionRecord:
    """Store the derived taxonomy in a record, for filters; returns the same record if it is up to date.

    Call it for every collection of a provider that changed. Creating or replacing a collection includes it.
    """
    derived = derived_taxonomy(record.config, visible)
    return record if derived == record.derived else replace(record, derived=derived)


def without_echo(
    config: CollectionConfig, before: CollectionConfig, visible: VisibleBenchmarks
) -> CollectionConfig:
    """Clear lists that only repeat the derived ones, which a client has read and sends back, so that they stay derived."""
    derived = derived_taxonomy(before, visible)
    echoed = {name: () for name, terms in derived.items() if getattr(config, name) == terms}
    return replace(config, **echoed) if echoed else config
