"""How costs grow: with stored jobs (SQLite and PostgreSQL), benchmarks in a job, live adapters, followers of streams, and tenants.

    python -m benchmarks.scale [--parts stored,benchmarks,adapters,followers,tenants] [--jobs 10000,100000,1000000] [--quick]

Each part prints a table in Markdown with one column per size. A million jobs need about 4 GB in each database and some minutes to
write. Needs the packages of the extra ``dev``, and PostgreSQL's programs for its column.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.report import print_table
from benchmarks.scale_live import adapters, benchmarks, followers, tenants
from benchmarks.scale_stored import STORAGES, stored

SIZES: Mapping[str, Sequence[int]] = {
    "benchmarks": (100, 1_000, 10_000),
    "adapters": (10, 100, 500),
    "followers": (1, 100, 1_000),
    "tenants": (1, 20, 200),
}
QUICK: Mapping[str, Sequence[int]] = {
    "benchmarks": (10, 100),
    "adapters": (5, 20),
    "followers": (1, 20),
    "tenants": (1, 5),
}
PARTS: Mapping[str, Callable[[int, Path], Mapping[str, float]]] = {
    "benchmarks": benchmarks,
    "adapters": adapters,
    "followers": followers,
    "tenants": tenants,
}


def show(title: str, results: Mapping[int, Mapping[str, float]]) -> None:
    """One column per size, one row per figure."""
    rows = [
        (name, *(_short(result[name]) if name in result else "" for result in results.values()))
        for name in dict.fromkeys(name for result in results.values() for name in result)
    ]
    print_table((title, *(f"{size:,}" for size in results)), rows)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 1 else f"{value:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parts", default="stored,benchmarks,adapters,followers,tenants")
    parser.add_argument("--storages", default=",".join(STORAGES))
    parser.add_argument("--jobs", default="10000,100000,1000000")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    options = parser.parse_args()
    parts: list[str] = options.parts.split(",")
    jobs = [2_000] if options.quick else [int(number) for number in options.jobs.split(",")]
    folder = Path(tempfile.mkdtemp(prefix="evalhub-scale-"))
    try:
        for storage in options.storages.split(",") if "stored" in parts else ():
            results: dict[int, Mapping[str, float]] = {}
            for number in jobs:
                place = folder / f"{storage}-{number}"
                results[number] = stored(storage, number, place)
                shutil.rmtree(place)
                print(f"{storage}: {number} jobs measured", file=sys.stderr)
            show(f"jobs in {STORAGES[storage]}", results)
        for part, measure in PARTS.items():
            if part in parts:
                sizes = (QUICK if options.quick else SIZES)[part]
                show(part, {size: measure(size, folder / f"{part}-{size}") for size in sizes})
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
