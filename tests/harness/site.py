"""Small distributions for tests, installed without pip."""

from __future__ import annotations

import textwrap
from pathlib import Path


class Site:
    """A folder for ``sys.path`` or ``PYTHONPATH`` with distributions of one module each, which is their plugin."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder

    def install(
        self, name: str, source: str, version: str = "0.1", *, entry_points: str = "", summary: str = ""
    ) -> None:
        """``entry_points`` is the text of a file of that name; by default the module is a plugin."""
        module = name.replace("-", "_")
        (self.folder / f"{module}.py").write_text(textwrap.dedent(source), "utf-8")
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {summary}\n", "utf-8"
        )
        points = entry_points or f"[evalhub.plugins]\n{module} = {module}\n"
        (info / "entry_points.txt").write_text(points, "utf-8")
