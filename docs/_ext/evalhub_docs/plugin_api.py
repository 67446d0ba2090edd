"""Plugin API, from the ``__all__`` of the modules that plugin authors import."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from itertools import pairwise
from typing import get_type_hints

from msgspec import Struct

PLUGINS = "evalhub_server.plugins"
TESTING = "evalhub_server.testing"
PYTEST_PLUGIN = "evalhub_pytest"
CONTRACTS = ("Descriptor", "PluginContext", "NoSettings")
"""Shown with the abstract classes."""


def plugin_api(group: str) -> str:
    """One section per name of a group: ``contracts``, ``types``, ``functions``, ``errors``, ``constants``, ``testing`` or ``fixtures``."""
    if group == "fixtures":
        return _fixtures()
    module = TESTING if group == "testing" else PLUGINS
    values = {name: getattr(importlib.import_module(module), name) for name in _exported(module)}
    names = [name for name, value in values.items() if group in ("testing", _group(name, value))]
    names.sort(key=lambda name: (name in CONTRACTS, name) if group == "contracts" else (False, name.lower()))
    return "\n".join(
        f"## {name}\n\n```{{eval-rst}}\n{_directive(f'{module}.{name}', values[name])}```\n" for name in names
    )


def _fixtures() -> str:
    """One section per fixture of the pytest plugin, with its docstring."""
    functions = [
        (node.name, ast.get_docstring(node) or "")
        for node in ast.parse(inspect.getsource(importlib.import_module(PYTEST_PLUGIN))).body
        if isinstance(node, ast.FunctionDef)
    ]
    return "\n".join(f"## {name}\n\n```{{eval-rst}}\n{text}\n```\n" for name, text in functions)


def _exported(module: str) -> list[str]:
    return list(importlib.import_module(module).__all__)


def _group(name: str, value: object) -> str:
    if name in CONTRACTS or inspect.isabstract(value):
        return "contracts"
    if inspect.isclass(value):
        return "errors" if issubclass(value, BaseException) else "types"
    return "functions" if inspect.isroutine(value) or inspect.ismodule(value) else "constants"


def _directive(path: str, value: object) -> str:
    if inspect.ismodule(value):
        return f".. automodule:: {value.__name__}\n   :members:\n"
    if inspect.isclass(value):
        if issubclass(value, BaseException):
            return f".. autoexception:: {path}\n"
        if issubclass(value, Struct):
            # Without the metadata of Annotated, which is for msgspec and the OpenAPI document.
            value.__annotations__ = get_type_hints(value)
        # The fields of a Struct are its reference, with or without a text of their own.
        return f".. autoclass:: {path}\n   :members:\n" + (
            "   :undoc-members:\n" if issubclass(value, Struct) else ""
        )
    if inspect.isroutine(value):
        return f".. autofunction:: {path}\n"
    # autodoc would show the docstring of dict or Callable for an alias of such a type.
    text = _attribute_docstring(path.rpartition(".")[2])
    return f".. py:data:: {path}\n\n" + "".join(f"   {line}\n" for line in text.splitlines())


def _attribute_docstring(name: str) -> str:
    """The text below the assignment of a name, in whichever module of the server defines it."""
    for module_name, module in sorted(sys.modules.items()):
        if not module_name.startswith(("evalhub_server.", "evalhub_common")) or not hasattr(module, name):
            continue
        body = ast.parse(inspect.getsource(module)).body
        for statement, following in pairwise(body):
            targets = (
                statement.targets
                if isinstance(statement, ast.Assign)
                else [getattr(statement, "target", None)]
            )
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            if (
                name in names
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
            ):
                return inspect.cleandoc(str(following.value.value))
    return ""
