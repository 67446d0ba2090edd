"""Location of the configuration directory and file."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from evalhub_server.errors import SettingsError

CONFIG_DIR = "EVAL_HUB_CONFIG_DIR"
FILE_NAMES = ("config.yaml", "config.yml", "config.json", "config")
"""The first one that exists is read, as YAML whatever its name."""


def bundled_config_dir() -> Path:
    """The configuration of the distribution: package data, or ``config/`` of a source tree."""
    package = Path(__file__).parents[1]
    packaged = package / "config"
    return packaged if packaged.is_dir() else package.parents[1] / "config"


def find_config_file(configdir: Path | None, environ: Mapping[str, str]) -> Path:
    """Configuration file: of ``--configdir``, ``EVAL_HUB_CONFIG_DIR``, ``./config``, or the bundled one.

    Raises :class:`SettingsError` if one of the first two is given and has no such file.
    """
    explicit = configdir or as_path(environ.get(CONFIG_DIR))
    if explicit is None:
        return _file_in(Path("config").absolute()) or bundled_config_dir() / FILE_NAMES[0]
    named = "--configdir" if configdir else CONFIG_DIR
    if not explicit.is_dir():
        raise SettingsError(f"no such directory. Give {named} a directory with a config.yaml.", str(explicit))
    file = _file_in(explicit)
    if file is None:
        raise SettingsError(
            f"no config.yaml in this directory. Create one with eval-hub-server init, or leave {named} "
            f"out to run with the bundled configuration ({bundled_config_dir()}).",
            str(explicit),
        )
    return file


def resources_dirs(
    config_file: Path, name: str, packs: Sequence[Path] = (), *, bundled: bool
) -> tuple[Path, ...]:
    """``providers`` or ``collections`` beside the configuration file, before the folders of ``packs``, and before the bundled folder if ``bundled``.

    If the folder does not exist, the bundled one is used in any case. A folder whose existence cannot be determined counts as existing;
    reading it reports why.
    """
    of_distribution = bundled_config_dir() / name
    own = config_file.parent / name
    try:
        exists = stat.S_ISDIR(own.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        exists = False
    except OSError:
        exists = True
    if not exists:
        return (*packs, of_distribution)
    if own == of_distribution:
        return (*packs, own)
    return (own, *packs, of_distribution) if bundled else (own, *packs)


def as_path(text: str | None) -> Path | None:
    """``text`` as a path; None if it is empty."""
    return Path(text) if text else None


def _file_in(folder: Path) -> Path | None:
    return next((folder / name for name in FILE_NAMES if (folder / name).is_file()), None)
