"""The contract of an installed plugin, over all first-party plugins, and faults that it finds."""

from __future__ import annotations

import inspect
import threading
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import psutil
import pytest

from evalhub_server.testing import PluginContract

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class TestLocal(PluginContract):
    entry_point = "runtime_local"


class TestKubernetes(PluginContract):
    entry_point = "runtime_k8s"


class TestSqlite(PluginContract):
    entry_point = "storage_sqlite"


class TestPostgres(PluginContract):
    entry_point = "storage_postgres"
    sections: ClassVar = {
        "database": {"driver": "pgx", "url": "postgres://user:pass-of-user@127.0.0.1:1/evalhub"}
    }
    secrets = ("pass-of-user",)


class TestMlflow(PluginContract):
    entry_point = "tracking_mlflow"
    sections: ClassVar = {"mlflow": {"tracking_uri": "http://127.0.0.1:1", "token": "token-of-mlflow"}}
    secrets = ("token-of-mlflow",)


class TestOci(PluginContract):
    entry_point = "exporter_oci"


class TestWebhook(PluginContract):
    entry_point = "notify_webhook"
    sections: ClassVar = {
        "webhook": {"url": "http://127.0.0.1:1/path", "secret": KEY, "allow_private_addresses": True}
    }
    secrets = (KEY,)


PLUGIN = """
import os
import threading
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from evalhub_server.plugins import PLUGIN_API, Descriptor, Exporter, PluginContext, hookimpl


class Faulty(Exporter):
    name = "faulty"

    async def check(self): ...
    def is_requested(self, job): return False
    async def export(self, job, entry): ...


calls = []


class Limits(Struct, kw_only=True, frozen=True):
    count: Annotated[int, Meta(description="Count.")] = 0


class Settings(Struct, kw_only=True, frozen=True):
    token: Annotated[str, Meta(description="Token.")] = ""
    limits: Annotated[Limits, Meta(description="Limits.")] = Limits()

    def __repr__(self):
        return "Settings()"


def create(settings: Settings, context: PluginContext) -> Exporter:
    return Faulty()


@hookimpl
def evalhub_exporters():
    return [Descriptor(api=1, name="faulty", factory=create, settings=Settings, help="does nothing")]
"""


class Faulty(PluginContract):
    sections: ClassVar = {"faulty": {"token": "token-of-faulty"}}
    secrets = ("token-of-faulty",)

    def __init__(self, point: EntryPoint) -> None:
        self._point = point
        self.entry_point = point.name

    def point(self) -> EntryPoint:
        return self._point


