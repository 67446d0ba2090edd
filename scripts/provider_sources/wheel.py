"""A wheel as a mapping of its text files. Nothing in it is installed, imported or run."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

_SUFFIXES = (".py", ".yaml", ".yml", ".json")


@dataclass(frozen=True, kw_only=True)
class Wheel:
    version: str
    files: dict[str, str] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> Wheel:
        """Read the code and data files of the wheel at ``path``."""
        with zipfile.ZipFile(path) as archive:
            files = {
                name: archive.read(name).decode("utf-8", "replace")
                for name in archive.namelist()
                if name.endswith(_SUFFIXES) or _is_template(name)
            }
        return cls(version=path.name.split("-")[1], files=files)

    def under(self, folder: str, suffix: str) -> dict[str, str]:
        """The files below ``folder`` (without a slash at its end), in the order of their names."""
        return {
            name: self.files[name]
            for name in sorted(self.files)
            if name.startswith(f"{folder}/") and name.endswith(suffix)
        }


def _is_template(name: str) -> bool:
    """Whether this may be a file that lm_eval only includes: ``_template``, ``flores``, ``_default_yaml_0.5k``."""
    file = name.rpartition("/")[2]
    return "." not in file or "_yaml" in file or "_yml" in file


def download(package: str, folder: Path) -> Path:
    """The newest wheel of ``package`` that pip finds, without its dependencies.

    Raises:
        subprocess.CalledProcessError: pip failed; it has said why.
        FileNotFoundError: the package has no wheel.
    """
    target = folder / package
    subprocess.run(  # noqa: S603  our own interpreter, names from our own table
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary", ":all:", "--dest", str(target), package),
        ],
        check=True,
    )
    for wheel in target.glob("*.whl"):
        return wheel
    raise FileNotFoundError(f"pip left no wheel of {package} in {target}")
