"""What a collection gets from the providers of its benchmarks: their URLs and, where it has none, their taxonomy.

Lists are sorted and computed from the providers of the moment, so that every reader of a collection sees the same.
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
"""Providers' benchmarks have no ``industries``."""

Offered = Mapping[tuple[str, str], ProviderBenchmark]
"""The benchmarks that a caller can see, by provider id and benchmark id."""

Taxonomy = dict[str, tuple[str, ...]]


def offered(providers: Mapping[str, ProviderConfig]) -> Offered:
    """Index the providers that the caller can see, by their ids. Of benchmarks with the same id the first counts."""
    return {
        (provider_id, benchmark.id): benchmark
        for provider_id, config in providers.items()
        for benchmark in reversed(config.benchmarks)
    }


def unknown_members(config: CollectionConfig, available: Offered) -> tuple[BenchmarkRef, ...]:
    """The members that no visible provider offers: they are accepted, and jobs of the collection refused."""
    return tuple(ref for ref in config.benchmarks if (ref.provider_id, ref.id) not in available)


def with_urls(config: CollectionConfig, available: Offered) -> tuple[CollectionBenchmark, ...]:
    """The members as clients read them, with the URLs that their providers give."""
    return tuple(_with_url(ref, available.get((ref.provider_id, ref.id))) for ref in config.benchmarks)


def _with_url(ref: BenchmarkRef, benchmark: ProviderBenchmark | None) -> CollectionBenchmark:
    url = "" if benchmark is None or benchmark.url is UNSET else benchmark.url
    return CollectionBenchmark(
        **{name: getattr(ref, name) for name in BenchmarkRef.__struct_fields__}, url=url
    )


def derived_taxonomy(config: CollectionConfig, available: Offered) -> Taxonomy:
    """Sorted unions for the lists that the collection leaves empty; without those that stay empty."""
    members = [available.get((ref.provider_id, ref.id)) for ref in config.benchmarks]
    derived: Taxonomy = {}
    for name in DERIVED_TAXONOMY:
        if getattr(config, name):
            continue
        terms = {
            term
            for member in members
            if member is not None and (own := getattr(member, name)) is not UNSET
            for term in own
        }
        if terms:
            derived[name] = tuple(sorted(terms))
    return derived


def with_derived(record: CollectionRecord, available: Offered) -> CollectionRecord:
    """Note the derived taxonomy for filters; the same record if nothing of it changes.

    To be called for the collections of a provider that changed; creating and replacing a collection do it themselves.
    """
    derived = derived_taxonomy(record.config, available)
    return record if derived == record.derived else replace(record, derived=derived)


def without_echo(config: CollectionConfig, before: CollectionConfig, available: Offered) -> CollectionConfig:
    """Drop the lists that a client read as derived and sends back: they stay derived."""
    shown = derived_taxonomy(before, available)
    echoed = {name: () for name, terms in shown.items() if getattr(config, name) == terms}
    return replace(config, **echoed) if echoed else config
