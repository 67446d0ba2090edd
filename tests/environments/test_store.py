"""The adapters directory, and the packages that adapters import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evalhub_server.environments import packages
from evalhub_server.environments.packages import adapter_packages
from evalhub_server.environments.store import (
    AdaptersError,
    adapters_dir,
    find_environment,
    user_cache_dir,
    user_data_dir,
)
from harness.frameworks import stand_in


def test_the_directory_is_that_of_the_user_and_not_that_of_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {"EVALHUB_DATA_DIR": "/elsewhere", "XDG_DATA_HOME": str(tmp_path / "xdg")}
    if sys.platform == "linux":
        assert adapters_dir(environ) == tmp_path / "xdg" / "evalhub" / "adapters"
        assert user_data_dir({"XDG_DATA_HOME": "relative"}) == tmp_path / ".local" / "share" / "evalhub"
    assert adapters_dir({"EVALHUB_ADAPTERS_DIR": "~/mine"}) == tmp_path / "mine"


def test_the_directory_for_caches_is_that_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    if sys.platform == "linux":
        assert user_cache_dir({"XDG_CACHE_HOME": str(tmp_path / "xdg")}) == tmp_path / "xdg" / "evalhub"
        assert user_cache_dir({"XDG_CACHE_HOME": "relative"}) == tmp_path / ".cache" / "evalhub"


@pytest.mark.skipif(sys.platform == "win32", reason="the home is another variable")
def test_a_user_without_a_home_has_no_directory_for_caches(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)  # of no user
    assert user_cache_dir({}) is None


def test_an_environment_counts_when_it_is_complete_and_current(tmp_path: Path):
    assert find_environment("inspect", tmp_path) is None
    path = stand_in(tmp_path, "inspect", version="1.2")
    found = find_environment("inspect", tmp_path)
    assert found is not None
    assert (found.path, found.bin, found.manifest.version) == (path, path / "bin", "1.2")
    (path / "bin" / "python").unlink()
    assert find_environment("inspect", tmp_path) is None


def test_an_environment_with_a_damaged_manifest_does_not_count(tmp_path: Path):
    path = stand_in(tmp_path, "inspect")
    (path / "environment.json").write_text("{", "utf-8")
    assert find_environment("inspect", tmp_path) is None
    (path / "environment.json").unlink()
    assert find_environment("inspect", tmp_path) is None


def test_an_environment_that_others_can_change_is_refused(tmp_path: Path):
    stand_in(tmp_path, "inspect")
    (tmp_path / "inspect").chmod(0o777)
    with pytest.raises(AdaptersError, match="chmod go-w"):
        find_environment("inspect", tmp_path)


def test_the_packages_are_exactly_those_that_adapters_import(tmp_path: Path):
    path = adapter_packages(tmp_path)
    names = {each.name for each in path.iterdir()}
    assert "evalhub_common" in names
    assert names <= set(packages.COPIED)
    code = "import evalhub_common.backoff, importlib.util as u; print(evalhub_common.__file__, u.find_spec('evalhub_server'))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(path / "evalhub_common" / "__init__.py"), "None"]


def test_packages_that_were_changed_are_replaced(tmp_path: Path):
    path = adapter_packages(tmp_path)
    file = path / "evalhub_common" / "backoff.py"
    (path / "evalhub_common" / "__pycache__").mkdir(exist_ok=True)  # written by adapters
    before = file.stat().st_ino
    assert adapter_packages(tmp_path) == path
    assert file.stat().st_ino == before
    file.write_text("raise SystemExit", "utf-8")
    assert adapter_packages(tmp_path) == path
    assert file.read_text("utf-8") != "raise SystemExit"
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(AdaptersError, match="set EVALHUB_ADAPTERS_DIR to a directory that can be written"):
        adapter_packages(tmp_path / "file")
