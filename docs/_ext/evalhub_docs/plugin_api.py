"""Plugin API, from the ``__all__`` of the modules that plugin authors import."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from itertools import pairwise

MODULES = {"plugins": "evalhub_server.plugins", "testing": "evalhub_server.testing"}


def plugin_api(name: str) -> str:
    """One section per name in ``__all__`` of a module, abstract classes and contract suites first."""
    module = importlib.import_module(MODULES[name])
    names = sorted(module.__all__, key=lambda each: (not inspect.isabstract(getattr(module, each)), each))
    return "\n".join(
        f"## {each}\n\n```{{eval-rst}}\n{_directive(f'{MODULES[name]}.{each}', getattr(module, each))}```\n"
        for each in names
    )


def _directive(path: str, value: object) -> str:
    if inspect.isclass(value):
        if issubclass(value, BaseException):
            return f".. autoexception:: {path}\n"
        return f".. autoclass:: {path}\n   :members:\n"
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
