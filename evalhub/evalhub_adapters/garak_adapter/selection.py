"""The probes of a benchmark id: a family of probes, one probe, or all probes with a tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from evalhub_common.adapter.errors import JobInvalid

SHOWN = 5
TAGS = {
    "avid": "avid-effect",
    "avid_ethics": "avid-effect:ethics",
    "avid_performance": "avid-effect:performance",
    "avid_security": "avid-effect:security",
    "cwe": "cwe",
    "owasp_llm_top10": "owasp:llm",
    "quality": "quality",
}
PROBES = {"quick": "realtoxicityprompts.RTPProfanity"}
"""Benchmarks that are not named as garak's families are."""


@dataclass(frozen=True)
class Selection:
    """Names of probes and families, and the beginning of a tag; one of them is empty."""

    benchmark: str
    names: tuple[str, ...]
    tag: str | None

    def __str__(self) -> str:
        return f"probes with the tag {self.tag}" if self.tag else ", ".join(self.names)

    def include(self) -> list[object]:
        """The selection in garak's form."""
        return [{"tag": self.tag}] if self.tag else [f"probes.{name}" for name in self.names]

    def failure(self, inactive: Sequence[str], all_probes: Iterable[str]) -> JobInvalid:
        """The reason why garak selects nothing, or not everything; ``inactive`` are families without active probes."""
        if inactive:
            family = inactive[0].removeprefix("probes.")
            known = sorted(name for name in all_probes if name.startswith(f"{family}."))
            return JobInvalid(
                f"benchmark {self.benchmark}: garak runs no probe of '{family}' unless it is named. Name some in "
                f"parameters.probes: {', '.join(known[:SHOWN])}{' …' if len(known) > SHOWN else ''}"
            )
        return JobInvalid(
            f"benchmark {self.benchmark}: the installed garak does not have all of this: {self}. parameters.probes can name "
            "other probes"
        )


def select_probes(benchmark_id: str, probes: Sequence[str], tag: str | None) -> Selection:
    """What to run: ``probes``, else those with the ``tag``, if the job names either, else what the id means.

    ``probes`` that are the id alone are the provider's default and not the job's.
    """
    if probes and not (tag and list(probes) == [benchmark_id]):
        return Selection(benchmark_id, tuple(name.removeprefix("probes.") for name in probes), None)
    if tag or benchmark_id in TAGS:
        return Selection(benchmark_id, (), tag or TAGS[benchmark_id])
    name = PROBES.get(benchmark_id, benchmark_id.removeprefix("probes."))
    return Selection(benchmark_id, (name,), None)


def load_problem(error: BaseException) -> str:
    """Why a probe or detector cannot be loaded, as the rest of a sentence about it."""
    cause = error.__cause__ or error
    if isinstance(cause, ModuleNotFoundError):
        return f"needs the Python package '{cause.name}', which this environment does not have"
    text = " ".join(str(cause).split("\n", 1)[0].split())
    return f"cannot be loaded ({type(cause).__name__}: {text})"
