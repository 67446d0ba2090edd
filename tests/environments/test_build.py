"""Errors of uv, pip and interpreters as one sentence each."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_server.environments.build import explain, find_interpreter
from evalhub_server.environments.store import AdaptersError

OUTPUTS = {
    "The disk is full": "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
    "The file of demo==1.0 does not match": (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n"
        "    demo==1.0 from file:///x.whl (from -r lock.txt (line 1)):\n        Expected sha256 00\n"
    ),
    "The file of demo==2.0 does not match": "  x Failed to read `demo==2.0`\n  Hash mismatch for `demo==2.0`\n",
    "The file of a package does not match": "error: hash mismatch\n",
    "cannot create virtual environments with pip": "The virtual environment was not created: ensurepip is not available.\n",
    "The package index cannot be reached": (
        "WARNING: Retrying after connection broken by 'NewConnectionError: Failed to establish a new connection'\n"
        "ERROR: No matching distribution found for demo==1.0\n"
    ),
    "The package index has no demo==1.0 for this computer": "ERROR: No matching distribution found for demo==1.0\n",
    "The packages cannot be installed: something else.": "some text\nsomething else.\n\n",
    "The packages cannot be installed: no output.": "",
}


@pytest.mark.parametrize("sentence", OUTPUTS)
def test_the_cause_of_a_failure_is_one_sentence(sentence: str):
    text = explain(OUTPUTS[sentence].splitlines(keepends=True))
    assert sentence in text
    assert text.endswith(".")
    assert "\n" not in text


def fake_python(path: Path, version: str) -> str:
    path.write_text(f"#!/bin/sh\necho {version}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


def test_an_interpreter_is_found_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.executable", fake_python(tmp_path / "python", "3.19.0"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    expected = fake_python(tmp_path / "python3.12", "3.12.1")
    fake_python(tmp_path / "python3.13", "no version")
    assert find_interpreter(None).path == expected


def test_an_unsuitable_interpreter_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(
        AdaptersError, match=r"is Python 3.10.2; a framework needs Python 3.11 or 3.12 or 3.13"
    ):
        find_interpreter(fake_python(tmp_path / "old", "3.10.2"))
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n", "utf-8")
    broken.chmod(0o755)
    for python in (str(broken), "no-such-python"):
        with pytest.raises(AdaptersError, match="is not a Python interpreter that can be run"):
            find_interpreter(python)
    monkeypatch.setattr("sys.executable", fake_python(tmp_path / "new", "3.19.0"))
    monkeypatch.setenv("PATH", "/bin-of-nothing")
    with pytest.raises(AdaptersError, match="install one of these, or name its interpreter with --python"):
        find_interpreter(None)


def test_other_platforms_are_referred_to_venv(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(AdaptersError, match=r"not for win32 on .*runtime.local.venv"):
        find_interpreter(None)
