"""Registry of the benchmarks. Only the selected one is imported."""

from __future__ import annotations

from importlib import import_module

from evalhub_common.adapter.errors import JobInvalid
from evalhub_quickstart.benchmarks.base import Benchmark

BENCHMARK_IDS = ("arithmetic", "instruction_following", "json_format", "latency")


def select_benchmark(benchmark_id: str) -> Benchmark:
    """The benchmark with that id.

    Raises:
        JobInvalid: there is none; the text lists the existing ones.
    """
    if benchmark_id not in BENCHMARK_IDS:
        raise JobInvalid(
            f"benchmark_id is '{benchmark_id}': this provider has {', '.join(BENCHMARK_IDS)}. "
            "Check the benchmark id in the job."
        )
    module = import_module(f".{benchmark_id}", __name__)
    benchmark: Benchmark = module.BENCHMARK
    return benchmark
