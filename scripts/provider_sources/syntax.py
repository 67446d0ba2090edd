"""Queries on the syntax tree of Python source."""

from __future__ import annotations

import ast
from collections.abc import Iterator


def parse(source: str) -> ast.Module:
    """The tree of ``source``, an empty one if this Python cannot parse it."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


def called(node: ast.AST) -> str:
    """The last part of the name that a call calls, or that an expression names: ``choice`` for ``scorer.choice()``."""
    if isinstance(node, ast.Call):
        return called(node.func)
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    """Calls of ``name`` in the order of the source."""
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and called(node) == name]
    yield from sorted(found, key=lambda node: (node.lineno, node.col_offset))


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((item.value for item in call.keywords if item.arg == name), None)


def text(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def items(node: ast.AST | None) -> list[ast.expr]:
    """The elements of a literal list, tuple or set; a single expression counts as a list of one."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return node.elts
    return [node] if isinstance(node, ast.expr) else []


def texts(node: ast.AST | None) -> list[str]:
    """The literal strings of a literal list, or of a string."""
    return [value for item in items(node) if (value := text(item)) is not None]


def assigned(body: list[ast.stmt], name: str) -> ast.expr | None:
    """What ``name`` is set to in these statements, annotated or not; the last one wins."""
    found = None
    for statement in body:
        if isinstance(statement, ast.Assign) and any(called(target) == name for target in statement.targets):
            found = statement.value
        elif isinstance(statement, ast.AnnAssign) and called(statement.target) == name:
            found = statement.value or found
    return found


def default(function: ast.FunctionDef | ast.AsyncFunctionDef, name: str) -> ast.expr | None:
    """The default of a parameter."""
    arguments = [*function.args.posonlyargs, *function.args.args]
    pairs = zip(reversed(arguments), reversed(function.args.defaults), strict=False)
    pairs_by_key = zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True)
    return next((value for argument, value in [*pairs, *pairs_by_key] if argument.arg == name), None)


def classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def method(class_: ast.ClassDef, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    for node in class_.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
    return None