FAULTS = {
    "no fault": ("", "", "", ""),
    "an api that grows": ("api=1", "api=PLUGIN_API", "its_api_is_a_literal_number", "not ['PLUGIN_API']"),
    "an illegal name": (
        'name="faulty", f',
        'name="Faulty!", f',
        "its_names_are_legal_and_unique",
        "not valid",
    ),
    "a taken name": ('name="faulty", f', 'name="oci", f', "its_names_are_legal_and_unique", "{'oci'}"),
    "no help": ('help="does nothing"', 'help=""', "each_descriptor_has_a_line_of_help", "help of exporter"),
    "a setting of any type": (
        'token: Annotated[str, Meta(description="Token.")]',
        "token: Any",
        "its_settings_are_typed_and_unknown_keys_are_refused",
        "['token']",
    ),
    "no description": ('Meta(description="Token.")', "Meta()", "its_keys_are_documented", "keys of 'faulty'"),
    "a factory that writes": (
        "return Faulty()",
        "context.data_dir.mkdir(); return Faulty()",
        "its_factories_write_and_start_nothing",
        "has written",
    ),
    "a factory that starts a thread": (
        "return Faulty()",
        "threading.Timer(0.5, print).start(); return Faulty()",
        "its_factories_write_and_start_nothing",
        "threads before and after",
    ),
    "a factory that prints": (
        "return Faulty()",
        'print("hello"); return Faulty()',
        "its_factories_write_and_start_nothing",
        "output of the factories",
    ),
    "another instance name": (
        'name = "faulty"',
        'name = "other"',
        "its_factories_write_and_start_nothing",
        "attribute name of the exporter",
    ),
    "settings that show a secret": (
        "def __repr__",
        "def other",
        "its_settings_do_not_show_secrets",
        "secrets can be read in the settings",
    ),
    "no description of a nested setting": (
        'Meta(description="Count.")',
        "Meta()",
        "its_keys_are_documented",
        "['limits.count']",
    ),
    "a nested setting of any type": (
        'count: Annotated[int, Meta(description="Count.")]',
        'count: Annotated[Any, Meta(description="Count.")]',
        "its_settings_are_typed_and_unknown_keys_are_refused",
        "['limits.count']",
    ),
    "a reserved name": (
        'name="faulty", f',
        'name="default", f',
        "its_names_are_legal_and_unique",
        "is reserved",
    ),
    "a section of the server": (
        'name="faulty", f',
        'name="faulty", section="service", f',
        "its_names_are_legal_and_unique",
        "belongs to the server",
    ),
    "several lines of help": (
        'help="does nothing"',
        'help="does\\nnothing"',
        "each_descriptor_has_a_line_of_help",
        "help of exporter",
    ),
    "two descriptors of one name": (
        "return [Descriptor(",
        "return 2 * [Descriptor(",
        "its_names_are_legal_and_unique",
        "with the same name",
    ),
    "another type of instance": (
        "return Faulty()",
        "return object()",
        "its_factories_write_and_start_nothing",
        "the factory of exporter 'faulty': <class 'object'>",
    ),
    "a factory that writes into the home directory": (
        "return Faulty()",
        '(Path.home() / ".faulty").write_text(""); return Faulty()',
        "its_factories_write_and_start_nothing",
        ".faulty",
    ),
    "a factory that connects": (
        "return Faulty()",
        "os.dup(0); return Faulty()",
        "its_factories_write_and_start_nothing",
        "have opened 1 files or connections",
    ),
    "a factory that starts a process": (
        "return Faulty()",
        'os.posix_spawn("/bin/sleep", ["sleep", "60"], {}); return Faulty()',
        "its_factories_write_and_start_nothing",
        "processes before and after",
    ),
    "a factory that changes the environment": (
        "return Faulty()",
        'os.environ["FAULTY"] = os.environ.get("FAULTY", "") + "x"; return Faulty()',
        "its_factories_write_and_start_nothing",
        "{'FAULTY'}",
    ),
    "an instance that shows a secret": (
        "return Faulty()",
        "Faulty.__repr__ = lambda self: settings.token; return Faulty()",
        "its_factories_write_and_start_nothing",
        "secrets can be read in the instance",
    ),
    "a factory that needs a data directory": (
        "return Faulty()",
        "str(context.data_dir.name); return Faulty()",
        "its_factories_accept_that_nothing_is_durable",
        "without a data directory: AttributeError",
    ),
    "hooks that return something once": (
        "return [Descriptor(",
        "calls.append(1); return [] if len(calls) % 2 else [Descriptor(",
        "its_hooks_return_the_same_each_time",
        "descriptors of two calls",
    ),
    "a request of any type": (
        'help="does nothing"',
        'help="does nothing", request=dict',
        "requests_of_jobs_are_typed",
        "request of exporter 'faulty': <class 'dict'>",
    ),
    "a broken module": (
        "import threading",
        "import no_such_module",
        "the_server_can_load_it",
        "no_such_module",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_is_found(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    old, new, test, message = FAULTS[fault]
    module = f"faulty_{list(FAULTS).index(fault)}"
    (tmp_path / "modules").mkdir()
    (tmp_path / "work").mkdir()
    (tmp_path / "modules" / f"{module}.py").write_text(
        PLUGIN.replace(old, new, 1) if old else PLUGIN, "utf-8"
    )
    monkeypatch.syspath_prepend(tmp_path / "modules")
    case = Faulty(EntryPoint("faulty", module, "evalhub.plugins"))
    errors: dict[str, str] = {}
    for name, check in inspect.getmembers(case, inspect.iscoroutinefunction):
        if name.startswith("test_") and not getattr(check, "takes_seconds", False):
            fixtures = {"tmp_path": tmp_path / "work", "monkeypatch": monkeypatch, "capfd": capfd}
            wanted = inspect.signature(check).parameters
            try:
                await check(**{each: fixtures[each] for each in wanted})
            except (AssertionError, ImportError, pytest.fail.Exception) as error:
                errors[name] = str(error)
    for process in psutil.Process().children():
        if process.name() == "sleep":
            process.kill()
            process.wait()
    monkeypatch.delenv("FAULTY", raising=False)
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            thread.cancel()
            thread.join()
    if not test:
        assert errors == {}
    elif message:
        assert message in errors[f"test_{test}"]


def test_a_plugin_that_is_not_installed_is_named() -> None:
    case = PluginContract()
    case.entry_point = "no_such_plugin"
    with pytest.raises(AssertionError, match=r"0 installed .* 'no_such_plugin'.*pip install -e"):
        case.point()
