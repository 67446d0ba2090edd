"""``eval-hub-server adapters`` without an install: lists, refusals and errors."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evalhub_server.environments.frameworks import FRAMEWORKS
from harness.disk import needs_mounts, small_disk
from harness.frameworks import adapters, adapters_environment, stand_in, tiny_lock
from harness.terminal import run_in_terminal
from harness.waiting import wait_until


def error_of(base: Path, *arguments: str, **variables: str) -> str:
    done = adapters(base, *arguments, **variables)
    assert done.returncode == 1
    return done.stderr


def test_the_list_names_all_frameworks_and_the_next_command(tmp_path: Path):
    done = adapters(tmp_path, "list")
    assert done.returncode == 0
    assert "Install one with: eval-hub-server adapters install NAME" in done.stdout
    listed = json.loads(adapters(tmp_path, "list", "--json").stdout)
    assert [each["name"] for each in listed] == ["lm_evaluation_harness", "inspect", "garak"]
    assert {each["state"] for each in listed} == {"not installed"}
    assert not (tmp_path / "adapters").exists()


def test_an_environment_of_another_lock_is_listed_as_that(tmp_path: Path):
    path = stand_in(tmp_path / "adapters", "inspect", version="0.1")
    (found,) = [each for each in json.loads(adapters(tmp_path, "list", "--json").stdout) if each["path"]]
    assert (found["name"], found["state"], found["version"], found["path"]) == (
        "inspect",
        "other lock",
        "0.1",
        str(path),
    )


def test_unknown_names_are_usage_errors(tmp_path: Path):
    done = adapters(tmp_path, "install", "lm-eval")
    assert done.returncode == 2
    assert "lm_evaluation_harness" in done.stderr


def test_what_is_not_installed_is_neither_updated_nor_removed(tmp_path: Path):
    assert error_of(tmp_path, "update", "garak").endswith(
        "'garak' is not installed; run: eval-hub-server adapters install garak\n"
    )
    done = adapters(tmp_path, "remove", "garak")
    assert (done.returncode, done.stdout) == (0, "garak is not installed\n")


def test_doctor_without_installed_frameworks_names_the_command(tmp_path: Path):
    done = adapters(tmp_path, "doctor")
    assert (done.returncode, done.stdout) == (
        0,
        "No framework is installed; install one with: eval-hub-server adapters install NAME\n",
    )
    done = adapters(tmp_path, "doctor", "inspect")
    assert done.returncode == 1
    assert "fix: eval-hub-server adapters install inspect\n" in done.stdout


def test_doctor_finds_what_is_wrong(tmp_path: Path):
    """The stand-in's Python has other packages than its manifest lists, and not the framework."""
    stand_in(tmp_path / "adapters", "inspect")
    done = adapters(tmp_path, "doctor", "inspect", "--json")
    assert done.returncode == 1
    (report,) = json.loads(done.stdout)["environments"]
    states = {check["check"]: check["state"] for check in report["checks"]}
    assert states["interpreter"] == "ok"
    assert states["lock"] == "warning"
    assert [name for name, state in states.items() if state == "error"] == [
        "packages",
        "import inspect_ai",
        "import inspect_evals",
        "import openai",
    ]


def test_doctor_reports_an_interpreter_that_does_not_work(tmp_path: Path):
    path = stand_in(tmp_path / "adapters", "inspect")
    (path / "bin" / "python").unlink()
    (path / "bin" / "python").write_text("#!/bin/sh\necho broken >&2; exit 3\n", "utf-8")
    (path / "bin" / "python").chmod(0o755)
    done = adapters(tmp_path, "doctor", "inspect")
    assert done.returncode == 1
    assert (
        "inspect: interpreter: ERROR: broken\n    fix: eval-hub-server adapters install inspect --force\n"
        in done.stdout
    )


def test_a_directory_of_others_is_refused(tmp_path: Path):
    stand_in(tmp_path / "adapters", "inspect")
    (tmp_path / "adapters" / "inspect").chmod(0o777)
    for command in ("list", "install", "remove"):
        arguments = [] if command == "list" else ["inspect"]
        assert "chmod go-w" in error_of(tmp_path, command, *arguments)
    assert "chmod go-w" in adapters(tmp_path, "doctor", "inspect").stdout


