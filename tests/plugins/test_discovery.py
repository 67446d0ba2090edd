"""What the metadata of distributions say about their entry points."""

from __future__ import annotations

from importlib.metadata import Distribution
from pathlib import Path

from evalhub_server.plugins.discovery import info_of


class CountedDistribution(Distribution):
    """A distribution with two entry points, which counts reads of its metadata."""

    def __init__(self) -> None:
        self.reads = 0

    def read_text(self, filename: str) -> str | None:
        if filename == "METADATA":
            self.reads += 1
            return "Metadata-Version: 2.1\nName: some-plugins\nVersion: 1.2\n\nA long description.\n"
        return "[evalhub.plugins]\na = some:a\nb = some:b\n" if filename == "entry_points.txt" else None

    def locate_file(self, path: object) -> Path:
        return Path(str(path))


def test_the_metadata_of_a_distribution_are_parsed_once():
    distribution = CountedDistribution()
    infos = [info_of(point) for point in distribution.entry_points]
    assert [(each.name, each.distribution, each.version) for each in infos] == [
        ("a", "some-plugins", "1.2"),
        ("b", "some-plugins", "1.2"),
    ]
    assert distribution.reads == 1
