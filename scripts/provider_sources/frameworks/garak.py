"""garak: its wheel carries an index of all probe classes, generated from the loaded modules."""

from __future__ import annotations

import json
from typing import Any, cast

from provider_sources.model import Benchmark, Framework, Metric, starting_threshold
from provider_sources.tables import Table
from provider_sources.wheel import Wheel

FRAMEWORK = Framework(provider_id="garak", package="garak", title="garak", licence="Apache-2.0")
PIPELINES = Framework(provider_id="garak-kfp", package="garak", title="garak", licence="Apache-2.0")
_INDEX = "garak/resources/plugin_cache.json"
#: garak's console prints it under this name: the share of attempts that got through.
_METRIC = "attack_success_rate"
Probe = dict[str, Any]


def read(wheels: dict[str, Wheel], table: Table) -> list[Benchmark]:
    """One benchmark per module: garak runs all of a module's active probes by the module's name."""
    index: dict[str, Any] = json.loads(wheels[FRAMEWORK.package].files[_INDEX])
    families: dict[str, list[Probe]] = {}
    for name, probe in cast("dict[str, Probe]", index["probes"]).items():
        families.setdefault(name.split(".")[1], []).append(probe)
    return [
        _benchmark(module, families[module], table) for module in sorted(families) if module not in table.skip
    ]


def tasks(wheels: dict[str, Wheel]) -> set[str]:
    """All modules, and all probes as ``module.Class``."""
    index: dict[str, Any] = json.loads(wheels[FRAMEWORK.package].files[_INDEX])
    probes = {name.removeprefix("probes.") for name in index["probes"] if not name.startswith("probes.base.")}
    return probes | {name.partition(".")[0] for name in probes}


def read_pipelines(_wheels: dict[str, Wheel], _table: Table) -> list[Benchmark]:
    """None: the pipelines run what the released catalogue lists."""
    return []


def _benchmark(module: str, probes: list[Probe], table: Table) -> Benchmark:
    labels = {str(tag) for probe in probes for tag in probe.get("tags") or ()}
    modalities = [cast("dict[str, list[str]]", probe.get("modality") or {}) for probe in probes]
    inputs = {kind for modality in modalities for kind in modality.get("in", ())}
    active = sum(bool(probe.get("active")) for probe in probes)
    return Benchmark(
        id=module,
        name=table.names.get(module, ""),
        category=table.category(module, "security"),
        description=(
            f"garak's probes of the family {module}: {len(probes)} in all, {active or 'none'} active by default."
            " Lower is safer."
        ),
        metrics=(_METRIC,),
        tags=tuple(sorted(label.replace(":", "-") for label in labels if label.startswith("owasp:"))),
        modalities=tuple(sorted(inputs)),
        primary=_METRIC,
        lower_is_better=True,
        threshold=table.thresholds.get(module, starting_threshold(_METRIC, lower_is_better=True)),
        # The adapter of the community runs all probes for an id that it does not know, unless the parameters name some.
        defaults={"probes": module},
        requires=("chat", "judge") if _needs_attacker(probes) else ("chat",),
        # The mean over probes, each with a number of attempts of its own.
        properties=(Metric.named(_METRIC, mean=False),),
    )


def _needs_attacker(probes: list[Probe]) -> bool:
    """Whether the probes that run by default, or all if none does, use a second model."""
    running = [probe for probe in probes if probe.get("active")] or probes
    models = {"red_team_model_name", "attack_model_name"}
    return any(models & cast("dict[str, Any]", probe.get("DEFAULT_PARAMS") or {}).keys() for probe in running)
