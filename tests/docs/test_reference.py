"""The generated reference names what the code has, and the fixed documents keep to their size."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from evalhub_docs import GENERATORS, MARKER, fill
from evalhub_docs.settings import has_no_effect, keys
from evalhub_server.cli.main import PROGRAM, cli
from evalhub_server.domain.diagnosis import TABLE
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.models.provider import REQUIREMENTS, MetricProperties, ProviderBenchmark, ProviderConfig
from evalhub_server.settings import ENVIRONMENT, NO_EFFECT
from harness import Config, RunningServer

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CONFIGURATION = DOCS / "reference" / "configuration"


def headings(page: Path) -> list[str]:
    """The names in backquotes of second and third level headings, of the page as it is built."""
    return re.findall(r"^###? `([^`]+)`$", fill(page.read_text("utf-8")), re.MULTILINE)


@pytest.mark.parametrize(("name", "lines"), [("README.md", 150), ("ARCHITECTURE.md", 160)])
def test_the_first_documents_are_short(name: str, lines: int):
    assert len((ROOT / name).read_text("utf-8").splitlines()) <= lines


def test_the_glossary_has_at_most_40_words():
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    words = re.findall(r"^\| (.+?) \|", text.partition("## Glossary")[2].partition("\n## ")[0], re.MULTILINE)[
        1:
    ]
    assert 30 <= len(words) <= 40
    assert words == sorted(words)


def test_every_generator_is_used():
    used = {name for page in DOCS.rglob("*.md") for name, _ in MARKER.findall(page.read_text("utf-8"))}
    assert used == set(GENERATORS)


def test_every_setting_has_a_description_and_an_example():
    for path, found in keys().items():
        for key in found:
            assert key.description.endswith("."), path
        assert has_no_effect(path) or any(key.example is not None for key in found), path


def test_every_setting_with_an_effect_has_a_heading_on_the_page_of_its_section():
    for section in {key.section for found in keys().values() for key in found}:
        expected = [path for path, found in keys().items() if found[0].section == section]
        page = CONFIGURATION / f"{section}.md"
        assert headings(page) == [path for path in expected if not has_no_effect(path)], section


def test_the_page_of_variables_has_every_variable_with_its_key():
    text = fill((CONFIGURATION / "environment.md").read_text("utf-8"))
    rows = text.partition("| variable | key |")[2].partition("\n\n")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| `([\w.]+)` \|$", rows, re.MULTILINE)) == dict(ENVIRONMENT)


def test_every_key_without_effect_is_listed():
    text = fill((CONFIGURATION / "index.md").read_text("utf-8"))
    listed = text.partition("## Keys without effect")[2].partition("```{toctree}")[0]
    assert set(re.findall(r"^\* `([^`]+)`", listed, re.MULTILINE)) == set(NO_EFFECT)


def test_the_metrics_page_names_every_metric_of_a_server_and_no_other(tmp_path: Path):
    with RunningServer(Config(tmp_path / "config").folder) as server:
        families = list(text_string_to_metric_families(server.call("GET", "/metrics").body))
    own = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in families
        if family.name.startswith(("evalhub_", "http_"))
    }
    of_replicas = {"evalhub_server_role"}  # only of servers that share a database
    assert set(headings(DOCS / "reference" / "metrics.md")) == own | of_replicas


def test_the_job_specification_page_has_every_field():
    text = (DOCS / "reference" / "job-specification.md").read_text("utf-8")
    rows = text.partition("| field | type |")[2]
    cells = " ".join(re.findall(r"^\| (`.+?) \|", rows, re.MULTILINE))
    assert {name.partition(".")[0] for name in re.findall(r"`([\w.]+)`", cells)} == set(
        JobSpec.__struct_fields__
    )


def test_the_command_line_page_has_every_command_and_option():
    text = fill((DOCS / "reference" / "command-line.md").read_text("utf-8"))
    for name, command in cli.commands.items():
        section = text.partition(f"## `{PROGRAM} {name}`")[2].partition("\n## ")[0]
        for option in command.params:
            assert option.opts[-1] in section or isinstance(option, click.Argument), (name, option.name)


def test_every_reason_of_a_failed_benchmark_is_explained():
    assert {row.reason for row in TABLE} <= set(headings(DOCS / "reference" / "diagnoses.md"))


@pytest.mark.parametrize("model", [ProviderConfig, ProviderBenchmark, MetricProperties, CollectionConfig])
def test_the_page_of_provider_files_has_every_field(model: type[msgspec.Struct]):
    page = (DOCS / "reference" / "provider-files.md").read_text("utf-8")
    assert [field for field in model.__struct_fields__ if f"`{field}`" not in page] == []
    assert [name for name in REQUIREMENTS if f"| `{name}` |" not in page] == []
