"""What a plugin raises names the plugin and the method, and ends nothing but the call."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest

from evalhub_server.errors import NotFound
from evalhub_server.plugins import Exit, Handle, JobChanged, LogOptions, Runtime, Storage
from evalhub_server.plugins.calls import PluginCallError, call_fields, guarded
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.testing.echo import EchoRuntime
from evalhub_server.testing.memory import MemoryStorage
from harness import Config, RunningServer, wait_until
from harness.site import Site


class FaultyRuntime(EchoRuntime):
    """Raises whatever its handles name."""

    def __init__(self) -> None:
        super().__init__()
        self.observe = self.changed

    async def wait(self, handle: Handle) -> Exit:
        raise handle["error"]

    async def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        yield b"one"
        raise handle["error"]

    def changed(self, change: JobChanged) -> None:
        raise ValueError(str(change))


def a_runtime() -> Runtime:
    return guarded(FaultyRuntime(), Runtime, "runtime", "faulty", "third-party")


async def test_an_error_names_kind_name_distribution_and_method():
    with pytest.raises(TypeError) as caught:
        await a_runtime().wait({"error": TypeError("boom")})
    assert call_fields(caught.value) == {
        "plugin": "runtime faulty",
        "distribution": "third-party",
        "method": "wait",
    }
    assert str(caught.value) == "boom"
    text = "".join(traceback.format_exception(caught.value))
    assert "Raised by wait() of the runtime 'faulty' of third-party." in text


async def test_an_error_of_an_iterator_does_so_too():
    pieces = a_runtime().logs({"error": TypeError("boom")}, LogOptions())
    assert await anext(pieces) == b"one"
    with pytest.raises(TypeError) as caught:
        await anext(pieces)
    assert call_fields(caught.value)["method"] == "logs"


def test_an_error_of_a_function_that_is_an_attribute_does_so_too():
    observe = a_runtime().observe
    assert observe is not None
    with pytest.raises(ValueError, match="x") as caught:
        observe("x")  # type: ignore[arg-type]
    assert call_fields(caught.value)["method"] == "observe"


def test_values_are_the_plugins_own_also_when_they_change():
    plugin = FaultyRuntime()
    runtime = guarded(plugin, Runtime, "runtime", "faulty", "third-party")
    plugin.exit_grace_s = 3.0
    assert (runtime.exit_grace_s, runtime.name) == (3.0, plugin.name)
    with pytest.raises(AttributeError, match="FaultyRuntime"):
        _ = runtime.no_such_attribute  # type: ignore[attr-defined]


@pytest.mark.parametrize("error", [SystemExit(3), BaseException("odd")])
async def test_what_would_end_the_server_becomes_an_ordinary_error(error: BaseException):
    with pytest.raises(
        PluginCallError, match=r"wait\(\) of the runtime 'faulty' of third-party raised"
    ) as caught:
        await a_runtime().wait({"error": error})
    assert call_fields(caught.value)["method"] == "wait"


@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyboardInterrupt()])
async def test_cancellation_and_interrupts_pass(error: BaseException):
    with pytest.raises(type(error)) as caught:
        await a_runtime().wait({"error": error})
    assert call_fields(caught.value) == {}


async def test_errors_of_the_contract_keep_their_type_and_text():
    storage = guarded(MemoryStorage(), Storage, "storage", "memory", "third-party")
    with pytest.raises(NotFound) as caught:
        await storage.get_job("unknown", None)
    assert call_fields(caught.value)["method"] == "get_job"
    assert not hasattr(caught.value, "__notes__")


async def test_a_method_that_is_no_coroutine_function_is_an_error_with_the_fix():
    class Plain(EchoRuntime):
        def age_s(self, handle: Handle) -> float:  # pyright: ignore[reportIncompatibleMethodOverride]
            return 7.0

        def wait(self, handle: Handle) -> Awaitable[Exit]:  # pyright: ignore[reportIncompatibleMethodOverride]
            return asyncio.sleep(0, Exit(code=3))

    runtime = guarded(Plain(), Runtime, "runtime", "plain", "third-party")
    text = r"age_s\(\) returned a float instead of an awaitable; define it with 'async def'"
    with pytest.raises(TypeError, match=text) as caught:
        await runtime.age_s({})
    assert call_fields(caught.value)["plugin"] == "runtime plain"
    assert await runtime.wait({}) == Exit(code=3)


def test_a_guarded_plugin_is_an_instance_of_its_class_and_has_its_attributes():
    runtime: Any = a_runtime()
    assert isinstance(runtime, FaultyRuntime)
    assert runtime.name == FaultyRuntime.name


@pytest.mark.parametrize(
    "source", ["raise SystemExit(3)", "import sys; sys.exit('no')", "raise BaseException('odd')"]
)
def test_a_module_that_ends_the_process_is_a_broken_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
):
    site = Site(tmp_path / "site")
    site.install(f"ends-{len(source)}", source)
    monkeypatch.setattr(sys, "path", [str(site.folder), *sys.path])
    (info,) = load_plugins().broken
    assert info.distribution == f"ends-{len(source)}"


def test_check_warns_about_a_broken_plugin(tmp_path: Path):
    site = Site(tmp_path / "site")
    site.install("ends-itself", "raise SystemExit(3)")
    config = Config(tmp_path / "config")
    config.scripted("completed")
    command = [sys.executable, "-m", "evalhub_server", "check", "--local", "--configdir", str(config.folder)]
    env = {**os.environ, "PYTHONPATH": str(site.folder)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "warning: ends-itself: the plugin 'ends_itself' could not be loaded: SystemExit: 3." in done.stdout


BLOCKS = """
import time
from evalhub_server.plugins import Descriptor, NoSettings, Observer, hookimpl

