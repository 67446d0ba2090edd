"""One module per framework: where its registry is and how to read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from provider_sources.frameworks import (
    clear,
    deepeval,
    garak,
    guidellm,
    inspect_evals,
    lighteval,
    lm_eval,
    ragas,
)
from provider_sources.model import Benchmark, Framework
from provider_sources.tables import Table
from provider_sources.wheel import Wheel


@dataclass(frozen=True, kw_only=True)
class Source:
    """``read`` gets the wheels of ``packages`` by their names."""

    framework: Framework
    read: Callable[[dict[str, Wheel], Table], list[Benchmark]]
    packages: tuple[str, ...]


def _source(
    framework: Framework, read: Callable[[dict[str, Wheel], Table], list[Benchmark]], *more_packages: str
) -> Source:
    return Source(framework=framework, read=read, packages=(framework.package, *more_packages))


SOURCES = {
    source.framework.provider_id: source
    for source in (
        _source(lm_eval.FRAMEWORK, lm_eval.read),
        _source(lighteval.FRAMEWORK, lighteval.read),
        _source(guidellm.FRAMEWORK, guidellm.read),
        _source(garak.FRAMEWORK, garak.read),
        _source(inspect_evals.FRAMEWORK, inspect_evals.read, "inspect-ai"),
        _source(ragas.FRAMEWORK, ragas.read),
        _source(deepeval.FRAMEWORK, deepeval.read),
        _source(clear.FRAMEWORK, clear.read),
    )
}
