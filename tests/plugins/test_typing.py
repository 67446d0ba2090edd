"""Type checkers find mistakes in a plugin's descriptors: pyright and mypy, over the same small module."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SNIPPET = """\
from collections.abc import Sequence

from msgspec import Struct

from evalhub_server.plugins import Descriptor, NoSettings, PluginContext, Storage, hookimpl
from evalhub_server.testing import MemoryStorage


class ShelfSettings(Struct, kw_only=True, frozen=True):
    size: int = 1


class OtherSettings(Struct, kw_only=True, frozen=True):
    size: str = ""


def make(settings: ShelfSettings, context: PluginContext) -> MemoryStorage:
    return MemoryStorage()


def make_without(settings: NoSettings, context: PluginContext) -> MemoryStorage:
    return MemoryStorage()


def make_number(settings: ShelfSettings, context: PluginContext) -> int:
    return settings.size


@hookimpl
def evalhub_storages() -> Sequence[Descriptor[Storage, ShelfSettings]]:
    return [Descriptor(api=1, name="shelf", factory=make, settings=ShelfSettings)]


plain: Descriptor[Storage, NoSettings] = Descriptor(api=1, name="plain", factory=make_without, settings=NoSettings)
mixed: list[Descriptor[Storage, ShelfSettings] | Descriptor[Storage, NoSettings]] = [*evalhub_storages(), plain]

wrong_settings = Descriptor(api=1, name="shelf", factory=make, settings=OtherSettings)  # error
none_at_all = Descriptor(api=1, name="shelf", factory=make, settings=NoSettings)  # error
without_api = Descriptor(name="shelf", factory=make, settings=ShelfSettings)  # error
unknown_api = Descriptor(api=99, name="shelf", factory=make, settings=ShelfSettings)  # error
number = Descriptor(api=1, name="shelf", factory=make_number, settings=ShelfSettings)
wrong_kind: Descriptor[Storage, ShelfSettings] = number  # error
"""

EXPECTED = [number for number, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# error")]


def pyright_errors(file: Path) -> list[int]:
    command = ["-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(file)]
    done = subprocess.run(
        [sys.executable, *command], cwd=file.parent, capture_output=True, text=True, check=False
    )
    found = json.loads(done.stdout)["generalDiagnostics"]
    return [item["range"]["start"]["line"] + 1 for item in found if item["severity"] == "error"]


def mypy_errors(file: Path) -> list[int]:
    command = ["-m", "mypy", "--strict", "--cache-dir", str(file.parent / "cache"), file.name]
    done = subprocess.run(
        [sys.executable, *command], cwd=file.parent, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return [int(line) for line in re.findall(rf"^{file.name}:(\d+): error: ", done.stdout, re.MULTILINE)]


@pytest.mark.slow
@pytest.mark.parametrize("errors_of", [pyright_errors, mypy_errors])
def test_a_factory_with_the_wrong_settings_type_is_an_error(
    tmp_path: Path, errors_of: Callable[[Path], list[int]]
):
    file = tmp_path / "snippet.py"
    file.write_text(SNIPPET, "utf-8")
    assert sorted(set(errors_of(file))) == EXPECTED
