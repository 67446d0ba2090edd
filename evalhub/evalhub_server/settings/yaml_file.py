"""YAML files with the line numbers of their keys."""

from __future__ import annotations

import gc
import math
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import yaml

from evalhub_server.errors import SettingsError
from evalhub_server.settings.yaml_loader import NotPlain, PlainDocument, YamlLoader

MAX_YAML_VALUES = 200_000
MAX_YAML_BYTES = 4 * 1024 * 1024
"""Checked before parsing, which takes seconds for each MiB."""
_PIECE_BYTES = 64 * 1024


class YamlFile:
    """A parsed file: its ``value``, and the :meth:`lines` of its keys."""

    def __init__(self, file: Path, value: Any, text: str, root: yaml.Node | None = None) -> None:
        self.file = file
        self.value = value
        self._text = text
        self._root = root

    def lines(self) -> dict[str, int]:
        """Line (from 1) of each key, by its path in lower case, such as ``benchmarks[0].id``. Parses a plain file again."""
        lines: dict[str, int] = {}
        root = self._root or _root(self._text)
        waiting: list[tuple[str, yaml.Node]] = [("", root)] if root else []
        while waiting and len(lines) < MAX_YAML_VALUES:
            path, node = waiting.pop()
            if isinstance(node, yaml.MappingNode):
                for key, item in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
                    if isinstance(key, yaml.ScalarNode):
                        below = f"{path}.{key.value}".lower().lstrip(".")
                        lines[below] = key.start_mark.line + 1
                        waiting.append((below, item))
            elif isinstance(node, yaml.SequenceNode):
                for index, item in enumerate(cast("list[yaml.Node]", node.value)):
                    lines[f"{path}[{index}]"] = item.start_mark.line + 1
                    waiting.append((f"{path}[{index}]", item))
        return lines

    def line(self, path: str) -> int:
        """Line of the key at ``path``, or of the nearest existing one above it; 0 if there is none."""
        return nearest_above(self.lines(), path) or 0


def nearest_above(found: dict[str, Any], path: str) -> Any:
    """Value of ``found`` for a key path (in any case), or for the nearest key above it; None if there is none."""
    path = path.lower()
    while path:
        if path in found:
            return found[path]
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return None


def read_yaml(file: Path) -> Any:
    """Value of a YAML file. Raises like :func:`parse_yaml`."""
    return parse_yaml(file).value


def parse_yaml(file: Path) -> YamlFile:
    """Parse a YAML file. Raises :class:`SettingsError` naming the file, the line and what is wrong there."""
    try:
        with file.open("rb") as stream:
            data = bytearray()  # in pieces: read() allocates a buffer of the length that it is given
            while len(data) <= MAX_YAML_BYTES and (piece := stream.read(_PIECE_BYTES)):
                data += piece
        if len(data) > MAX_YAML_BYTES:
            raise SettingsError(f"larger than {MAX_YAML_BYTES // 1024**2} MiB; split the file.", str(file))
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SettingsError(f"cannot be read: {error}", str(file)) from None
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", str(file)) from None
    loader: Any = YamlLoader(text)
    try:
        with suppress(NotPlain, RecursionError):
            return YamlFile(file, PlainDocument(loader, MAX_YAML_VALUES).value(), text)
        loader.dispose()
        loader = YamlLoader(text)
        root: yaml.Node | None = loader.get_single_node()
        if root is None:
            return YamlFile(file, None, text)
        if not _is_small(root):
            raise SettingsError(
                f"more than {MAX_YAML_VALUES} values, or a value that contains itself; check its aliases.",
                str(file),
            )
        value = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        text = ", ".join(str(part) for part in (error.context, error.problem) if part)
        raise SettingsError(f"not valid YAML: {text}", str(file), mark.line + 1 if mark else 0) from None
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"not valid YAML: {' '.join(str(error).split())}", str(file)) from None
    finally:
        loader.dispose()
    _check_values(value, file)
    _check_keys(root, file)
    return YamlFile(file, value, text, root)


def _root(text: str) -> yaml.Node | None:
    loader: Any = YamlLoader(text)
    try:
        return cast("yaml.Node | None", loader.get_single_node())
    finally:
        loader.dispose()


@contextmanager
def without_garbage_collection() -> Generator[None]:
    """Suspend garbage collections, which take half of the time that large files need: their nodes are many, and all in use."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _is_small(root: yaml.Node) -> bool:
    """Is a document, with aliases and "<<" expanded, below the limit, and free of cycles?

    Checked before construction: a few lines of nested aliases could use all memory, and some versions of the library
    expand each "<<" again for every map that contains it.
    """
    sizes: dict[int, int] = {}
    open_: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting[-1]
        children = _children(node)
        if id(node) not in open_ and id(node) not in sizes:
            open_.add(id(node))
            fresh = [c for c in children if isinstance(c, yaml.CollectionNode) and id(c) not in sizes]
            if any(id(child) in open_ for child in fresh):
                return False
            waiting += fresh
            if fresh:
                continue
        waiting.pop()
        if id(node) in open_:
            open_.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes.get(id(child), 1) for child in children)  # scalars count 1
            if sizes[id(node)] > MAX_YAML_VALUES:
                return False
    return True


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in cast("list[tuple[yaml.Node, yaml.Node]]", node.value) for part in pair]
    return cast("list[yaml.Node]", node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_values(parsed: Any, file: Path) -> None:
    """Refuse numbers that JSON cannot represent."""
    waiting: list[Any] = [parsed]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend(cast("dict[Any, Any]", value).values())
        elif isinstance(value, list):
            waiting.extend(cast("list[Any]", value))
        elif isinstance(value, int | float) and not _is_finite(value):
            shown = value if isinstance(value, float) else "an integer with this many digits"
            raise SettingsError(f"{shown} cannot be represented in JSON; remove it.", str(file))


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond all doubles
        return False


def _check_keys(root: yaml.Node, file: Path) -> None:
    """Refuse duplicate keys, as the released server does: the first would silently have no effect."""
    waiting: list[yaml.Node] = [root]
    seen: set[int] = set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(cast("list[yaml.Node]", node.value))
        elif isinstance(node, yaml.MappingNode):
            first: dict[tuple[str, str], yaml.Mark] = {}
            for key, item in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
                waiting.append(item)
                # Keys that "<<" has merged have positions elsewhere in the file, and may be repeated.
                own = node.start_mark.index <= key.start_mark.index <= node.end_mark.index
                if not own or not isinstance(key, yaml.ScalarNode):
                    continue
                mark = first.setdefault((key.tag, key.value), key.start_mark)
                if mark.index != key.start_mark.index:
                    raise SettingsError(
                        f"{key.value}: given twice, here and on line {mark.line + 1}; keep one of them.",
                        str(file),
                        key.start_mark.line + 1,
                    )