class Blocks(Observer):
    name = "blocks"

    def job_changed(self, change):
        if change.before is None:
            time.sleep(1)

@hookimpl
def evalhub_observers():
    return [Descriptor(api=1, name="blocks", factory=lambda settings, context: Blocks(), settings=NoSettings)]
"""


IN_A_TASK = """
import asyncio, time
from evalhub_server.plugins import Descriptor, NoSettings, Observer, hookimpl

print("hello from an import")

class Late(Observer):
    name = "late"

    def job_changed(self, change):
        if change.before is None:
            asyncio.get_running_loop().call_soon(self._work)

    def _work(self):
        time.sleep(1)

@hookimpl
def evalhub_observers():
    return [Descriptor(api=1, name="late", factory=lambda settings, context: Late(), settings=NoSettings)]
"""


def test_what_plugins_do_wrong_is_logged_with_their_distribution(tmp_path: Path):
    site = Site(tmp_path / "site")
    site.install("blocks-late", IN_A_TASK)
    site.install("ends-itself", "raise SystemExit(3)")
    site.install("blocks-loop", BLOCKS)
    config = Config(tmp_path / "config")
    config.scripted("completed")
    with RunningServer(config.folder, env={"PYTHONPATH": str(site.folder)}) as server:
        server.finished(server.submit())

        def logged(message: str) -> dict[str, Any] | None:
            return next((line for line in server.log_lines() if line["msg"] == message), None)

        broken = logged("Plugin not loaded")
        assert broken is not None
        assert (broken["plugin"], broken["distribution"]) == ("ends_itself", "ends-itself")
        noisy = logged("Plugin warning")
        assert noisy is not None
        assert (noisy["distribution"], noisy["warning"]) == (
            "blocks-late",
            "its plugin printed while it was imported: 'hello from an import'",
        )

        def blocked() -> dict[str, Any] | None:
            """By distribution, once both are logged."""
            lines = [line for line in server.log_lines() if line["msg"] == "Plugin blocked the event loop"]
            found = {line["distribution"]: line for line in lines}
            return found if len(found) == 2 else None

        found = wait_until(blocked, "the watchdog")
        assert found is not None
    call, own = found["blocks-loop"], found["blocks-late"]
    assert (call["plugin"], call["method"]) == ("observer blocks", "job_changed")
    assert "blocks_loop.py" in call["location"]
    assert (own["plugin"], own["method"]) == ("package blocks_late", "Late._work")
    assert "blocks_late.py" in own["location"]
