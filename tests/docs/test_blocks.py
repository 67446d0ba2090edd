"""Code, configuration and names in the documentation agree with the code."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from evalhub_docs import fill
from evalhub_docs.settings import keys
from harness.markdown import Block, blocks

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SECTIONS = {path.partition(".")[0] for path in keys()}
NOT_KEYS = {"local.run_benchmark", "service.name", "service.version"}
"""Names of telemetry that begin like a section."""


def blocks_of(language: str) -> Iterator[tuple[str, Block]]:
    """Every block of a language, each with its page and line for messages."""
    for page in PAGES:
        for block in blocks(page):
            if block.language == language:
                yield f"{page.relative_to(ROOT)}:{block.line}", block


def test_python_compiles_and_imports_what_exists():
    for place, block in blocks_of("python"):
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("evalhub_server"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{place}: {node.module}.{alias.name}"


def test_json_and_yaml_can_be_read():
    for _, block in blocks_of("json"):
        json.loads(block.text)
    for _, block in blocks_of("yaml"):
        yaml.safe_load(block.text)


def test_every_key_in_a_configuration_example_exists():
    for place, block in blocks_of("yaml"):
        document = yaml.safe_load(block.text)
        if isinstance(document, dict) and document.keys() <= SECTIONS | {"env_mappings"}:
            for path in dotted(document):
                assert known(path) or path.startswith("env_mappings"), f"{place}: {path}"


def test_every_setting_that_a_page_names_exists():
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", fill(page.read_text("utf-8")), flags=re.MULTILINE | re.DOTALL)
        named = set(re.findall(r"`([a-z_]+(?:\.[a-z_0-9]+)+)(?::[^`]*)?`", text)) - NOT_KEYS
        unknown = {name for name in named if name.partition(".")[0] in SECTIONS and not known(name)}
        assert unknown == set(), page


def dotted(value: dict[str, Any], path: str = "") -> Iterator[str]:
    for key, item in value.items():
        below = f"{path}.{key}" if path else key
        if isinstance(item, dict) and below not in keys():
            yield from dotted(item, below)
        else:
            yield below


def known(path: str) -> bool:
    """Is this a key, or a section of keys?"""
    return path in keys() or any(key.startswith(f"{path}.") for key in keys())
