"""Policy files of quality gates."""

from __future__ import annotations

from pathlib import Path

import pytest

from evalhub_server.domain.statistics.policy import GateBenchmark, GatePolicy
from evalhub_server.settings.policy_file import PolicyFileError, load_policy


def a_file(folder: Path, text: str) -> Path:
    file = folder / "policy.yaml"
    file.write_text(text, "utf-8")
    return file


def test_a_policy_file_has_the_keys_of_a_policy(tmp_path: Path):
    file = a_file(
        tmp_path,
        """\
margin: 0.02
alpha: 0.1
weights: macro
allow_parameters: [temperature]
benchmarks:
  - {provider_id: p, id: a}
  - {provider_id: p, id: b, relative_margin: 0.1, required: false}
  - {provider_id: p, id: c, threshold: "0.5", confidence: point}
""",
    )
    assert load_policy(file) == GatePolicy(
        margin=0.02,
        alpha=0.1,
        weights="macro",
        allow_parameters=("temperature",),
        benchmarks=(
            GateBenchmark(provider_id="p", id="a"),
            GateBenchmark(provider_id="p", id="b", relative_margin=0.1, required=False),
            GateBenchmark(provider_id="p", id="c", threshold=0.5, confidence="point"),
        ),
    )


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 0, "a policy needs keys, such as margin: 0.02"),
        ("- margin", 0, "a policy needs keys, such as margin: 0.02"),
        ("margin: [", 2, "not valid YAML"),
        ("alpha: 0.05\nmargn: 0.02", 2, "margn: unknown key (did you mean margin?)"),
        ("margin: wide", 1, "margin: expected `float`"),
        ("margin: -0.1", 1, "margin: expected `float` >= "),
        ("margin: 0.02\nalpha: 5", 2, "alpha: expected `float` < 1"),
        ("margin: 0.02\nkind: better", 2, "kind: invalid enum value 'better'"),
        ("alpha: 0.05", 0, "margin: non_inferiority needs margin or relative_margin"),
        (
            "margin: 0.02\nbenchmarks:\n  - {provider_id: p}",
            3,
            "benchmarks[0]: object missing required field `id`",
        ),
        (
            "margin: 0.02\nbenchmarks:\n  - {provider_id: p, id: a}\n  - provider_id: p\n    id: b\n    treshold: 1",
            6,
            "benchmarks[1].treshold: unknown key (did you mean threshold?)",
        ),
        (
            "margin: 0.02\nbenchmarks:\n  - {provider_id: p, id: a}\n  - {provider_id: p, id: a}",
            4,
            "benchmarks[1]: 'p/a' is listed twice",
        ),
        (
            "kind: threshold\nbenchmarks:\n  - {provider_id: p, id: a}",
            3,
            "benchmarks[0].threshold: kind threshold needs a threshold",
        ),
    ],
)
def test_a_fault_of_a_policy_is_named_with_its_line(tmp_path: Path, text: str, line: int, message: str):
    file = a_file(tmp_path, text)
    with pytest.raises(PolicyFileError) as caught:
        load_policy(file)
    [finding] = caught.value.findings
    assert finding.message.startswith(message)
    assert (finding.source, finding.line) == (str(file), line)
    assert str(file) in str(caught.value)


def test_all_faults_of_a_policy_are_reported(tmp_path: Path):
    with pytest.raises(PolicyFileError) as caught:
        load_policy(a_file(tmp_path, "margin: x\nalpha: 7\ncolour: red"))
    assert sorted(finding.line for finding in caught.value.findings) == [1, 2, 3]


def test_a_missing_policy_file_is_named(tmp_path: Path):
    with pytest.raises(PolicyFileError, match=r"none\.yaml: cannot be read"):
        load_policy(tmp_path / "none.yaml")
