"""The contract suite for a plugin as it is installed: its entry point, its descriptors and its factories.

Subclass :class:`PluginContract` in a test module, beside the suite of each kind of plugin that it offers::

    class TestMyPlugin(PluginContract):
        entry_point = "my_plugin"
        sections = {"mine": {"url": "http://127.0.0.1:1", "token": "token-of-the-target"}}
        secrets = ("token-of-the-target",)

The distribution must be installed, as by ``pip install -e .``. Requires pytest and pytest-asyncio (in any mode).
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Annotated, Any, ClassVar, get_args, get_origin, get_type_hints

import psutil
import pytest
from msgspec import Meta, Struct

from evalhub_server.errors import EvalHubError, PluginError, SettingsError
from evalhub_server.plugins.descriptors import (
    OLDEST_PLUGIN_API,
    PLUGIN_API,
    Descriptor,
    PluginContext,
    check_descriptor,
)
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.plugins.hookspecs import ENTRY_POINT_GROUP
from evalhub_server.plugins.manager import KINDS
from evalhub_server.plugins.sections import convert_section, find_section
from evalhub_server.testing.contract import Contract, check_hidden, takes_seconds

_LOAD = """
import sys, threading, time
from importlib.metadata import entry_points
import evalhub_server.plugins.discovery
(point,) = entry_points(group=sys.argv[1], name=sys.argv[2])
start = time.process_time()
evalhub_server.plugins.discovery.load_plugins([point])
used_s = time.process_time() - start
with open(sys.argv[3], "w") as file:
    file.write(f"{used_s} {threading.active_count() - 1}")
