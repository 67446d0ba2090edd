"""Plugin API, from the ``__all__`` of the modules that plugin authors import."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any, get_type_hints

from msgspec import Struct

PLUGINS = "evalhub_server.plugins"
TESTING = "evalhub_server.testing"
PYTEST_PLUGIN = "evalhub_pytest"
DESCRIPTORS = ("Descriptor", "PluginContext", "NoSettings")
CONTRACTS = ("Runtime", "Storage", "SharedStorage", "Tracker", "Exporter", "Observer")
"""The abstract classes, in the order of the pages."""
LABELS = ("Called", "Concurrency", "Repeats", "Cancellation", "Failure", "Time limit")
"""Begin the paragraphs of a docstring that state when and how the server calls a method or a hook."""
_LABEL = re.compile(rf"({'|'.join(LABELS)}): ")


def plugin_api(group: str) -> str:
    """One section per name of a group: ``descriptors``, ``types``, ``functions``, ``errors``, ``constants``, ``testing`` or ``fixtures``."""
    if group == "fixtures":
        return _fixtures()
    module = TESTING if group == "testing" else PLUGINS
    values = {name: getattr(importlib.import_module(module), name) for name in _exported(module)}
    names = [name for name, value in values.items() if group in ("testing", _group(name, value))]
    names.sort(key=str.lower)
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


def plugin_class(name: str) -> str:
    """The methods of an abstract class in a table with their first sentences, and its reference."""
    contract = getattr(importlib.import_module(PLUGINS), name)
    rows = [
        f"| {_link(name, method)} | {'required' if getattr(function, '__isabstractmethod__', False) else ''} | "
        f"{labelled(function).get('Called', '')} |"
        for method, function in methods(contract).items()
    ]
    table = "\n".join(["| method | | called |", "|---|---|---|", *(_markdown(row) for row in rows)])
    # What Runtime and Storage inherit is their own contract; SharedStorage is described beside Storage.
    inherited = "" if name == "SharedStorage" else "   :inherited-members: ABC\n"
    directive = f".. autoclass:: {PLUGINS}.{name}\n   :members:\n{inherited}"
    return f"{table}\n\n```{{eval-rst}}\n{directive}```"


def methods(contract: type[Any]) -> dict[str, Callable[..., Any]]:
    """The public methods that a contract adds to the one it extends, in the order of the source."""
    whole = [each for each in contract.__mro__ if each.__module__.startswith(PLUGINS)]
    parts = [contract] if contract.__name__ == "SharedStorage" else whole
    return {
        name: member
        for part in parts
        for name, member in vars(part).items()
        if inspect.isfunction(member) and not name.startswith("_")
    }


def labelled(function: Callable[..., Any]) -> dict[str, str]:
    """The labelled paragraphs of a docstring, each as one line."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in inspect.cleandoc(function.__doc__ or "").splitlines():
        label = _LABEL.match(line)
        if label is not None:
            current = found.setdefault(label[1], [])
        elif not line.startswith(" "):
            current = None
        if current is not None:
            current.append(line[label.end() if label else 0 :].strip())
    return {label: " ".join(lines) for label, lines in found.items()}


def as_fields(_app: Any, _what: str, _name: str, _value: object, _options: Any, lines: list[str]) -> None:
    """Turn labelled paragraphs into a field list; called by autodoc for each docstring, before napoleon."""
    lines[:] = [_LABEL.sub(r":\1: ", line, count=1) if _LABEL.match(line) else line for line in lines]


def _link(name: str, method: str) -> str:
    return f"[`{method}`](#{PLUGINS}.{name}.{method})"


def _markdown(text: str) -> str:
    """Roles and literals of a docstring as Markdown."""
    text = re.sub(r":\w+:`[~.]?([\w.]+)`", r"`\1`", text)
    return text.replace("``", "`")


def _exported(module: str) -> list[str]:
    return list(importlib.import_module(module).__all__)


def _group(name: str, value: object) -> str:
    if name in CONTRACTS:
        return "contracts"
    if name in DESCRIPTORS:
        return "descriptors"
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
