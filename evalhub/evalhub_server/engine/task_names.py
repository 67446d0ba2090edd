"""Names of tasks that providers accept without listing them as benchmarks."""

from __future__ import annotations

from functools import cache

from evalhub_server.domain.planning import accepts_unlisted, listed_benchmark
from evalhub_server.domain.resource import ProviderRecord
from evalhub_server.settings import bundled_config_dir


def offers(provider: ProviderRecord, benchmark_id: str) -> bool:
    """Whether a job may name this benchmark of the provider.

    Of the frameworks whose tasks are known (``tasks/PROVIDER.txt`` of the bundled configuration), only those are accepted
    besides the listed ones; of others, any plausible name is if the provider has ``any_benchmark``.
    """
    if listed_benchmark(provider.config, benchmark_id) is not None:
        return True
    if not accepts_unlisted(provider.config, benchmark_id):
        return False
    known = known_tasks(provider.id) if provider.system else None
    return known is None or benchmark_id in known


@cache
def known_tasks(provider_id: str) -> frozenset[str] | None:
    """The tasks of the framework of a bundled provider; None if there is no list. Read once, at the first use."""
    file = bundled_config_dir() / "tasks" / f"{provider_id}.txt"
    try:
        return frozenset(file.read_text("utf-8").splitlines())
    except OSError:
        return None
