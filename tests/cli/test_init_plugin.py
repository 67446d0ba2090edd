"""``eval-hub-server init-plugin``: the files that it creates, and what it refuses. tests/packaging installs and runs them."""

from __future__ import annotations

import compileall
import tomllib
from pathlib import Path

import pytest
import yaml

from evalhub_server.cli.main import main

KINDS = ("runtime", "storage", "tracker", "exporter", "observer")


@pytest.mark.parametrize("kind", KINDS)
def test_a_distribution_of_each_kind_is_created(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
):
    folder = tmp_path / "new" / "tape-deck"
    assert main(["init-plugin", "tape-deck", "--kind", kind, "--directory", str(folder)]) == 0
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        ".github/workflows/tests.yml",
        "README.md",
        "config.yaml",
        "pyproject.toml",
        "src/tape_deck/__init__.py",
        "src/tape_deck/py.typed",
        "tests/test_installed.py",
        f"tests/test_{kind}_contract.py",
        f"tests/test_{kind}_job.py",
    }
    texts = {name: (folder / name).read_text("utf-8") for name in files}
    for placeholder in (
        "my-plugin",
        "my_plugin",
        "MyPlugin",
        "MY_PLUGIN",
        "@KIND@",
        "@SUMMARY@",
        "@SECTION@",
    ):
        left = [name for name, text in texts.items() if placeholder in text]
        assert left == [], f"{placeholder} is left"
    assert f"class TapeDeck{kind.capitalize()}(" in texts["src/tape_deck/__init__.py"]
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert project["name"] == "tape-deck"
    assert project["entry-points"]["evalhub.plugins"] == {"tape_deck": "tape_deck"}
    assert project["dependencies"] == ["eval-hub-server>=1.1,<2"]
    assert {"evalhub", "evalhub-plugin", kind} == set(project["keywords"])
    selected = yaml.safe_load(texts["config.yaml"])["plugins"]
    assert "tape-deck" in str(selected)
    jobs = yaml.safe_load(texts[".github/workflows/tests.yml"])["jobs"]
    # The lowest version that the distribution allows, and the newest one.
    assert jobs["tests"]["strategy"]["matrix"]["server"] == ["==1.1.0", ">=1.1,<2"]
    assert "eval-hub-server plugins tape-deck" in [step.get("run") for step in jobs["distribution"]["steps"]]
    assert compileall.compile_dir(folder, quiet=1)
    assert "src/tape_deck/__init__.py; config.yaml selects it" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["Tape", "tape_deck", "7up", "tape--deck", "a" * 64, "default", "service"])
def test_a_name_that_no_plugin_can_have_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
):
    folder = tmp_path / "new"
    assert main(["init-plugin", name, "--kind", "observer", "--directory", str(folder)]) == 1
    assert f"'{name}' cannot be the name of a plugin" in capsys.readouterr().err
    assert not folder.exists()


def test_existing_files_are_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tape").mkdir()
    (tmp_path / "tape" / "notes.txt").write_text("mine")
    assert main(["init-plugin", "tape", "--kind", "storage"]) == 1
    assert "exists and is not an empty directory" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "tape").iterdir()] == ["notes.txt"]


def test_a_directory_that_cannot_be_created_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "file").write_text("")
    assert (
        main(["init-plugin", "tape", "--kind", "storage", "--directory", str(tmp_path / "file" / "x")]) == 1
    )
    assert "cannot be written: Not a directory" in capsys.readouterr().err
