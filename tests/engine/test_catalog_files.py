"""Provider and collection files: their values, and the findings about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalhub_server.engine.catalog_files import read_folder
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.settings import Finding


def read(folder: Path, type_: Any, text: str) -> tuple[Any, list[Finding]]:
    """The configuration in a folder with one file, and the findings."""
    folder.mkdir(exist_ok=True)
    (folder / "a.yaml").write_text(text, "utf-8")
    loaded, findings = read_folder(folder, type_)
    return (loaded[0].config if loaded else None), findings


def test_environment_values_are_the_text_of_the_released_server(tmp_path: Path):
    env = "".join(
        f"      - {{name: V{i}, value: {value}}}\n"
        for i, value in enumerate(["yes", "no", "1e5", "true", "false", "0o17", "1e-5", "'1e5'", "0.50"])
    )
    config, findings = read(
        tmp_path, ProviderConfig, f"id: p\nruntime:\n  local:\n    command: x\n    env:\n{env}"
    )
    assert findings == []
    values = [item["value"] for item in config.runtime["local"]["env"]]
    assert values == ["yes", "no", "100000", "1", "0", "15", "0.00001", "1e5", "0.5"]


def test_parameters_keep_their_types_and_the_case_of_their_keys(tmp_path: Path):
    config, findings = read(
        tmp_path,
        CollectionConfig,
        """\
id: c
name: c
category: x
pass_criteria: {threshold: "0.5"}
custom: {CamelKey: {Yes: no}}
benchmarks:
  - id: b
    provider_id: p
    weight: "2"
    pass_criteria: {threshold: 5e-1}
    primary_score: {metric: acc, lower_is_better: yes}
    parameters: {temperature: 1e-5, use_cache: yes, stop: no, oct: 0o17, SPOIntent: "1e5"}
""",
    )
    assert findings == []
    assert (config.pass_criteria.threshold, config.custom) == (0.5, {"CamelKey": {"Yes": "no"}})
    benchmark = config.benchmarks[0]
    assert (benchmark.weight, benchmark.pass_criteria.threshold) == (2, 0.5)
    assert benchmark.primary_score.lower_is_better is True
    assert benchmark.parameters == {
        "temperature": 1e-5,
        "use_cache": "yes",
        "stop": "no",
        "oct": 15,
        "SPOIntent": "1e5",
    }
