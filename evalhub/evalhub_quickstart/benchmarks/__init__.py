"""Registry of the benchmarks. Only the selected one is imported."""

from __future__ import annotations

from importlib import import_module

from evalhub_common.adapter.errors import JobInvalid
from evalhub_quickstart.benchmarks.base import Benchmark
from evalhub_quickstart.options import LOAD_TEST

BENCHMARK_IDS = ("arithmetic", "instruction_following", "json_format", "latency")
"""The benchmarks with samples of their own; the load test (:mod:`evalhub_quickstart.load`) is another one."""


def select_benchmark(benchmark_id: str) -> Benchmark:
    """The benchmark with that id.

    Raises:
        JobInvalid: there is none; the text lists the existing ones.
    """
    if benchmark_id not in BENCHMARK_IDS:
        raise JobInvalid(
            f"benchmark_id is '{benchmark_id}': this provider has {', '.join((*BENCHMARK_IDS, LOAD_TEST))}. "
            "Check the benchmark id in the job."
        )
    module = import_module(f".{benchmark_id}", __name__)
    benchmark: Benchmark = module.BENCHMARK
    return benchmark
