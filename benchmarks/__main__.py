"""Compare servers in the same run, in turns: this source tree, another one, and the released server.

    python -m benchmarks [--released EXECUTABLE] [--before DIR] [--quick] [--only get,event] [--rounds 5] [--json FILE]

``--released`` names the executable of the released server, for example ``eval-hub-server`` from an environment with
``pip install eval-hub-server==1.0.2``; ``--before`` a clone of this repository at another commit. All get the same provider files, a
database file and one core each (with ``taskset``), and are visited in turns, in reverse order in each second round. Load comes from
``wrk`` if it is installed. Prints a Markdown table of medians with the least and the greatest value; ratios are medians of the ratios
of each round, and above 1 is better for this tree. CPU time is user and system time of the server's processes without adapters.

Machines are noisy: ratios mean something on another machine, times do not, and CPU time is more reliable than wall-clock time.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from benchmarks.measurements import Bench, Size
from benchmarks.report import document, table
from benchmarks.subject import ROOT, Version, adapter_command, cores, source_tree

FULL = Size(rounds=5, seconds=2, jobs=10_000, many_jobs=100_000, benchmarks=(1, 50, 200, 800))
QUICK = Size(rounds=2, seconds=1, jobs=10_000, many_jobs=20_000, benchmarks=(1, 50))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--released", metavar="EXECUTABLE")
    parser.add_argument("--before", metavar="DIR", type=Path)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and jobs, within two minutes")
    parser.add_argument(
        "--only", default="", help="parts of names of measurements, separated by commas; default: all"
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each load")
    parser.add_argument("--jobs", type=int, help="number of stored jobs")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all values to this file")
    options = parser.parse_args()
    size = QUICK if options.quick else FULL
    given = {
        name: value for name in ("rounds", "seconds", "jobs") if (value := getattr(options, name)) is not None
    }
    versions = [source_tree("this", ROOT)]
    if options.before:
        versions.append(source_tree("before", options.before.resolve()))
    if options.released:
        versions.append(Version("released", [options.released], {}))
    folder = Path(tempfile.mkdtemp(prefix="evalhub-benchmarks-"))
    try:
        bench = Bench(
            versions,
            size._replace(**given),
            folder,
            adapter=adapter_command(folder),
            cores=cores(),
            only=[word for word in options.only.split(",") if word],
        )
        bench.run()
    finally:
        shutil.rmtree(folder)
    print(table(bench.values, [version.name for version in versions]))
    if options.json:
        options.json.write_text(json.dumps(document(bench.values), indent=2))


if __name__ == "__main__":
    main()
