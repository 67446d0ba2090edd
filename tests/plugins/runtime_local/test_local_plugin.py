"""What the core sees of the plugin before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalhub_runtime_local import plugin
from evalhub_runtime_local.runtime import LocalRuntime
from evalhub_runtime_local.settings import MIN_DEFAULT_PARALLEL, LocalSettings, usable_cpus
from evalhub_server.errors import SettingsError, StartupError
from evalhub_server.plugins import Limits, PluginContext
from evalhub_server.plugins.sections import convert_section
from harness.imports import loaded_by


def made(section: Any, data_dir: Path | None = None) -> LocalRuntime:
    settings = convert_section(section, LocalSettings, "local")
    return plugin.make_runtime(settings, PluginContext(data_dir=data_dir))


def test_the_descriptor_names_the_runtime() -> None:
    (descriptor,) = plugin.evalhub_runtimes()
    assert (descriptor.name, descriptor.settings_section) == ("local", "local")
    assert descriptor.settings is LocalSettings
    runtime = descriptor.factory(LocalSettings(), PluginContext())
    assert (runtime.name, runtime.provider_key) == ("local", "local")


def test_the_plugin_imports_nothing_heavy() -> None:
    loaded = loaded_by("from evalhub_runtime_local.plugin import evalhub_runtimes; evalhub_runtimes()")
    assert not {"psutil", "evalhub_runtime_local.runtime"} & loaded


def test_defaults() -> None:
    runtime = made(None)
    assert runtime.jobs_dir.base == Path("/tmp/evalhub-jobs")
    assert runtime.limits == Limits(total=max(MIN_DEFAULT_PARALLEL, usable_cpus()))
    assert not runtime.allow_remote_commands


def test_every_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    section = {
        "jobs_dir": "~/jobs",
        "max_parallel": 1,
        "max_parallel_per_provider": "2",
        "max_parallel_per_model": 3,
        "allow_remote_commands": True,
    }
    runtime = made(section, Path("/data"))
    assert runtime.jobs_dir.base == tmp_path / "jobs"
    assert runtime.limits == Limits(total=1, per_provider=2, per_model=3)
    assert runtime.allow_remote_commands


def test_jobs_live_below_the_data_directory(tmp_path: Path) -> None:
    assert made({}, tmp_path).jobs_dir.base == tmp_path / "jobs"


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ({"max_parallel": 0}, "local.max_parallel:"),
        ({"max_parallel": -1}, "local.max_parallel:"),
        ({"max_parallel": "many"}, "local.max_parallel:"),
        ({"max_parallel_per_provider": 0}, "local.max_parallel_per_provider:"),
        ({"max_parallel_per_model": 0}, "local.max_parallel_per_model:"),
        ({"jobs_dir": "a\0b"}, "local.jobs_dir:"),
        ({"jobs_dir": "~no-such-user/x"}, "local.jobs_dir:"),
        ({"cwd": "~no-such-user/x"}, "local.cwd:"),
        ({"max_paralel": 1}, "local.max_paralel:"),
    ],
)
def test_wrong_values_name_their_key(section: Any, key: str) -> None:
    with pytest.raises(SettingsError) as error:
        made(section)
    assert str(error.value).startswith(key)


@pytest.mark.asyncio
async def test_a_missing_working_directory_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"^local\.cwd: .*not a directory"):
        await made({"cwd": str(tmp_path / "missing")}, tmp_path).check()


@pytest.mark.asyncio
async def test_an_unsafe_jobs_directory_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "jobs").symlink_to(tmp_path)
    with pytest.raises(StartupError, match="symbolic link"):
        await made({}, tmp_path).check()


def test_windows_is_refused_plainly() -> None:
    """Imports with everything hidden that Windows does not have."""
    code = (
        "import asyncio, os, pathlib, signal, structlog, msgspec, subprocess, sys\n"
        "for module, names in ((os, 'posix_spawn pidfd_open getsid geteuid killpg fchmod O_NOFOLLOW O_CLOEXEC "
        "O_NONBLOCK POSIX_SPAWN_DUP2 sched_getaffinity WNOHANG'), (signal, 'SIGKILL SIGHUP pidfd_send_signal')):\n"
        "    for name in names.split():\n"
        "        delattr(module, name)\n"
        "from evalhub_runtime_local.plugin import make_runtime\n"
        "from evalhub_runtime_local.settings import LocalSettings\n"
        "from evalhub_server.plugins import PluginContext\n"
        "sys.platform = 'win32'\n"
        "runtime = make_runtime(LocalSettings(), PluginContext())\n"
        "os.name = 'nt'\n"
        "try:\n"
        "    runtime.check().send(None)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("StartupError The local runtime does not support Windows yet."), done.stderr
