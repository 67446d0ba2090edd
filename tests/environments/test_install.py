"""Installs with real virtual environments, pip and uv, of tiny wheels."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.environments import installed
from harness.frameworks import adapters, adapters_environment, lock_of, machine_cache, tiny_lock

pytestmark = pytest.mark.slow
Variables = dict[str, str]

WAITING = """\
import pathlib, time
flag = pathlib.Path({flag!r})
while flag.exists():
    time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base directory in which version 1.0 is installed by pip; tests copy none of it and leave 1.0 in use."""
    base = tmp_path_factory.mktemp("base")
    lock = os.path.relpath(tiny_lock(base / "wheels"))
    done = adapters(base, "install", "inspect", "--installer", "pip", "--lock", lock)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Inspect 1.0 installed in {current(base)}\n"
    assert "Found 3 of 3 packages\n" in done.stderr
    return base


@pytest.fixture(scope="module")
def uv(first: Path) -> Variables:
    """Variables with which uv is found and installs the same wheels, which is faster than pip."""
    return with_uv(first)


def with_uv(base: Path) -> Variables:
    programs = installed(machine_cache(), "uv", "uv") / "bin"
    own = {"UV_FIND_LINKS": str(base / "wheels"), "UV_NO_INDEX": "1", "UV_NO_CONFIG": "1"}
    return {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **own}


def current(base: Path) -> Path:
    return (base / "adapters" / "inspect" / "current").resolve()


def environments(base: Path) -> list[Path]:
    return [
        path for path in (base / "adapters" / "inspect").iterdir() if path.is_dir() and not path.is_symlink()
    ]


@contextmanager
def waiting_install(base: Path, version: str, variables: Variables) -> Iterator[subprocess.Popen[str]]:
    """An install that has come to its import check and waits there until the end of the block."""
    flag = base / f"flag-{version}"
    flag.touch()
    lock = tiny_lock(base / "wheels", version, {"inspect_ai": WAITING.format(flag=str(flag))})
    command = [sys.executable, "-m", "evalhub_server", "adapters", "install", "inspect", "--lock"]
    process = subprocess.Popen(
        [*command, str(lock)],
        env=adapters_environment(base, **variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        assert any(line.startswith("Importing inspect_ai") for line in process.stderr)
        yield process
    finally:
        flag.unlink()
        process.kill()
        process.communicate()


def test_the_same_lock_is_installed_once(first: Path):
    before = current(first)
    (before.parent / "left-by-a-killed-install").mkdir()
    lock = first / "wheels" / "lock-1.0.txt"
    done = adapters(first, "install", "inspect", "--lock", str(lock), "--json")
    assert json.loads(done.stdout) == {
        "name": "inspect",
        "version": "1.0",
        "python": ".".join(map(str, sys.version_info[:3])),
        "path": str(before),
        "changed": False,
        "missing_data": [],
    }
    assert environments(first) == [before]


def test_doctor_checks_packages_and_files(first: Path):
    done = adapters(first, "doctor")
    assert done.returncode == 0
    assert "inspect: packages: ok: " in done.stdout
    assert "inspect: adapter packages: ok: " in done.stdout
    (module,) = current(first).glob("lib/python*/site-packages/openai/__init__.py")
    kept = module.rename(module.with_suffix(".kept"))
    try:
        done = adapters(first, "doctor", "inspect")
    finally:
        kept.rename(module)
    assert done.returncode == 1
    assert "inspect: packages: ERROR: files are missing in openai\n" in done.stdout


def test_a_wrong_hash_is_refused_and_the_old_environment_stays(first: Path):
    lock = first / "wheels" / "wrong.txt"
    text = (first / "wheels" / "lock-1.0.txt").read_text("utf-8")
    lock.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", text), "utf-8")
    before = current(first)
    done = adapters(first, "install", "inspect", "--installer", "pip", "--lock", str(lock))
    assert done.returncode == 1
    assert (
        "The file of inspect-ai==1.0 does not match the hash in the lock, so nothing was installed"
        in done.stderr
    )
    assert environments(first) == [current(first)] == [before]


def test_without_a_network_the_error_is_one_sentence(first: Path):
    lock = first / "wheels" / "offline.txt"
    lock.write_text(f"inspect-ai==9.9 --hash=sha256:{'0' * 64}\n", "utf-8")
    offline = {"PIP_NO_INDEX": "", "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    done = adapters(first, "install", "inspect", "--installer", "pip", "--lock", str(lock), **offline)
    assert done.returncode == 1
    assert "eval-hub-server: The package index cannot be reached; connect to the network" in done.stderr
    assert len(environments(first)) == 1


def test_a_framework_that_cannot_be_imported_is_not_used(first: Path, uv: Variables):
    before = current(first)
    lock = tiny_lock(first / "wheels", "3.0", {"openai": "import missing_module\n"})
    done = adapters(first, "install", "inspect", "--lock", str(lock), **uv)
    assert done.returncode == 1
    assert "'import openai' fails with: ModuleNotFoundError: No module named 'missing_module'" in done.stderr
    assert environments(first) == [before]


def test_a_killed_install_leaves_the_old_environment_and_is_cleaned_up_by_the_next(
    first: Path, uv: Variables
):
    before = current(first)
    with waiting_install(first, "2.0", uv) as process:
        (unfinished,) = [path for path in environments(first) if path != before]
        done = adapters(first, "install", "inspect", "--lock", str(first / "wheels" / "lock-1.0.txt"))
        assert "Another command is installing or removing 'inspect'" in done.stderr
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert current(first) == before
        assert json.loads(adapters(first, "list", "--json").stdout)[1]["version"] == "1.0"
    lock = first / "wheels" / "lock-1.0.txt"
    done = adapters(first, "install", "inspect", "--force", "--lock", str(lock), **uv)
    assert done.returncode == 0
    assert not unfinished.exists()
    assert environments(first) == [current(first)]


def test_an_interrupted_install_removes_what_it_has_built(first: Path, uv: Variables):
    before = current(first)
    with waiting_install(first, "2.1", uv) as process:
        process.send_signal(signal.SIGTERM)
        process.wait()
        assert process.returncode == 130
    assert environments(first) == [before]


def test_an_environment_in_use_is_kept_and_a_damaged_one_is_replaced(tmp_path: Path):
    variables = with_uv(tmp_path)
    lock = tiny_lock(tmp_path / "wheels")
    assert adapters(tmp_path, "install", "inspect", "--lock", str(lock), **variables).returncode == 0
    old = current(tmp_path)
    assert json.loads((old / "environment.json").read_text("utf-8"))["installer"] == "uv"
    with subprocess.Popen(["sleep", "600"], env={**os.environ, "VIRTUAL_ENV": str(old)}) as user:
        try:
            done = adapters(tmp_path, "remove", "inspect")
            assert done.returncode == 1
            assert f"is used by process {user.pid}" in done.stderr
            newer = str(tiny_lock(tmp_path / "wheels", "2.0"))
            assert adapters(tmp_path, "install", "inspect", "--lock", newer, **variables).returncode == 0
            assert set(environments(tmp_path)) == {old, current(tmp_path)}
        finally:
            user.kill()
    assert adapters(tmp_path, "install", "inspect", "--lock", newer, "--force", **variables).returncode == 0
    assert environments(tmp_path) == [current(tmp_path)]
    (module,) = current(tmp_path).glob("lib/python*/site-packages/openai/__init__.py")
    module.unlink()
    done = adapters(tmp_path, "install", "inspect", "--lock", newer, **variables)
    assert "The installed environment is damaged: files are missing in openai\n" in done.stderr
    assert done.stdout.startswith("Inspect 2.0 installed in ")
    assert environments(tmp_path) == [current(tmp_path)]
    wrong = tmp_path / "wrong.txt"
    wrong.write_text(re.sub(r"sha256:\w{8}", "sha256:00000000", Path(newer).read_text("utf-8")), "utf-8")
    done = adapters(tmp_path, "install", "inspect", "--lock", str(wrong), **variables)
    assert "does not match the hash in the lock" in done.stderr
    assert adapters(tmp_path, "remove", "inspect").stdout == "Removed inspect\n"
    assert not environments(tmp_path)


def test_an_adapters_directory_below_a_link_keeps_what_is_installed(tmp_path: Path):
    (tmp_path / "real").mkdir()
    base = tmp_path / "link"
    base.symlink_to(tmp_path / "real")
    lock = str(tiny_lock(base / "wheels"))
    for _ in range(2):
        assert (
            adapters(base, "install", "inspect", "--lock", lock, "--force", **with_uv(base)).returncode == 0
        )
        assert json.loads(adapters(base, "list", "--json").stdout)[1]["version"] == "1.0"
    assert len(environments(base)) == 1


def test_data_that_could_not_be_downloaded_is_requested_again(tmp_path: Path):
    """A stand-in for NLTK downloads its data once there is a network: a file."""
    network = tmp_path / "network"
    modules = {"lm_eval": "", "lm_eval.models": "", "lm_eval.models.openai_completions": ""}
    nltk = NLTK.format(network=str(network), data=str(tmp_path / "punkt"))
    distributions = {
        "lm-eval": modules,
        "langdetect": {"langdetect": ""},
        "math-verify": {"math_verify": ""},
        "nltk": {"nltk": nltk},
        "setuptools": {"setuptools": ""},  # installed first
    }
    variables = with_uv(tmp_path)
    install = ("install", "lm_evaluation_harness", "--lock", str(lock_of(tmp_path / "wheels", distributions)))
    done = adapters(tmp_path, *install, **variables)
    assert "Warning: NLTK punkt_tab could not be downloaded, which ifeval" in done.stdout
    assert json.loads(adapters(tmp_path, "list", "--json").stdout)[0]["missing_data"] == ["NLTK punkt_tab"]
    assert "NLTK punkt_tab: warning: missing, needed for ifeval" in adapters(tmp_path, "doctor").stdout
    network.touch()
    done = adapters(tmp_path, *install, **variables)
    assert (done.returncode, "Warning" in done.stdout) == (0, False)
    assert json.loads(adapters(tmp_path, "list", "--json").stdout)[0]["missing_data"] == []
    assert "NLTK punkt_tab: ok: downloaded" in adapters(tmp_path, "doctor").stdout


NLTK = """\
import pathlib

class data:
    @staticmethod
    def find(name):
        if not pathlib.Path({data!r}).exists():
            raise LookupError(name)

def download(name, download_dir, quiet):
    if pathlib.Path({network!r}).exists():
        pathlib.Path({data!r}).touch()
    return pathlib.Path({network!r}).exists()
"""
