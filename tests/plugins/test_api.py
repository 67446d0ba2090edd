"""The public modules for plugin authors are complete, documented, cheap to import, and the only ones that plugins use."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

import evalhub_server.plugins as api
import evalhub_server.testing as kit
from harness.imports import loaded_by
from harness.packaging import EXAMPLE

EXAMPLES = EXAMPLE.parent
PUBLIC = {"evalhub_server.plugins", "evalhub_server.testing"}
OURS = ("evalhub_server", "evalhub_common")


def public_classes(module: Any) -> list[type[Any]]:
    return [item for item in (getattr(module, name) for name in module.__all__) if inspect.isclass(item)]


def types_in(hint: Any) -> Iterator[Any]:
    """A type hint and everything inside of it."""
    yield hint
    arguments = get_args(hint)
    if get_origin(hint) is not None:
        arguments = (get_origin(hint), *arguments)
    for argument in arguments:
        for item in argument if isinstance(argument, list) else [argument]:
            yield from types_in(item)


def hints_of(item: type[Any]) -> Iterator[Any]:
    """The types of fields, arguments and results of a class's public part."""
    yield from get_type_hints(item).values()
    for name, member in inspect.getmembers(item):
        function = member.fget if isinstance(member, property) else member
        if not name.startswith("_") and inspect.isfunction(function):
            yield from get_type_hints(function).values()


@pytest.mark.parametrize("module", [api, kit], ids=lambda module: module.__name__)
def test_all_names_everything_that_is_public(module: Any):
    assert len(set(module.__all__)) == len(module.__all__)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_every_type_that_the_api_mentions_is_part_of_it():
    missing = {
        f"{part.__module__}.{part.__qualname__}, in {item.__qualname__}"
        for item in public_classes(api)
        for hint in hints_of(item)
        for part in types_in(hint)
        if inspect.isclass(part) and part.__module__.startswith(OURS) and part not in public_classes(api)
    }
    assert missing == set()


@pytest.mark.parametrize("module", [api, kit], ids=lambda module: module.__name__)
def test_every_class_and_function_is_documented(module: Any):
    for name in module.__all__:
        item = getattr(module, name)
        if not (inspect.isclass(item) or inspect.isfunction(item)):
            continue
        own = item.__dict__.get("__doc__") if inspect.isclass(item) else item.__doc__
        generated = isinstance(own, str) and own.startswith(f"{name}(")
        assert own, f"{name} has no docstring"
        assert not generated, f"{name} has no docstring of its own"


def test_importing_it_loads_nothing_heavy():
    modules = loaded_by("import evalhub_server.plugins, evalhub_server.testing")
    loaded = {name.partition(".")[0] for name in modules}
    heavy = {"aiohttp", "aiosqlite", "asyncpg", "kubernetes_asyncio", "litestar", "pytest", "sqlite3", "yaml"}
    assert loaded & heavy == set()


def test_the_examples_import_the_public_modules_alone():
    for path in EXAMPLES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = {name for name in names if name.partition(".")[0] in OURS}
            assert ours <= PUBLIC, path


def test_a_struct_of_the_api_cannot_be_changed():
    for item in public_classes(api):
        if issubclass(item, msgspec.Struct):
            assert item.__struct_config__.frozen, item
