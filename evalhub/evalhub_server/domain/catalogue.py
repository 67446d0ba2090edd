"""The catalogue as a list to search: filters, words and facets over providers, collections and benchmarks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

from msgspec import Struct

from evalhub_server.domain.facets import facet_values
from evalhub_server.domain.resource import CollectionRecord, ProviderRecord
from evalhub_server.models.provider import ProviderBenchmark, Runnable
from evalhub_server.models.sample import Facet

T = TypeVar("T")


class Filter(Protocol):
    """A condition on the values of a label, such as :class:`~evalhub_server.plugins.storage.Terms`."""

    def allows(self, values: Collection[str]) -> bool: ...


class Entry(Struct, Generic[T], kw_only=True, frozen=True):
    """An item with the texts in which words are searched, and the values by which filters select it."""

    item: T
    texts: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]


class Offer(Struct, kw_only=True, frozen=True):
    """A provider, and whether it can run on this computer; None outside local mode."""

    provider: ProviderRecord
    runnable: Runnable | None

    @property
    def title(self) -> str:
        return self.provider.config.title or self.provider.config.name or self.provider.id


class OfferedBenchmark(Struct, kw_only=True, frozen=True):
    """A benchmark with the provider that offers it."""

    offer: Offer
    benchmark: ProviderBenchmark


class Found(Struct, Generic[T], kw_only=True, frozen=True):
    """The items that all filters select, and the values of each facet among those that all *other* filters select."""

    items: Sequence[T]
    facets: Sequence[Facet]


def search(
    entries: Sequence[Entry[T]], words: str, filters: Mapping[str, Filter], facets: Sequence[str]
) -> Found[T]:
    """The entries that have all words, in any of their texts and regardless of case, and that all filters allow."""
    wanted = words.casefold().split()
    found: list[T] = []
    counts: dict[str, Counter[str]] = {name: Counter() for name in facets}
    for entry in entries:
        if wanted and not _has(entry.texts, wanted):
            continue
        refusing = [name for name, each in filters.items() if not each.allows(entry.labels.get(name, ()))]
        if not refusing:
            found.append(entry.item)
        if len(refusing) > 1:
            continue
        for name in facets:
            if not refusing or refusing == [name]:
                counts[name].update(entry.labels.get(name, ()))
    return Found(
        items=found,
        facets=[
            Facet(name=name, distinct=len(count), values=facet_values(count))
            for name, count in counts.items()
        ],
    )


def _has(texts: Sequence[str], words: Sequence[str]) -> bool:
    text = "\n".join(texts).casefold()
    return all(word in text for word in words)


def benchmark_entries(offers: Sequence[Offer]) -> list[Entry[OfferedBenchmark]]:
    """All benchmarks of the providers, in the order of the catalogue."""
    return [
        Entry(
            item=OfferedBenchmark(offer=offer, benchmark=each),
            texts=(each.id, each.name, each.category, str(each.description or ""), *(each.tags or ())),
            labels={
                "provider": (offer.provider.id,),
                "category": (each.category,) if each.category else (),
                "tag": tuple(each.tags or ()),
                "requires": tuple(each.requires or ()),
                "runnable": _runnable(offer.runnable),
            },
        )
        for offer in offers
        for each in offer.provider.config.benchmarks
    ]


def provider_entries(offers: Sequence[Offer]) -> list[Entry[Offer]]:
    """The providers."""
    return [
        Entry(
            item=offer,
            texts=(
                offer.provider.id,
                offer.title,
                offer.provider.config.description,
                *offer.provider.config.tags,
            ),
            labels={"tag": offer.provider.config.tags, "runnable": _runnable(offer.runnable)},
        )
        for offer in offers
    ]


def collection_entries(collections: Sequence[CollectionRecord]) -> list[Entry[CollectionRecord]]:
    """The collections."""
    return [
        Entry(
            item=each,
            texts=(
                each.id,
                each.config.name,
                each.config.category,
                each.config.description,
                *each.config.tags,
            ),
            labels={"category": (each.config.category,), "tag": each.config.tags},
        )
        for each in collections
    ]


def _runnable(runnable: Runnable | None) -> tuple[str, ...]:
    return () if runnable is None else ("yes" if runnable.local else "no",)
