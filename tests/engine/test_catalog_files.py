"""Provider and collection files: their values, and the findings about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from evalhub_server.engine.catalog_files import read_folder
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import MetricProperties, ProviderConfig
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


def warnings(found: list[Finding]) -> list[tuple[str, int, str]]:
    return [(one.severity, one.line, one.message.partition(" (known")[0]) for one in found]


def test_misspelt_keys_of_a_provider_are_warnings_with_line_and_nearest_key(tmp_path: Path):
    config, found = read(
        tmp_path,
        ProviderConfig,
        """\
id: p
titel: P
agent: {sumary: x}
custom: {anything: {goes: here}}
runtime:
  local:
    comand: x
    Command: y
    env: [{name: a, value: b}]
  k8s: {Image: x, CPURequest: "1", image_pul_policy: Always}
  slurm: {partition: x}
benchmarks:
  - id: b
    primary_score: {metric: acc, lower_is_beter: true}
    pass_criterion: {threshold: 1}
""",
    )
    assert config is not None
    assert warnings(found) == [
        ("warning", 2, "titel: unknown key (did you mean title?), ignored"),
        ("warning", 3, "agent.sumary: unknown key (did you mean summary?), ignored"),
        (
            "warning",
            14,
            "benchmarks[0].primary_score.lower_is_beter: unknown key (did you mean lower_is_better?), ignored",
        ),
        ("warning", 15, "benchmarks[0].pass_criterion: unknown key (did you mean pass_criteria?), ignored"),
        ("warning", 7, "runtime.local.comand: unknown key (did you mean command?), ignored"),
        (
            "warning",
            10,
            "runtime.k8s.image_pul_policy: unknown key (did you mean image_pull_policy?), ignored",
        ),
    ]


METRICS = """\
id: p
benchmarks:
  - id: b
    groups: {groups}
    metric_properties:
      - {{metric: acc, range: {range}, sample_metric: correct}}
      - {{metric: {second}, aggregation: {aggregation}, lower_is_better: true}}
"""
DECLARED = {"groups": "clusters", "range": "[0, 1]", "second": "loss", "aggregation": "other"}


def test_properties_of_metrics_are_read(tmp_path: Path):
    config, findings = read(tmp_path, ProviderConfig, METRICS.format(**DECLARED))
    assert findings == []
    benchmark = config.benchmarks[0]
    assert benchmark.groups == "clusters"
    assert benchmark.metric_properties == (
        MetricProperties(metric="acc", range=(0, 1), sample_metric="correct"),
        MetricProperties(metric="loss", aggregation="other", lower_is_better=True),
    )


@pytest.mark.parametrize(
    ("wrong", "line", "message"),
    [
        ({"groups": "batches"}, 4, "benchmarks[0].groups: must be one of: clusters, strata"),
        ({"aggregation": "median"}, 7, "[1].aggregation: must be one of: mean, other"),
        ({"second": "acc"}, 7, "[1].metric: is listed twice"),
        ({"second": '""'}, 7, "[1].metric: is required"),
        ({"range": "[1, 0]"}, 6, "[0].range: must be two numbers, the smallest and the largest possible"),
        ({"range": "[0, 1e101]"}, 6, "[0].range: must be two numbers, the smallest and the largest possible"),
        ({"range": "[0]"}, 6, "[0].range: expected `array` of length >= 2"),
    ],
)
def test_wrong_properties_of_metrics_are_errors_with_line(
    tmp_path: Path, wrong: dict[str, str], line: int, message: str
):
    config, findings = read(tmp_path, ProviderConfig, METRICS.format(**DECLARED | wrong))
    assert config is None
    [finding] = findings
    assert (finding.severity, finding.line) == ("error", line)
    assert message.lower() in finding.message.lower()


def test_requirements_are_read(tmp_path: Path):
    text = (
        "id: p\nany_benchmark: true\nbenchmarks:\n"
        "  - {id: a, alias_of: b, requires: [chat, judge], generating_twin: b, default_parameters: {rate: 5}}\n"
    )
    config, findings = read(tmp_path, ProviderConfig, text)
    assert findings == []
    assert config.any_benchmark
    benchmark = config.benchmarks[0]
    assert (benchmark.alias_of, benchmark.generating_twin) == ("b", "b")
    assert (benchmark.requires, benchmark.default_parameters) == (("chat", "judge"), {"rate": 5})


def test_an_unknown_requirement_is_an_error(tmp_path: Path):
    config, [finding] = read(tmp_path, ProviderConfig, "id: p\nbenchmarks:\n  - {id: a, requires: [chats]}\n")
    assert config is None
    assert finding.message == (
        "benchmarks[0].requires[0]: must be one of: chat, prompt_logprobs, sandbox, judge, embeddings, gpu, data"
    )


def test_misspelt_keys_of_a_collection_are_warnings_and_parameters_are_free(tmp_path: Path):
    _, found = read(
        tmp_path,
        CollectionConfig,
        """\
id: c
name: c
category: x
benchmarks:
  - {id: b, provider_id: p, wieght: 2, parameters: {anything: 1}}
  - id: b
    provider_id: p
    test_data_ref: {s3: {bukket: x, bucket: b, key: k, secret_ref: s}}
""",
    )
    assert warnings(found) == [
        ("warning", 5, "benchmarks[0].wieght: unknown key (did you mean weight?), ignored"),
        ("warning", 8, "benchmarks[1].test_data_ref.s3.bukket: unknown key (did you mean bucket?), ignored"),
    ]