def test_a_second_install_is_kept_out(tmp_path: Path):
    stand_in(tmp_path / "adapters", "inspect")
    with (tmp_path / "adapters" / "inspect" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for command in ("install", "remove"):
            assert error_of(tmp_path, command, "inspect").endswith(
                "Another command is installing or removing 'inspect'; wait for its end.\n"
            )


def test_a_python_of_another_version_is_refused_before_anything_is_written(tmp_path: Path):
    python = tmp_path / "python3.9"
    python.write_text("#!/bin/sh\necho 3.9.1\n", "utf-8")
    python.chmod(0o755)
    assert "is Python 3.9.1; a framework needs" in error_of(
        tmp_path, "install", "inspect", "--python", str(python)
    )
    assert {path.name for path in (tmp_path / "adapters" / "inspect").iterdir()} == {"lock"}


@needs_mounts
def test_a_small_disk_is_refused_with_the_space_that_is_needed(tmp_path: Path):
    with small_disk(tmp_path / "small") as folder:
        text = error_of(tmp_path, "install", "garak", EVALHUB_ADAPTERS_DIR=str(folder / "adapters"))
    size = FRAMEWORKS["garak"].size_mb
    assert f"garak needs about {size * 1.2:.0f} MB in {folder}/adapters, where 8 MB are free" in text


def test_an_adapters_directory_that_cannot_be_created_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("", "utf-8")
    text = error_of(tmp_path, "install", "inspect", EVALHUB_ADAPTERS_DIR=str(tmp_path / "file" / "adapters"))
    assert "cannot be written: Not a directory; set EVALHUB_ADAPTERS_DIR" in text


def test_a_python_that_cannot_create_environments_changes_nothing(tmp_path: Path):
    """A minimal Python: it prints its version, and its module venv fails."""
    python = tmp_path / "python3.12"
    python.write_text(
        "#!/bin/sh\n[ \"$1\" = -I ] && echo 3.12.0 && exit\necho 'ensurepip is not available'; exit 1\n",
        "utf-8",
    )
    python.chmod(0o755)
    lock = tiny_lock(tmp_path / "wheels")
    arguments = ("inspect", "--lock", str(lock), "--python", str(python), "--installer", "pip")
    text = error_of(tmp_path, "install", *arguments)
    assert "on Debian the package python3-venv" in text
    log = tmp_path / "adapters" / "inspect" / "install.log"
    assert text.endswith(f"The whole output is in {log}.\n")
    assert "ensurepip is not available" in log.read_text("utf-8")


def test_the_lock_must_exist(tmp_path: Path):
    text = error_of(tmp_path, "install", "inspect", "--lock", str(tmp_path / "none.txt"))
    assert "none.txt cannot be read: No such file or directory." in text


@pytest.mark.parametrize("command", ["list", "install", "update", "remove", "doctor"])
def test_each_command_has_help(tmp_path: Path, command: str):
    done = adapters(tmp_path, command, "--help")
    assert done.returncode == 0
    assert "Usage:" in done.stdout


def test_progress_on_a_terminal_is_one_line_that_changes(tmp_path: Path):
    """The lock names a package that no index has, so the install fails after its first steps."""
    python = tmp_path / "python3.12"
    python.write_text(FAKE_PIP.format(base=tmp_path), "utf-8")
    python.chmod(0o755)
    lock = tiny_lock(tmp_path / "wheels")
    command = [sys.executable, "-m", "evalhub_server", "adapters", "install", "inspect", "--lock", str(lock)]
    status, shown = run_in_terminal(
        [*command, "--python", str(python), "--installer", "pip"], adapters_environment(tmp_path), columns=200
    )
    assert status == 1
    assert "Creating the environment" in shown
    assert "Downloading openai (1 of 3)" in shown
    assert "The packages cannot be installed: out of paper." in shown


FAKE_PIP = """\
#!/bin/sh
# "python -I -c" prints a version, "python -m venv DIR" copies this file to DIR/bin, "DIR/bin/python -m pip" finds a package.
case "$*" in
  -I*) echo 3.12.0;;
  *venv*) mkdir -p "$3/bin" && cp {base}/python3.12 "$3/bin/python";;
  *pip*) echo Collecting openai==1.0; echo out of paper; exit 1;;
esac
"""


def test_a_stopped_install_stops_the_program_that_it_runs(tmp_path: Path):
    python = tmp_path / "python3.12"
    started = tmp_path / "started"
    text = f'#!/bin/sh\n[ "$1" = -I ] && echo 3.12.0 && exit\necho $$ > {started}.new; mv {started}.new {started}; exec sleep 600\n'
    python.write_text(text, "utf-8")
    python.chmod(0o755)
    arguments = ["--lock", str(tiny_lock(tmp_path / "wheels")), "--python", str(python), "--installer", "pip"]
    command = [sys.executable, "-m", "evalhub_server", "adapters", "install", "inspect", *arguments]
    with subprocess.Popen(command, env=adapters_environment(tmp_path), stderr=subprocess.DEVNULL) as process:
        wait_until(started.exists, "the program")
        process.terminate()
        assert process.wait(30) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text("utf-8")), 0)
    assert {path.name for path in (tmp_path / "adapters" / "inspect").iterdir()} == {"lock", "install.log"}
