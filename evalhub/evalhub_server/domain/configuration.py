"""Differences in the configuration of runs: what may explain a difference of scores other than the model."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from evalhub_server.domain.lineage_view import LineageView, Source
from evalhub_server.domain.redaction import redacted
from evalhub_server.domain.statistics.pairing import IGNORED_PARAMETERS
from evalhub_server.domain.workload_framework import framework_of
from evalhub_server.models.configuration import ConfigurationDifference

MAX_CHARACTERS = 200


def source_differences(baseline: Source, candidate: Source) -> tuple[ConfigurationDifference, ...]:
    """The settings in which two runs of a benchmark differ, except the model, its address, and settings that cannot change scores."""
    one, two = settings_of(baseline), settings_of(candidate)
    return tuple(
        ConfigurationDifference(name=name, baseline=_shown(one, name), candidate=_shown(two, name))
        for name in dict.fromkeys([*one, *two])
        if one.get(name, UNSET) != two.get(name, UNSET)
    )


def view_differences(baseline: LineageView, candidate: LineageView) -> tuple[ConfigurationDifference, ...]:
    """The settings in which the benchmarks that two jobs have in common differ, with the same difference named once."""
    common = [name for name in baseline if name in candidate]
    found: dict[ConfigurationDifference, list[str]] = {}
    for name in common:
        for each in source_differences(baseline[name], candidate[name]):
            found.setdefault(each, []).append(name)
    return tuple(
        msgspec.structs.replace(each, benchmarks=tuple(names) if len(names) < len(common) else ())
        for each, names in found.items()
    )


def settings_of(source: Source) -> dict[str, Any]:
    planned, record, model = source.planned, source.record, source.job.request.model
    settings: dict[str, Any] = {}
    if planned.primary_score is not None:
        settings["primary_score"] = planned.primary_score.metric
    if framework := framework_of(record.handle):
        settings["framework"] = f"{framework.name} {framework.version}"
    reference = planned.test_data_ref
    if revision := record.resolved_sha or (reference.resolved_sha if reference else ""):
        settings["test_data"] = revision
    for prefix, parameters in (
        ("parameters", planned.parameters),
        ("model.parameters", model.parameters if model else UNSET),
    ):
        if parameters is not UNSET:
            settings |= {
                f"{prefix}.{name}": value
                for name, value in parameters.items()
                if name == "num_examples" or name not in IGNORED_PARAMETERS
            }
    return settings


def _shown(settings: dict[str, Any], name: str) -> str | None:
    if name not in settings:
        return None
    last = name.rpartition(".")[2]
    value = redacted({last: settings[name]})[last]
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}…"
