"""Providers' ``runtime`` entries, spelled in one way (decision 1)."""

from __future__ import annotations

from typing import Any

import pytest

from evalhub_server.domain.provider_normalization import normalize_runtime


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("CPURequest", "cpu_request"),
        ("cpu_request", "cpu_request"),
        ("CpuLimit", "cpu_limit"),
        ("MemoryRequest", "memory_request"),
        ("MEMORY_LIMIT", "memory_limit"),
        ("imagePullPolicy", "image_pull_policy"),
        ("Image", "image"),
        ("gpu", "gpu"),
    ],
)
def test_keys_are_spelled_in_snake_case(given: str, normal: str) -> None:
    assert normalize_runtime({"k8s": {given: "x"}}) == {"k8s": {normal: "x"}}


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("Always", "always"),
        ("always", "always"),
        ("IfNotPresent", "if_not_present"),
        ("if_not_present", "if_not_present"),
        ("Never", "Never"),
        (7, 7),
    ],
)
def test_pull_policies_of_kubernetes_are_understood(given: Any, normal: Any) -> None:
    assert normalize_runtime({"k8s": {"image_pull_policy": given}}) == {"k8s": {"image_pull_policy": normal}}


@pytest.mark.parametrize(
    ("variable", "normal"),
    [
        ({"Name": "A", "Value": "b"}, {"name": "A", "value": "b"}),
        ({"name": "A"}, {"name": "A", "value": ""}),
        ({"name": "A", "value": None}, {"name": "A", "value": ""}),
        ({"name": "A", "value": True}, {"name": "A", "value": "1"}),
        ({"name": "A", "value": False}, {"name": "A", "value": "0"}),
        ({"name": "A", "value": 3}, {"name": "A", "value": "3"}),
        ({"value": "x"}, {"name": "", "value": "x"}),
        ("A=b", "A=b"),
    ],
)
def test_variables_have_a_name_and_a_text(variable: Any, normal: Any) -> None:
    assert normalize_runtime({"local": {"env": [variable]}}) == {"local": {"env": [normal]}}


@pytest.mark.parametrize("nothing", [None, {}, ""])
def test_an_empty_entry_means_not_for_this_runtime(nothing: Any) -> None:
    assert normalize_runtime({"local": nothing, "k8s": {"image": "i"}}) == {"k8s": {"image": "i"}}


def test_null_members_are_absent() -> None:
    assert normalize_runtime({"local": {"command": None, "env": None}}) == {"local": {}}


def test_the_names_of_the_known_runtimes_match_in_any_case() -> None:
    assert normalize_runtime({"Local": {"Command": "x"}, "K8S": {"Image": "i"}}) == {
        "local": {"command": "x"},
        "k8s": {"image": "i"},
    }


def test_entries_of_other_runtimes_stay_as_they_are() -> None:
    entry = {"Queue": "q", "env": [{"Name": "A"}]}
    assert normalize_runtime({"Slurm": entry}) == {"Slurm": entry}


def test_an_entry_of_the_wrong_type_is_left_for_decoding_to_name() -> None:
    assert normalize_runtime({"local": "python run.py"}) == {"local": "python run.py"}


def test_keys_that_are_numbers_in_yaml_become_texts() -> None:
    runtime: dict[Any, Any] = {1: {"a": 1}, "local": {2: "b"}}
    assert normalize_runtime(runtime) == {"1": {"a": 1}, "local": {"2": "b"}}