"""


@pytest.mark.asyncio
class PluginContract(Contract):
    """The tests of an installed plugin. Subclass it under a name that pytest collects (``Test…``)."""

    entry_point = ""
    """The name of its entry point in the group ``evalhub.plugins``."""

    sections: ClassVar[Mapping[str, Any]] = {}
    """The configuration with which its factories can create instances, by section."""

    secrets: Sequence[str] = ()
    """The secrets in ``sections``."""

    load_cpu_s = 1.0
    """Processor time in seconds that loading the plugin may take: servers and commands load all installed plugins."""

    def point(self) -> EntryPoint:
        found = list(entry_points(group=ENTRY_POINT_GROUP, name=self.entry_point))
        assert len(found) == 1, (
            f"{len(found)} installed distributions have the entry point '{self.entry_point}' in the group "
            f"'{ENTRY_POINT_GROUP}'; install the plugin, for example with: pip install -e ."
        )
        return found[0]

    def descriptors(self) -> list[tuple[str, Descriptor[Any, Any]]]:
        """Return what the plugin offers: (kind, descriptor)."""
        plugin = self.point().load()
        hooks = {kind: getattr(plugin, hook, None) for kind, hook in KINDS.values()}
        return [(kind, each) for kind, hook in hooks.items() if hook is not None for each in hook()]

    def settings_of(self, descriptor: Descriptor[Any, Any]) -> Any:
        section = descriptor.settings_section
        return convert_section(find_section(self.sections, section), descriptor.settings, section)

    async def test_the_server_can_load_it(self) -> None:
        infos = load_plugins([self.point()], environ={}).infos
        errors = {info.name: info.error for info in infos if info.error}
        assert not errors, f"the server reports it as broken or incompatible: {errors}"

    @takes_seconds
    async def test_it_loads_quickly_and_silently(self, tmp_path: Path) -> None:
        """Heavy dependencies are imported by the factory, which is called only if the plugin is selected."""
        report = tmp_path / "report"
        command = [sys.executable, "-c", _LOAD, ENTRY_POINT_GROUP, self.point().name, str(report)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        result = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, check=False, env=environment
        )
        assert (result.returncode, result.stdout + result.stderr) == (0, ""), (
            "status and output of loading it"
        )
        cpu_s, threads = report.read_text("utf-8").split()
        assert threads == "0", f"loading it starts {threads} threads"
        assert float(cpu_s) <= self.load_cpu_s, f"loading it takes {cpu_s} s of a processor"

    async def test_it_offers_something(self) -> None:
        assert self.descriptors(), f"no hook of '{self.entry_point}' returns a descriptor"

    async def test_its_api_is_a_literal_number(self) -> None:
        """A version that grows with the server would claim what the plugin was not written for."""
        for kind, descriptor in self.descriptors():
            assert OLDEST_PLUGIN_API <= descriptor.api <= PLUGIN_API, f"api of {kind} '{descriptor.name}'"
        plugin: object = self.point().load()
        source = inspect.getsource(plugin if inspect.ismodule(plugin) else plugin.__class__)
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        written = [keyword.value for call in calls for keyword in call.keywords if keyword.arg == "api"]
        texts = [ast.unparse(value) for value in written if not isinstance(value, ast.Constant)]
        assert not texts, f"api must be a number in the source, not {texts}"

    async def test_its_names_are_legal_and_unique(self) -> None:
        for kind, descriptor in self.descriptors():
            try:
                check_descriptor(descriptor)
            except PluginError as error:
                raise AssertionError(f"{kind} '{descriptor.name}': {error}") from error
        names = Counter((kind, descriptor.name) for kind, descriptor in self.descriptors())
        assert set(names.values()) <= {1}, f"descriptors of one kind with the same name: {names}"
        others = [each for each in entry_points(group=ENTRY_POINT_GROUP) if each.name != self.entry_point]
        installed = load_plugins(others, environ={})
        for kind, (name, _) in KINDS.items():
            own = {each for of_kind, each in names if of_kind == name}
            taken = own & installed.names(kind)
            assert not taken, f"another installed plugin has the {name} {taken}"

    async def test_each_descriptor_has_a_line_of_help(self) -> None:
        for kind, descriptor in self.descriptors():
            lines = descriptor.help.splitlines()
            assert len(lines) == 1, f"help of {kind} '{descriptor.name}': {descriptor.help!r}"

    async def test_its_settings_are_typed_and_unknown_keys_are_refused(self) -> None:
        for kind, descriptor in self.descriptors():
            settings, section = descriptor.settings, descriptor.settings_section
            assert issubclass(settings, Struct), f"settings of {kind} '{descriptor.name}': {settings}"
            untyped = [name for name, hint in _keys(settings) if _without_metadata(hint) is Any]
            assert not untyped, f"settings without a type in the section '{section}': {untyped}"
            given = {**self.sections.get(section, {}), "no_such_key": 1}
            with pytest.raises(SettingsError, match="no_such_key"):
                convert_section(given, settings, section)

    async def test_its_keys_are_documented(self) -> None:
        """Descriptions become the reference of the configuration, and the text of ``check``."""
        for _, descriptor in self.descriptors():
            missing = [name for name, hint in _keys(descriptor.settings) if not _description(hint)]
            section = descriptor.settings_section
            assert not missing, f"keys of '{section}' without Annotated[…, Meta(description=…)]: {missing}"

    async def test_its_factories_write_and_start_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """``eval-hub-server check`` creates instances that are never opened."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        threads, environment, process = threading.active_count(), dict(os.environ), psutil.Process()
        self.descriptors()  # imports
        open_files, children = process.num_fds(), process.children()
        instances: list[object] = []
        for kind, descriptor in self.descriptors():
            context = PluginContext(data_dir=tmp_path / "data", sections=self.sections)
            try:
                instance = descriptor.factory(self.settings_of(descriptor), context)
            except SettingsError as error:
                text = f"set the attribute 'sections' of the test class so that it works: {error}"
                raise AssertionError(f"the factory of {kind} '{descriptor.name}'; {text}") from error
            (type_,) = [type_ for type_, (name, _) in KINDS.items() if name == kind]
            assert isinstance(instance, type_), f"the factory of {kind} '{descriptor.name}': {type(instance)}"
            name = getattr(instance, "name", descriptor.name)
            assert name == descriptor.name, f"attribute name of the {kind}, and name of its descriptor"
            written = _files_below(tmp_path)
            assert not written, f"the factory of {kind} '{descriptor.name}' has written {written}"
            check_hidden(self.secrets, the_instance=instance)
            instances.append(instance)
        opened = process.num_fds() - open_files
        assert opened <= 0, f"the factories have opened {opened} files or connections"
        assert process.children() == children, "processes before and after the factories"
        changed = {name for name, _ in environment.items() ^ os.environ.items()}
        assert not changed, f"the factories have changed variables of the environment: {changed}"
        assert threading.active_count() == threads, "threads before and after the factories"
        printed = capfd.readouterr()
        assert printed.out + printed.err == "", "output of the factories"

    async def test_its_factories_accept_that_nothing_is_durable(self) -> None:
        for kind, descriptor in self.descriptors():
            context = PluginContext(data_dir=None, sections=self.sections)
            try:
                descriptor.factory(self.settings_of(descriptor), context)
            except EvalHubError:
                continue  # with a text for the user
            except Exception as error:
                raise AssertionError(
                    f"the factory of {kind} '{descriptor.name}' without a data directory: {error!r}"
                ) from error

    async def test_its_hooks_return_the_same_each_time(self) -> None:
        first, second = ([(kind, each.name) for kind, each in self.descriptors()] for _ in "12")
        assert first == second, "descriptors of two calls of its hooks"

    async def test_requests_of_jobs_are_typed(self) -> None:
        for kind, descriptor in self.descriptors():
            request: Any = descriptor.request  # also of a plugin that no type checker has seen
            typed = request is None or (isinstance(request, type) and issubclass(request, Struct))
            assert typed, f"request of {kind} '{descriptor.name}': {request}"

    async def test_its_settings_do_not_show_secrets(self) -> None:
        for _, descriptor in self.descriptors():
            check_hidden(self.secrets, the_settings=repr(self.settings_of(descriptor)))


def _files_below(directory: Path) -> list[str]:
    return sorted(str(path) for path in directory.rglob("*"))


def _keys(settings: type[Struct], prefix: str = "") -> list[tuple[str, Any]]:
    """Return the keys of a section with their annotations, those of nested structs included."""
    found: list[tuple[str, Any]] = []
    for name, hint in get_type_hints(settings, include_extras=True).items():
        found.append((f"{prefix}{name}", hint))
        inner = _without_metadata(hint)
        for each in (inner, *get_args(inner)):
            if isinstance(each, type) and issubclass(each, Struct):
                found += _keys(each, f"{prefix}{name}.")
    return found


def _without_metadata(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _description(hint: Any) -> str:
    """The description in the ``Meta`` of an annotation; empty if there is none."""
    parts = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((each.description for each in parts if isinstance(each, Meta) and each.description), "")
