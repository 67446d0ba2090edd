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
    """``read`` gets the wheels of ``packages`` by their names; ``tasks`` returns every name that the framework runs."""

    framework: Framework
    read: Callable[[dict[str, Wheel], Table], list[Benchmark]]
    packages: tuple[str, ...]
    tasks: Callable[[dict[str, Wheel]], set[str]] | None = None


def _source(
    framework: Framework,
    read: Callable[[dict[str, Wheel], Table], list[Benchmark]],
    *more_packages: str,
    tasks: Callable[[dict[str, Wheel]], set[str]] | None = None,
) -> Source:
    return Source(framework=framework, read=read, packages=(framework.package, *more_packages), tasks=tasks)


SOURCES = {
    source.framework.provider_id: source
    for source in (
        _source(lm_eval.FRAMEWORK, lm_eval.read, tasks=lm_eval.tasks),
        _source(lighteval.FRAMEWORK, lighteval.read),
        _source(guidellm.FRAMEWORK, guidellm.read),
        _source(garak.FRAMEWORK, garak.read, tasks=garak.tasks),
        _source(garak.PIPELINES, garak.read_pipelines),
        _source(inspect_evals.FRAMEWORK, inspect_evals.read, "inspect-ai", tasks=inspect_evals.tasks),
        _source(ragas.FRAMEWORK, ragas.read),
        _source(deepeval.FRAMEWORK, deepeval.read),
        _source(clear.FRAMEWORK, clear.read),
    )
}
