"""Refresh the benchmark lists of ``config/providers`` from the newest releases of the frameworks.

    python scripts/refresh_providers.py [--only lm_evaluation_harness] [--wheels DIR] [--output DIR]

Downloads each framework's wheel from the package index (nothing of it is installed or run), reads the task registry
in it, and writes one provider file per framework (``config/providers``) and the names of all tasks of some (``config/tasks``).
What is listed, and in which category, is in ``scripts/provider_sources/data``. A name in there that the new release lacks
stops the script: decide, then run it again. The ids of the released server are listed with its own names, metrics and
thresholds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from provider_sources.frameworks import SOURCES
from provider_sources.output import provider_file
from provider_sources.released import with_released
from provider_sources.tables import Table
from provider_sources.wheel import Wheel, download

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Refresh the benchmark lists of config/providers.")
    parser.add_argument(
        "--only", action="append", choices=sorted(SOURCES), help="this provider; may be repeated"
    )
    parser.add_argument(
        "--wheels", type=Path, help="keep the downloads in this folder instead of a temporary one"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "config")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        for provider_id in options.only or sorted(SOURCES):
            source = SOURCES[provider_id]
            folder: Path = options.wheels or Path(temporary)
            wheels = {name: Wheel.open(download(name, folder)) for name in source.packages}
            table = Table.load(provider_id)
            benchmarks = [
                benchmark.reported(source.framework.reported)
                for benchmark in with_released(provider_id, source.read(wheels, table), table)
            ]
            version = wheels[source.framework.package].version
            text = provider_file(source.framework, version, table.head, benchmarks)
            (options.output / "providers").mkdir(exist_ok=True)
            (options.output / "providers" / f"{provider_id}.yaml").write_text(text, "utf-8")
            if source.tasks is not None:
                (options.output / "tasks").mkdir(exist_ok=True)
                names = "".join(f"{name}\n" for name in sorted(source.tasks(wheels)))
                (options.output / "tasks" / f"{provider_id}.txt").write_text(names, "utf-8")
            sys.stdout.write(
                f"{provider_id}: {len(benchmarks)} benchmarks from {source.framework.package} {version}\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
