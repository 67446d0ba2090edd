"""The coverage gate: a table of lines and branches for each package of the wheel; fails if one is below the minimum.

coverage run -m pytest; coverage combine; coverage json; python scripts/coverage_gate.py coverage.json [--minimum 95]
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from operator import add
from pathlib import Path

import msgspec
from msgspec.structs import astuple

ROOT = Path(__file__).resolve().parent.parent


class Summary(msgspec.Struct):
    """Counts of a file or a package, as ``coverage json`` names them."""

    num_statements: int = 0
    covered_lines: int = 0
    num_branches: int = 0
    covered_branches: int = 0

    def __add__(self, other: Summary) -> Summary:
        return Summary(*map(add, astuple(self), astuple(other)))

    @property
    def percent(self) -> float:
        """Share of lines and branches that ran, of both together."""
        possible = self.num_statements + self.num_branches
        return 100 * (self.covered_lines + self.covered_branches) / possible if possible else 0.0


class File(msgspec.Struct):
    summary: Summary


class Report(msgspec.Struct):
    files: dict[str, File]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check the coverage of every package.")
    parser.add_argument("report", type=Path, help="the output of coverage json")
    parser.add_argument(
        "--minimum", type=float, default=95.0, help="percent of lines and branches (%(default)s)"
    )
    options = parser.parse_args(arguments)
    report = msgspec.json.decode(options.report.read_bytes(), type=Report)
    counts = by_package(report, packages())
    below = [package for package, count in counts.items() if count.percent < options.minimum]
    sys.stdout.write(table(counts))
    if below:
        sys.stdout.write(f"below {options.minimum:g} %: {', '.join(below)}\n")
    return 1 if below else 0


def packages() -> list[str]:
    """Directories of the wheel's packages, relative to the checkout."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]


def by_package(report: Report, directories: list[str]) -> dict[str, Summary]:
    """Sums of the counts of each package's files; a package without any measured file counts as not covered."""
    sums = {Path(directory).name: Summary() for directory in directories}
    for name, file in report.files.items():
        for directory in directories:
            if name.startswith(f"{directory}/"):
                sums[Path(directory).name] += file.summary
    return sums


def table(counts: dict[str, Summary]) -> str:
    """One row a package: lines, branches and both together."""
    rows = [f"{'package':28} {'lines':>15} {'branches':>15} {'together':>9}\n"]
    for package, count in counts.items():
        lines = f"{count.covered_lines} of {count.num_statements}"
        branches = f"{count.covered_branches} of {count.num_branches}"
        rows.append(f"{package:28} {lines:>15} {branches:>15} {count.percent:7.1f} %\n")
    return "".join(rows)


if __name__ == "__main__":
    raise SystemExit(main())
